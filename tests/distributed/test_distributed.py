"""Laws of many devices and many processes: one run means the same on any number of them, and ends for all or none."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from _launching import launch, records, summary
from _xla import quick_flags

from rnnjax import distributed, estimators

ROOT = Path(__file__).parents[2]
TOY = [
    "--length=4", "--cell=vanilla", "--hidden_size=3", "--batch_size=8", "--eval_batches=1", "--num_steps=12",
    "--log_every=2", "--eval_every=6", "--checkpoint_every=4", "--writers=jsonl", "--compilation_cache=off",
]  # fmt: skip
TALKING = [
    "--truncation=3",
    "--rule=tbptt",
    "--num_layers=1",
    "--dropout=0.3",
    "--cell=gru",
    "--hidden_size=4",
    "--batch_size=4",
    "--num_steps=200",
    "--log_every=5",
    "--eval_every=40",
    "--checkpoint_every=10",
    "--sample=0",
    "--valid=0.001",
    "--test=0.001",
    "--writers=jsonl",
    "--compilation_cache=off",
    "--lost_after=30",
]


def environment(devices: int = 1) -> dict[str, str]:
    """Of a process with so many devices that compiles quickly."""
    many = [f"--xla_force_host_platform_device_count={devices}"] if devices > 1 else []
    flags = " ".join([quick_flags(), *many])
    return os.environ | {"XLA_FLAGS": flags, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "PYTHONPATH": str(ROOT)}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def nothing(i: int) -> list[str]:
    """Flags of one process alone."""
    return []


def processes(
    n: int, experiment: str, *flags: str, devices: int = 1, own=nothing, variables=nothing
) -> list[subprocess.Popen]:
    """n processes that train one run; `own` gives flags of each, `variables` its environment."""
    command = [sys.executable, "-m", f"experiments.{experiment}", *flags]
    group = [f"--coordinator=127.0.0.1:{free_port()}", f"--num_processes={n}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [
        subprocess.Popen(
            [*command, *group, f"--process_id={i}", *own(i)],
            cwd=ROOT,
            env=environment(devices) | dict(variables(i)),
            **pipes,
        )
        for i in range(n)
    ]


def ended(group: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """(status, stdout, stderr) of each."""
    talk = [process.communicate(timeout=300) for process in group]
    return [(process.returncode, *said) for process, said in zip(group, talk)]


def ours(stderr: str, name: str = "adding") -> list[str]:
    """The lines with which an experiment ends."""
    return [line for line in stderr.splitlines() if line.startswith(f"{name}: ")]


def alike(got: list[dict], want: list[dict], rtol: float = 1e-4):
    """Equal records, to rounding that the steps may have carried on."""
    assert [set(r) for r in got] == [set(r) for r in want] and got
    for a, b in zip(got, want):
        np.testing.assert_allclose([a[k] for k in sorted(a)], [b[k] for k in sorted(a)], rtol=rtol, atol=1e-5)


def several_devices(*rules: str) -> dict[str, dict]:
    """What four devices compute beside one."""
    command = [sys.executable, "tests/_devices.py", *rules]
    return json.loads(subprocess.run(command, cwd=ROOT, env=environment(4), capture_output=True, check=True).stdout)


def check(found: dict, carried: float = 1e-5):
    """Four devices came to where one comes, and each had a quarter of what belongs to the examples."""
    assert found["moved"] > 0.01
    assert found["gap"] < 1e-5 and found["valid"] < 1e-5 and found["carried"] < carried
    assert set(found["cut"]) <= {2}


def test_four_devices_train_as_one_does():
    every = several_devices("tbptt")
    shared = every["parallel_grad"]
    assert shared["gap"] < 1e-5 and set(shared["loops"]) == {0}
    assert shared["said"] == "a batch of 7 examples does not divide over 4 devices"
    found = every["tbptt"]
    check(found)
    assert found["cut"] == [2]  # the carries of eight examples
    assert set(found["loops"]) == {1}  # sums over the devices: in the loop of steps, and never in one over time


@pytest.mark.slow
@pytest.mark.parametrize("rule", [rule for rule in estimators.RULES if rule != "tbptt"])
def test_four_devices_train_as_one_does_under_every_rule(rule):
    # Optimal Kronecker factors are mixed along singular vectors. Rounding turns these by its ratio to the distance of
    # two singular values, so factors differ by up to its square root; what they are multiplied to, the gradient, less.
    check(several_devices(rule)[rule], 4e-4 if rule == "optimal_kronecker" else 1e-5)


def test_two_processes_train_as_one_does_and_one_of_them_writes(tmp_path):
    flags = [*TOY, f"--workdir={tmp_path / 'two'}"]
    (status, out, noise), (other, silence, quiet) = ended(processes(2, "adding", *flags))
    assert (status, other, silence, quiet) == (0, 0, "", ""), noise
    assert "this run: vanilla" in out
    assert launch("adding", *TOY, f"--workdir={tmp_path / 'one'}") == 0
    alike(records(tmp_path / "two"), records(tmp_path / "one"))
    one, two = (summary(tmp_path / name) for name in ("one", "two"))
    np.testing.assert_allclose(two["test"]["loss"], one["test"]["loss"], rtol=1e-4)
    assert "coordinator" not in (tmp_path / "two" / "flags.cfg").read_text()


@pytest.mark.slow
def test_four_processes_of_two_devices_train_as_one_does(tmp_path):
    group = processes(4, "adding", *TOY, f"--workdir={tmp_path / 'many'}", devices=2)
    assert [status for status, _, _ in ended(group)] == [0] * 4
    assert launch("adding", *TOY, f"--workdir={tmp_path / 'one'}") == 0
    alike(records(tmp_path / "many"), records(tmp_path / "one"))


def newest(workdir: Path) -> int:
    """The newest checkpoint of a run."""
    folder = workdir / "checkpoints"
    return max([int(f.name) for f in folder.iterdir() if f.name.isdigit()] if folder.exists() else [0], default=0)


def struck(group: list[subprocess.Popen], workdir: Path, victim: int, blow: int, step: int):
    """What becomes of a group one of which is struck after a step."""
    while newest(workdir) < step:
        assert group[0].poll() is None, "the run was over before it could be struck"
        time.sleep(0.002)
    group[victim].send_signal(blow)
    return ended(group)


@pytest.mark.slow
def test_a_killed_process_ends_all_and_the_run_goes_on_where_it_was(tmp_path):
    def go(name: str) -> list[subprocess.Popen]:
        return processes(2, "char_lm", *TALKING, f"--workdir={tmp_path / name}")

    assert [status for status, _, _ in ended(go("whole"))] == [0, 0]
    (status, _, said), (killed, _, _) = struck(go("cut"), tmp_path / "cut", 1, signal.SIGKILL, 30)
    assert (status, killed) == (1, -signal.SIGKILL)
    assert len(ours(said, "char_lm")) == 1 and "is lost" in ours(said, "char_lm")[0]
    (killed, _, _), (status, _, said) = struck(go("cut"), tmp_path / "cut", 0, signal.SIGKILL, 70)
    assert (killed, status, said) == (-signal.SIGKILL, 1, "char_lm: process 0, the leader, is lost\n")
    (first, _, said), (second, _, _) = struck(go("cut"), tmp_path / "cut", 1, signal.SIGTERM, 110)
    assert (first, second) == (143, 143) and "stopped and saved" in said
    assert [status for status, _, _ in ended(go("cut"))] == [0, 0]
    assert records(tmp_path / "cut") == records(tmp_path / "whole")
    assert [status for status, _, _ in ended(go("cut"))] == [0, 0]  # nothing is left to do, and all know it


@pytest.mark.slow
def test_a_run_is_taken_up_by_another_number_of_devices(tmp_path):
    flags = [flag for flag in TALKING if "num_steps" not in flag] + ["--schedule=constant"]
    long, short = [*flags, "--num_steps=80"], [*flags, "--num_steps=40"]
    assert launch("char_lm", *long, f"--workdir={tmp_path / 'one'}") == 0
    assert [s for s, _, _ in ended(processes(2, "char_lm", *short, f"--workdir={tmp_path / 'two'}"))] == [0, 0]
    assert launch("char_lm", *long, f"--workdir={tmp_path / 'two'}") == 0
    alike(records(tmp_path / "two"), records(tmp_path / "one"), rtol=1e-3)


@pytest.mark.slow
def test_what_one_process_cannot_do_ends_all_with_one_line(tmp_path):
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy" / "other.txt").touch()
    (status, _, said), (other, _, silence) = ended(processes(2, "adding", *TOY, f"--workdir={tmp_path / 'busy'}"))
    assert (status, other, ours(silence)) == (1, 1, [])
    assert len(ours(said)) == 1 and "holds other things" in ours(said)[0]
    flags = [*TOY, "--batch_size=7", f"--workdir={tmp_path / 'odd'}"]
    (status, _, said), (other, _, silence) = ended(processes(2, "adding", *flags))
    assert (status, other, ours(silence)) == (1, 1, [])
    line = "--batch_size=7: a batch of 7 examples does not divide over 2 devices"
    assert ours(said) in ([f"adding: {line}"], [f"adding: process 1: {line}"])  # whoever says it first


@pytest.mark.slow
@pytest.mark.parametrize("other, line", [("abdc" * 99, "different data"), (None, "process 1: text.txt does not exist")])
def test_other_data_on_another_machine_are_refused(tmp_path, other, line):
    for name, text in (("0", "abcd" * 99), ("1", other)):
        (tmp_path / name).mkdir()
        if text:
            (tmp_path / name / "text.txt").write_text(text)
    flags = [*TALKING, "--valid=0", "--test=0", "--data=text.txt", f"--workdir={tmp_path / 'run'}"]
    group = processes(2, "char_lm", *flags, own=lambda i: [f"--data_dir={tmp_path / str(i)}"])
    (status, _, said), (second, _, silence) = ended(group)
    assert (status, second, ours(silence, "char_lm")) == (1, 1, [])
    assert len(ours(said, "char_lm")) == 1 and line in ours(said, "char_lm")[0]


def test_bad_flags_of_a_group_are_one_line(tmp_path, capsys):
    jax.devices()  # once they are there, --devices makes no more of them
    for flags, line in (
        (["--coordinator=host"], "--coordinator=host: "),
        (["--coordinator=host:x"], "write HOST:PORT"),
        (["--coordinator=host:99999"], "a port from 1 to 65535"),
        (["--coordinator=host:1"], "needs num_processes"),
        (["--coordinator=host:1", "--num_processes=2", "--process_id=2"], "numbered from 0"),
        (["--num_processes=2"], "needs --coordinator"),
        (["--coordinator=host:1", "--analyse"], "--analyse runs in one process"),
        (["--devices=9"], "--devices=9: there is 1"),
    ):
        assert launch("adding", *TOY, f"--workdir={tmp_path / 'run'}", *flags) == 1
        said = capsys.readouterr().err.splitlines()
        assert line in said[-1] and said[-1].startswith("adding: "), said


@pytest.mark.slow
def test_processes_that_slurm_starts_find_each_other(tmp_path):
    def start(i: int) -> subprocess.Popen:
        said = {"JOB_ID": job, "STEP_NODELIST": "localhost", "NTASKS": 2, "PROCID": i, "LOCALID": i}
        env = environment() | {f"SLURM_{name}": str(value) for name, value in said.items()}
        command = [
            sys.executable,
            "-m",
            "experiments.adding",
            *TOY,
            "--coordinator=slurm",
            f"--workdir={tmp_path / 'run'}",
        ]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=ROOT, env=env, **pipes)

    job = free_port()
    assert [status for status, _, _ in ended([start(0), start(1)])] == [0, 0]
    assert records(tmp_path / "run")[-1]["step"] == 12


@pytest.mark.slow
def test_a_process_that_never_comes_is_not_waited_for_for_ever(tmp_path):
    group = processes(2, "adding", *TOY, "--lost_after=3", f"--workdir={tmp_path / 'run'}")
    group[1].kill()
    (status, _, said), _ = ended(group)
    assert status not in (0, None) and len(ours(said)) <= 1


def test_every_member_falls_to_one_process():
    members = list(range(11))
    shares = [distributed.share(members, i, 4) for i in range(4)]
    assert (
        sorted(member for share in shares for member in share) == members
        and max(map(len, shares)) - min(map(len, shares)) <= 1
    )
    assert distributed.share(members) == members


@pytest.mark.slow
def test_a_run_on_two_devices_of_one_process_goes_on_where_it_was(tmp_path):
    def go(name: str) -> subprocess.Popen:
        flags = [*TALKING, "--devices=2", "--rule=sliding_tbptt", f"--workdir={tmp_path / name}"]
        command = [sys.executable, "-m", "experiments.char_lm", *flags]
        return subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL)

    assert go("whole").wait() == 0
    process = go("cut")
    while newest(tmp_path / "cut") < 50:
        assert process.poll() is None, "the run was over before it could be killed"
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert go("cut").wait() == 0
    assert records(tmp_path / "cut") == records(tmp_path / "whole")

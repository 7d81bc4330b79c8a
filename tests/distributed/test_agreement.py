"""Laws: processes that were started otherwise, or do not come, end all with one line."""

from __future__ import annotations

import signal
import time

import pytest
from test_distributed import TOY, ended, newest, ours, processes

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("flag", ["--learning_rate=0.5", "--hidden_size=7", "--eval_every=3", "--num_steps=24"])
def test_processes_of_unequal_flags_are_refused(tmp_path, flag):
    group = processes(2, "adding", *TOY, f"--workdir={tmp_path / 'run'}", own=lambda i: [flag] if i else [])
    (status, _, said), (other, _, silence) = ended(group)
    name = flag.strip("-").partition("=")[0]
    assert (status, other, ours(silence)) == (1, 1, [])
    assert len(ours(said)) == 1 and f"all processes need the same flags; for {name}" in ours(said)[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("variable", ["JAX_THREEFRY_PARTITIONABLE=0", "JAX_DEFAULT_PRNG_IMPL=rbg"])
def test_processes_of_unequal_environments_are_refused(tmp_path, variable):
    name, _, value = variable.partition("=")
    group = processes(
        2, "adding", *TOY, f"--workdir={tmp_path / 'run'}", variables=lambda i: {name: value} if i else {}
    )
    (status, _, said), (other, _, silence) = ended(group)
    assert (status, other, ours(silence)) == (1, 1, [])
    assert len(ours(said)) == 1 and f"all processes need the same settings; for {name.lower()} " in ours(said)[0]
    assert not (tmp_path / "run").exists()


def test_places_may_differ(tmp_path):
    group = processes(2, "adding", *TOY, own=lambda i: [f"--workdir={tmp_path / str(i)}", f"--data_dir=/tmp/{i}"])
    assert [status for status, _, _ in ended(group)] == [0, 0]
    assert (tmp_path / "0" / "summary.json").exists() and not (tmp_path / "1").exists()


@pytest.mark.parametrize("alone", [0, 1])
def test_a_process_that_never_comes_is_one_line(tmp_path, alone):
    group = processes(2, "adding", *TOY, "--lost_after=4", f"--workdir={tmp_path / 'run'}")
    group[1 - alone].kill()
    status, _, said = ended(group)[alone]
    assert status == 1 and len(ours(said)) == 1 and "did not come together in 4 seconds" in ours(said)[0]


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_process_that_is_frozen_ends_all_with_one_line(tmp_path, frozen):
    flags = ["--num_steps=1000000", "--checkpoint_every=10", "--lost_after=20", f"--workdir={tmp_path / 'run'}"]
    group = processes(2, "adding", *TOY, *flags)
    while newest(tmp_path / "run") < 10:
        assert group[0].poll() is None
        time.sleep(0.05)
    group[frozen].send_signal(signal.SIGSTOP)
    left = group[1 - frozen]
    _, said = left.communicate(timeout=100)
    group[frozen].kill()
    group[frozen].communicate()
    assert left.returncode == 1 and len(ours(said)) == 1 and "is lost" in ours(said)[0]
    assert "stack trace" not in said and "coordination_service" not in said

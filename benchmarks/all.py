"""The ratios that matter, each from its own benchmark, beside the last recorded ones: what moved?

    python -m benchmarks.all --quick              # under five minutes on two cores
    python -m benchmarks.all --quick --json       # everything as JSON on standard output, the table on standard error
    python -m benchmarks.all --quick --record     # writes benchmarks/recorded.json

Every ratio is of times that took turns in one process, and above 1 is better: the time of another (PyTorch, another
library, the matmuls alone, one core, a first process) over ours. The load average stands beside what is recorded, and a
ratio counts as moved only beyond --tolerance. Compare and record on a quiet machine: between
two recordings under loads of 5 to 7 on two cores, 7 of 12 ratios that were measured alike moved. PyTorch is left out,
and named, where it is not installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from rnnjax.runs import print_table, provenance, usable_cores

FLAGS = flags.FLAGS
flags.DEFINE_bool("quick", False, "Few shapes, short turns.")
flags.DEFINE_bool("json", False, "Print JSON; the table goes to standard error.")
flags.DEFINE_bool("record", False, "Write the ratios to benchmarks/recorded.json.")
flags.DEFINE_float(
    "tolerance", 0.25, "A ratio has moved if it is this part larger or smaller than the recorded one.", 0.0
)
flags.DEFINE_list("only", None, "Benchmarks to run: layers, training, decoding, compile, start.")

RECORDED = Path(__file__).with_name("recorded.json")
Ratios = dict[str, float]


def layers(found: dict[str, Any]) -> Ratios:
    """The time of every peer over ours, and of one program over the batch shared by the cores."""
    out = {}
    for result in found["results"]:
        seconds, where = result["seconds"], f"{result['cell']} {','.join(map(str, result['shape']))}"
        for peer in set(seconds) - {"rnnjax", "rnnjax shared"}:
            out[f"layer {where}: {'matmuls alone' if peer == 'floor' else peer}"] = seconds[peer] / seconds["rnnjax"]
        if "rnnjax shared" in seconds:
            out[f"layer {where}: one program / shared"] = seconds["rnnjax"] / seconds["rnnjax shared"]
    return out


def training(found: dict[str, Any]) -> Ratios:
    """Steps a second as typed over those on one core and in PyTorch."""
    rates = {row["run"]: row["steps/s"] for row in found["rows"]}
    typed = {run: rate for run, rate in rates.items() if "--devices" not in run and "PyTorch" not in run}
    out = {}
    for run, rate in typed.items():
        for name, other in (("one core", f"{run} --devices=1"), ("PyTorch", f"{run}, in PyTorch")):
            if other in rates:
                out[f"step of {run}: {name}"] = rate / rates[other]
    return out


def decoding(found: dict[str, Any]) -> Ratios:
    """The time of PyTorch over ours, and of greedy over beam search."""
    times = {row[""]: row["ms"] for row in found["rows"]}
    ways = [name.removeprefix("rnnjax, ") for name in times if name.startswith("rnnjax")]
    out = {f"{way}: greedy": times["rnnjax, greedy"] / times[f"rnnjax, {way}"] for way in ways if way != "greedy"}
    for way in ways:
        if f"PyTorch, {way}" in times:
            out[f"{way}: PyTorch"] = times[f"PyTorch, {way}"] / times[f"rnnjax, {way}"]
    return out


def compiling(found: dict[str, Any]) -> Ratios:
    """A first process over a second one."""
    return {
        f"compiling {r['']}: first / second process": r["first process, s"] / r["second process, s"]
        for r in found["rows"]
    }


def start(found: dict[str, Any]) -> Ratios:
    """`import jax` over `import rnnjax` after it, and over `--help` of an experiment less that import."""
    return {f"start: import jax / {name}": found["jax"] / found[name] for name in ("import rnnjax", "--help")}


def both(*runs: str) -> list[str]:
    """Flags for runs as typed, and for the same on one core."""
    return [f"--run={run}{one}" for run in runs for one in ("", " --devices=1")]


SMALL = ("copying --cell=lstm --hidden_size=40", "adding")
TRAINED = (*SMALL, "char_lm", "word_lm", "pixels", "classification", "transduction")
LAYERS = ["--cells=lstm,gru", "--shapes=100,32,64,128", "--shapes=50,20,200,200", "--repeats=3", "--turn=0.02"]
# For each benchmark what is read from its JSON, its flags, and those of --quick.
PARTS: dict[str, tuple[Callable[[dict[str, Any]], Ratios], list[str], list[str]]] = {
    "layers": (layers, [], [*LAYERS, "--peers=torch,rnnjax,rnnjax shared,floor"]),
    "training": (training, both(*TRAINED), [*both(*SMALL), "--turns=5", "--seconds=0.3"]),
    "decoding": (decoding, [], ["--batch=8", "--words=10", "--turns=5"]),
    "compile": (compiling, [], ["--run=layer lstm"]),
}


def measured(name: str) -> Ratios:
    """The ratios of one benchmark, which a process of its own measures."""
    read, usual, quick = PARTS[name]
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out.json")
        command = [sys.executable, "-m", f"benchmarks.{name}", f"--out={out}", *(quick if FLAGS.quick else usual)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {(done.stderr.splitlines() or ['failed'])[-1]}")
        left_out = [line for line in done.stdout.splitlines() if "left out" in line and "orch" in line]
        print("\n".join(dict.fromkeys(left_out)), file=sys.stderr, end="\n" if left_out else "")
        return read(json.loads(Path(out).read_text()))


_STARTED = """
import time
t = time.perf_counter()
import jax
a = time.perf_counter()
import rnnjax
b = time.perf_counter()
from experiments.copying import EXPERIMENT
from rnnjax import app
app.status(EXPERIMENT, ["copying", "--help"])
import sys
print(a - t, b - a, time.perf_counter() - b, file=sys.stderr)
"""


def started(turns: int) -> dict[str, float]:
    """Seconds of the imports and of `--help`, each the least of several processes that find compiled Python."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        for _ in range(1 + turns):
            done = subprocess.run([sys.executable, "-c", _STARTED], capture_output=True, text=True, check=True, env=env)
            times.append([float(word) for word in done.stderr.split()[-3:]])
    return dict(zip(("jax", "import rnnjax", "--help"), (min(column) for column in zip(*times[1:]))))


def changed_ratios(now: Ratios, before: Ratios) -> list[dict[str, Any]]:
    """The ratios that are beyond the tolerance, the worst first."""
    rows = [
        {"": name, "recorded": before[name], "now": r, "now / recorded": r / before[name]}
        for name, r in now.items()
        if name in before
    ]
    far = [row for row in rows if not 1 / (1 + FLAGS.tolerance) <= row["now / recorded"] <= 1 + FLAGS.tolerance]
    return sorted(far, key=lambda row: row["now / recorded"])


def main(argv: Sequence[str]) -> None:
    """Measures, compares, prints."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]}")
    if set(FLAGS.only or ()) - {*PARTS, "start"} or (FLAGS.only and FLAGS.record):
        raise app.UsageError("--only names some of layers, training, decoding, compile, start; --record wants all")
    logging.set_verbosity(logging.WARNING)
    begun, load = time.perf_counter(), os.getloadavg()[0]
    now: Ratios = {}
    for name in FLAGS.only or [*PARTS, "start"]:
        now |= start(started(3)) if name == "start" else measured(name)
        print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    kind = "quick" if FLAGS.quick else "whole"
    known = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    before = known.get(kind, {"ratios": {}, "load": []})
    about: dict[str, Any] = {"load": [load, os.getloadavg()[0]], "cores": usable_cores(), **provenance()}
    found = {"ratios": {name: round(r, 3) for name, r in now.items()}, **about}
    rows = changed_ratios(now, before["ratios"])
    loads = " to ".join(f"{n:.1f}" for n in about["load"]), " to ".join(f"{n:.1f}" for n in before["load"]) or "never"
    title = (
        f"{len(rows)} of {len(now)} moved by more than {FLAGS.tolerance:.0%}; load {loads[0]}, when recorded {loads[1]}"
    )
    print_table(rows, title, sys.stderr if FLAGS.json else sys.stdout)
    if FLAGS.json:
        print(json.dumps({**found, "moved": rows, "recorded": before}, indent=1, default=str))
    if FLAGS.record:
        RECORDED.write_text(json.dumps({**known, kind: found}, indent=1, default=str) + "\n")


if __name__ == "__main__":
    app.run(main)

"""Law: whatever is given for a flag is refused in one line, or is what the run has.

Values are drawn for every flag of every experiment from its own definition. A launch ends before it makes a folder, so
that hundreds take a minute or two.
"""

from __future__ import annotations

import importlib
import os
import random
import signal
import sys
from pathlib import Path

import pytest
from _launching import launch
from absl import flags

from rnnjax.app import _main

sys.path.append(str(Path(__file__).parents[1] / "experiments"))
from test_experiments import EXPERIMENTS, TOY

STUDIES = ("audit", "balancing", "bifurcation", "conditioning", "depth", "distance", "dynamics", "feedback")
STUDIES += ("online_copy", "paths", "regimes", "rules", "uses", "sweep")
DRAWS = int(os.environ.get("FLAG_DRAWS", "40"))
SECONDS = 60
UNLIKE = ("devices", "coordinator", "num_processes", "process_id", "lost_after", "flagfile", "workdir", "profile")
UNLIKE += ("compilation_cache", "find_lr")  # JAX makes that folder; a test of rates trains, and draws a picture
TEXTS = (
    *(
        "",
        ",",
        "x",
        "a,a",
        "a:b",
        "math:cos",
        "builtins:len",
        "os",
        ".x",
        "..",
        "nowhere.txt",
        "/dev/null",
        "a=b",
        "a=",
    ),
    *(
        "=1",
        "(",
        "[",
        "x" * 3000,
        "--seed=1",
        "None",
        "1e400",
        "nan",
        "*",
        " ",
        "\t",
        "0",
        "-1",
        "\x00",
        "\udc80",
        "\u00e9\u00b2",
    ),
)
NUMBERS = (
    *("", "x", "nan", "inf", "-inf", "-1", "0", "1", "2", "3.5", "1e308", "1e400", "1e-320", "4294967296", "\u00b2"),
    *("1_0", "9" * 20, "9" * 5000, "0x10", " 3", "1,2", "true", "None", "1000000000", "--1"),
)


class _Passed(BaseException):
    """The launch has passed all its checks."""


def values(flag: flags.Flag, draw: random.Random) -> str:
    """A value for a flag, which it may take or not."""
    kind = flag.flag_type()
    if kind == "bool":
        return draw.choice(("true", "false", "maybe", "", "2", "yes"))
    if kind in ("int", "float"):
        return draw.choice(NUMBERS)
    choices = list(getattr(flag.parser, "enum_values", None) or ())
    return draw.choice([*choices, *TEXTS]) if choices else draw.choice((*TEXTS, *NUMBERS))


@pytest.fixture
def stopped(monkeypatch):
    """Launches end where they would make their folder; one that takes a minute fails."""

    def passed(*given):
        raise _Passed

    def late(signum, frame):
        raise TimeoutError(f"not checked in {SECONDS} seconds")

    monkeypatch.setattr(_main, "_open_workdir", passed)
    before = {number: signal.signal(number, late) for number in (signal.SIGALRM, signal.SIGPROF)}
    yield
    _limit(0)
    for number, handler in before.items():
        signal.signal(number, handler)


def _limit(seconds: int) -> None:
    """Sets the time that a check may take: of the processor, and ten times as much of the clock; 0: no limit."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(10 * seconds)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*EXPERIMENTS, *STUDIES])
def test_every_flag_is_refused_in_a_line_or_heeded(name, tmp_path, capsys, monkeypatch, stopped):
    monkeypatch.chdir(tmp_path)
    experiment, draw = importlib.import_module(f"experiments.{name}").EXPERIMENT, random.Random(name)
    toy = [*TOY, *EXPERIMENTS[name]] if name in EXPERIMENTS else []
    toy += ["--experiment=adding", "--grid=seed=0,1"] if name == "sweep" else []
    if name == "char_lm":
        Path("text.txt").write_text("to be or not to be, that is the question\n" * 8)
        toy.append("--data=text.txt")
    names = [n for n in experiment.flags if n not in (*UNLIKE, "help", "helpfull", "helpshort", "helpxml", "?")]
    for _ in range(DRAWS):
        flag = experiment.flags[draw.choice(names)]
        given = f"--{flag.name}={values(flag, draw)}"
        _limit(SECONDS)
        try:
            status = launch(name, *toy, given)
        except _Passed:
            status = 0
        except BaseException as error:
            raise AssertionError(f"{given[:200]}: {type(error).__name__}: {str(error)[:300]}") from error
        finally:
            _limit(0)
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(f"{name}: ")]
        assert (status, len(said)) in ((0, 0), (1, 1)), (given[:200], status, said)
        assert list(tmp_path.iterdir()) in ([], [tmp_path / "text.txt"]), given

"""What is shown is right, on a terminal and in a log."""

import io
import re
import threading
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

from rnnjax.base import UserError
from rnnjax.runs import ProgressBar, _progress, print_table
from rnnjax.studies import _display
from rnnjax.studies._results import Results


class Terminal(io.StringIO):
    """A file that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_progress, "time", clock)
    return clock


def test_a_log_has_a_line_now_and_then_with_pace_and_time_left(clock: Clock) -> None:
    file = io.StringIO()
    with ProgressBar(1000, "lstm", start=100, every=10.0, file=file) as progress:
        clock.now += 30  # compiling: the first update is no measure of pace
        for step in range(110, 1001, 10):
            progress.update(step, loss=jnp.float32(0.5))
            clock.now += 1.0
    lines = file.getvalue().splitlines()
    assert lines[0] == "lstm 110/1000, loss 0.5"
    assert lines[1] == "lstm 210/1000, 10 steps/s, loss 0.5, 1 min 19 s left"
    assert lines[-1] == "lstm 1000/1000, 10 steps/s, loss 0.5, 1 min 59 s in all"
    assert len(lines) == 10


def test_what_is_said_counts_as_a_sign_of_life(clock: Clock) -> None:
    file = io.StringIO()
    with ProgressBar(1000, "lstm", every=10.0, file=file) as progress:
        for step in range(1, 41):
            clock.now += 1.0
            progress.update(step)
            if step % 8 == 0:
                progress.say(f"validation {step}")
    assert file.getvalue().splitlines() == [f"validation {step}" for step in (8, 16, 24, 32, 40)]


def test_the_pace_shown_is_the_recent_one(clock: Clock) -> None:
    file = io.StringIO()
    with ProgressBar(10**6, every=0.0, file=file) as progress:
        for step in range(1, 201):
            clock.now += 100.0 if step < 100 else 0.1
            progress.update(step)
    assert ", 10 steps/s, " in file.getvalue().splitlines()[-1]


def test_a_terminal_has_a_bar_that_text_stands_above_and_no_thread_stays(clock: Clock) -> None:
    file, before = Terminal(), set(threading.enumerate())
    with ProgressBar(100, "a [bold] name", file=file) as progress:
        progress.update(10, loss=0.25)
        clock.now += 1.0
        progress.say("validation [red] 0.5")
        progress.update(60, loss=0.125)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    assert "validation [red] 0.5\n" in text
    last = text.replace("\r", "\n").rstrip().splitlines()[-1]
    assert "a [bold] name" in last and "60/100" in last and "50 steps/s" in last and "loss 0.125" in last
    assert set(threading.enumerate()) == before


def test_none_is_silent_and_an_unknown_mode_refused() -> None:
    file = Terminal()
    with ProgressBar(10, file=file, mode="none") as progress:
        progress.update(10, loss=1.0)
        progress.say("a")
    assert file.getvalue() == ""
    with pytest.raises(UserError, match=r"^unknown progress fast: give auto, bar, lines, notebook or none$"):
        ProgressBar(10, mode="fast")


ROWS: list[dict[str, Any]] = [
    {"": "this run: lstm [x]", "loss": jnp.float32(0.169382), "steps": 2000},
    {"": "memoryless", "loss": 0.17328, "source": "exact"},
]


def test_a_table_in_a_log_is_aligned() -> None:
    file = io.StringIO()
    print_table(ROWS, "copying", file)
    assert file.getvalue().splitlines() == [
        "copying",
        "                      loss  steps  source",
        "this run: lstm [x]  0.1694  2,000",
        "memoryless          0.1733         exact",
    ]


def test_a_table_on_a_terminal_has_the_same_cells() -> None:
    file = Terminal()
    print_table(ROWS, "copying", file)
    text = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())
    for word in ("copying", "this run: lstm [x]", "0.1694", "2,000", "memoryless", "0.1733", "exact", "source"):
        assert word in text


@pytest.mark.parametrize(
    ("done", "said"),
    [
        ([], "0/2 members"),  # compiling
        ([20], "0/2 members, 10% of the steps"),
        ([20] * 6, "0/2 members, 60% of the steps, 4 s left"),
        ([20] * 10, "0/2 members, to be scored"),
    ],
)
def test_a_study_says_how_far_its_members_are(
    done: list[int], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(_display, "time", clock)
    display = _display.Display(Results(tmp_path, ["seed"]), total=2, work=200, file=io.StringIO())
    for steps in done:
        clock.now += 1.0
        display.add(steps)
    assert display.line() == said

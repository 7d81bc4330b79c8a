"""The display of a running study: a live table on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections import deque
from types import TracebackType
from typing import Any, TextIO

import rich.box
import rich.console
import rich.live
import rich.table

from rnnjax.runs import format_duration
from rnnjax.runs._progress import format_number
from rnnjax.studies._results import Results

_CALLS = 6  # needed to estimate the pace
_SHOWN = 10  # members in the live table


class Display:
    """Shows the finished members, the best so far, and the time left.

    Args:
      results: of the study.
      total: number of members.
      work: steps of all members together.
      done: steps done by earlier sessions.
      every: seconds between the lines of a log.
      file: the output; None for standard error.
    """

    def __init__(
        self, results: Results, total: int, work: int, done: int = 0, every: float = 10.0, file: TextIO | None = None
    ) -> None:
        self.results, self.total, self.work, self.done, self.every = results, total, work, done, every
        self.file = file or sys.stderr
        self.begun = self.said = time.monotonic()
        self.recent: deque[tuple[int, float]] = deque(maxlen=40)
        console = rich.console.Console(file=self.file)
        self.live = rich.live.Live(console=console, auto_refresh=False) if self.file.isatty() else None

    def __enter__(self) -> Display:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.live:
            self.live.update(self.table(), refresh=True)
            self.live.stop()
        elif kind is None:
            self.say(self.line())

    def add(self, steps: int) -> None:
        """Records that the members have advanced by this many steps in total."""
        now = time.monotonic()
        self.done += steps
        if steps:
            self.recent.append((self.done, now))
        if self.live:
            self.live.update(self.table(), refresh=True)
        elif now - self.said >= self.every:
            self.say(self.line())

    def say(self, text: str) -> None:
        """Prints a line."""
        self.said = time.monotonic()
        if self.live:
            self.live.console.print(text, markup=False)
        else:
            print(text, file=self.file, flush=True)

    def line(self) -> str:
        """Returns a line with the state of the study."""
        best = self.results.best()
        found = (
            f", best {format_number(best['score'])} (member {best['member']}: {_format_flags(best)})" if best else ""
        )
        ahead = "" if len(self.results.rows) >= self.total else self.ahead()
        return f"{len(self.results.rows)}/{self.total} members{found}{ahead}"

    def ahead(self) -> str:
        """Returns the share of all steps that is done, and the time that the others take; "" before the first step."""
        if not self.done or self.done >= self.work:
            return ", to be scored" if self.done else ""
        left = self.left()
        return f", {self.done / self.work:.0%} of the steps" + (f", {format_duration(left)} left" if left else "")

    def left(self) -> float | None:
        """Returns the seconds left at the pace of the last calls; None if unknown so far."""
        if len(self.recent) < _CALLS:  # the first calls compile
            return None
        (done, begun), (_, now) = self.recent[min(2, len(self.recent) - 2)], self.recent[-1]
        rate = (self.done - done) / max(now - begun, 1e-9)
        return max(self.work - self.done, 0) / rate

    def table(self) -> rich.table.Table:
        """Returns the table of the best members so far, below the line."""
        table = rich.table.Table(title=self.line(), box=rich.box.SIMPLE_HEAD, title_justify="left")
        for name in ("member", *self.results.flags, "status", "steps", "score"):
            table.add_column(name, justify="right")
        scored = [row for row in self.results.rows.values() if row.get("score") is not None]
        for row in sorted(scored, key=self.results.cost)[:_SHOWN]:
            flags = [str(row["flags"].get(flag, "")) for flag in self.results.flags]
            rest = (row["status"], format_number(row.get("steps")), format_number(row["score"]))
            table.add_row(str(row["member"]), *flags, *rest)
        return table


def _format_flags(row: dict[str, Any]) -> str:
    """Formats the flags of a member."""
    return " ".join(f"{flag}={value}" for flag, value in row["flags"].items())

"""ProgressBar of long work: a bar on a terminal, plain lines in a log, and a table at the end."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, TextIO

import rich.box
import rich.console
import rich.markup
import rich.progress
import rich.table
import rich.text

from rnnjax.base import UserError

_REDRAW = 0.1  # seconds between redraws of the bar


def format_number(value: object) -> str:
    """Formats a value for a table: numbers with four significant digits, None as an empty string.

    Example:
      >>> [format_number(x) for x in (0.123456, 1234567.0, 1e-9, 2.0, 150000, float("nan"), "lstm", None)]
      ['0.1235', '1.235e+06', '1e-09', '2', '150,000', 'nan', 'lstm', '']
    """
    if value is None:
        return ""
    if isinstance(value, (bool, str)):
        return str(value)
    if hasattr(value, "item"):
        return format_number(value.item())
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_duration(seconds: float | None) -> str:
    """Formats a duration in seconds.

    Example:
      >>> [format_duration(x) for x in (4.2, 75, 7380, None)]
      ['4 s', '1 min 15 s', '2 h 3 min', '?']
    """
    if seconds is None or not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def check_mode(mode: str) -> None:
    """Refuses a mode that `ProgressBar` does not know.

    Raises:
      UserError: names those that it knows.
    """
    if mode not in ("auto", "bar", "lines", "notebook", "none"):
        raise UserError(f"unknown progress {mode}: give auto, bar, lines, notebook or none")


class ProgressBar:
    """Shows the progress of long work: steps per second, metrics, time left.

    Args:
      total: total number of steps.
      description: a name for the work.
      start: steps done by an earlier session.
      every: seconds between the lines of a log.
      file: the output; None for standard error.
      mode: "bar", "lines", "notebook" (one line that is overwritten) or "none"; "auto" chooses a bar on a terminal,
        the single line in a notebook, and lines elsewhere.

    Raises:
      UserError: there is no such mode.

    Example:
      >>> with ProgressBar(100, "lstm", every=0.0, file=sys.stdout) as progress:
      ...     progress.update(50, loss=2.0794)
      ...     progress.say("validation: 2.1")
      lstm 50/100, loss 2.079
      validation: 2.1
    """

    def __init__(
        self,
        total: int,
        description: str = "",
        start: int = 0,
        every: float = 10.0,
        file: TextIO | None = None,
        mode: str = "auto",
    ) -> None:
        check_mode(mode)
        self.total, self.description, self.every = total, description, every
        if mode == "auto" and file is None and _in_notebook():
            mode = "notebook"
        self.file = file or (sys.stdout if mode == "notebook" else sys.stderr)
        self.mode = mode if mode != "auto" else "bar" if self.file.isatty() else "lines"
        self._shown = ""
        self._said = self._drawn = self._begun = time.monotonic()
        self._recent: deque[tuple[int, float]] = deque(maxlen=50)
        self._bar = self._make_bar(start) if self.mode == "bar" else None

    def _make_bar(self, start: int) -> rich.progress.Progress:
        columns = (
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[state]}"),
        )
        bar = rich.progress.Progress(*columns, console=rich.console.Console(file=self.file), auto_refresh=False)
        bar.add_task(rich.markup.escape(self.description), total=self.total, completed=start, state="compiling")
        return bar

    def __enter__(self) -> ProgressBar:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
        if self._shown:
            print(file=self.file, flush=True)

    def update(self, step: int, **metrics: Any) -> None:
        """Updates the number of steps done, and the metrics beside it."""
        now = time.monotonic()
        self._recent.append((step, now))
        (step_0, time_0), rate = self._recent[0], None
        if step > step_0 and now > time_0:  # the time before the first update includes compilation
            rate = (step - step_0) / (now - time_0)
        state = [f"{format_number(rate)} steps/s"] if rate else []
        state += [f"{name} {format_number(value)}" for name, value in metrics.items()]
        if step >= self.total:
            state.append(f"{format_duration(now - self._begun)} in all")
        elif rate:
            state.append(f"{format_duration((self.total - step) / rate)} left")
        self._show(step, ", ".join(state), now)

    def _show(self, step: int, state: str, now: float) -> None:
        if self._bar:
            due = step >= self.total or now - self._drawn >= _REDRAW
            self._drawn = now if due else self._drawn
            self._bar.update(self._bar.task_ids[0], completed=step, state=rich.markup.escape(state), refresh=due)
        elif self.mode == "notebook":
            if step >= self.total or now - self._drawn >= _REDRAW:
                self._drawn = now
                self._overwrite(f"{self.description} {step}/{self.total}, {state}".strip())
        elif now - self._said >= self.every or step >= self.total:
            self.say(f"{self.description} {step}/{self.total}, {state}".strip())

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        self._said = time.monotonic()
        if self._bar:
            self._bar.console.print(rich.text.Text(text))
        elif self.mode == "notebook":
            shown = self._shown
            self._overwrite(text)
            print(file=self.file)
            self._shown = ""
            self._overwrite(shown)
        elif self.mode == "lines":
            print(text, file=self.file, flush=True)

    def _overwrite(self, text: str) -> None:
        """Replaces the last line."""
        print("\r" + text.ljust(len(self._shown)), end="", file=self.file, flush=True)
        self._shown = text


def _in_notebook() -> bool:
    """Returns whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def print_table(rows: Sequence[Mapping[str, object]], title: str = "", file: TextIO | None = None) -> None:
    """Prints a table: drawn on a terminal, aligned text elsewhere.

    Args:
      rows: cells by heading; a missing heading leaves an empty cell. Headings are in order of first appearance.
      title: printed above.
      file: the output; None for standard output.

    Example:
      >>> print_table([{"": "lstm", "loss": 0.169382, "steps": 2000}, {"": "memoryless", "loss": 0.17328}], "copying")
      copying
                    loss  steps
      lstm        0.1694  2,000
      memoryless  0.1733
    """
    file = file or sys.stdout
    names = list(dict.fromkeys(name for row in rows for name in row))
    right = [all(not isinstance(row.get(name), str) for row in rows) for name in names]
    cells = [[format_number(row.get(name)) for name in names] for row in rows]
    if file.isatty():
        _draw(names, right, cells, title, file)
        return
    widths = [max(map(len, column)) for column in zip(names, *cells)]
    if title:
        print(title, file=file)
    for line in [names, *cells]:
        words = (word.rjust(w) if r else word.ljust(w) for word, w, r in zip(line, widths, right))
        print("  ".join(words).rstrip(), file=file)
    file.flush()


def _draw(names: list[str], right: list[bool], cells: list[list[str]], title: str, file: TextIO) -> None:
    drawn = rich.table.Table(title=rich.markup.escape(title) or None, box=rich.box.SIMPLE_HEAD)
    for name, r in zip(names, right):
        drawn.add_column(rich.markup.escape(name), justify="right" if r else "left")
    for line in cells:
        drawn.add_row(*(rich.markup.escape(word) for word in line))
    rich.console.Console(file=file).print(drawn)

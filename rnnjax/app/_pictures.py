"""The learning curves of a run: drawn while it trains and at its end."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnjax.app._setup import Setup
from rnnjax.base import UserError

if TYPE_CHECKING:
    from rnnjax.plotting import Run

_PART = 0.05  # of the time of a run that drawing may take
_Records = Sequence[dict[str, Any]]


def check_plot(names: Sequence[str], known: Collection[str]) -> None:
    """Refuses metrics that a run does not measure.

    Args:
      names: given by `--plot`.
      known: the metrics of the run.

    Raises:
      UserError: names one, and lists those that there are.
    """
    for name in names:
        if name not in known:
            raise UserError(f"--plot={','.join(names)}: there is no metric {name}; there are {', '.join(known)}")
    if not names:
        raise UserError(f"--plot=: name at least one metric of {', '.join(known)}")


class Picture:
    """The picture of one run, which is drawn again from time to time.

    Args:
      path: of the file.
      setup: of the run.
      plot: metrics to draw.
      title: above the picture.
    """

    def __init__(self, path: Path, setup: Setup, plot: Sequence[str], title: str) -> None:
        self.path, self.setup, self.plot, self.title = path, setup, plot, title
        self._next = 0.0

    def refresh(self, name: str, records: _Records) -> None:
        """Draws the run unless it was drawn so recently that drawing would take much of its time."""
        begun = time.monotonic()
        if begun >= self._next:
            self.draw({name: records})
            self._next = time.monotonic() + (time.monotonic() - begun) / _PART

    def draw(self, runs: Mapping[str, _Records]) -> None:
        """Draws the records of runs by name, one panel for each metric."""
        from rnnjax.plotting import CurvePanel, draw_panels, save  # matplotlib takes longer to import than JAX

        setup = self.setup
        baselines = {} if setup.baseline is None else {setup.baseline_name: setup.baseline}
        panels = [
            CurvePanel(
                setup.loss_label if metric == "loss" else metric,
                {name: _curve_of(records, metric) for name, records in runs.items()},
                baselines if metric in ("loss", "valid_loss") else {},
            )
            for metric in self.plot
        ]
        save(self.path, draw_panels(panels, title=self.title))


def _curve_of(records: _Records, metric: str) -> Run:
    """Returns the curve of a metric in training and on the validation data."""
    from rnnjax.plotting import Run

    def series(name: str) -> tuple[list[int], list[float]]:
        points = [(r["step"], float("nan") if r[name] is None else r[name]) for r in records if name in r]
        return [step for step, _ in points], [value for _, value in points]

    if metric.startswith("valid_") and not any(f"valid_{metric}" in record for record in records):
        return Run((), (), *series(metric))
    return Run(*series(metric), *series(f"valid_{metric}"))

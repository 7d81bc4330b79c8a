"""`--find_lr`: a test of learning rates with the flags of a run, in place of the run."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from rnnjax.app._config import Config
from rnnjax.app._programs import DATA_TAG
from rnnjax.app._registry import resolve
from rnnjax.app._session import Session
from rnnjax.app._setup import trainer
from rnnjax.base import UserError
from rnnjax.base._errors import as_user_error
from rnnjax.runs import atomic_write, print_table
from rnnjax.training import RateTest, find_learning_rate
from rnnjax.training._optimizers import DIRECTIONS, kind_of

_ROWS = 19  # of the table: three rates a decade


def show_rates(name: str, sessions: dict[str, Session], folder: Path) -> None:
    """Tests the learning rates of each session, prints a table, and writes a picture and a table into a folder.

    Raises:
      UserError: the optimiser keeps a learning rate of its own, or the folder cannot be written.
    """
    for session in sessions.values():
        if own := unused_rate(session.config):
            raise UserError(f"--find_lr: {own}")
    tests = {cell: _test(session) for cell, session in sessions.items()}
    label = next(iter(sessions.values())).setup.loss_label
    print_table(_rows(tests), title=f"{name}, {label} while the learning rate grows")
    for cell, test in tests.items():
        print(f"{cell}: {_advice(test)}")
    picture = folder / f"rates.{next(iter(sessions.values())).config.picture}"
    with as_user_error("write", folder):
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / "rates.csv", _csv(tests))
    from rnnjax.plotting import RateCurve, draw_rates, save  # matplotlib takes longer to import than JAX

    curves = {cell: RateCurve(*test) for cell, test in tests.items()}
    save(picture, draw_rates(curves, f"{name}: the loss falls fastest at the circle", label))
    print(f"picture: {picture}\nall steps: {folder / 'rates.csv'}")


def unused_rate(config: Config) -> str:
    """Says which flags of the learning rate do not reach the optimiser, which keeps one of its own; "" if all do.

    Example:
      >>> from rnnjax import app
      >>> [config] = app.run_configs(app.parse(app.common_flags(), ["x", "--optimizer=optax.contrib:prodigy"]))
      >>> unused_rate(config)
      '--optimizer=optax.contrib:prodigy has a learning rate of its own: --learning_rate and --schedule do not reach it'
    """
    direction = resolve("optimizer", config.optimizer, DIRECTIONS)
    kind = None if direction in DIRECTIONS.values() else kind_of(direction)
    if kind is None or not kind.full or kind.given == "schedule":
        return ""
    if kind.given == "number":
        return f"--optimizer={config.optimizer} takes a learning rate that stays: --schedule does not reach it"
    own = f"--optimizer={config.optimizer} has a learning rate of its own"
    return f"{own}: --learning_rate and --schedule do not reach it"


def _test(session: Session) -> RateTest:
    """Returns the test of a session, on the first batches of its run."""
    config, build = session.config, session.build
    key = jax.random.fold_in(jax.random.key(config.seed), DATA_TAG)
    return find_learning_rate(
        lambda rate: trainer(build, config)._replace(optimizer=config.make_optimizer(rate)), session.data, key
    )


def _rows(tests: dict[str, RateTest]) -> list[dict[str, object]]:
    """Returns the table: the smoothed loss of each cell at some rates."""
    rates = next(iter(tests.values())).rates
    places = np.unique(np.linspace(0, len(rates) - 1, _ROWS).round().astype(int))
    return [{"rate": f"{rates[i]:.1e}"} | {cell: float(test.smooth[i]) for cell, test in tests.items()} for i in places]


def _advice(test: RateTest) -> str:
    """Returns the result of a test as a sentence.

    Example:
      >>> none = np.full(3, np.nan)
      >>> _advice(RateTest(none, none, none, 3e-3, 0.1))
      'the loss falls fastest at --learning_rate=3.0e-03 and breaks at 1.0e-01'
      >>> _advice(RateTest(none, none, none, float("nan"), float("inf")))
      'the loss falls at no rate'
    """
    if np.isnan(test.suggested):
        return "the loss falls at no rate"
    breaks = f" and breaks at {test.diverged:.1e}" if np.isfinite(test.diverged) else ""
    return f"the loss falls fastest at --learning_rate={test.suggested:.1e}{breaks}"


def _csv(tests: dict[str, RateTest]) -> str:
    """Returns all steps as a table."""
    names = [f"{cell} {column}" for cell in tests for column in ("loss", "smooth")]
    columns = [next(iter(tests.values())).rates]
    columns += [values for test in tests.values() for values in (test.losses, test.smooth)]
    lines = [",".join(["rate", *names]), *(",".join(f"{v:.6g}" for v in row) for row in zip(*columns))]
    return "\n".join(lines) + "\n"

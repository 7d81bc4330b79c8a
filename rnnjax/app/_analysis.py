"""`--analyse`: the dynamics of a trained network beside those of the untrained one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.app._config import Config
from rnnjax.app._experiment import Result
from rnnjax.app._programs import VALID_TAG
from rnnjax.app._session import Session
from rnnjax.app._setup import build_setup
from rnnjax.base import Cell, PyTree, Seq, UserError
from rnnjax.dynamics import Analysis, analysis
from rnnjax.dynamics._analyses import goes_stepwise
from rnnjax.runs import print_table
from rnnjax.runs._leaves import DamagedError

_COLUMNS = 4  # of the picture of eigenvalues
_LARGEST, _BOUND = "largest singular value", r"bound $\prod ||J_s||$"
_ALL, _CELLS = "root mean square of the singular values", r"of $\partial c_T / \partial c_t$ alone, root mean square"
_ACTIVATION = r"bound $\prod ||D_s|| \, ||W||$"


class Analyser:
    """The analysis of a run. It is made before training, so that a network that cannot be analysed is refused early."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.cell, self.xs = _network(session)
        self.fresh = session.fresh()
        self.initial = self.fresh.progress.state.params
        plain = is_plain(session.config)
        self.analyse = jax.jit(functools.partial(analysis, self.cell, plain=plain))
        try:
            jax.eval_shape(self.analyse, self.initial, self.xs)
            stepwise = goes_stepwise(self.cell, self.initial, self.xs)
        except (TypeError, ValueError, IndexError) as error:
            raise UserError(f"--analyse: this network cannot run step by step: {error}") from error
        if not stepwise:
            raise UserError(
                "--analyse: this network does not run step by step, perhaps because it reads in both directions"
            )

    def finish(self, result: Result) -> dict[str, Any]:
        """Draws the three pictures, prints the table, and returns the entries for the summary."""
        from rnnjax import plotting  # matplotlib takes longer to import than JAX

        moments = {"before training": self.initial} | self.between() | {"trained": result.params}
        found = {name: self.analyse(params, self.xs) for name, params in moments.items()}
        ends = {name: found[name] for name in ("before training", "trained")}
        picture = self.session.workdir.file
        paths = {name: picture(f"{name}.{result.config.picture}") for name in ("flow", "spectra", "eigenvalues")}
        note = {name: f"memory {int(a.memory):,} of {a.norms.size - 1:,} steps" for name, a in ends.items()}
        panels = {name: plotting.Panel(panel_lines(a), note[name]) for name, a in ends.items()}
        plotting.save(paths["flow"], plotting.draw_flows(panels, "t (steps)", r"norm of $\partial h_T / \partial h_t$"))
        plotting.save(
            paths["spectra"], plotting.draw_singular_values({name: (a.lags, a.logs) for name, a in ends.items()})
        )
        plotting.save(paths["eigenvalues"], plotting.draw_clouds(_eigenvalues(found)))
        rows = [{"": f"{result.config.cell}, {name}"} | _table_row(a) for name, a in found.items()]
        print_table(rows, title="one sequence, changes of the state")
        print("pictures: " + ", ".join(str(path) for path in paths.values()))
        return {"analysis": dict(zip(found, map(_table_row, found.values())))}

    def between(self) -> dict[str, PyTree]:
        """Returns the parameters of intermediate checkpoints by their steps; damaged ones are skipped."""
        kept, found = self.session.checkpoints, {}
        for step in kept.steps()[:-1][-(_COLUMNS - 2) :]:
            try:
                found[f"step {step:,}"] = kept.read(step, self.fresh).progress.state.averaged
            except DamagedError as damage:
                kept.report(f"checkpoint {step} is damaged ({damage}): not analysed")
        return found


def _network(session: Session) -> tuple[Cell, PyTree]:
    """Returns the network, in at least single precision, and the longest sequence of the first batch."""
    config, setup = session.config, session.setup
    stream = setup.valid or setup.train
    key = jax.random.fold_in(jax.random.key(config.seed), VALID_TAG)
    x = jax.jit(lambda data: stream.next(data, stream.init(data), key)[0].x)(session.data)
    ragged = isinstance(x, Seq) and x.valid is not None
    best = int(jnp.argmax(x.valid.sum(1))) if ragged else 0
    wide = build_setup(session.build, config.replace(dtype="float32")) if config.dtype == "bfloat16" else setup
    return wide.cell, jax.tree.map(lambda a: a[best], x)


def is_plain(config: Config) -> bool:
    """Returns whether the network is one vanilla layer, for which the lectures give a bound.

    Example:
      >>> from rnnjax import app
      >>> flags = app.common_flags(cell="gru")
      >>> [is_plain(config) for config in app.run_configs(app.parse(flags, ["x", "--cell=vanilla,gru"]))]
      [True, False]
    """
    return config.cell == "vanilla" and config.num_layers == 1 and config.block == "plain" and not config.cell_args


def panel_lines(a: Analysis) -> dict[str, np.ndarray]:
    """Returns the lines of a network's panel, as logarithms over t; nan where nothing was measured.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import dynamics
      >>> cell, xs = rnnjax.vanilla(4), jnp.ones((5, 2))
      >>> found = dynamics.analysis(rnnjax.unroll(cell), cell.init(jax.random.key(0), xs[0]), xs)
      >>> {len(line) for line in panel_lines(found).values()}  # t = 0, ..., 5
      {6}
    """

    def spread(values: Any, lags: Any) -> np.ndarray:
        out = np.full(a.norms.size, np.nan)
        out[a.norms.size - 1 - np.asarray(lags)] = values
        return out

    late = np.arange(a.bound.size)[::-1]
    found = {
        _LARGEST: spread([0, *a.logs[:, 0]], [0, *a.lags]),
        _BOUND: spread(a.bound, late),
        _ALL: _safe_logs(a.norms),
    }
    if a.activation is not None:
        found[_ACTIVATION] = spread(a.activation, late)
    return found if a.cells is None else found | {_CELLS: _safe_logs(a.cells)}


def _safe_logs(norms: Any) -> np.ndarray:
    """Returns logarithms, with minus infinity for norms that have underflowed to 0."""
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(norms, float))


def _eigenvalues(found: dict[str, Analysis]) -> dict[str, dict[str, list[np.ndarray]]]:
    """Returns eigenvalues of the recurrent matrices, if there are any, and of the Jacobians of single steps."""

    def of(take: Callable[[Analysis], Any]) -> dict[str, list[np.ndarray]]:
        return {name: [np.linalg.eigvals(np.asarray(u)) for u in take(a)] for name, a in found.items()}

    some = {"Jacobians of steps": of(lambda a: a.jacobians)}
    return {"recurrent matrices": of(lambda a: a.matrices)} | some if next(iter(found.values())).matrices else some


def _table_row(a: Analysis) -> dict[str, Any]:
    """Returns the row of the table for a network."""
    seen, tens = int(a.lags[-1]), np.log(10)
    radii = [abs(np.linalg.eigvals(np.asarray(u))).max() for u in a.matrices]
    return {
        "numbers of h": a.logs.shape[1],
        "memory (steps)": int(a.memory),
        "lag": seen,
        "log10 norm at it": float(a.logs[-1, 0] / tens),
        "log10 bound": float(a.bound[0] / tens),
        "exponent (nats a step)": float(a.logs[-1, 0] / seen),
        "spectral radius": float(max(radii)) if radii else None,
    }

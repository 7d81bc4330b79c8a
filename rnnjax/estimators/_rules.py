"""Estimators by name: (window cell, objective, truncation) -> Estimator; truncation 0: none."""

from __future__ import annotations

from collections.abc import Callable

import jax

from rnnjax.base import Cell, PyTree, unroll
from rnnjax.base._unroll import as_step_cell
from rnnjax.credit import NotAdmitted, eprop, kf_rtrl, optimal_kronecker, rflo, rtrl, snap, uoro
from rnnjax.data import Batch
from rnnjax.estimators._adaptive import adaptive_tbptt
from rnnjax.estimators._anneal import anneal
from rnnjax.estimators._backprop import backprop, sliding_tbptt
from rnnjax.estimators._base import Estimator
from rnnjax.estimators._evolution import es, forward, nres, pes
from rnnjax.estimators._score_function import score_function
from rnnjax.losses import Objective

_Rule = Callable[[Cell, Objective, int], Estimator]


def _bptt(cell: Cell, objective: Objective, truncation: int) -> Estimator:
    """Full backpropagation through each batch, without truncation."""
    if truncation:
        raise NotAdmitted(f"bptt looks back over the whole sequence: a truncation of {truncation} belongs to tbptt")
    return backprop(cell, objective)


def _tbptt(cell: Cell, objective: Objective, truncation: int) -> Estimator:
    """Truncated backpropagation through windows of `truncation` steps."""
    if not truncation:
        raise NotAdmitted("tbptt needs a truncation: the most steps that it looks back")
    return backprop(cell, objective, truncation)


def _sliding(cell: Cell, objective: Objective, truncation: int) -> Estimator:
    """Truncated backpropagation in which each loss looks back the same number of steps."""
    if not truncation:
        raise NotAdmitted("sliding_tbptt needs a truncation: the number of steps that each loss looks back")
    return sliding_tbptt(cell, objective, 1, truncation)


def _with_influence(wrap: Callable[[Cell], Cell]) -> _Rule:
    """Returns a rule that carries an influence; the truncation sets only how many steps one gradient sums."""

    def rule(cell: Cell, objective: Objective, truncation: int) -> Estimator:
        wrapped = wrap(cell)
        inner = backprop(wrapped, objective, truncation or None)

        def init(params: PyTree, batch: Batch) -> PyTree:
            jax.eval_shape(lambda xs: wrapped.init(jax.random.key(0), _example(xs)), batch.x)  # it may warn
            if batch.restart is None:
                jax.eval_shape(inner.init, params, batch._replace(restart=_batch_of_flags(batch)))
            return inner.init(params, batch)

        return inner._replace(init=init)

    return rule


def _example(xs: PyTree) -> PyTree:
    """Returns the first example of a batch."""
    return jax.tree.map(lambda a: a[0], xs)


def _batch_of_flags(batch: Batch) -> jax.ShapeDtypeStruct:
    """Returns the shape of a batch's restarts."""
    return jax.ShapeDtypeStruct((jax.tree.leaves(batch.x)[0].shape[0],), bool)


def _each_step(wrap: Callable[[Cell], Cell]) -> Callable[[Cell], Cell]:
    """Turns a wrapper of single-step cells into a wrapper of window cells."""
    return lambda cell: unroll(wrap(as_step_cell(cell)))


def _across_windows(name: str, make: Callable[[Cell, Objective, int], Estimator]) -> _Rule:
    """Returns a rule that passes information across windows, and therefore needs a truncation."""

    def rule(cell: Cell, objective: Objective, truncation: int) -> Estimator:
        if not truncation:
            raise NotAdmitted(f"{name} needs a truncation: the number of steps from one pair of losses to the next")
        return make(cell, objective, truncation)

    return rule


def _on_sequences(name: str, make: Callable[[Cell, Objective], Estimator]) -> _Rule:
    """Returns a rule for whole sequences, without windows."""

    def rule(cell: Cell, objective: Objective, truncation: int) -> Estimator:
        if truncation:
            raise NotAdmitted(f"{name} takes whole sequences and no truncation, got {truncation}")
        return make(cell, objective)

    return rule


RULES: dict[str, _Rule] = {
    "bptt": _bptt,
    "tbptt": _tbptt,
    "sliding_tbptt": _sliding,
    "adaptive_tbptt": lambda cell, objective, window: adaptive_tbptt(cell, objective, window),
    "rtrl": _with_influence(rtrl),
    "snap1": _with_influence(_each_step(lambda cell: snap(cell, 1))),
    "snap2": _with_influence(_each_step(lambda cell: snap(cell, 2))),
    "uoro": _with_influence(_each_step(uoro)),
    "kfrtrl": _with_influence(_each_step(kf_rtrl)),
    "optimal_kronecker": _with_influence(_each_step(optimal_kronecker)),
    "rflo": _with_influence(_each_step(rflo)),
    "eprop": _with_influence(_each_step(eprop)),
    "forward": lambda cell, objective, truncation: forward(cell, objective, truncation or None),
    "es": lambda cell, objective, truncation: es(cell, objective, truncation or None),
    "pes": _across_windows("pes", pes),
    "nres": _across_windows("nres", nres),
    "score": _on_sequences("score", score_function),
    "anneal": _on_sequences("anneal", anneal),
}

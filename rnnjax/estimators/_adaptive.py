"""Truncated backpropagation that chooses its window by how fast the gradient decays."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, check_positive, check_size
from rnnjax.base._arguments import check_function
from rnnjax.base._cell import check_cell
from rnnjax.base._numerics import at_least_single
from rnnjax.base._seq import num_steps, tree_where
from rnnjax.base._unroll import as_step_cell
from rnnjax.data import Batch
from rnnjax.dynamics._flow import flow_of_loss
from rnnjax.estimators._backprop import backprop
from rnnjax.estimators._base import Estimate, Estimator, batch_size_of, duration_of
from rnnjax.losses import Mean, Objective


def adaptive_tbptt(
    cell: Cell, objective: Objective, truncation: int = 0, tolerance: Any = 0.1, probes: int = 4
) -> Estimator:
    """Backpropagation through windows that are as short as the decay of the gradient allows, chosen for each batch.

        phi_k = mean ||d L_t / d h_{t-k}||;  bias(K) = mean over j < K of (phi_{j+1} + phi_{j+2} + ...) / sum of all phi

    The j-th loss of a window looks back j steps. The window is the least of 1, 2, 4, ..., truncation with bias(K) <=
    tolerance, or the longest of them. bias(K) is the share of the gradient that is cut off if all steps add equally to
    it and in one direction, so it tends to be above the true one. The first `probes` examples of the batch are
    measured, at their last step with a loss, along the batch alone. The metrics "truncation" and "truncation_bias" are
    K and bias(K).

    Args:
      cell: a window cell.
      objective: (outputs, batch) -> metrics of one example, including "loss".
      truncation: the longest window in steps; 0: the whole batch.
      tolerance: of bias(K).
      probes: the number of examples that are measured.

    Example: the gradient through an echo of 2 steps needs few of 64 steps.
      >>> import jax, rnnjax
      >>> from rnnjax import losses, tasks
      >>> net = rnnjax.unroll(rnnjax.stack(rnnjax.vanilla(4, u_init=jax.nn.initializers.zeros), rnnjax.linear(1)))
      >>> batch = tasks.echo(64, 2).batch(jax.random.key(0), 2)
      >>> params = net.init(jax.random.key(1), batch.x[0])
      >>> estimate, _ = adaptive_tbptt(net, losses.regress, tolerance=0.2).grad(params, (), batch)
      >>> float(estimate.metrics["truncation"].value()) < 64
      True

    Reference: Aicher, Foti, Fox, Adaptively truncating backpropagation through time to control gradient bias, 2019.
    """
    check_cell("adaptive_tbptt", cell)
    check_function("adaptive_tbptt: objective", objective)
    check_size("adaptive_tbptt: truncation", truncation, 0)
    check_positive("adaptive_tbptt: tolerance", tolerance)
    check_size("adaptive_tbptt: probes", probes)

    def init(params: PyTree, batch: Batch) -> PyTree:
        return backprop(cell, objective, 1).init(params, batch)

    def grad(params: PyTree, state: PyTree, batch: Batch, key: jax.Array | None = None) -> tuple[Estimate, PyTree]:
        sizes = _sizes(min(truncation or duration_of(batch), duration_of(batch)))
        few = jax.tree.map(lambda a: a[:probes], (batch, None if batch.restart is None else state))
        decay = jax.vmap(lambda b, carry: decay_of_gradient(cell, objective, params, b, carry))(*few)
        bias = cut_off(decay.mean(0))[jnp.array(sizes) - 1]
        fits = bias <= jnp.asarray(tolerance, bias.dtype)
        pick = jnp.where(fits.any(), fits.argmax(), len(sizes) - 1)
        branches = [backprop(cell, objective, size).grad for size in sizes]
        estimate, state = lax.switch(pick, branches, params, state, batch, key)
        n = jnp.asarray(batch_size_of(batch), jnp.float32)
        told = {"truncation": jnp.array(sizes, jnp.float32)[pick], "truncation_bias": bias[pick].astype(jnp.float32)}
        metrics = estimate.metrics | {name: Mean(n * value, n) for name, value in told.items()}
        return estimate._replace(metrics=metrics), state

    return Estimator(init, grad)


def _sizes(most: int) -> list[int]:
    """Returns the windows to choose from: 1, 2, 4, ... and the longest."""
    sizes = [1]
    while 2 * sizes[-1] < most:
        sizes.append(2 * sizes[-1])
    return sizes + [most] * (most > sizes[-1])


def decay_of_gradient(
    cell: Cell, objective: Objective, params: PyTree, batch: Batch, carry: PyTree | None = None
) -> jax.Array:
    """Returns how strongly the last loss of an example depends on the states of k steps before, phi_k, `[T]`.

    phi_0, where the loss reads the output and not the next state, is taken to be phi_1.

    Args:
      cell: a window cell.
      objective: (outputs, batch) -> metrics of one example.
      params: the params of the cell.
      batch: one example.
      carry: the state before it, unless the example restarts; None: the initial one.

    Example: under h_t = h_{t-1} / 2 + x_t, a loss on the last output.
      >>> import jax.numpy as jnp, rnnjax
      >>> from rnnjax import losses
      >>> cell = rnnjax.unroll(rnnjax.recurrent(1, lambda p, h, z: (h @ p["u"] + z,) * 2))
      >>> batch = Batch(jnp.ones((5, 1)), jnp.zeros((5, 1)), mask=jnp.arange(5) == 4)
      >>> decay = decay_of_gradient(cell, losses.regress, {"u": jnp.full((1, 1), 0.5)}, batch)
      >>> print(decay / decay[1])
      [1.    1.    0.5   0.25  0.125]
    """
    check_cell("decay_of_gradient", cell)
    check_function("decay_of_gradient: objective", objective)
    single, steps = as_step_cell(cell), num_steps(batch.x)

    def last_loss(carries: PyTree, ys: PyTree) -> jax.Array:
        return sum((jnp.vdot(a, y) for a, y in zip(at, _floats(ys))), jnp.zeros(()))

    start = cell.initial_carry(cell.weights(params), batch.x)
    if carry is not None:
        start = carry if batch.restart is None else tree_where(batch.restart, start, carry)
    ys = cell.step(cell.weights(params), start, batch.x)[1]
    slopes = jax.grad(lambda ys: objective(ys, batch)["loss"].total, allow_int=True)(ys)
    strength = sum(at_least_single(abs(a)).reshape(steps, -1).sum(1) for a in _floats(slopes))
    last = jnp.where(strength > 0, jnp.arange(steps), 0).max()
    at = [jnp.zeros_like(a).at[last].set(a[last]) for a in _floats(slopes)]  # marks of a Seq have no slope
    norms = flow_of_loss(last_loss, single, single.weights(params), batch.x, start)
    by_lag = jnp.where(jnp.arange(steps) <= last, norms[jnp.maximum(last - jnp.arange(steps) + 1, 0)], 0)
    return by_lag.at[0].set(by_lag[1] if steps > 1 else 1)


def _floats(tree: PyTree) -> list[jax.Array]:
    """Returns the floating arrays of a tree."""
    return [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.floating)]


def cut_off(decay: jax.Array) -> jax.Array:
    """Returns the share of the gradient that windows of 1, 2, ..., T steps cut off, `[T]`.

    Args:
      decay: phi_k of `decay_of_gradient`, `[T]`.

    Example: a gradient that halves with each step, over four steps.
      >>> import jax.numpy as jnp
      >>> [round(float(share), 3) for share in cut_off(jnp.array([8.0, 4.0, 4.0, 0.0]))]
      [0.5, 0.375, 0.25, 0.0]
    """
    total = decay.sum()
    tails = total - jnp.cumsum(decay)
    shares = jnp.cumsum(tails) / jnp.arange(1, len(decay) + 1, dtype=decay.dtype)
    shares = shares / jnp.where(total > 0, total, jnp.ones_like(total))
    return shares.at[-1].set(0)

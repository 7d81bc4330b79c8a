"""Moving averages of the parameters, kept in the state of the optimiser."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from rnnjax.base import PyTree, check_number
from rnnjax.base._arguments import check_is
from rnnjax.base._numerics import at_least_single


class _Averaging(NamedTuple):
    """The state of an optimiser with `average_params`.

    Attributes:
      average: the average, shaped as params.
      size: the sum of the weights of past parameters, where the last ones have weight 1.
      inner: the state of the optimiser itself.
    """

    average: PyTree
    size: jax.Array
    inner: PyTree


def average_params(optimizer: optax.GradientTransformation, decay: Any) -> optax.GradientTransformationExtraArgs:
    """Returns the optimiser with an exponential moving average of the parameters after each of its updates.

        n_t = 1 + decay n_{t-1},   average_t = average_{t-1} + (params_t - average_{t-1}) / n_t

    So the weights decay by `decay` a step back and sum to one, from the first update on: initial parameters have none.
    The updates are those of the optimiser. `averaged` takes the average out of its state.

    Args:
      optimizer: any optax optimiser.
      decay: between 0, the last parameters, and 1, the mean of all; may be a tracer.

    Example: a loop of one's own.
      >>> import jax.numpy as jnp, optax
      >>> optimizer = average_params(optax.sgd(1.0), decay=0.5)
      >>> params = jnp.zeros(())
      >>> state = optimizer.init(params)
      >>> for _ in range(3):  # params 1, 2, 3 with weights 1/7, 2/7, 4/7
      ...     updates, state = optimizer.update(-jnp.ones(()), state, params)
      ...     params = optax.apply_updates(params, updates)
      >>> float(params), round(float(averaged(state, params)), 4)
      (3.0, 2.4286)

    Reference: Polyak, Juditsky, Acceleration of stochastic approximation by averaging, 1992.
    """
    check_is("average_params: optimizer", optimizer, optax.GradientTransformation)
    check_number("average_params: decay", decay, 0, 1)
    inner = optax.with_extra_args_support(optimizer)

    def init(params: PyTree) -> _Averaging:
        zeros = jax.tree.map(lambda p: jnp.zeros_like(at_least_single(p)), params)
        return _Averaging(zeros, jnp.zeros((), jnp.result_type(float)), inner.init(params))

    def update(
        grads: PyTree, state: _Averaging, params: PyTree | None = None, **given: Any
    ) -> tuple[PyTree, _Averaging]:
        updates, own = inner.update(grads, state.inner, params, **given)
        size = 1 + jnp.asarray(decay, state.size.dtype) * state.size
        new = optax.apply_updates(params, updates)
        average = jax.tree.map(lambda a, p: a + (p.astype(a.dtype) - a) / size.astype(a.dtype), state.average, new)
        return updates, _Averaging(average, size, own)

    return optax.GradientTransformationExtraArgs(init, update)


def averaged(opt_state: PyTree, params: PyTree) -> PyTree:
    """Returns the parameters to evaluate: their average if an optimiser with `average_params` keeps one, or `params`.

    Before the first update these are `params` too. The dtypes are those of `params`.

    Args:
      opt_state: the state of any optimiser.
      params: the parameters now.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> params = {"w": jnp.ones(2)}
      >>> averaged(optax.adam(1e-3).init(params), params) is params
      True
    """
    found = [s for s in jax.tree.leaves(opt_state, is_leaf=_is_average) if _is_average(s)]
    if not found:
        return params
    begun = found[0].size > 0
    return jax.tree.map(lambda a, p: jnp.where(begun, a.astype(p.dtype), p), found[0].average, params)


def _is_average(state: Any) -> bool:
    return isinstance(state, _Averaging)

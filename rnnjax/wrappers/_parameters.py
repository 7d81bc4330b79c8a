"""Wrappers that change how a cell's parameters are stored: learned carries, reparametrizations, tied weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from rnnjax.base import Cell, PyTree, Seq, factory, wrapper
from rnnjax.base._cell import WEIGHTS_TAG, check_cell, fold, split
from rnnjax.base._compose import under_name
from rnnjax.base._unroll import scan_window
from rnnjax.cells._fused_window import Fused


@wrapper
def learn_carry(cell: Cell) -> Cell:
    """Makes the initial carry a parameter, initialised with the cell's own. Params are {"cell", "carry"}.

    Its gradient comes from windows that start without a given carry and, in a `Seq`, from each restart.

    Raises:
      ValueError: a window inside restarts: use `unroll(learn_carry(cell))`, not `learn_carry(unroll(cell))`.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = learn_carry(rnnjax.vanilla_core(4))
      >>> cell.init(jax.random.key(0), jnp.ones(4))["carry"].shape
      (4,)
    """
    inner = under_name(cell, "cell")

    def init(key: jax.Array, x: PyTree) -> PyTree:
        params = cell.init(key, x)
        return {"cell": params, "carry": cell.initial_carry(cell.weights(params), x)}

    def step(w: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        if isinstance(x, Seq) and x.first is not None:
            raise ValueError(
                "learn_carry cannot restart inside a window: unroll(learn_carry(cell)), not learn_carry(unroll(cell))"
            )
        return inner.step(w, carry, x, key)

    learned = inner.replace(init=init, initial_carry=lambda w, x: w["carry"], step=step)
    slow, fast = scan_window(learned), inner.window  # the inner window would restart from the carry of the inner cell

    def window(w: PyTree, carry: PyTree, xs: PyTree, keys: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        if isinstance(cell.window, Fused):
            return cell.window.run(w["cell"], carry, xs, None, w["carry"])
        restarts = isinstance(xs, Seq) and xs.first is not None
        return (slow if restarts or fast is None else fast)(w, carry, xs, keys)

    return learned.replace(window=window)


@factory
def parametrize(core: Cell, **maps: Callable[[Any], jax.Array]) -> Cell:
    """Replaces named parameters of a core by functions of them, evaluated once per window, outside the loop.

        u = map(params["u"])

    Args:
      core: a cell whose params are a dict; wrap it before it goes into a stack.
      **maps: parameter name = function. A map with an `init(key, u) -> raw`, such as those of `rnnjax.unitary`, creates
      its
        own parameters in place of u.

    Raises:
      ValueError: the core has no such parameter; raised when params are created or used.

    Example: a recurrence that preserves norms.
      >>> import jax, jax.numpy as jnp, numpy as np, rnnjax
      >>> orthogonal = lambda a: jax.scipy.linalg.expm(a - a.T)
      >>> core = parametrize(rnnjax.vanilla_core(4, activation=lambda z: z), u=orthogonal)
      >>> h, _ = rnnjax.run(core, core.init(jax.random.key(0), jnp.zeros(4)), jnp.zeros(4), carry=jnp.ones(4))
      >>> np.testing.assert_allclose(jnp.linalg.norm(h), 2.0, rtol=1e-5)
    """
    check_cell("parametrize", core, "weights")

    def check(params: PyTree) -> PyTree:
        have = sorted(params) if isinstance(params, dict) else []
        for name in maps:
            if name not in have:
                raise ValueError(
                    f"parametrize(core, {name}=...): the params are {have or type(params).__name__}, "
                    f"not a dict with {name!r}; wrap the core, not the layer around it"
                )
        return params

    def weights(params: PyTree, key: jax.Array | None = None) -> PyTree:
        return core.weights({**check(params), **{name: f(params[name]) for name, f in maps.items()}}, key)

    def init(key: jax.Array, x: PyTree) -> PyTree:
        params = check(core.init(key, x))
        own = {name: f.init for name, f in maps.items() if hasattr(f, "init")}
        keys = split(fold(key, WEIGHTS_TAG), len(own))
        return params | {name: make(k, params[name]) for (name, make), k in zip(own.items(), keys)}

    return core.replace(init=init, weights=weights)


@factory
def tie_weights(cell: Cell, put: Callable[[PyTree, PyTree], PyTree], get: Callable[[PyTree], PyTree]) -> Cell:
    """Shares weights: the place that `put` fills has no parameter and receives `get(params)` once per window.

    Args:
      cell: the cell to wrap.
      put: (params, value) -> params with the value in its place.
      get: params -> value.

    Example: an output layer that is the transpose of the embedding.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> net = rnnjax.stack(embed=rnnjax.embed(10, 4), core=rnnjax.lstm(4), read=rnnjax.linear(10))
      >>> net = tie_weights(
      ...     net,
      ...     put=lambda p, w: {**p, "read": {**p["read"], "w": w}},
      ...     get=lambda p: p["embed"]["w"].T,
      ... )
      >>> net.init(jax.random.key(0), jnp.int32(0))["read"]["w"] is None
      True

    Reference: Press, Wolf, Using the output embedding to improve language models, 2017.
    """
    check_cell("tie_weights", cell)
    return cell.replace(
        init=lambda key, x: put(cell.init(key, x), None),
        weights=lambda params, key=None: cell.weights(put(params, get(params)), key),
    )

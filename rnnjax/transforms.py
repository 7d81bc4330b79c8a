"""Cell -> Cell: shortcuts, direction, regularisation, learned states, constrained and shared weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import WEIGHTS_TAG, ZONEOUT_TAG, Cell, PyTree, Step, fold, split, with_step
from rnnjax.compose import within
from rnnjax.feedforward import bernoulli, dropout, linear, number
from rnnjax.fused import Fused
from rnnjax.scans import Seq, cleaned, like, plain, scan, unroll


def joined(cell: Cell, join: Callable[[PyTree, PyTree, PyTree], PyTree]) -> tuple[Step, Step | None]:
    """The step and window of a cell whose output is joined with its input: join(weights, x, y)."""

    def around(step: Step) -> Step:
        def joint(w: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
            carry, y = step(w, carry, x, key)
            return carry, like(x, join(w, plain(cleaned(x)), plain(y)))

        return joint

    return around(cell.step), around(unroll(cell).step)


def residual(cell: Cell) -> Cell:
    """A shortcut around a cell.

        y = x + cell(x)

    Raises:
      ValueError: the output of the cell has another shape than its input.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> silent = residual(rnnjax.pointwise(jnp.zeros_like))
      >>> print(rnnjax.run(silent, (), jnp.ones(2))[1])
      [1. 1.]

    Reference: He, Zhang, Ren, Sun, Deep residual learning for image recognition, 2016.
    """

    def add(w: PyTree, x: PyTree, y: PyTree) -> PyTree:
        same_shape("residual", x, y)
        return jax.tree.map(jnp.add, x, y)

    step, window = joined(cell, add)
    return cell.replace(step=step, window=window)


def highway(cell: Cell, gate_bias: Any = -2.0) -> Cell:
    """A gated shortcut around a cell: a gate that sees the data decides how much is carried past it.

        t = sigmoid(x w + b + gate_bias),  y = t cell(x) + (1 - t) x

    Params are {"cell", "gate": {"w", "b"}}.

    Args:
      cell: input and output have the same features.
      gate_bias: added to the gate at run time; below zero the shortcut is open at the start.

    Raises:
      ValueError: the output of the cell has another shape than its input.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = highway(rnnjax.vanilla(3), gate_bias=-100.0)
      >>> x = jnp.arange(3.0)
      >>> print(rnnjax.run(cell, cell.init(jax.random.key(0), x), x)[1])
      [0. 1. 2.]

    Reference: Srivastava, Greff, Schmidhuber, Highway networks, 2015.
    """

    def init(key: jax.Array, x: Any) -> PyTree:
        kc, kg = jax.random.split(key)
        return {"cell": cell.init(kc, x), "gate": linear(plain(x).shape[-1]).init(kg, x)}

    def mix(w: PyTree, x: jax.Array, y: jax.Array) -> jax.Array:
        same_shape("highway", x, y)
        gate = linear(x.shape[-1]).step(w["gate"], (), x)[1]
        t = jax.nn.sigmoid(gate + number(gate_bias, x))
        return x + t * (y - x)

    outer = within(cell, "cell")
    step, window = joined(outer, mix)
    return outer.replace(init=init, step=step, window=window)


def same_shape(name: str, x: PyTree, y: PyTree) -> None:
    """Refuses a shortcut between unequal shapes."""
    if jax.tree.map(jnp.shape, x) != jax.tree.map(jnp.shape, y):
        raise ValueError(f"{name} adds a cell's output {jax.tree.map(jnp.shape, y)} to its input "
                         f"{jax.tree.map(jnp.shape, x)}: the shapes must agree")  # fmt: skip


def zoneout(cell: Cell, rate: Any) -> Cell:
    """Each unit keeps its previous state with probability rate at each step; without a key, its expectation.

        s_t = m s_{t-1} + (1 - m) step(s_{t-1}, x_t),  m ~ Bernoulli(rate);   m = rate without a key

    Acts on every leaf of the carry. Where the output is a leaf of the carry (h in every core) it is the zoned one.

    Args:
      cell: what to wrap, a core or a layer.
      rate: in [0, 1), perhaps a tracer.

    Example: at rate 1 nothing moves.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = zoneout(rnnjax.vanilla_core(2), 1.0)
      >>> h, y = rnnjax.run(cell, {"u": jnp.eye(2)}, jnp.ones(2), jnp.array([3.0, 4.0]), jax.random.key(0))
      >>> print(h, y)
      [3. 4.] [3. 4.]

    Reference: Krueger et al., Zoneout: regularizing RNNs by randomly preserving hidden activations, 2017.
    """

    def step(w: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        new, y = cell.step(w, carry, x, key)
        leaves = jax.tree.leaves(new)
        keys = split(fold(key, ZONEOUT_TAG), len(leaves))
        zoned = [held(rate, k, old, leaf) for k, old, leaf in zip(keys, jax.tree.leaves(carry), leaves)]
        instead = {id(leaf): z for leaf, z in zip(leaves, zoned)}
        return jax.tree.unflatten(jax.tree.structure(new), zoned), jax.tree.map(
            lambda leaf: instead.get(id(leaf), leaf), y
        )

    zoned = with_step(cell, step)
    slow, fast = scan(zoned), cell.window
    if not isinstance(fast, Fused):
        return zoned

    def window(w: PyTree, carry: PyTree, xs: PyTree, keys: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        if keys is None:
            return slow(w, carry, xs)
        leaves, structure = jax.tree.flatten(carry)
        drawn = split(fold(keys, ZONEOUT_TAG), len(leaves))
        hold = [bernoulli(k, number(rate, leaf), keys.shape + leaf.shape) for k, leaf in zip(drawn, leaves)]
        return fast.run(w, carry, xs, jax.tree.unflatten(structure, hold), None)

    return zoned.replace(window=window)


def held(rate: Any, key: jax.Array | None, old: jax.Array, new: jax.Array) -> jax.Array:
    """old with probability rate and new otherwise; without a key the mean of the two."""
    p = number(rate, new)
    return new + p * (old - new) if key is None else jnp.where(bernoulli(key, p, new.shape), old, new)


def dropconnect(core: Cell, rate: Any, *names: str) -> Cell:
    """Zeroes each entry of the named weights with probability rate, once per window; off without a key.

    Args:
      core: a cell whose params are a dict.
      rate: in [0, 1), perhaps a tracer.
      *names: which weights; ("u",) if none is named.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from rnnjax import vanilla_core
      >>> print(dropconnect(vanilla_core(2), 0.5).weights({"u": jnp.ones((2, 2))}, jax.random.key(1))["u"])
      [[0. 2.]
       [2. 0.]]

    Reference: Merity, Keskar, Socher, Regularizing and optimizing LSTM language models, 2018.
    """
    names = names or ("u",)

    def weights(params: PyTree, key: jax.Array | None = None) -> PyTree:
        w = core.weights(params, key)
        if key is None:
            return w
        drops = zip(names, split(fold(key, WEIGHTS_TAG), len(names)))
        return {**w, **{n: dropout(rate).step((), (), w[n], k)[1] for n, k in drops}}

    return core.replace(weights=weights)


def learn_carry(cell: Cell) -> Cell:
    """Makes the initial carry a parameter; it starts where the cell's own did. Params are {"cell", "carry"}.

    Its gradient comes through windows that begin with no carry given and, in a `Seq`, through each restart.

    Raises:
      ValueError: at a restart inside what it wraps: `unroll(learn_carry(cell))`, not `learn_carry(unroll(cell))`.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = learn_carry(rnnjax.vanilla_core(4))
      >>> cell.init(jax.random.key(0), jnp.ones(4))["carry"].shape
      (4,)
    """
    inner = within(cell, "cell")

    def init(key: jax.Array, x: PyTree) -> PyTree:
        params = cell.init(key, x)
        return {"cell": params, "carry": cell.initial_carry(cell.weights(params), x)}

    def step(w: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        if isinstance(x, Seq) and x.first is not None:
            raise ValueError("learn_carry cannot start anew inside a window: unroll(learn_carry(cell)), "
                             "not learn_carry(unroll(cell))")  # fmt: skip
        return inner.step(w, carry, x, key)

    learned = inner.replace(init=init, initial_carry=lambda w, x: w["carry"], step=step)
    slow, fast = scan(learned), inner.window  # the inner window would start anew from the inner cell's carry

    def window(w: PyTree, carry: PyTree, xs: PyTree, keys: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        if isinstance(cell.window, Fused):
            return cell.window.run(w["cell"], carry, xs, None, w["carry"])
        restarts = isinstance(xs, Seq) and xs.first is not None
        return (slow if restarts or fast is None else fast)(w, carry, xs, keys)

    return learned.replace(window=window)


def parametrize(core: Cell, **maps: Callable[[Any], jax.Array]) -> Cell:
    """Replaces named parameters of a core by functions of them, evaluated once per window, outside every loop.

        u = map(params["u"])

    Args:
      core: a cell whose params are a dict, before it goes into a stack.
      **maps: parameter name = function. One with an `init(key, u) -> raw` makes its own parameters in place of u, as
        those of `rnnjax.unitary` do.

    Raises:
      ValueError: when params are made or used, if the core has no such parameter.

    Example: a recurrence that keeps norms.
      >>> import jax, jax.numpy as jnp, numpy as np, rnnjax
      >>> orthogonal = lambda a: jax.scipy.linalg.expm(a - a.T)
      >>> core = parametrize(rnnjax.vanilla_core(4, activation=lambda z: z), u=orthogonal)
      >>> h, _ = rnnjax.run(core, core.init(jax.random.key(0), jnp.zeros(4)), jnp.zeros(4), carry=jnp.ones(4))
      >>> np.testing.assert_allclose(jnp.linalg.norm(h), 2.0, rtol=1e-5)
    """

    def check(params: PyTree) -> PyTree:
        have = sorted(params) if isinstance(params, dict) else []
        for name in maps:
            if name not in have:
                raise ValueError(f"parametrize(core, {name}=...): the params are {have or type(params).__name__}, "
                                 f"not a dict with {name!r}; wrap the core, not the layer around it")  # fmt: skip
        return params

    def weights(params: PyTree, key: jax.Array | None = None) -> PyTree:
        return core.weights({**check(params), **{name: f(params[name]) for name, f in maps.items()}}, key)

    def init(key: jax.Array, x: PyTree) -> PyTree:
        params = check(core.init(key, x))
        own = {name: f.init for name, f in maps.items() if hasattr(f, "init")}
        keys = split(fold(key, WEIGHTS_TAG), len(own))
        return params | {name: make(k, params[name]) for (name, make), k in zip(own.items(), keys)}

    return core.replace(init=init, weights=weights)


def cast(cell: Cell, dtype: Any) -> Cell:
    """Computes in another dtype; parameters are kept in float32 at least, inputs and outputs are converted.

    The weights map runs in the precision of the params; what comes of it is converted once per window.

    Args:
      cell: what to wrap, usually a whole network of windows.
      dtype: a floating dtype; bfloat16 is mixed precision.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> xs = jnp.ones((12, 3))
      >>> cell = cast(rnnjax.unroll(rnnjax.lstm(4)), jnp.bfloat16)
      >>> params = cell.init(jax.random.key(0), xs)
      >>> carry, ys = rnnjax.run(cell, params, xs)
      >>> params[1]["u"].dtype.name, carry[1].h.dtype.name, ys.dtype.name
      ('float32', 'bfloat16', 'float32')
    """
    kept = dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32

    def around(step: Step) -> Step:
        def converted(w: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
            carry, y = step(w, carry, floats(x, dtype), key)
            return carry, floats(y, kept)

        return converted

    return Cell(
        lambda key, x: floats(cell.init(key, floats(x, dtype)), kept),
        lambda w, x: cell.initial_carry(w, floats(x, dtype)),
        around(cell.step),
        lambda params, key=None: floats(cell.weights(params, key), dtype),
        None if cell.window is None else around(cell.window),
    )


def floats(tree: PyTree, dtype: Any) -> PyTree:
    """A tree with its floating leaves, or their shapes, in another dtype."""

    def convert(a: Any) -> Any:
        if not jnp.issubdtype(a.dtype, jnp.floating):
            return a
        return jax.ShapeDtypeStruct(a.shape, dtype) if isinstance(a, jax.ShapeDtypeStruct) else a.astype(dtype)

    return jax.tree.map(convert, tree)


def tie(cell: Cell, put: Callable[[PyTree, PyTree], PyTree], get: Callable[[PyTree], PyTree]) -> Cell:
    """Shares weights: the place that `put` fills holds no parameter and is given `get(params)` once per window.

    Args:
      cell: what to wrap.
      put: (params, value) -> params with the value in its place.
      get: params -> value.

    Example: an output layer that is its embedding, transposed.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> net = rnnjax.stack(embed=rnnjax.embed(10, 4), core=rnnjax.lstm(4), read=rnnjax.linear(10))
      >>> net = tie(
      ...     net,
      ...     put=lambda p, w: {**p, "read": {**p["read"], "w": w}},
      ...     get=lambda p: p["embed"]["w"].T,
      ... )
      >>> net.init(jax.random.key(0), jnp.int32(0))["read"]["w"] is None
      True

    Reference: Press, Wolf, Using the output embedding to improve language models, 2017.
    """
    return cell.replace(
        init=lambda key, x: put(cell.init(key, x), None),
        weights=lambda params, key=None: cell.weights(put(params, get(params)), key),
    )

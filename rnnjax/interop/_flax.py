"""Flax: linen modules as cells, and cells as linen RNN cells."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import DenyList

from rnnjax.base import Cell, PyTree, factory, stateless
from rnnjax.base._cell import check_cell

_NOISE = "dropout"


class _FlaxCell(nn.RNNCellBase):
    """The module that `to_flax` returns; its params are the cell's params under the name "cell"."""

    cell: Cell
    feature_axes: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, carry: PyTree, x: jax.Array) -> tuple[PyTree, PyTree]:
        one = jax.ShapeDtypeStruct(x.shape[x.ndim - self.feature_axes :], self.dtype)
        params = self.param("cell", lambda key: self.cell.init(_typed(key), one))
        batch = x.shape[: x.ndim - self.feature_axes]
        weights = self.cell.weights(params, self.noise("dropconnect"))
        key = self.noise(_NOISE)
        keys = None if key is None else jax.random.split(key, batch) if batch else key
        step = self.cell.step
        for _ in batch:
            step = jax.vmap(step, (None, 0, 0, None if key is None else 0))
        return step(weights, carry, x, keys)

    def noise(self, stream: str) -> jax.Array | None:
        """Returns a key from the stream, or None if the caller gave none, as in evaluation."""
        return _typed(self.make_rng(stream)) if self.has_rng(stream) else None

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> PyTree:
        """Returns the initial state for every example of the batch."""
        split_at = len(input_shape) - self.feature_axes
        one = jax.ShapeDtypeStruct(input_shape[split_at:], self.dtype)
        bound = self.scope is not None and self.has_variable("params", "cell")
        params = self.get_variable("params", "cell") if bound else self.cell.init(_typed(rng), one)
        carry = self.cell.initial_carry(self.cell.weights(params), one)
        return jax.tree.map(lambda h: jnp.broadcast_to(h, input_shape[:split_at] + h.shape), carry)

    @property
    def num_feature_axes(self) -> int:
        """The number of axes of one input."""
        return self.feature_axes


def to_flax(cell: Cell, feature_axes: int = 1, dtype: Any = jnp.float32) -> nn.RNNCellBase:
    """Returns a flax linen RNN cell that computes the same as a single-step cell, for use in `flax.linen.RNN`.

    Its params are `{"params": {"cell": params}}` with the cell's own params, so trained params convert in both
    directions. Leading axes of the input are batch axes. Noise uses the stream "dropout" (a different mask for each
    example and step), and DropConnect uses "dropconnect"; without these streams noise is off. `flax.linen.RNN` passes
    on only the streams named in split_rngs: `{"params": False, "dropout": True, "dropconnect": False}`. In flax,
    `cell.weights` runs once per step, and `cell.window` is not used.

    Args:
      cell: a single-step cell, such as `lstm(8)` or a stack; not `unroll(...)` or `bidirectional(...)`.
      feature_axes: the number of axes of one input: 1 for a vector, 0 for a symbol.
      dtype: the dtype of the input.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from flax import linen as nn
      >>> layer = nn.RNN(to_flax(rnnjax.lstm(4)))
      >>> variables = layer.init(jax.random.key(0), jnp.ones((5, 12, 3)))  # [batch, time, features]
      >>> layer.apply(variables, jnp.ones((5, 12, 3))).shape
      (5, 12, 4)
      >>> variables["params"]["cell"]["cell"][1]["u"].shape
      (4, 16)

    Reference: Heek et al., Flax: a neural network library and ecosystem for JAX, 2020.
    """
    check_cell("to_flax", cell)
    return _FlaxCell(cell, feature_axes, dtype)


def _typed(key: jax.Array) -> jax.Array:
    """Returns a typed key, converting the old uint32 form, whose axis would be mistaken for time."""
    return key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)


@factory
def from_flax(module: nn.Module, streams: Sequence[str] = (_NOISE,)) -> Cell:
    """Returns a flax linen module as a cell: recurrent for an RNNCellBase, otherwise without state.

    The params are flax's "params". The key is passed to the module's rng streams. Without a key noise is off: every
    `flax.linen.Dropout` inside is skipped, and arguments of the call named deterministic, train or training are set to
    match.

    Args:
      module: any linen module that acts on one example, or an RNNCellBase. Apply `unroll` to the result for the latter.
      streams: the rng streams that receive the key.

    Raises:
      ValueError: the module has statistics or other variables besides params (at init or at the first call), is a
        `flax.linen.RNN` or `Bidirectional` (convert its cells), or is not a linen module.

    Example: a convolutional encoder before an LSTM.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from flax import linen as nn
      >>> encoder = from_flax(nn.Sequential([nn.Conv(2, (3, 3)), jnp.ravel]))
      >>> cell = rnnjax.unroll(rnnjax.stack(encode=encoder, core=rnnjax.lstm(4)))
      >>> frames = jnp.ones((12, 5, 5, 1))
      >>> rnnjax.run(cell, cell.init(jax.random.key(0), frames), frames)[1].shape
      (12, 4)

    Reference: Heek et al., Flax: a neural network library and ecosystem for JAX, 2020.
    """
    name = type(module).__name__
    if isinstance(module, (nn.RNN, nn.Bidirectional)):
        raise ValueError(
            f"from_flax takes the cell inside {name}: unroll(from_flax(cell)), bidirectional(from_flax(a))"
        )
    if not isinstance(module, nn.Module):
        raise ValueError(f"from_flax takes a flax.linen module, got {name}")
    switches = {"deterministic": False, "train": True, "training": True}
    takes = set(inspect.signature(module.__call__).parameters)

    def passed_over(key: jax.Array | None) -> Any:
        def interceptor(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            return args[0] if key is None and isinstance(context.module, nn.Dropout) else call(*args, **kwargs)

        return nn.intercept_methods(interceptor)

    def only_params(variables: Mapping[str, Any]) -> None:
        if others := sorted(k for k, v in variables.items() if k not in ("params", "intermediates") and v):
            raise ValueError(
                f"{name} keeps {', '.join(map(repr, others))} beside its params; a cell has no such variables (batch "
                "statistics mix examples and steps): use LayerNorm or GroupNorm"
            )

    def init(key: jax.Array, *inputs: PyTree) -> PyTree:
        inputs = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), inputs)
        with passed_over(None):
            variables = module.init(key, *inputs, **{k: not on for k, on in switches.items() if k in takes})
        only_params(variables)
        return dict(variables.get("params", {}))

    def apply(params: PyTree, *inputs: PyTree, key: jax.Array | None = None) -> PyTree:
        rngs = {} if key is None else {s: jax.random.fold_in(key, i) for i, s in enumerate(streams)}
        flags = {k: on == (key is not None) for k, on in switches.items() if k in takes}
        others = DenyList(["params", "intermediates"])
        with passed_over(key):
            y, variables = module.apply({"params": params}, *inputs, rngs=rngs, mutable=others, **flags)
        only_params(variables)
        return y

    if isinstance(module, nn.RNNCellBase):
        return _recurrent(module, init, apply)

    def single(params: PyTree, x: PyTree, key: jax.Array | None = None) -> PyTree:
        if key is None or key.ndim == 0:
            return apply(params, x, key=key)
        return jax.vmap(single, (None, 0, 0))(params, x, key)

    return stateless(init, single)


def _recurrent(module: nn.RNNCellBase, init: Any, apply: Any) -> Cell:
    """Returns the cell of an RNNCellBase; its initial carry is that of `flax.linen.RNN`."""

    def start(x: Any) -> PyTree:
        return module.initialize_carry(jax.random.key(0), x.shape)

    def step(params: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        return apply(params, carry, x, key=key)

    return Cell(lambda key, x: init(key, start(x), x), lambda params, x: start(x), step)

"""Blocks: a recurrent layer with the norm, convolution, gate, MLP and residual connection of its paper.

A block maps `width` features to `width` features. It makes its layer itself, by `layer(units)`, because the layers of
some blocks are wider than the block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_rate, check_size, factory, stack, unroll, without_marks, wrapper
from rnnjax.base._cell import Step, split
from rnnjax.base._seq import with_marks_of
from rnnjax.cells import dropout, layer_norm, linear, pointwise, rms_norm, short_convolution
from rnnjax.wrappers._shortcuts import residual

_Layer = Callable[[int], Cell]


@wrapper
def gated(cell: Cell, gate: Cell) -> Cell:
    """Multiplies the outputs of two cells that read the same input.

        y = cell(x) * gate(x)

    Params are {"cell", "gate"}, and the carry is the pair of their carries.

    Raises:
      ValueError: the two outputs differ in shape.

    Example: a linear map of the input, gated by the input.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = gated(rnnjax.pointwise(jnp.square), rnnjax.pointwise(jax.nn.relu))
      >>> print(rnnjax.run(cell, {"cell": (), "gate": ()}, jnp.array([-2.0, 3.0]))[1])
      [ 0. 27.]

    Reference: Dauphin, Fan, Auli, Grangier, Language modeling with gated convolutional networks, 2016.
    """

    def both(of_cell: Step, of_gate: Step) -> Step:
        def step(w: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
            k_cell, k_gate = split(key, 2)
            h, y = of_cell(w["cell"], carry[0], x, k_cell)
            g, t = of_gate(w["gate"], carry[1], x, k_gate)
            shapes = [jnp.shape(without_marks(a)) for a in (y, t)]
            if shapes[0] != shapes[1]:
                raise ValueError(f"gated multiplies outputs of one shape, got {shapes[0]} and {shapes[1]}")
            return (h, g), with_marks_of(y, without_marks(y) * without_marks(t))

        return step

    def init(key: jax.Array, x: PyTree) -> PyTree:
        k_cell, k_gate = jax.random.split(key)
        return {"cell": cell.init(k_cell, x), "gate": gate.init(k_gate, x)}

    def weights(params: PyTree, key: jax.Array | None = None) -> PyTree:
        k_cell, k_gate = split(key, 2)
        return {"cell": cell.weights(params["cell"], k_cell), "gate": gate.weights(params["gate"], k_gate)}

    return Cell(
        init,
        lambda w, x: (cell.initial_carry(w["cell"], x), gate.initial_carry(w["gate"], x)),
        both(cell.step, gate.step),
        weights,
        both(unroll(cell).step, unroll(gate).step),
    )


def _branch(name: str, width: int, rate: Any, *parts: Cell) -> Cell:
    """Returns a residual branch that ends in dropout, if there is any."""
    check_size(f"{name}: width", width)
    check_rate(f"{name}: rate", rate)
    off = isinstance(rate, (int, float)) and rate == 0
    return residual(stack(*parts, *([] if off else [dropout(rate)])))


def _gated_mlp(width: int, inner: int, activation: Callable[[jax.Array], jax.Array]) -> Cell:
    """Returns an MLP whose hidden layer is a linear map times an activated one."""
    up = gated(linear(inner), stack(linear(inner), pointwise(activation)))
    return stack(up, linear(width))


def _to_eights(units: float) -> int:
    """Returns the nearest multiple of 8, at least 8, so that heads divide it."""
    return max(8, 8 * round(units / 8))


@factory
def s5_block(layer: _Layer, width: int, rate: Any = 0.0) -> Cell:
    """The block of S5: layer norm, the layer, GELU, a gate of its own output, and the residual connection.

        u = gelu(layer(norm x));  y = x + u * sigmoid(u w + b)

    S5's code normalises over the batch or the features; here it is the features.

    Args:
      layer: units -> cell, as `rnnjax.s5`; called with `width`.
      width: the number of features of the input and the output.
      rate: of dropout at the end of the branch.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> block = s5_block(rnnjax.s5, 4)
      >>> xs = jax.random.normal(jax.random.key(0), (12, 4))
      >>> cell = rnnjax.unroll(block)
      >>> rnnjax.run(cell, cell.init(jax.random.key(1), xs), xs)[1].shape
      (12, 4)

    Reference: Smith, Warrington, Linderman, Simplified state space layers for sequence modeling, 2022.
    """
    gate = gated(pointwise(lambda u: u), stack(linear(width), pointwise(jax.nn.sigmoid)))
    return _branch("s5_block", width, rate, layer_norm(), layer(width), pointwise(jax.nn.gelu), gate)


@factory
def griffin_block(layer: _Layer, width: int, rate: Any = 0.0) -> Cell:
    """The residual block of Griffin: a gated branch with a short convolution and the layer, then a gated MLP.

        n = norm x;  x = x + (gelu(n w_1 + b_1) * layer(convolution(n w_2 + b_2))) w_3 + b_3
        n = norm x;  y = x + (gelu(n w_4 + b_4) * (n w_5 + b_5)) w_6 + b_6

    The layer has about 4/3 width units (the nearest multiple of 8), the MLP 3 width. The norms are RMS norms.

    Args:
      layer: units -> cell, as `functools.partial(rnnjax.rg_lru, input_map=False)`.
      width: the number of features of the input and the output.
      rate: of dropout at the end of each of the two branches.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> block = griffin_block(rnnjax.rg_lru, 4)
      >>> xs = jax.random.normal(jax.random.key(0), (12, 4))
      >>> cell = rnnjax.unroll(block)
      >>> rnnjax.run(cell, cell.init(jax.random.key(1), xs), xs)[1].shape
      (12, 4)

    Reference: De et al., Griffin: mixing gated linear recurrences with local attention for efficient language models,
    2024.
    """
    check_size("griffin_block: width", width)
    units = _to_eights(4 * width / 3)
    mixed = stack(linear(units), short_convolution(), layer(units))
    mixing = gated(mixed, stack(linear(units), pointwise(jax.nn.gelu)))
    mlp = _gated_mlp(width, 3 * width, jax.nn.gelu)
    first = _branch("griffin_block", width, rate, rms_norm(), mixing, linear(width))
    return stack(first, _branch("griffin_block", width, rate, rms_norm(), mlp))


@factory
def mamba_block(layer: _Layer, width: int, rate: Any = 0.0) -> Cell:
    """The block of Mamba: a short convolution and the layer, twice as wide as the block, beside a SiLU gate; no MLP.

        n = norm x;  y = x + (layer(silu(convolution(n w_1))) * silu(n w_2)) w_3

    The norm is an RMS norm, and the maps have no bias. It is also the block of xLSTM's mLSTM (pre up-projection), but
    for that block's skip connection around the layer and its norm of the layer's output.

    Args:
      layer: units -> cell, as `functools.partial(rnnjax.s6, input_map=False)`.
      width: the number of features of the input and the output.
      rate: of dropout at the end of the branch.

    Example:
      >>> import functools, jax, jax.numpy as jnp, rnnjax
      >>> block = mamba_block(functools.partial(rnnjax.s6, states=2, input_map=False), 4)
      >>> xs = jax.random.normal(jax.random.key(0), (12, 4))
      >>> cell = rnnjax.unroll(block)
      >>> rnnjax.run(cell, cell.init(jax.random.key(1), xs), xs)[1].shape
      (12, 4)

    Reference: Gu, Dao, Mamba: linear-time sequence modeling with selective state spaces, 2023.
    """
    check_size("mamba_block: width", width)
    units = 2 * width
    mixed = stack(linear(units, bias=False), short_convolution(), pointwise(jax.nn.silu), layer(units))
    mixing = gated(mixed, stack(linear(units, bias=False), pointwise(jax.nn.silu)))
    return _branch("mamba_block", width, rate, rms_norm(), mixing, linear(width, bias=False))


@factory
def xlstm_block(layer: _Layer, width: int, rate: Any = 0.0) -> Cell:
    """The block of xLSTM's sLSTM (post up-projection): a short convolution and the layer, then a gated MLP.

        x = x + norm(layer(silu(convolution(norm x))))
        n = norm x;  y = x + (gelu(n w_1 + b_1) * (n w_2 + b_2)) w_3 + b_3

    The MLP has 4/3 width units. The norms are layer norms; the paper's second one is within each head, and its
    convolution feeds the input and the forget gate alone.

    Args:
      layer: units -> cell, as `rnnjax.slstm`; called with `width`.
      width: the number of features of the input and the output.
      rate: of dropout at the end of each of the two branches.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> block = xlstm_block(rnnjax.slstm, 4)
      >>> xs = jax.random.normal(jax.random.key(0), (12, 4))
      >>> cell = rnnjax.unroll(block)
      >>> rnnjax.run(cell, cell.init(jax.random.key(1), xs), xs)[1].shape
      (12, 4)

    Reference: Beck et al., xLSTM: extended long short-term memory, 2024.
    """
    check_size("xlstm_block: width", width)
    mixing = (layer_norm(), short_convolution(), pointwise(jax.nn.silu), layer(width), layer_norm())
    mlp = _gated_mlp(width, -(-4 * width // 3), jax.nn.gelu)
    first = _branch("xlstm_block", width, rate, *mixing)
    return stack(first, _branch("xlstm_block", width, rate, layer_norm(), mlp))


@factory
def transformer_block(layer: _Layer, width: int, rate: Any = 0.0) -> Cell:
    """The block of a pre-norm transformer with the layer in the place of attention, and a SwiGLU MLP.

        x = x + layer(norm x) w_0
        n = norm x;  y = x + (silu(n w_1 + b_1) * (n w_2 + b_2)) w_3 + b_3

    The MLP has 8/3 width units. The norms are RMS norms. RetNet, GLA and DeltaNet are stacks of such blocks.

    Args:
      layer: units -> cell, as `rnnjax.deltanet`; called with `width`.
      width: the number of features of the input and the output.
      rate: of dropout at the end of each of the two branches.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> block = transformer_block(rnnjax.deltanet, 4)
      >>> xs = jax.random.normal(jax.random.key(0), (12, 4))
      >>> cell = rnnjax.unroll(block)
      >>> rnnjax.run(cell, cell.init(jax.random.key(1), xs), xs)[1].shape
      (12, 4)

    Reference: Touvron et al., LLaMA: open and efficient foundation language models, 2023; Yang, Wang, Zhang, Shen, Kim,
    Parallelizing linear transformers with the delta rule over sequence length, 2024.
    """
    check_size("transformer_block: width", width)
    first = _branch("transformer_block", width, rate, rms_norm(), layer(width), linear(width, bias=False))
    mlp = _gated_mlp(width, -(-8 * width // 3), jax.nn.silu)
    return stack(first, _branch("transformer_block", width, rate, rms_norm(), mlp))


BLOCKS: Mapping[str, Callable[[_Layer, int, Any], Cell]] = {
    "griffin": griffin_block,
    "mamba": mamba_block,
    "s5": s5_block,
    "transformer": transformer_block,
    "xlstm": xlstm_block,
}


@factory
def blocks(block: str, layer: _Layer, width: int, depth: int, rate: Any = 0.0) -> Cell:
    """A stack of blocks as in their papers: a linear map to `width` features, `depth` blocks, and a last norm.

    Args:
      block: griffin, mamba, s5, transformer or xlstm.
      layer: units -> cell, of which each block makes one.
      width: the number of features of each block.
      depth: the number of blocks.
      rate: of dropout in the blocks.

    Raises:
      ValueError: there is no such block, or no block at all.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = rnnjax.unroll(blocks("s5", rnnjax.lru, 4, 2))
      >>> xs = jnp.ones((12, 3))
      >>> rnnjax.run(cell, cell.init(jax.random.key(0), xs), xs)[1].shape
      (12, 4)
    """
    check_size("blocks: width", width)
    check_size("blocks: depth", depth)
    if block not in BLOCKS:
        raise ValueError(f"blocks: there is no block {block!r} (there are {', '.join(BLOCKS)})")
    norm = layer_norm() if block in ("s5", "xlstm") else rms_norm()
    return stack(linear(width), *[BLOCKS[block](layer, width, rate) for _ in range(depth)], norm)

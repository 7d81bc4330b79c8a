"""Encoder-decoder networks: the encoder reads a source, and the decoder writes a target."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, SourceTarget, factory, unroll, without_fast, without_marks
from rnnjax.base._cell import Weights, check_cell, identity, split
from rnnjax.base._seq import tree_zeros
from rnnjax.seq2seq._attention import Attention, encode_memory
from rnnjax.wrappers._conditioning import (
    carry_from_vector,
    may_restart,
    recurrent_leaves,
    vector_to_carry,
    with_recurrent_leaves,
)


class Carries(NamedTuple):
    """The carries of an encoder-decoder.

    Attributes:
      encoder: before and after its source.
      decoder: after its target. Its value before the target is ignored, since each source sets a new one.
    """

    encoder: PyTree
    decoder: PyTree


class Decoder(NamedTuple):
    """A decoder that reads a memory, with a map from its params to its weights that needs no memory.

    Attributes:
      make: memory -> a one-step cell, which reads the memory in its step, its window and its initial carry.
      weights: (params, key) -> weights, the weights map of each such cell; by default the params are the weights.

    Example: a decoder with a unitary recurrence, which computes its matrix once per window.
      >>> import rnnjax
      >>> from rnnjax import seq2seq
      >>> def make(memory):
      ...     return rnnjax.luong(rnnjax.urnn(4), seq2seq.general(8), memory, width=4)
      >>> decoder = Decoder(make, make(seq2seq.Memory((), ())).weights)
    """

    make: Callable[[Any], Cell]
    weights: Weights = identity


_Bind = Callable[[PyTree, PyTree, Any], tuple[Cell, PyTree]]


@dataclasses.dataclass(frozen=True, eq=False)
class EncoderDecoder(Cell):
    """A window cell that maps a `SourceTarget` to the decoder's outputs, and can also run its decoder step by step.

    Attributes:
      bind: see `begin`.
    """

    bind: _Bind | None = None

    def begin(self, params: PyTree, source: PyTree, key: jax.Array | None = None) -> tuple[Cell, PyTree]:
        """Reads a source and returns (the decoder as a one-step cell, its params).

        The cell starts where the encoder ended and closes over the source. Its step is the one that `unroll` scans in
        training.

        Args:
          params: of the whole network.
          source: of one example.
          key: noise for the encoder; None for no noise.
        """
        assert self.bind is not None
        cell, _ = self.bind(self.weights(params), source, key)
        return cell, params["decoder"]

    def replace(self, **changes: Any) -> Cell:
        """Returns a plain `Cell` with some functions changed, since `bind` may no longer match them."""
        return Cell(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Cell)}).replace(**changes)


@factory
def encoder_decoder(
    encoder: Cell,
    decoder: Cell | Decoder | Callable[[Any], Cell],
    attention: Attention | None = None,
    bridge: bool = True,
) -> EncoderDecoder:
    """An encoder that reads a source and a decoder that starts from its final state; the input is a `SourceTarget`.

        (e, v) = encoder(source);   h_0 = bridge(e);   (h_t, y_t) = decoder(memory of v)(h_{t-1}, target_t)

    If the encoder's final carry and the decoder's carry have leaves of the same shapes, the bridge passes the carry on
    unchanged. Otherwise each state of the decoder is tanh(e w + b), where e holds all states of the encoder. If the
    encoder has no state, or with bridge=False, the decoder starts from its own initial carry. The encoder's outputs are
    passed to `decoder` once per source, and the step closes over them: as a `Memory` with attention, unchanged without.

    `rtrl` and related rules are exact for their own weights only. They do not propagate gradients through the decoder's
    closure: the encoder gets no gradient, and no error is raised.

    Params are {"encoder", "keys", "bridge", "decoder"}; those of the keys and the bridge may be empty.

    Args:
      encoder: a window cell (or a cell of whatever the source is), such as `bidirectional(...)`.
      decoder: a one-step cell; a `Decoder`, which makes one from a memory; or a function memory -> cell, for cells
        whose params are their weights.
      attention: defines the keys for a decoder with attention.
      bridge: whether the decoder's initial carry is computed from the encoder's final one.

    Raises:
      ValueError: a source or target restarts inside its window, or a decoder does not compute its weights as its
        `Decoder` declares.

    Example: a decoder with attention, in training and step by step.
      >>> import jax, jax.numpy as jnp, numpy as np, rnnjax
      >>> from rnnjax.seq2seq import dot
      >>> net = encoder_decoder(
      ...     encoder=rnnjax.stack(rnnjax.one_hot(5), rnnjax.bidirectional(rnnjax.gru(2))),
      ...     decoder=lambda memory: rnnjax.stack(
      ...         rnnjax.one_hot(5), rnnjax.luong(rnnjax.gru(4), dot(), memory, width=4), rnnjax.linear(5)
      ...     ),
      ...     attention=dot(),
      ... )
      >>> x = SourceTarget(rnnjax.Seq(jnp.array([3, 1, 0]), jnp.array([True, True, False])), jnp.array([4, 1]))
      >>> params = net.init(jax.random.key(0), x)
      >>> logits = rnnjax.run(net, params, x)[1]
      >>> cell, inner = net.begin(params, x.source)
      >>> np.testing.assert_allclose(rnnjax.run(cell, inner, x.target[0])[1], logits[0], rtol=1e-4, atol=1e-6)

    Reference: Sutskever, Vinyals, Le, Sequence to sequence learning with neural networks, 2014; Cho et al., 2014.
    """
    check_cell("encoder_decoder", encoder)
    parts = _Parts(encoder, _as_decoder(decoder), attention, bridge)
    return EncoderDecoder(parts.init, parts.initial_carry, parts.step, parts.weights, slow=parts.slow, bind=parts.bind)


class _Parts(NamedTuple):
    """The parts of an encoder-decoder; its methods are the functions of the cell."""

    encoder: Cell
    decoder: Decoder
    attention: Attention | None
    bridge: bool

    def init(self, key: jax.Array, x: SourceTarget) -> PyTree:
        ke, kk, kb, kd = jax.random.split(key, 4)
        params = {"encoder": self.encoder.init(ke, x.source), "keys": ()}
        carry, encoded = tree_zeros(jax.eval_shape(self._run_encoder, params["encoder"], x.source))
        if self.attention is not None:
            params["keys"] = self.attention.keys.init(kk, without_marks(encoded))
        cell = self.decoder.make(self._memory(params, encoded))
        first = _at_first_step(x.target)
        params |= {"bridge": (), "decoder": cell.init(kd, first)}
        _check_weights(self.decoder, cell, params["decoder"])
        start = cell.initial_carry(cell.weights(params["decoder"]), first)
        return params | {"bridge": self._init_bridge(kb, recurrent_leaves(carry), start)}

    def weights(self, params: PyTree, key: jax.Array | None = None) -> PyTree:
        ke, kd = split(key, 2)
        encoder, decoder = self.encoder.weights(params["encoder"], ke), self.decoder.weights(params["decoder"], kd)
        return params | {"encoder": encoder, "decoder": decoder}

    def initial_carry(self, w: PyTree, x: SourceTarget) -> Carries:
        start = self.encoder.initial_carry(w["encoder"], x.source)
        encoded = tree_zeros(jax.eval_shape(lambda h, s: self.encoder.step(w["encoder"], h, s)[1], start, x.source))
        cell = self.decoder.make(self._memory(w, encoded))
        return Carries(start, cell.initial_carry(w["decoder"], _at_first_step(x.target)))

    def step(self, w: PyTree, carry: Carries, x: SourceTarget, key: jax.Array | None = None) -> tuple[Carries, PyTree]:
        if may_restart(x.source) or may_restart(x.target):
            raise ValueError("encoder_decoder reads one source and writes one target: no restart inside a window")
        ke, kd = split(key, 2)
        cell, final = self._read(w, x.source, carry.encoder, ke)
        start = cell.initial_carry(w["decoder"], _at_first_step(x.target))  # of this source
        after, ys = unroll(cell).step(w["decoder"], start, x.target, kd)
        return Carries(final, after), ys

    def bind(self, w: PyTree, source: PyTree, key: Any = None) -> tuple[Cell, PyTree]:
        return self._read(w, source, self.encoder.initial_carry(w["encoder"], source), key)

    def slow(self) -> EncoderDecoder:
        decoder = self.decoder._replace(make=lambda memory: without_fast(self.decoder.make(memory)))
        return encoder_decoder(without_fast(self.encoder), decoder, self.attention, self.bridge)

    def _run_encoder(self, params: PyTree, source: PyTree) -> tuple[PyTree, PyTree]:
        """Returns the encoder's final carry and its outputs."""
        w = self.encoder.weights(params)
        return self.encoder.step(w, self.encoder.initial_carry(w, source), source)

    def _memory(self, w: PyTree, encoded: PyTree) -> Any:
        """Returns the memory that the decoder reads, from the encoder's outputs."""
        return encoded if self.attention is None else encode_memory(self.attention, w["keys"], encoded)

    def _read(self, w: PyTree, source: PyTree, carry: PyTree, key: Any = None) -> tuple[Cell, PyTree]:
        """Reads a source from this carry; returns the decoder and the encoder's final carry."""
        final, encoded = self.encoder.step(w["encoder"], carry, source, key)
        cell = self.decoder.make(self._memory(w, encoded))
        return cell.replace(initial_carry=lambda v, x: self._cross(w, final, cell.initial_carry(v, x))), final

    def _init_bridge(self, key: jax.Array, have: list[jax.Array], start: PyTree) -> PyTree:
        """Returns the params of the bridge; () if the carry is passed on unchanged, or none is."""
        if not (self.bridge and have) or _same_shapes(have, recurrent_leaves(start)):
            return ()
        return vector_to_carry(start).init(key, _concat_flat(have))

    def _cross(self, w: PyTree, final: PyTree, start: PyTree) -> PyTree:
        """Returns the decoder's initial carry: `start`, with the states that the bridge brings from the encoder."""
        have = recurrent_leaves(final)
        if not (self.bridge and have):
            return start
        if _same_shapes(have, recurrent_leaves(start)):
            return with_recurrent_leaves(start, have)
        return carry_from_vector(w["bridge"], _concat_flat(have), start)


def _as_decoder(decoder: Cell | Decoder | Callable[[Any], Cell]) -> Decoder:
    """Returns the `Decoder` for any of the accepted forms."""
    if isinstance(decoder, Cell):
        return Decoder(lambda memory: decoder, decoder.weights)
    return decoder if isinstance(decoder, Decoder) else Decoder(decoder)


def _check_weights(form: Decoder, cell: Cell, params: PyTree) -> None:
    """Refuses a decoder whose params are not its weights but would be used as such."""
    if form.weights is not identity:
        return
    program, made = jax.make_jaxpr(cell.weights, return_shape=True)(params, jax.random.key(0))
    same_form = jax.tree.structure(made) == jax.tree.structure(params)  # type: ignore[operator]
    if not same_form or list(program.jaxpr.outvars) != program.jaxpr.invars[:-1]:
        raise ValueError(
            "encoder_decoder: this decoder computes its weights from its params (a unitary map, DropConnect, "
            "tied weights): give Decoder(make, weights) instead of make"
        )


def _same_shapes(have: list[jax.Array], want: list[jax.Array]) -> bool:
    """Returns whether states can be passed on unchanged."""
    return [a.shape for a in have] == [a.shape for a in want]


def _concat_flat(arrays: list[jax.Array]) -> jax.Array:
    """Concatenates arrays into one flat vector."""
    return jnp.concatenate([a.ravel() for a in arrays])


def _at_first_step(target: PyTree) -> PyTree:
    """Returns the shape of one input of a decoder."""
    return jax.eval_shape(lambda t: jax.tree.map(lambda a: a[0], t), without_marks(target))

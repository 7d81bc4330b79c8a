"""Teacher forcing, free running and scheduled sampling: whether a network reads given inputs or its own outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, Seq, SourceTarget, check_rate, tree_where, wrapper, wrapping_carry
from rnnjax.base._cell import fold
from rnnjax.base._seq import first_step_shape, num_steps, tree_zeros
from rnnjax.decoding import greedy

if TYPE_CHECKING:
    from rnnjax.data import Batch, Stream

_TEACHING_TAG = 0x7EAC
_Schedule = Callable[[jax.Array], Any]


class SampledInput(NamedTuple):
    """An input that the network's own output may replace.

    Attributes:
      x: the given input.
      eps: `[]`, the probability to read it.
    """

    x: Any
    eps: Any


@wrapping_carry
class _CarryWithOutput(NamedTuple):
    """A carry and the last output of the network.

    Attributes:
      carry: the carry of the wrapped cell.
      y: the last output.
      said: 1 if there is an output, 0 at the start.
    """

    carry: PyTree
    y: PyTree
    said: jax.Array


@wrapper
def scheduled_sampling(cell: Cell, eps: Any = None, pick: Callable[[Any, PyTree], PyTree] = greedy) -> Cell:
    """Reads each given input with probability eps and otherwise pick(the last output of the network).

        x'_t = x_t with probability eps, else pick(y_{t-1});   (h_t, y_t) = step(h_{t-1}, x'_t)

    eps = 1 is teacher forcing and eps = 0 is free running; lowering eps during training is scheduled sampling. The
    first input is always the given one. Without a key nothing is drawn: the given input is read unless eps is 0.
    Gradients flow through `pick` if it is differentiable, but not through a symbol.

    Args:
      cell: a single-step cell; `pick` turns its outputs into something like its inputs.
      eps: in [0, 1], possibly a tracer; None: each input is a `SampledInput` with its own eps.
      pick: (key, output) -> input: `greedy`, `temperature(t)` (with a key), or `lambda key, y: y` if outputs can be
        read unchanged.

    Example: a counter that is given its initial value.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> count = rnnjax.pointwise(lambda x: x + 1)
      >>> cell = rnnjax.unroll(scheduled_sampling(count, 0.0, pick=lambda key, y: y))
      >>> print(rnnjax.run(cell, (), jnp.array([3.0, 0.0, 0.0]))[1])
      [4. 5. 6.]

    Reference: Bengio, Vinyals, Jaitly, Shazeer, Scheduled sampling for sequence prediction with recurrent neural
    networks, 2015; Williams, Zipser, 1989 (teacher forcing).
    """
    if eps is not None:
        check_rate("scheduled_sampling: eps", eps, certain=True)

    def given(x: PyTree) -> tuple[PyTree, Any]:
        return (x.x, x.eps) if eps is None else (x, eps)

    def initial_carry(weights: PyTree, x: PyTree) -> _CarryWithOutput:
        x, _ = given(x)
        carry = cell.initial_carry(weights, x)
        y = jax.eval_shape(lambda w, h, x: cell.step(w, h, x)[1], weights, carry, x)
        floating = [a.dtype for a in jax.tree.leaves(y) if jnp.issubdtype(a.dtype, jnp.floating)]
        return _CarryWithOutput(carry, tree_zeros(y), jnp.zeros((), *floating[:1]))

    def step(
        w: PyTree, state: _CarryWithOutput, x: PyTree, key: jax.Array | None = None
    ) -> tuple[_CarryWithOutput, PyTree]:
        x, p = given(x)
        drawn = fold(key, _TEACHING_TAG)
        reads = p > 0 if drawn is None else jax.random.bernoulli(drawn, jnp.asarray(p, jnp.float32))
        own = jax.tree.map(lambda a, b: a.astype(b.dtype), pick(fold(drawn, 1), state.y), x)
        carry, y = cell.step(w, state.carry, tree_where(reads | (state.said == 0), x, own), key)
        return _CarryWithOutput(carry, y, jnp.ones_like(state.said)), y

    return Cell(
        lambda key, x: cell.init(key, given(x)[0]), initial_carry, step, cell.weights, output=lambda state: state.y
    )


def sampling_schedule(kind: str, pace: Any, last: Any = 0.0) -> _Schedule:
    """Returns a schedule of eps over the number i of updates: max(last, f(i)).

        constant          f = last
        linear            f = 1 - i / pace
        exponential       f = exp(- i / pace)
        inverse_sigmoid   f = pace / (pace + exp(i / pace))

    Args:
      kind: one of the names above.
      pace: in updates; it may be a tracer.
      last: the final value; it may be a tracer.

    Raises:
      ValueError: the kind is unknown.

    Example:
      >>> [round(float(sampling_schedule("linear", 100)(i)), 2) for i in (0, 50, 200)]
      [1.0, 0.5, 0.0]

    Reference: Bengio, Vinyals, Jaitly, Shazeer, Scheduled sampling for sequence prediction with recurrent neural
    networks, 2015.
    """
    kinds: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
        "constant": lambda i, k: jnp.zeros_like(i),
        "linear": lambda i, k: 1 - i / k,
        "exponential": lambda i, k: jnp.exp(-i / k),
        "inverse_sigmoid": lambda i, k: jax.nn.sigmoid(jnp.log(k) - i / k),
    }
    if kind not in kinds:
        raise ValueError(f"sampling_schedule({kind!r}, ...): expected one of {', '.join(kinds)}")

    def schedule(i: jax.Array) -> jax.Array:
        i, k = jnp.asarray(i).astype(jnp.float32), jnp.asarray(pace, jnp.float32)
        return jnp.maximum(jnp.asarray(last, jnp.float32), kinds[kind](i, k))

    return schedule


def with_sampling(stream: Stream, schedule: _Schedule) -> Stream:
    """Adds to a stream the probability that each input is read: `SampledInput(x, eps)`, eps by the number of updates.

    If the input is a `SourceTarget`, this applies to the decoder's input.

    Args:
      stream: a stream of batches.
      schedule: from the number of batches so far to eps, `[]` or one per step `[T]`.

    Example:
      >>> import jax
      >>> from rnnjax import tasks, training
      >>> stream = tasks.task_stream(tasks.copying(5), batch_size=4)
      >>> stream = with_sampling(stream, sampling_schedule("exponential", 100))
      >>> batch, position = stream.next((), stream.init(()), jax.random.key(0))
      >>> batch.x.x.shape, batch.x.eps.shape, int(position[0])
      ((4, 25), (4, 25), 1)
    """

    def following(data: PyTree, position: PyTree, key: jax.Array) -> tuple[Batch, PyTree]:
        count, inner = position
        batch, inner = stream.next(data, inner, key)
        marked = _within(batch.x, lambda x: SampledInput(x, _each_step(schedule(count), x)))
        return batch._replace(x=marked), (count + 1, inner)

    return stream._replace(init=lambda data: (jnp.zeros((), jnp.int32), stream.init(data)), next=following)


def _each_step(eps: jax.Array, x: PyTree) -> jax.Array:
    """Returns eps `[B, T]` for inputs `[B, T, ...]`, from `[]` or `[T]`."""
    examples, steps = num_steps(x), num_steps(first_step_shape(x))
    return jnp.tile(jnp.broadcast_to(eps, (1, steps)), (examples, 1))


def _within(x: PyTree, f: Callable[[PyTree], PyTree]) -> PyTree:
    """Applies f to the given inputs inside an input: those of a `Seq`, or the target of a `SourceTarget`."""
    if isinstance(x, SourceTarget):
        return x._replace(target=_within(x.target, f))
    return x._replace(x=f(x.x)) if isinstance(x, Seq) else f(x)

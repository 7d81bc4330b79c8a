"""What an update costs: memory of the compiled program and of the state it passes on, arithmetic, time."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.interpreters import partial_eval

from rnnjax.base import PyTree
from rnnjax.data import Batch
from rnnjax.estimators._base import Estimator, batch_size_of, duration_of

if TYPE_CHECKING:
    from jax.extend.core import Jaxpr


class Update(NamedTuple):
    """One update of a stream, compiled.

    Attributes:
      steps: it advances by.
      state: bytes passed from update to update: carries, influences, perturbations.
      temporary: bytes of the compiled program beside its arguments and results.
      flops: of its program.
      call: () -> the estimate, computed.
    """

    steps: int
    state: int
    temporary: int
    flops: int
    call: Callable[[], Any]

    @property
    def memory(self) -> int:
        """Bytes in all."""
        return self.state + self.temporary


def compile_update(estimator: Estimator, params: PyTree, batch: Batch, key: jax.Array, stream: bool = True) -> Update:
    """Compiles the estimate of one window of a stream, whose state is passed on, or of whole sequences.

    Args:
      estimator: for this window as a whole.
      params: of its cell.
      batch: the window.
      key: for the estimate.
      stream: whether the window is one of a stream.

    Raises:
      ValueError: the cell does not admit the rule.

    Example: the influence of 4 x 7 weights on 4 units, for each of 2 examples, beside their states of 4.
      >>> import jax, rnnjax
      >>> from rnnjax import estimators, losses, tasks
      >>> cell = rnnjax.unroll(rnnjax.stack(rnnjax.vanilla(4), rnnjax.linear(1)))
      >>> batch = tasks.adding(2).batch(jax.random.key(0), 2)
      >>> params = cell.init(jax.random.key(1), batch.x[0])
      >>> online = compile_update(estimators.RULES["rtrl"](cell, losses.regress, 1), params, batch, jax.random.key(2))
      >>> online.state == 2 * 4 * (4 + 4 * 4 * 7)
      True
    """
    batch = batch._replace(restart=jnp.zeros(batch_size_of(batch), bool) if stream else None)
    state = jax.jit(estimator.init)(params, batch)
    compiled = jax.jit(estimator.grad).lower(params, state, batch, key).compile()
    memory = compiled.memory_analysis()
    return Update(
        duration_of(batch),
        sum(a.nbytes for a in jax.tree.leaves(state)),
        0 if memory is None else int(memory.temp_size_in_bytes),
        flops(estimator.grad, params, state, batch, key),
        lambda: jax.block_until_ready(compiled(params, state, batch, key)),
    )


def flops(f: Callable[..., Any], *args: Any) -> int:
    """Operations of a program, a loop as often as it runs: 2 m n k for a matrix product, one a number for the rest.

    XLA's own count takes the body of a loop once. What the result does not need is not counted; moving, selecting and
    comparing are not arithmetic.

    Args:
      f: to be traced.
      *args: arrays.

    Example: three times a vector of 4 through a matrix, and a hyperbolic tangent.
      >>> import jax, jax.numpy as jnp
      >>> step = lambda h, _: (jnp.tanh(h @ jnp.ones((4, 4))), None)
      >>> flops(lambda h: jax.lax.scan(step, h, None, 3)[0], jnp.ones(4))
      108
    """
    jaxpr = jax.make_jaxpr(f)(*args).jaxpr
    return _count_operations(partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0])


_FREE = frozenset((
    "broadcast_in_dim", "reshape", "transpose", "squeeze", "slice", "dynamic_slice", "dynamic_update_slice",
    "concatenate", "pad", "rev", "gather", "copy", "copy_p", "convert_element_type", "bitcast_convert_type", "iota",
    "select_n", "stop_gradient", "split", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "xor", "shift_left",
    "shift_right_logical", "argmax", "random_wrap", "random_unwrap", "random_bits", "random_split", "random_fold_in",
    "random_seed", "threefry2x32",
))  # fmt: skip


def _count_operations(jaxpr: Jaxpr) -> int:
    """Operations of a program."""
    from jax.extend.core import jaxprs_in_params  # imports Pallas, so only where it is used

    total = 0
    for eqn in jaxpr.eqns:
        inner = [getattr(j, "jaxpr", j) for j in jaxprs_in_params(eqn.params)]
        if eqn.primitive.name == "cond":
            total += max(map(_count_operations, inner))
        elif inner:
            total += eqn.params.get("length", 1) * sum(map(_count_operations, inner))
        elif eqn.primitive.name == "dot_general":
            (left, _), _ = eqn.params["dimension_numbers"]
            total += 2 * _atom_size(eqn.outvars[0]) * math.prod(_atom_shape(eqn.invars[0])[i] for i in left)
        elif eqn.primitive.name not in _FREE:
            total += max(map(_atom_size, [*eqn.outvars, *eqn.invars]))
    return total


def _atom_shape(atom: Any) -> tuple[int, ...]:
    """Of a value of a program."""
    return tuple(getattr(atom.aval, "shape", ()))


def _atom_size(atom: Any) -> int:
    """How many numbers a value of a program has."""
    return math.prod(_atom_shape(atom))


def median_seconds(
    call: Callable[[], Any], least: float = 0.05, clock: Callable[[], float] = time.perf_counter
) -> float:
    """The median time of a call, after one that does not count, of as many as fit.

    Args:
      call: returns when it is done.
      least: seconds to spend.
      clock: wall time, or `time.process_time` on a machine with other work.

    Example:
      >>> 0.001 < median_seconds(lambda: time.sleep(0.001), least=0.005) < 1
      True
    """
    call()
    times: list[float] = []
    while sum(times) < least and len(times) < 1000:
        start = clock()
        call()
        times.append(clock() - start)
    return statistics.median(times)

"""The cost of an update: memory of the compiled program and of the state it passes on, operations, and time."""

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
    """One compiled update of a stream.

    Attributes:
      steps: the steps that it advances.
      state: bytes passed from update to update: carries, influences, perturbations.
      temporary: bytes that the compiled program uses besides its arguments and results.
      flops: operations of the program.
      call: () -> the computed estimate.
    """

    steps: int
    state: int
    temporary: int
    flops: int
    call: Callable[[], Any]

    @property
    def memory(self) -> int:
        """Returns the total bytes."""
        return self.state + self.temporary


def compile_update(estimator: Estimator, params: PyTree, batch: Batch, key: jax.Array, stream: bool = True) -> Update:
    """Compiles the estimate of one window of a stream, whose state is passed on, or of whole sequences.

    Args:
      estimator: an estimator that processes this window as a whole.
      params: the params of its cell.
      batch: the window.
      key: the key for the estimate.
      stream: whether the window is part of a stream.

    Raises:
      ValueError: the rule does not support the cell.

    Example: the influence of 4 x 7 weights on 4 units for each of 2 examples, and their states of 4 numbers.
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
    """Returns the operations of a program: 2 m n k for a matrix product and one per number otherwise, including loops.

    XLA's own count includes the body of a loop only once. Operations that the result does not need are not counted, and
    moving, selecting and comparing do not count as operations.

    Args:
      f: the function to trace.
      *args: its arguments, arrays.

    Example: three products of a vector of 4 and a matrix, each followed by tanh.
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
    """Returns the operations of a jaxpr."""
    from jax.extend.core import jaxprs_in_params  # imported here because it imports Pallas

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
    """Returns the shape of a value in a jaxpr."""
    return tuple(getattr(atom.aval, "shape", ()))


def _atom_size(atom: Any) -> int:
    """Returns the size of a value in a jaxpr."""
    return math.prod(_atom_shape(atom))


def median_seconds(
    call: Callable[[], Any], least: float = 0.05, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Returns the median time of a call, after one warm-up call, over as many calls as fit.

    Args:
      call: a function that returns when its work is done.
      least: the minimal total time in seconds.
      clock: wall time by default; `time.process_time` on a machine with other work.

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

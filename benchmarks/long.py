"""Long sequences: memory and time a step of training on 1,000 to 1,000,000 steps, and of reading a stream.

    python -m benchmarks.long
    python -m benchmarks.long --lengths=1000,10000 --timed=10000      # the short end

Training: the gradient of the last state of one layer on one sequence. Memory is what the compiled program needs beside
its arguments, so a length need not be run to be known; lengths up to --timed are run. "windows" goes from window to
window of --window steps as truncated backpropagation does, with the carry: its memory is that of one window, whatever
the length, and its gradient that of the last states of all windows. "remat" gives the whole gradient in memory of the
order of sqrt(T).

Streaming: microseconds a step when each call takes one step, as in a control loop, and when each takes --window steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags, logging

import rnnjax
from benchmarks import _turns as turns
from rnnjax.runs import print_table

FLAGS = flags.FLAGS
flags.DEFINE_list("lengths", ["1000", "10000", "100000", "1000000"], "T, ascending.")
flags.DEFINE_integer("timed", 100_000, "The longest sequence that is run; of longer ones the memory is shown.", 1)
flags.DEFINE_integer("window", 1000, "Steps of a window.", 1)
flags.DEFINE_integer("hidden", 128, "Units of the layer, an LSTM.", 1)
flags.DEFINE_integer("features", 32, "Features of an input.", 1)
flags.DEFINE_integer("repeats", 3, "Calls that are timed.", 1)

Gradient = Callable[[Any, jax.Array], Any]


def size_of(carry: Any) -> jax.Array:
    """The sum of the squares of a state."""
    return sum(((a**2).sum() for a in jax.tree.leaves(carry)), jnp.zeros(()))


def whole_gradient(net: rnnjax.Cell) -> Gradient:
    """The gradient of all steps at once."""
    return jax.grad(lambda params, xs: size_of(rnnjax.run(net, params, xs)[0]))


def windows(net: rnnjax.Cell) -> Gradient:
    """The sum of the gradients of windows, each from the carry that the one before has left."""

    def loss(params: Any, carry: Any, xs: jax.Array) -> tuple[jax.Array, Any]:
        carry, _ = rnnjax.run(net, params, xs, carry)
        return size_of(carry), carry

    def gradient(params: Any, xs: jax.Array) -> Any:
        def one(at: tuple[Any, Any], window: jax.Array) -> tuple[tuple[Any, Any], None]:
            carry, total = at
            grads, carry = jax.grad(loss, has_aux=True)(params, carry, window)
            return (carry, jax.tree.map(jnp.add, total, grads)), None

        start = net.initial_carry(params, xs), jax.tree.map(jnp.zeros_like, params)
        cut = xs.reshape(-1, min(FLAGS.window, len(xs)), xs.shape[-1])
        return jax.lax.scan(one, start, cut)[0][1]

    return gradient


def trained(net: rnnjax.Cell, params: Any, steps: int) -> list[dict[str, Any]]:
    """Memory and time of each way."""
    ways = {
        "as it is": whole_gradient(net),
        "remat": whole_gradient(rnnjax.remat(net, every="sqrt")),
        "windows": windows(net),
    }
    shape = jax.ShapeDtypeStruct((steps, FLAGS.features), jnp.float32)
    compiled: dict[str, Any] = {name: jax.jit(way).lower(params, shape).compile() for name, way in ways.items()}
    seconds: dict[str, float] = {}
    if steps <= FLAGS.timed:
        xs = jax.random.normal(jax.random.key(0), shape.shape)
        calls = {name: lambda f=f: jax.block_until_ready(f(params, xs)) for name, f in compiled.items()}
        seconds = turns.in_turn(calls, FLAGS.repeats)
    rows = []
    for name, program in compiled.items():
        row = {"T": steps, "": name, "memory, MB": program.memory_analysis().temp_size_in_bytes / 1e6}
        rows.append(row | ({"us a step": 1e6 * seconds[name] / steps} if name in seconds else {}))
    return rows


def streamed(net: rnnjax.Cell, params: Any, steps: int) -> list[dict[str, Any]]:
    """The time of a step of a stream, one or many a call."""
    read = jax.jit(lambda params, carry, xs: rnnjax.run(net, params, xs, carry))
    rows = []
    for n in (1, FLAGS.window):
        xs = jax.random.normal(jax.random.key(0), (n, FLAGS.features))

        def call(n: int = n, xs: jax.Array = xs) -> None:
            carry = net.initial_carry(params, xs)
            for _ in range(steps // n):
                carry, _ = read(params, carry, xs)
            jax.block_until_ready(carry)

        took = turns.in_turn({"": call}, FLAGS.repeats)[""]
        rows.append({"steps a call": n, "us a step": 1e6 * took / (steps // n * n)})
    return rows


def main(argv: list[str]) -> None:
    """Prints both tables."""
    del argv
    logging.set_verbosity(logging.WARNING)
    net = rnnjax.unroll(rnnjax.lstm(FLAGS.hidden))
    params = net.init(jax.random.key(0), jnp.zeros((1, FLAGS.features)))
    lengths = [int(text) for text in FLAGS.lengths]
    if any(n % min(n, FLAGS.window) for n in lengths):
        raise app.UsageError(f"--lengths={','.join(FLAGS.lengths)} --window={FLAGS.window}: windows divide a length")
    rows = [row for n in lengths for row in trained(net, params, n)]
    print_table(rows, title=f"the gradient of one sequence, LSTM of {FLAGS.hidden} units ({FLAGS.clock} time)")
    stream = streamed(net, params, 10 * FLAGS.window)
    print_table(stream, title="reading a stream")
    turns.write_json({"training": rows, "streaming": stream})


if __name__ == "__main__":
    app.run(main)

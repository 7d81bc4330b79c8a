"""What compiled programs hold, counted: matmuls and loops of a gradient step, memory, donated buffers. No timing."""

import re

import jax
import jax.numpy as jnp
import optax
import pytest

import rnnjax
from rnnjax import estimators, losses, run, tasks, training, unroll
from rnnjax.tasks import task_stream

STEPS, BATCH, FEATURES, UNITS = 100, 8, 6, 16

# Matmuls in the innermost loops, forward and backward together, and in the loop over pieces: weights' gradients.
LAYERS = {
    "lstm": (rnnjax.lstm, 2, 1),
    "vanilla": (rnnjax.vanilla, 2, 1),
    "gru": (lambda n: rnnjax.gru(n, reset_after=True), 3, 3),
    "lstm norm": (lambda n: rnnjax.lstm(n, layer_norm=True), 6, 4),  # three of them are means
}


def gradient(cell, dtype=jnp.float32):
    xs = jnp.ones((BATCH, STEPS, FEATURES) if dtype == jnp.float32 else (BATCH, STEPS), dtype)
    params = cell.init(jax.random.key(0), xs[0])
    keys = jax.random.split(jax.random.key(1), BATCH)

    def loss(params):
        return (jax.vmap(lambda x, key: run(cell, params, x, key=key)[1])(xs, keys) ** 2).sum()

    return jax.jit(jax.grad(loss)).lower(params).compile()


def computations(text):
    """The computations of a compiled program, by name."""
    blocks = re.split(r"\n(?=(?:ENTRY )?%\S+ \()", text)
    return {m[1]: block for block in blocks if (m := re.match(r"\s*(?:ENTRY )?%(\S+) \(", block))}


def called(parts, name):
    """The names of the computations that one calls, loops aside, and itself."""
    loops = set(re.findall(r"(?:body|condition)=%?([\w.\-]+)", parts[name]))
    below = {n for n in re.findall(r"(?:calls|to_apply)=%?([\w.\-]+)", parts[name]) if n in parts} - loops
    return {name}.union(*(called(parts, n) for n in below))


def matmuls(parts, name):
    """The shapes of the matmuls' results in a computation, loops inside aside."""
    return [shape for n in called(parts, name) for shape in re.findall(r"= \w+\[([\d,]*)\]\S* dot\(", parts[n])]


def bodies(parts):
    """The bodies of loops: the innermost, and the others."""
    every = {name for block in parts.values() for name in re.findall(r"body=%?([\w.\-]+)", block)}
    outer = {name for name in every if any("body=" in parts[n] for n in called(parts, name))}
    return every - outer, outer


@pytest.mark.parametrize("name", LAYERS)
def test_a_gradient_step_has_these_matmuls_and_no_more(name, optimized):
    make, in_time, in_pieces = LAYERS[name]
    parts = computations(gradient(unroll(make(UNITS))).as_text())
    innermost, outer = bodies(parts)
    assert (len(innermost), len(outer)) == (2, 2)
    in_loop = [shape for body in innermost for shape in matmuls(parts, body)]
    assert len(in_loop) == in_time
    assert all(shape.split(",")[0] == str(BATCH) for shape in in_loop), "a weight's gradient is summed up step by step"
    assert len([shape for body in outer for shape in matmuls(parts, body)]) == in_pieces


def test_inputs_get_their_gradient_without_that_of_the_state(optimized):
    """The matmul for both is twice as large where a layer reads another."""
    cell, xs = unroll(rnnjax.lstm(UNITS)), jnp.ones((BATCH, STEPS, FEATURES))
    params = cell.init(jax.random.key(0), xs[0])
    slope = jax.grad(lambda xs: (jax.vmap(lambda x: run(cell, params, x)[1])(xs) ** 2).sum())
    parts = computations(jax.jit(slope).lower(xs).compile().as_text())
    in_pieces = [shape for body in bodies(parts)[1] for shape in matmuls(parts, body)]
    assert in_pieces == [f"{BATCH * 20},{FEATURES}"]


WRAPPERS = {
    "cast": lambda cell: rnnjax.cast(cell, jnp.float32),
    "half": lambda cell: rnnjax.cast(cell, jnp.bfloat16),
    "remat": rnnjax.remat,
    "residual": rnnjax.residual,
    "highway": rnnjax.highway,
    "learn_carry": rnnjax.learn_carry,
    "zoneout": lambda cell: rnnjax.zoneout(cell, 0.5),
    "stack": lambda cell: rnnjax.stack(rnnjax.one_hot(FEATURES), cell, rnnjax.dropout(0.5), rnnjax.linear(UNITS)),
    "cast stack": lambda cell: rnnjax.cast(rnnjax.stack(cell, rnnjax.linear(UNITS)), jnp.float32),
}


@pytest.mark.parametrize("name", [n if n == "cast" else pytest.param(n, marks=pytest.mark.slow) for n in WRAPPERS])
def test_a_wrapped_cell_keeps_its_fast_window(name, optimized):
    cell = unroll(WRAPPERS[name](rnnjax.lstm(FEATURES)))
    parts = computations(gradient(cell, jnp.int32 if name == "stack" else jnp.float32).as_text())
    in_loop = [shape for body in bodies(parts)[0] for shape in matmuls(parts, body)]
    assert in_loop and all(shape.split(",")[0] == str(BATCH) for shape in in_loop), in_loop


def test_a_scan_sums_the_gradient_of_its_weights_step_by_step(optimized):
    """So the law above can fail."""
    parts = computations(gradient(unroll(rnnjax.vanilla(UNITS).replace(window=None))).as_text())
    in_loop = [shape for body in bodies(parts)[0] for shape in matmuls(parts, body)]
    assert not all(shape.split(",")[0] == str(BATCH) for shape in in_loop)


def test_memory_of_a_gradient_step(optimized):
    """An LSTM keeps c, h and four pre-activations a step; what is beside them does not grow with time."""
    kept = 6 * UNITS * BATCH * STEPS * 4
    assert gradient(unroll(rnnjax.lstm(UNITS))).memory_analysis().temp_size_in_bytes < 1.7 * kept
    by_pieces = rnnjax.remat(unroll(rnnjax.lstm(UNITS)), every="sqrt")
    assert gradient(by_pieces).memory_analysis().temp_size_in_bytes < 0.6 * kept


def test_a_training_step_reuses_the_buffers_it_is_given():
    cell = unroll(rnnjax.stack(rnnjax.one_hot(10), rnnjax.lstm(4), rnnjax.linear(9)))
    stream = task_stream(tasks.copying(5), 4)
    trainer = training.Trainer(cell, estimators.backprop(cell, losses.classify), optax.sgd(1e-3, momentum=0.9), stream)
    progress = jax.eval_shape(lambda key: training.init(trainer, (), key), jax.random.key(0))
    loop = jax.jit(lambda progress, n: training.loop(trainer, progress, (), n), donate_argnums=0)
    held = sum(
        leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((progress.state.params, progress.state.opt_state))
    )
    assert loop.lower(progress, 3).compile().memory_analysis().alias_size_in_bytes >= held

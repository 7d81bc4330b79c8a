"""Law: an estimate from random directions is the slope along them times them, over windows, restarts and streams."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from _helpers import KEY, apart, close, draw
from _launching import launch, records
from jax import lax

import rnnjax
from rnnjax import Seq, losses, training
from rnnjax.data import Batch, Stream
from rnnjax.estimators import RULES, backprop, es, forward, nres, pes, score, sliding_tbptt

B, T, SIGMA = 2, 8, 1e-3

# Of snap2 on a dense network, which has a law of its own below.
pytestmark = pytest.mark.filterwarnings("ignore:.*this is RTRL:UserWarning")


def network():
    core = rnnjax.learn_carry(rnnjax.vanilla_core(2))
    return rnnjax.unroll(rnnjax.stack(rnnjax.linear(2), core, rnnjax.linear(1)))


def example(cell, seed=0):
    """Params and a batch of whole sequences."""
    dtype = jnp.float64 if jax.config.jax_enable_x64 else jnp.float32
    x, y = draw((B, T, 2), dtype, seed), draw((B, T, 1), dtype, seed + 1)
    return cell.init(KEY, x[0]), Batch(x, y, jnp.arange(B * T).reshape(B, T) % 3 > 0)


def cut(batch, begin, end, restart):
    """Some of its steps as a batch of a stream."""
    return Batch(batch.x[:, begin:end], batch.y[:, begin:end], batch.mask[:, begin:end], jnp.array(restart))


def loss(cell, batch):
    return lambda p: score(cell, losses.regress, p, (), batch)[0]["loss"].total


def streamed(estimator, params, parts):
    """The sum of the gradients of the batches of a stream, and the states between them."""
    state, grads, states = estimator.init(params, parts[0]), [], []
    for i, part in enumerate(parts):
        estimate, state = jax.jit(estimator.grad)(params, state, part, jax.random.fold_in(KEY, i))
        grads.append(estimate.grads)
        states.append(state)
    return jax.tree.map(lambda *a: sum(a), *grads), states


def one(tree, row):
    return jax.tree.map(lambda a: a[row], tree)


def times(slope, v):
    return jax.tree.map(lambda v: slope * v, v)


def along(f, params, v, by):
    """f at params moved along v."""
    return f(jax.tree.map(lambda p, v: p + by * v, params, v))


@pytest.mark.slow
@pytest.mark.parametrize("make", [forward, nres], ids=["forward", "nres"])
def test_a_kept_direction_sees_the_whole_stream_at_any_window(make, x64):
    cell = network()
    params, batch = example(cell)
    parts = [cut(batch, 0, 5, [True, True]), cut(batch, 5, T, [False, True])]  # the second row starts anew at step 5
    options = {} if make is forward else {"sigma": SIGMA}
    got, states = streamed(make(cell, losses.regress, 2, **options), params, parts)
    pieces = [(0, 0, T, states[1]), (1, 0, 5, states[0]), (1, 5, T, states[1])]
    want = []
    for row, begin, end, state in pieces:
        v = one(state.direction, row)
        alone = cut(batch, begin, end, [True] * B)._replace(restart=None)
        f = loss(cell, jax.tree.map(lambda a, row=row: a[row : row + 1], alone))
        if make is forward:
            slope = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(jax.grad(f)(params)), jax.tree.leaves(v)))
        else:
            slope = (along(f, params, v, SIGMA) - along(f, params, v, -SIGMA)) / (2 * SIGMA)
        want.append(times(slope, v))
    close(got, jax.tree.map(lambda *a: sum(a), *want), rtol=1e-8, atol=1e-9)


@pytest.mark.slow
def test_persistent_evolution_weighs_each_window_with_all_moves_so_far(x64):
    cell = network()
    params, batch = example(cell)
    parts = [cut(batch, 0, 3, [True, True]), cut(batch, 3, 6, [False, True]), cut(batch, 6, T, [False, False])]
    got, states = streamed(pes(cell, losses.regress, 3, SIGMA), params, parts)
    want = []
    for row in range(B):
        carries, before = [None, None], None
        for part, state in zip(parts, states):
            since = one(state.direction, row)
            v = since if before is None or part.restart[row] else jax.tree.map(jnp.subtract, since, before)
            example_, slope = one(part._replace(restart=None), row), 0.0
            for i, sign in enumerate((1, -1)):
                moved = jax.tree.map(lambda p, v, s=sign: p + s * SIGMA * v, params, v)
                h, y = rnnjax.run(cell, moved, example_.x, None if part.restart[row] else carries[i])
                carries[i], slope = h, slope + sign * losses.regress(y, example_)["loss"].total / (2 * SIGMA)
            want.append(times(slope, since))
            before = since
    close(got, jax.tree.map(lambda *a: sum(a), *want), rtol=1e-7, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("make", [forward, es, pes, nres], ids=["forward", "es", "pes", "nres"])
def test_random_directions_are_right_on_average(make, x64):
    cell = network()
    params, batch = example(cell)
    options = {} if make is forward else {"sigma": SIGMA}
    estimator = make(cell, losses.regress, 3, **options)
    exact, truncated = (backprop(cell, losses.regress, k).grad(params, (), batch)[0].grads for k in (None, 3))
    estimates = jax.jit(jax.vmap(lambda k: estimator.grad(params, (), batch, k)[0].grads))(jax.random.split(KEY, 4000))
    want, wrong = (truncated, exact) if make is es else (exact, truncated)
    z = [[], []]
    for got, *others in zip(*map(jax.tree.leaves, (estimates, want, wrong))):
        error = got.std(0) / np.sqrt(len(got)) + 1e-9
        for i, other in enumerate(others):
            z[i].append(float(abs((got.mean(0) - other) / error).max()))
    assert max(z[0]) < 4 < max(z[1]), z


@pytest.mark.parametrize(
    "advance, look",
    [
        pytest.param(1, 4, marks=pytest.mark.slow),
        (3, 5),
        *(pytest.param(*p, marks=pytest.mark.slow) for p in ((3, 3), (5, 20))),
    ],
)
@pytest.mark.parametrize(
    "ragged", [pytest.param(False, marks=pytest.mark.slow, id="plain"), pytest.param(True, id="seq")]
)
def test_each_loss_looks_back_as_far_as_it_should(advance, look, ragged):
    cell = network()
    params, batch = example(cell)
    valid = jnp.array([[1, 1, 0, 1, 1, 1, 0, 1], [1] * T], bool)
    x = Seq(jnp.where(valid[..., None], batch.x, jnp.nan), valid) if ragged else batch.x
    estimator = sliding_tbptt(cell, losses.regress, advance, look)
    estimate, _ = jax.jit(estimator.grad)(params, (), batch._replace(x=x))

    def value(params, row):
        carries, total = [cell.initial_carry(params, batch.x[row])], 0.0
        for t in range(T):
            step = jax.tree.map(lambda a, t=t: a[row, t : t + 1], x)
            carries.append(rnnjax.run(cell, params, step, carries[-1])[0])
        for end in range(advance, T + advance, advance):
            stop, new = min(end, T), end - advance
            begin = max(0, stop - (look - advance) - (stop - new))
            h = carries[begin] if begin == 0 else lax.stop_gradient(carries[begin])
            _, y = rnnjax.run(cell, params, jax.tree.map(lambda a, b=begin, s=stop: a[row, b:s], x), h)
            y = jax.tree.map(lambda a, k=new - begin: a[k:], y)
            part = Batch(None, batch.y[row, new:stop], batch.mask[row, new:stop])
            total = total + losses.regress(y, part)["loss"].total
        return total

    want = jax.grad(lambda p: value(p, 0) + value(p, 1))(params)
    close(estimate.grads, want, atol=1e-5)


def test_looking_back_crosses_batches_and_stops_at_a_restart():
    cell = network()
    params, batch = example(cell)
    parts = [cut(batch, 0, 4, [True, True]), cut(batch, 4, T, [False, True])]
    got, _ = streamed(sliding_tbptt(cell, losses.regress, 4, 8), params, parts)
    whole = jax.grad(loss(cell, jax.tree.map(lambda a: a[:1], batch)))(params)
    halves = [
        jax.grad(loss(cell, jax.tree.map(lambda a, s=s: a[1:, s], batch)))(params) for s in (slice(4), slice(4, T))
    ]
    close(got, jax.tree.map(lambda a, b, c: a + b + c, whole, *halves), atol=1e-5)
    with pytest.raises(ValueError, match="advance <= truncation"):
        sliding_tbptt(cell, losses.regress, 4, 3)


def stream(steps, whole=False):
    """One row of two begins anew every third batch, or both always; the position is a counter."""

    def following(data, position, key):
        x = jax.random.normal(key, (B, steps, 2))
        restart = None if whole else jnp.stack([position == 0, position % 3 == 0])
        return Batch(x, x[..., :1], None, restart), position + 1

    return Stream(lambda data: jnp.zeros((), jnp.int32), following)


EARLY = {"tbptt", "sliding_tbptt", "uoro"}  # a state each of its own kind; the others for the long suite
WINDOW = {"bptt": 0, "uoro": 0, "forward": 0, "es": 0, "score": 0, "anneal": 0}


@pytest.mark.parametrize(
    "rule", [*sorted(EARLY), *(pytest.param(r, marks=pytest.mark.slow) for r in sorted({*RULES} - EARLY))]
)
def test_a_run_taken_up_again_is_the_run_never_stopped(rule):
    cell = rnnjax.unroll(rnnjax.stack(rnnjax.vanilla(2), rnnjax.linear(1)))
    estimator = RULES[rule](cell, losses.regress, WINDOW.get(rule, 2))
    trainer = training.Trainer(cell, estimator, optax.sgd(0.1), stream(5, whole=rule in ("score", "anneal")))
    start = jax.jit(lambda key: training.init(trainer, (), key))(KEY)
    loop = jax.jit(lambda progress, n: training.loop(trainer, progress, (), n))
    whole = loop(start, 4)
    assert int(whole.state.step) == 4

    def again(a):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(np.array(jax.random.key_data(a)))
        return jnp.asarray(np.array(a))

    stopped = jax.tree.map(again, loop(start, 2))
    resumed = loop(stopped, 2)
    for a, b in zip(jax.tree.leaves(resumed), jax.tree.leaves(whole)):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)
    if (
        jax.tree.leaves(stopped.state.estimator) and rule != "anneal"
    ):  # which counts its moves; of others the state matters: without it the run is another
        state = stopped.state._replace(estimator=jax.tree.map(jnp.zeros_like, stopped.state.estimator))
        apart(loop(stopped._replace(state=state), 2).state.params, whole.state.params, by=1e-6)


@pytest.mark.parametrize("rule", ["rtrl", *(pytest.param(r, marks=pytest.mark.slow) for r in ("snap1", "snap2"))])
def test_influences_see_across_the_batches_of_a_stream(rule):
    cell = network()
    params, batch = example(cell)
    parts = [cut(batch, begin, begin + 2, [begin == 0] * B) for begin in range(0, T, 2)]
    got, _ = streamed(RULES[rule](cell, losses.regress, 1), params, parts)
    exact = jax.grad(loss(cell, batch))(params)
    short, _ = streamed(backprop(cell, losses.regress), params, parts)
    if rule == "snap1":
        apart(got, exact)
    else:
        close(got, exact, atol=1e-5)
    apart(got, short)


@pytest.mark.parametrize(
    "rule, window, make, message",
    [
        ("bptt", 3, rnnjax.vanilla, "a truncation of 3 belongs to tbptt"),
        ("tbptt", 0, rnnjax.vanilla, "tbptt needs a truncation"),
        ("sliding_tbptt", 0, rnnjax.vanilla, "sliding_tbptt needs a truncation"),
        ("pes", 0, rnnjax.vanilla, "pes needs a truncation"),
        ("nres", 0, rnnjax.vanilla, "nres needs a truncation"),
        ("rflo", 0, rnnjax.lstm, "rflo: the carry has 2 arrays"),
        ("eprop", 0, rnnjax.gru, "reset_after=True"),
        ("kfrtrl", 0, rnnjax.gru, "otherwise than as one product"),
        ("rtrl", 0, lambda n: rnnjax.vanilla(4096), "276 GB an example"),
    ],
)
def test_a_rule_that_does_not_fit_says_so_before_anything_is_compiled(rule, window, make, message):
    cell = rnnjax.unroll(rnnjax.stack(make(3), rnnjax.linear(1)))
    x = jax.ShapeDtypeStruct((B, T, 10), jnp.float32)
    with pytest.raises(ValueError, match=message):
        estimator = RULES[rule](cell, losses.regress, window)
        jax.eval_shape(
            lambda k: estimator.init(cell.init(k, jax.ShapeDtypeStruct(x.shape[1:], x.dtype)), Batch(x, x)), KEY
        )


def test_a_rule_whose_influence_is_full_warns():
    cell = network()
    with pytest.warns(UserWarning, match="2 steps reach everything, so this is RTRL"):
        RULES["snap2"](cell, losses.regress, 1).init(*example(cell))


OF_STREAMS = (
    "tbptt",
    "sliding_tbptt",
    "rtrl",
    "snap1",
    "snap2",
    "kfrtrl",
    "optimal_kronecker",
    "rflo",
    "eprop",
    "forward",
    "es",
    "pes",
    "nres",
)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["uoro", *OF_STREAMS])
def test_a_checkpoint_holds_the_state_of_a_rule(rule, tmp_path):
    (tmp_path / "text.txt").write_text("to be or not to be, that is the question\n" * 20)
    flags = ["--cell=vanilla", "--hidden_size=3", "--num_layers=1", "--truncation=5", "--batch_size=2", "--log_every=1"]
    flags += ["--schedule=constant", "--eval_every=9", "--eval_batches=1", "--sample=2", "--writers=jsonl"]
    flags += [f"--data={tmp_path / 'text.txt'}", f"--rule={rule}"]
    for name, steps in (("whole", 4), ("cut", 2), ("cut", 4)):
        assert launch("char_lm", *flags, f"--num_steps={steps}", f"--workdir={tmp_path / name}") == 0
    whole, cut = (
        {r["step"]: (r["loss"], r["grad_norm"]) for r in records(tmp_path / name) if "loss" in r}
        for name in ("whole", "cut")
    )
    assert whole == cut and len(whole) == 4

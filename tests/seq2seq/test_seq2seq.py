"""Laws of attention, conditioning and encoder-decoders: by hand in numpy, on ragged sources, step by step, learning."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import KEY, close, draw, loss, moved

import rnnjax
from rnnjax import Seq, SourceTarget, data, losses, run, seq2seq, unroll, wrappers
from rnnjax.estimators import backprop
from rnnjax.seq2seq import Memory, additive, attend, bahdanau, dot, encoder_decoder, general, luong
from rnnjax.wrappers import condition

H, V, S, T = 4, 5, 6, 4


def memory(attention, hidden, valid=None):
    """A memory of five places of three features, and the weights of its keys."""
    values = draw((5, 3))
    weights = attention.keys.init(KEY, values)
    return seq2seq.encode_memory(attention, weights, Seq(values, valid)), weights


def softmax(e):
    e = np.exp(e - e.max())
    return e / e.sum()


def test_scores_are_what_the_papers_write():
    q = draw((4,))
    for attention in (general(4), additive(6), additive(6, coverage=True, location=3)):
        held, keys = memory(attention, 4)
        p = moved(attention.init(KEY, q, held))
        cover, last = np.arange(5.0), np.array([0.1, 0.2, 0.3, 0.4, 0.5])
        got = attention.score(p, q, held.keys, seq2seq.Past(last, cover))
        if not p:
            want = np.asarray(held.values @ keys["w"]) @ np.asarray(q)
        else:  # Luong's concat: v . tanh([q, v_s] w)
            joined = np.concatenate([np.tile(q, (5, 1)), held.values], axis=1)
            z = joined @ np.concatenate([p["w"], keys["w"]])
            if attention.coverage:
                beside = np.stack([[0, *last[:-1]], last, [*last[1:], 0]], axis=1)
                z = z + np.outer(cover, p["c"]) + beside @ np.asarray(p["f"])
            want = np.tanh(z) @ np.asarray(p["v"])
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)
    with pytest.raises(ValueError, match=r"no inner product: general\(4\)"):
        dot().score((), q, draw((5, 3)), seq2seq.Past())


def test_what_is_not_valid_is_never_read_and_an_empty_source_reads_as_zero():
    def of(scores, values, valid):
        return attend(scores, seq2seq.encode_memory(dot(), (), Seq(values, valid)))

    both = jax.jit(jax.vmap(jax.value_and_grad(lambda *a: loss(of(*a)), (0, 1)), (None, None, 0)))
    scores, values = draw((5,)), draw((5, 3)).at[3:].set(jnp.nan)
    valid = jnp.array([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]], bool)
    _, (e_slope, v_slope) = both(scores.at[3:].set(1e30), values, valid)
    context, weights = of(scores.at[3:].set(1e30), values, valid[0])
    values = values.at[3:].set(0)
    close((context, weights[:3]), attend(scores[:3], Memory(values[:3], ())))
    assert not weights[3:].any() and not e_slope[0, 3:].any() and not v_slope[0, 3:].any()
    assert np.isfinite(e_slope).all() and np.isfinite(v_slope).all() and e_slope[0, :3].any()
    nothing = of(scores, values, valid[1])
    assert not nothing[0].any() and not nothing[1].any() and not e_slope[1].any() and not v_slope[1].any()


def test_bahdanau_by_hand():
    attention = additive(6, coverage=True, location=1)
    held, _ = memory(attention, 6, jnp.arange(5) < 4)
    cell, xs = bahdanau(rnnjax.vanilla(H), attention, held), draw((3, 2))
    p = moved(cell.init(KEY, xs[0]), 0.5)
    carry, ys = run(unroll(cell), p, xs)
    p, held = jax.tree.map(np.asarray, (p, held))
    (w, u), s = p["core"], p["score"]
    h, cover, last = np.zeros(H), np.zeros(5), np.zeros(5)
    for x, y in zip(np.asarray(xs), ys):
        before = np.outer(cover, s["c"]) + last[:, None] @ s["f"]
        a = softmax((np.tanh(held.keys + h @ s["w"] + before) @ s["v"])[:4])
        cover[:4], last[:4] = cover[:4] + a, a
        context = a @ held.values[:4]
        h = np.tanh(np.concatenate([x, context]) @ w["w"] + w["b"] + h @ u["u"])
        np.testing.assert_allclose(y, np.concatenate([h, context]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(carry.weights[:4], a, rtol=1e-4)
    np.testing.assert_allclose(carry.cover, cover, rtol=1e-4)


@pytest.mark.parametrize("feed", [False, True], ids=["window", "feed"])
def test_luong_by_hand_on_a_ragged_window(feed):
    attention = general(H)
    held, _ = memory(attention, H)
    cell = luong(rnnjax.vanilla(H), attention, held, 2, feed=feed)
    assert (cell.window is None) == feed
    xs = draw((7, 2)).at[2].set(jnp.nan)
    p = moved(cell.init(KEY, xs[0]), 0.5)
    valid, first = np.arange(7) != 2, np.arange(7) == 4
    carry, ys = run(unroll(cell), p, Seq(xs, jnp.array(valid), jnp.array(first)))
    (w, u), mix = p["core"], p["mix"][0]["w"]
    h, o = np.zeros(H), np.zeros(2)
    for t, x in enumerate(np.asarray(xs)):
        if first[t]:
            h, o = np.zeros(H), np.zeros(2)
        if valid[t]:
            x = np.concatenate([x, o]) if feed else x
            h = np.tanh(x @ w["w"] + w["b"] + h @ u["u"])
            a = softmax(held.keys @ h)
            o = np.tanh(np.concatenate([a @ held.values, h]) @ mix)
            np.testing.assert_allclose(ys.x[t], o, rtol=1e-4, atol=1e-5)
    assert not ys.x[2].any()
    np.testing.assert_allclose(carry.weights, a, rtol=1e-4)


@pytest.mark.slow
def test_the_alignment_after_a_window_is_that_of_the_scan():
    held, _ = memory(dot(), 3)
    cell, xs = luong(rnnjax.vanilla(3), dot(), held, 2), draw((4, 2))
    p = cell.init(KEY, xs[0])
    start = seq2seq.CarryWithAttention(((), draw((3,))), (), jnp.full(5, 0.2), ())
    scan, fast = (
        jax.jit(lambda marks, c=c: unroll(c).step(p, start, Seq(xs, *marks))) for c in (cell.replace(window=None), cell)
    )
    for valid, first in ((1, 1, 0, 0), (0, 0, 0, 0)), ((0, 0, 0, 0), (0, 0, 0, 0)), ((1, 1, 0, 0), (0, 0, 0, 1)):
        marks = jnp.array(valid, bool), jnp.array(first, bool)
        close(fast(marks), scan(marks))


def test_conditioning_by_hand():
    c, xs = draw((2,)), draw((3, 3))
    for how in ("carry", "input", "both", "gate"):
        cell = condition(rnnjax.vanilla(H), c, how)
        p = moved(cell.init(KEY, xs[0]), 0.5)
        ys = run(unroll(cell), p, xs)[1]
        w, u = p["cell"]
        h = np.tanh(c @ p["carry"]["w"] + p["carry"]["b"]) if "carry" in p else np.zeros(H)
        assert ("carry" in p, "gate" in p) == (how in ("carry", "both"), how == "gate")
        for x, y in zip(np.asarray(xs), ys):
            if how == "gate":
                scale, shift = np.split(np.asarray(c @ p["gate"]["w"] + p["gate"]["b"]), 2)
                x = x * (1 + scale) + shift
            x = np.concatenate([x, c]) if how in ("input", "both") else x
            h = np.tanh(x @ w["w"] + w["b"] + h @ u["u"])
            np.testing.assert_allclose(y, h, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="one of carry, input, both, gate"):
        condition(rnnjax.vanilla(H), c, "film")
    marks = Seq(xs, None, jnp.arange(3) == 1)
    with pytest.raises(ValueError, match="cannot restart inside a window"):
        run(condition(unroll(rnnjax.vanilla(H)), c), {"cell": (w, u), "carry": None}, marks, ((), h))


def translator(kind="luong", teach=lambda cell: cell):
    """A network from symbols to symbols."""
    attention = {"luong": general(H), "bahdanau": additive(H), "feed": general(H), "none": None}[kind]

    def decoder(held):
        core = rnnjax.gru(H)
        wrap = {
            "bahdanau": lambda: bahdanau(core, attention, held),
            "luong": lambda: luong(core, attention, held, H),
            "feed": lambda: luong(core, attention, held, H, feed=True),
            "none": lambda: condition(core, held, "both"),
        }[kind]()
        return teach(rnnjax.stack(rnnjax.one_hot(V), wrap, rnnjax.linear(V)))

    encoder = rnnjax.stack(rnnjax.one_hot(V), rnnjax.bidirectional(rnnjax.gru(H), last=kind == "none"))
    return encoder_decoder(encoder, decoder, attention, bridge=kind != "none")


def example():
    source = Seq(jnp.array([3, 1, 0, 4, 99, 99]), jnp.arange(S) < 4)
    return SourceTarget(source, jnp.array([4, 1, 0, 2]))


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("bahdanau", "feed", "luong")]


@pytest.mark.parametrize("kind", ["none", *SLOW])
def test_the_decoder_step_by_step_is_the_window_and_padding_changes_nothing(kind):
    net, x = translator(kind), example()
    params = moved(net.init(KEY, x), 0.5)

    @jax.jit
    def ways(params, x):
        slopes = jax.grad(lambda p: loss(run(net, p, x)[1]))(params)
        trimmed = run(net, params, SourceTarget(x.source.x[:4], x.target))[1]
        cell, inner = net.begin(params, x.source)
        carry, steps = cell.initial_carry(inner, x.target[0]), []
        for t in range(T):
            carry, y = cell.step(inner, carry, x.target[t])
            steps.append(y)
        return run(net, params, x)[1], trimmed, jnp.stack(steps), slopes

    ys, trimmed, steps, slopes = ways(params, x)
    close(trimmed, ys)
    close(steps, ys)
    for name, part in slopes.items():
        assert all(np.isfinite(g).all() and g.any() for g in jax.tree.leaves(part)), name  # the bridge and the keys too


@pytest.mark.slow
def test_a_bridge_hands_over_what_fits_and_maps_what_does_not():
    def net(encoder, decoder, **options):
        one = encoder_decoder(
            rnnjax.stack(rnnjax.one_hot(V), unroll(encoder)), rnnjax.stack(rnnjax.one_hot(V), decoder), **options
        )
        return one, moved(one.init(KEY, example()))

    def start(one, params):
        cell, inner = one.begin(params, example().source)
        final = one.bind(one.weights(params), example().source, None)[1]
        return cell.initial_carry(inner, jnp.int32(0))[1], final[1]

    two = rnnjax.stack(rnnjax.vanilla(H), rnnjax.vanilla(H))
    one, params = net(two, two)
    assert params["bridge"] == ()
    close(*start(one, params))
    one, params = net(two, rnnjax.vanilla(3))
    own, final = start(one, params)
    e, bridge = jnp.concatenate(jax.tree.leaves(final)), params["bridge"]
    close(own[1], jnp.tanh(e @ bridge["w"] + bridge["b"]))
    one, params = net(two, rnnjax.vanilla(3), bridge=False)
    assert params["bridge"] == () and not start(one, params)[0][1].any()


@pytest.mark.slow
def test_teacher_forcing_and_free_running_are_one_schedule_of_the_decoder():
    net, x = translator(), example()
    params = moved(net.init(KEY, x), 1.0)
    own = translator(teach=wrappers.scheduled_sampling)
    stream = wrappers.with_sampling(
        rnnjax.data.Stream(lambda d: (), lambda d, p, k: (data.Batch(jax.tree.map(lambda a: a[None], x), 0), p)),
        wrappers.sampling_schedule("linear", 1),
    )
    forced, position = stream.next((), stream.init(()), KEY)

    @jax.jit
    def ways(params, forced, free):
        cell, inner = net.begin(params, x.source)
        carry, y = run(cell, inner, x.target[0])
        symbols = rnnjax.decoding.generate(cell, inner, carry, y, T - 1, rnnjax.decoding.greedy, KEY)
        read = jnp.concatenate([x.target[:1], symbols])
        wanted = [run(net, params, x._replace(target=t))[1] for t in (x.target, read)]
        return read, wanted, [run(own, params, jax.tree.map(lambda a: a[0], b.x))[1] for b in (forced, free)]

    read, wanted, got = ways(params, forced, stream.next((), position, KEY)[0])
    close(got, wanted)
    assert (read != x.target).any()


@pytest.mark.slow
def test_estimators_take_pairs():
    net, x = translator(), example()
    params = moved(net.init(KEY, x))
    batch = data.Batch(jax.tree.map(lambda a: jnp.stack([a, a]), x), jnp.zeros((2, T), jnp.int32))
    estimate, _ = jax.jit(backprop(net, losses.classify).grad)(params, (), batch)
    alone = losses.classify(run(net, params, x)[1], data.Batch(x, batch.y[0]))["loss"]
    close(estimate.metrics["loss"], losses.Mean(2 * alone.total, 2 * alone.weight))
    assert all(g.any() for g in jax.tree.leaves(estimate.grads))


def test_restarts_are_refused():
    net, x = translator(), example()
    params = jax.eval_shape(net.init, KEY, x)
    with pytest.raises(ValueError, match="restart inside a window"):
        jax.eval_shape(lambda p: run(net, p, x._replace(target=Seq(x.target, None, jnp.arange(T) == 2))), params)


def test_a_changed_encoder_decoder_is_a_plain_cell():
    net = translator()
    assert type(net.replace(window=None)) is rnnjax.Cell and type(net) is seq2seq.EncoderDecoder


def attends(core, seen):
    """A decoder around a core; what it is called with goes to `seen`."""

    def make(memory):
        seen.append(memory)
        assert memory.values.shape[-1] == 2 * H  # it may look at its memory
        return rnnjax.stack(rnnjax.one_hot(V), luong(core, general(H), memory, H), rnnjax.linear(V))

    return make


READER = rnnjax.stack(rnnjax.one_hot(V), rnnjax.bidirectional(rnnjax.gru(H)))


def test_a_decoder_is_made_of_a_memory_alone():
    seen, x = [], example()
    net = encoder_decoder(READER, attends(rnnjax.gru(H), seen), general(H))
    ys = run(net, net.init(KEY, x), x)[1]
    assert np.isfinite(ys).all() and seen and all(isinstance(memory, seq2seq.Memory) for memory in seen)


DROPPED = rnnjax.stack(rnnjax.linear(4 * H), rnnjax.dropconnect(rnnjax.lstm_core(H), 0.5))


@pytest.mark.parametrize(
    "core, noisy",
    [
        pytest.param(rnnjax.urnn(H // 2), False, id="unitary", marks=pytest.mark.slow),
        pytest.param(DROPPED, True, id="dropconnect"),
    ],
)
def test_weights_that_are_made_of_params_come_beside_the_decoder(core, noisy):
    make, x = attends(core, []), example()
    with pytest.raises(ValueError, match=r"give Decoder\(make, weights\)"):
        jax.eval_shape(encoder_decoder(READER, make, general(H)).init, KEY, x)
    like = seq2seq.Memory(np.zeros((1, 2 * H)), np.zeros((1, H)))
    net = encoder_decoder(READER, seq2seq.Decoder(make, make(like).weights), general(H))
    params = net.init(KEY, x)
    quiet, one, other = (run(net, params, x, key=key)[1] for key in (None, KEY, jax.random.key(8)))
    assert np.isfinite(quiet).all() and bool((one != other).any()) == noisy

"""Law: what goes in as bfloat16, float32 or float64 comes out so; a carry keeps its type."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import KEY, build, inputs, outputs, rows, total, window
from _rows import H
from _table import ROWS

from rnnjax import Seq, cast, dropout, embed, feedback, lstm, one_hot, pointwise, recurrent, run, unroll, zoneout
from rnnjax import losses as loss
from rnnjax.cells import binary
from rnnjax.data import Batch, gather_examples
from rnnjax.decoding import decode, greedy, log_probabilities


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@rows(ROWS)
def test_dtypes_are_kept(row, dtype, x64):
    xs = inputs(row, dtype=jnp.dtype(dtype))
    cell = window(row, jnp.dtype(dtype), **{name: jnp.float32(low) for name, (low, _) in row.numbers.items()})

    def everything(xs, key):
        params = cell.init(jax.random.key(0), xs)
        weights = cell.weights(params)
        carry = cell.initial_carry(weights, xs)
        new, ys = run(cell, params, xs, key=key)
        assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, carry)
        slopes = jax.grad(lambda p: total(cell, p, None, xs, key))(params)
        return params, weights, carry, new, outputs(ys), slopes

    for key in (None, KEY) if row.noisy else (None,):
        for path, leaf in jax.tree.leaves_with_path(jax.eval_shape(everything, xs, key)):
            assert leaf.dtype == dtype, jax.tree_util.keystr(path)


@rows([r for r in ROWS if r.level == "step"])
def test_half_precision_computes_nearly_the_same(row):
    xs = inputs(row)
    half = xs if row.features is None else xs.astype(jnp.bfloat16)
    params = jax.jit(window(row, jnp.bfloat16).init)(jax.random.key(0), half)
    single = jax.tree.map(lambda a: np.asarray(a, np.float32), params)
    want = jax.jit(lambda params, xs: run(window(row), params, xs)[1])(single, xs)
    got = jax.jit(lambda params, xs: run(window(row, jnp.bfloat16), params, xs)[1])(params, half)
    assert abs(got.astype(jnp.float32) - want).max() < 0.1


@rows([r for r in ROWS if r.level == "step"])
def test_a_carry_is_never_weakly_typed(row):
    x, cell = inputs(row)[0], build(row)

    def carries(x):
        params = cell.init(jax.random.key(0), x)
        return cell.initial_carry(cell.weights(params), x), run(cell, params, x)[0]

    assert not any(leaf.weak_type for leaf in jax.tree.leaves(jax.eval_shape(carries, x)))


def test_mixed_precision_keeps_params_gradients_and_outputs_in_single():
    row = next(r for r in ROWS if r.name == "lstm")
    xs, exact = inputs(row), window(row)
    mixed = cast(unroll(lstm(H)), jnp.bfloat16)
    params = mixed.init(jax.random.key(0), xs)
    carry, ys = run(mixed, params, xs)
    slopes = jax.grad(lambda p: (run(mixed, p, xs)[1] ** 2).sum())(params)
    assert {a.dtype.name for a in jax.tree.leaves((params, ys, slopes))} == {"float32"}
    assert {a.dtype.name for a in jax.tree.leaves(carry)} == {"bfloat16"}
    want = run(exact, params, xs)[1]
    assert 1e-5 < abs(ys - want).max() < 0.05
    ragged = run(mixed, params, Seq(xs, valid=jnp.arange(12) < 5))[1].x
    assert abs(ragged[:5] - want[:5]).max() < 0.05
    assert not ragged[5:].any()
    for same in (cast(exact, jnp.float32), unroll(cast(lstm(H), jnp.float32))):
        assert (run(same, params, xs)[1] == want).all()


N = 20_000
# Each draws N events of a probability near 1e-3, for inputs of a dtype.
RARE = {
    "dropout": lambda x: run(dropout(1e-3), (), x, key=KEY)[1] == 0,
    "zoneout": lambda x: (
        run(zoneout(recurrent(N, lambda p, h, z: (z, z), start=lambda h: h), 1e-3), {}, x, key=KEY)[1] == 0
    ),
    "binary": lambda x: run(binary(), (), -7 * x, key=KEY)[1] == 1,
}


@pytest.mark.parametrize("what", RARE)
def test_what_is_rare_is_as_rare_in_half_precision(what, half):
    """Uniform numbers of 8 bits are zero one time in 128, and 1 - 1e-3 is 1: noise would come too often, or never."""
    events, single = (int(RARE[what](jnp.ones(N, d)).sum()) for d in (half, jnp.float32))
    # The same draws against a probability that half precision rounds by up to 2^-8: 20 events, give or take 0.3.
    assert 5 < single < 45 and abs(events - single) <= 3


def test_a_sampled_output_is_drawn_in_single_precision(half):
    cell = feedback(pointwise(lambda xc: jnp.zeros(1000, xc.dtype)), jnp.zeros(1000, half), "sample")
    carries = [run(cell, (), jnp.ones(1, d), key=KEY)[0] for d in (half, jnp.float32)]
    drawn = [[int(a.argmax()) for a in jax.tree.leaves(carry) if a.size == 1000] for carry in carries]
    assert drawn[0] == drawn[1] != [0]


# Each reads the symbols 5 and 100, of more symbols than 8 bits can count.
SYMBOLS = 300
LOGITS = jax.random.normal(KEY, (4, SYMBOLS))
TABLE = pointwise(lambda s: LOGITS[s % 4])
READ = {
    "one_hot": lambda s: run(unroll(one_hot(SYMBOLS)), (), s)[1],
    "embed": lambda s: run(unroll(embed(SYMBOLS, 2)), {"w": LOGITS[:2].T}, s)[1],
    "cross_entropy": lambda s: loss.cross_entropy(LOGITS[:2], s),
    "classify": lambda s: loss.classify(LOGITS[:2], Batch(None, s)),
    "ctc": lambda s: loss.ctc(LOGITS, s),
    "label_ctc": lambda s: loss.label_ctc(LOGITS, Batch(None, s)),
    "frames_needed": loss.frames_needed,
    "edit_distance": lambda s: loss.edit_distance(s, jnp.array([100, 5, 5]), 2, 3),
    "log_probabilities": lambda s: log_probabilities(TABLE, (), (), LOGITS[0], s),
    "decode": lambda s: decode(TABLE, (), (), LOGITS[0], 3, greedy, KEY, end=0, forced=s).log_probability,
    "gather_examples": lambda s: gather_examples(Batch(LOGITS.T, None), s).x,
    "confusion_matrix": lambda s: jnp.asarray(loss.confusion_matrix(s, s, SYMBOLS)),
}


@pytest.mark.parametrize("small", ["uint8", "int8", "int16"])
@pytest.mark.parametrize("what", READ)
def test_a_symbol_of_few_bits_is_the_same_symbol(what, small):
    """Compared in uint8, 300 symbols are 44: 5 was also 261, and 100 was none."""
    few, many = (READ[what](jnp.array([5, 100], dtype)) for dtype in (small, "int32"))
    jax.tree.map(np.testing.assert_array_equal, few, many)
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(many))

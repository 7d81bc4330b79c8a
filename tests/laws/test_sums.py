"""Law: sums over time, symbols, examples and batches are in float32 at least, whatever the dtype of what is summed."""

import jax.numpy as jnp
import numpy as np
from _helpers import KEY

from rnnjax import cells, decoding, losses, run, training, unroll
from rnnjax.data import Batch, Stream

N = 10_000
# Elements are numbers of the dtype themselves, so what is left is the rounding of N float32 sums: N 2^-24.
CLOSE = {"rtol": N * 2.0**-24}


def test_the_mean_of_many_equal_numbers_is_theirs(half):
    x = jnp.full(N, 0.3, half)
    want = float(x[0])
    for found, n in ((losses.mean(x), N), (losses.mean(x, jnp.arange(N) % 2 == 0), N // 2)):
        assert found.total.dtype == found.weight.dtype == jnp.float32 and found.weight == n
        np.testing.assert_allclose(found.total, n * want, **CLOSE)  # the value alone may be right by rounding twice
        np.testing.assert_allclose(found.value(), want, **CLOSE)
    np.testing.assert_allclose(run(unroll(cells.mean_so_far()), (), x[:, None])[1][-1], want)


def test_every_loss_of_many_equal_steps_is_that_of_one(half):
    z, y = jnp.asarray([0.3, -1.0, 0.5], half), jnp.int32(1)
    exact = np.asarray(z, np.float64)
    many = jnp.broadcast_to(z, (N, 3))
    nats = np.log(np.exp(exact).sum()) - exact[1]
    np.testing.assert_allclose(losses.classify(many, Batch(None, jnp.full(N, y)))["loss"].value(), nats, **CLOSE)
    square = ((exact - 1) ** 2).mean()
    fit = losses.regress(many, Batch(None, jnp.ones((N, 3), half)))["loss"].value()
    np.testing.assert_allclose(fit, square, **CLOSE)
    yes = np.log1p(np.exp(-exact)).mean()
    bits = losses.mean(losses.binary_cross_entropy(many, jnp.ones((N, 3), half))).value()
    np.testing.assert_allclose(bits, yes, **CLOSE)
    wide = losses.cross_entropy(jnp.zeros(N, half), y)  # a sum over N symbols
    np.testing.assert_allclose(wide, np.log(N), **CLOSE)


def test_the_log_probability_of_a_long_text(half):
    cell = cells.pointwise(lambda s: jnp.zeros(5, half))
    start, want = (cell, (), (), jnp.zeros(5, half)), -1000 * np.log(5)
    said = decoding.decode(*start, 1000, decoding.temperature(1.0), KEY, end=-1)
    np.testing.assert_allclose(said.log_probability, want, **CLOSE)
    each = decoding.log_probabilities(*start, jnp.zeros(1000, jnp.int32))
    np.testing.assert_allclose(each.sum(), want, **CLOSE)
    np.testing.assert_allclose(decoding.beam_search(*start, 1000, 2, end=-1).score[0], want, **CLOSE)
    path = decoding.prefix_beam_search(jnp.log(jnp.asarray([[0.75, 0.25]] * 1000, jnp.float32)).astype(half), 1, n=1)
    log_p = np.asarray(jnp.log(jnp.asarray([0.75, 0.25])).astype(half), np.float64)
    blanks = 1000 * (log_p[0] - np.log(np.exp(log_p).sum()))
    assert path.log_probability.dtype == jnp.float32
    assert float(path.log_probability[0]) >= blanks * (1 + N * 2.0**-24)


def test_the_log_probability_of_many_draws(half):
    cell = unroll(cells.binary_core(3))
    carry, _ = run(cell, {"u": jnp.zeros((3, 3), half)}, jnp.zeros((1000, 3), half), key=KEY)
    np.testing.assert_allclose(cells.log_probability(carry), -3000 * np.log(2), **CLOSE)


def test_an_evaluation_over_many_batches(half):
    stream = Stream(
        lambda data: (),
        lambda d, position, key: (Batch(jnp.full((2, 5, 1), 0.3, half), jnp.zeros((2, 5, 1), half)), position),
        1000,
    )
    metrics = training.evaluate(unroll(cells.pointwise(lambda x: x)), losses.regress, stream)((), (), KEY)
    np.testing.assert_allclose(metrics["loss"].value(), float(jnp.asarray(0.3, half)) ** 2, **CLOSE)
    assert metrics["loss"].weight == N

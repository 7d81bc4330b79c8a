"""Laws of what the experiments that see share, and of how captions are marked."""

from __future__ import annotations

import _launching as launching  # noqa: F401  # finds the experiments
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from experiments._shared.conv import Conv
from experiments.captioning import mistakes, objective
from rnnjax import data, tasks


def test_the_convolution_by_one_matmul_is_flax_s():
    x = jax.random.normal(jax.random.key(0), (6, 5, 2))
    dense = Conv(4).init(jax.random.key(1), x)["params"]["Dense_0"]
    there = {"kernel": dense["kernel"].reshape(3, 3, 2, 4), "bias": dense["bias"]}
    expected = nn.Conv(4, (3, 3)).apply({"params": there}, x)
    np.testing.assert_allclose(Conv(4).apply({"params": {"Dense_0": dense}}, x), expected, rtol=1e-4, atol=1e-6)


def test_a_sentence_counts_as_wrong_by_what_its_first_wrong_word_should_say():
    wanted = "a small red cross on the left"
    said = [
        wanted,
        "a small red circle on the top",
        "a large blue cross on the left",
        "a small red cross on the top",
        "a small blue square on the left",
        "a small red cross on the left of",
    ]
    rows = [np.array(tasks.encode_words(text) + [0] * (tasks.LONGEST - len(text.split()))) for text in [wanted, *said]]
    found = mistakes(np.stack(rows[1:]), np.stack([rows[0]] * len(said)))
    assert {name: round(6 * part) for name, part in found.items()} == {
        "exact": 1,
        "wrong: size": 1,
        "wrong: colour": 1,
        "wrong: shape": 1,
        "wrong: where": 2,
    }


def test_smoothed_targets_are_a_mixture_of_the_word_and_all_words():
    logits, y, mask = jnp.array([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]]), jnp.array([0, 2]), jnp.array([True, False])
    found = objective(0.3)(logits, data.Batch(None, y, mask))
    log_p = np.log(np.exp([2.0, 0.0, 1.0]) / np.exp([2.0, 0.0, 1.0]).sum())
    assert abs(float(found["loss"].value()) + 0.7 * log_p[0] + 0.1 * log_p.sum()) < 1e-5
    assert abs(float(found["nats"].value()) + log_p[0]) < 1e-5

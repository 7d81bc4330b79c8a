"""Laws of arguments: what is no logit, label or mark is refused in one line, and never taken for another."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import losses
from rnnjax.data import Batch

Z, Y = jnp.zeros((4, 3)), jnp.array([1, 2])
REFUSED = {
    "cross-entropy of integers": (lambda: losses.cross_entropy(Z.astype(int), jnp.zeros(4, int)), "got int32"),
    "cross-entropy of booleans": (lambda: losses.cross_entropy(Z.astype(bool), jnp.zeros(4, int)), "got bool"),
    "predicted classes": (lambda: losses.classify(Z.astype(int), Batch(None, jnp.zeros(4, int))), "floating point"),
    "targets of one hot": (lambda: losses.classify(Z, Batch(None, jnp.zeros((4, 3), int))), r"integer labels \[4\]"),
    "a mask of weights": (lambda: losses.classify(Z, Batch(None, jnp.zeros(4, int), jnp.ones(4))), "mask.* boolean"),
    "binary, integers": (lambda: losses.binary_cross_entropy(Y, Y), "binary_cross_entropy takes logits in floating"),
    "ctc, integers": (lambda: losses.ctc(Z.astype(int), Y), "ctc takes logits in floating point, got int32"),
    "ctc, float labels": (lambda: losses.ctc(Z, Y.astype(float)), r"integers \[N\], got float32 \[2\]"),
    "ctc, boolean labels": (lambda: losses.ctc(Z, Y > 1), r"integers \[N\], got bool \[2\]"),
    "ctc, a batch": (lambda: losses.ctc(Z[None], Y), r"of one example, got \[1, 4, 3\]"),
    "ctc, no frame": (lambda: losses.ctc(Z[:0], Y), r"T from 1, of one example, got \[0, 3\]"),
    "ctc, labels of a batch": (lambda: losses.ctc(Z, Y[None]), r"integers \[N\], got int32 \[1, 2\]"),
    "ctc, weights of frames": (lambda: losses.ctc(Z, Y, jnp.ones(4)), r"valid is boolean \[4\].* got float32 \[4\]"),
    "ctc, few marks": (lambda: losses.ctc(Z, Y, jnp.ones(3, bool)), r"valid is boolean \[4\].* got bool \[3\]"),
    "frames of float labels": (lambda: losses.frames_needed(Y.astype(float)), "frames_needed takes labels"),
    "distance of floats": (lambda: losses.edit_distance(Y, Y.astype(float), 2, 2), "edit_distance takes labels"),
    "lengths of float labels": (
        lambda: losses.check_lengths([9], [np.ones(1)], ["a"]),
        "a: labels are integers",
    ),
    "lengths without names": (
        lambda: losses.check_lengths([9, 1], [np.array([1]), np.array([1, 2])], ["a"]),
        "2 frames, 2 labels and 1 names",
    ),
    "confusion with weights": (lambda: losses.confusion_matrix([0], [0], 2, [0.5]), "mask is an array of booleans"),
    "squares of complex numbers": (
        lambda: losses.squared_error(Z.astype(complex), Z.astype(complex)),
        "y is an array .*of real numbers",
    ),
    "a distance to what is not there": (lambda: losses.edit_distance(Y, Y, 2, -1), "m is from 0 to 2, got -1"),
    "a distance from what is not there": (lambda: losses.edit_distance(Y, Y, 3, 2), "n is from 0 to 2, got 3"),
    "no batch": (lambda: losses.regress(Z, None), "batch is of type Batch, got None"),
    "F1 of nan": (lambda: losses.macro_f1([[np.nan, 1], [0, 1]]), r"takes a matrix \[classes, classes\] of counts"),
    "F1 of less than nothing": (lambda: losses.macro_f1([[-1, 1], [0, 1]]), "of counts"),
    "F1 of a rectangle": (lambda: losses.macro_f1([[1, 1, 1], [0, 1, 1]]), r"of counts, got \[2, 3\]"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_of_another_kind_is_refused_in_one_line(kind):
    call, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_invalid_frames_are_skipped_wherever_they_are():
    z, y = jax.random.normal(jax.random.key(0), (7, 3)), jnp.array([1, 1, 2])
    valid = jnp.array([False, True, True, False, True, True, False])
    every = jax.jit(jax.value_and_grad(losses.ctc))
    value, slope = every(jnp.where(valid[:, None], z, jnp.nan), y, valid)
    at = np.flatnonzero(valid)
    expected, slopes = every(z[at], y)
    # A sum of four products in log space, each rounded to 2^-24 of numbers up to 10.
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(slope, np.eye(7)[:, at] @ slopes, atol=1e-5)


def test_a_label_that_is_no_probability_costs_nan():
    z, y = jnp.zeros(5), jnp.array([-0.1, 0.0, 0.5, 1.0, 1.1])
    found = jax.jit(losses.binary_cross_entropy)(z, y)
    assert jnp.isnan(found).tolist() == [True, False, False, False, True]
    np.testing.assert_allclose(found[1:4], np.log(2), rtol=1e-6)


def test_the_error_rate_of_labels_is_nan_where_a_logit_is():
    batch = Batch(None, Y)
    rate = jax.jit(jax.vmap(lambda z: losses.label_ctc(z, batch)["label_error"].value()))
    assert rate(jnp.stack([Z.at[1, 1].set(jnp.nan), Z])).tolist() == pytest.approx([np.nan, 1], nan_ok=True)

"""Laws of orbits that settle, and of the study that draws them against a parameter."""

import json

import jax
import jax.numpy as jnp
import numpy as np
from _launching import launch

from rnnjax.dynamics import bifurcation, logistic, orbit


def test_orbits_settle_where_a_loop_by_hand_does():
    values, starts = np.array([2.8, 3.2, 3.5]), np.array([[0.3], [0.8]])
    got = jax.jit(lambda v, h: bifurcation(logistic, v, h, 4, discard=300))(jnp.float32(values), jnp.float32(starts))
    assert got.shape == (3, 8)
    for row, r, cycle in zip(got, values, (1, 2, 4)):
        x = 0.3
        for _ in range(300):
            x = r * x * (1 - x)
        want = []
        for _ in range(4):
            want.append(x := r * x * (1 - x))
        np.testing.assert_allclose(row[:4], want, atol=1e-5)
        np.testing.assert_allclose(np.sort(row[:4]), np.sort(row[4:]), atol=1e-4)  # one attractor for both starts
        assert len({round(float(x), 3) for x in row}) == cycle


def test_an_orbit_leaves_out_what_is_discarded_and_keeps_what_is_seen():
    got = orbit(lambda h: h + jnp.array([1.0, 2.0]), jnp.zeros(2), 3, discard=4, see=lambda h: h[1])
    np.testing.assert_array_equal(got, [10, 12, 14])


def test_the_study_of_bifurcations_finds_where_chaos_begins(tmp_path, capsys):
    toy = ["--columns=61", "--points=2000", "--steps=2000", "--systems=logistic", "--picture=svg"]
    assert launch("bifurcation", *toy, f"--workdir={tmp_path / 'run'}") == 0
    (row,) = json.loads((tmp_path / "run" / "summary.json").read_text())["systems"]
    np.testing.assert_allclose(row["at the end"], np.log(2), rtol=0.02)  # the exponent at r = 4
    assert 3.5699 < row["first chaotic value"] < 3.61
    assert (tmp_path / "run" / "logistic.svg").read_text().startswith("<?xml")
    assert launch("bifurcation", "--systems=logistik", f"--workdir={tmp_path / 'wrong'}") == 1
    assert "did you mean logistic" in capsys.readouterr().err

"""What the laws share: inputs and params for a row, a loss, and how close is close."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _rows import SYMBOLS, Row, T
from _table import NEAR

from rnnjax import Cell, Seq, run, unroll

KEY = jax.random.key(7)


def rows(table, fast=None):
    """A parametrisation over a table, each row under its name; slow are those near to another, or not in `fast`."""
    slow = NEAR if fast is None else {r.name for r in table} - {r.name for r in fast}
    marks = {True: [pytest.mark.slow], False: []}
    return pytest.mark.parametrize("row", [pytest.param(r, id=r.name, marks=marks[r.name in slow]) for r in table])


def draw(shape, dtype=jnp.float32, seed=0):
    """Standard normal numbers that depend on nothing but their shape and the seed."""
    values = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return jnp.asarray(values, jnp.float64 if jax.config.jax_enable_x64 else jnp.float32).astype(dtype)


def inputs(row: Row, shape=(T,), dtype=jnp.float32, seed=0):
    """A window of inputs for a row, or with another shape a batch of them."""
    if row.features is None:
        return jnp.asarray(np.random.default_rng([seed, *shape]).integers(0, SYMBOLS, shape), jnp.int32)
    return draw((*shape, row.features), dtype, seed)


def build(row: Row, dtype=jnp.float32, **numbers) -> Cell:
    """The cell of a row, as it is."""
    return row.make(**numbers, **({"dtype": dtype} if row.features is None else {}))


def window(row: Row, dtype=jnp.float32, **numbers) -> Cell:
    """The cell of a row, on windows."""
    cell = build(row, dtype, **numbers)
    return cell if row.level == "window" else unroll(cell)


def moved(tree, size=0.3, seed=1):
    """A tree of floats moved at random: what starts at zero or one would hide a mistake."""
    return jax.tree.map(lambda a: a + jnp.asarray(size, a.dtype) * draw(a.shape, a.dtype, seed), tree)


def setup(row: Row, xs, dtype=jnp.float32):
    """A row's window cell, params and carry, both away from where they start."""
    cell = window(row, dtype)
    params = moved(cell.init(jax.random.key(0), xs), 0.2)
    return cell, params, moved(cell.initial_carry(cell.weights(params), xs))


def loss(tree, seed=2):
    """A number that depends on every entry of a tree, on each differently."""
    return sum(jnp.vdot(a, draw(a.shape, a.dtype, seed + i)) for i, a in enumerate(jax.tree.leaves(tree)))


def outputs(tree):
    """y without marks."""
    return tree.x if isinstance(tree, Seq) else tree


def total(cell: Cell, params, carry, xs, key=None):
    """The loss of a window: of its outputs and of its last carry."""
    carry, ys = run(cell, params, xs, carry, key)
    return loss((carry, outputs(ys)))


def gappy(xs, valid=(1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0), first=(0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0)):
    """A window with gaps and restarts; what stands in the gaps must never be read."""
    valid = jnp.array(valid, bool)
    poison = jnp.asarray(999 if jnp.issubdtype(xs.dtype, jnp.integer) else jnp.nan, xs.dtype)
    mask = valid.reshape(valid.shape + (1,) * (xs.ndim - 1))
    return Seq(jnp.where(mask, xs, poison), valid, jnp.array(first, bool))


def close(got, want, rtol=2e-5, atol=2e-6):
    """Equal structures, shapes, dtypes and finite values; the absolute part is relative to the largest entry."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for (path, a), b in zip(jax.tree.leaves_with_path(got), jax.tree.leaves(want)):
        where = jax.tree_util.keystr(path)
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype, where
        assert np.isfinite(b).all(), where
        np.testing.assert_allclose(a, b, rtol, atol * max(1.0, abs(b).max(initial=0.0)), err_msg=where)


def apart(got, want, by=1e-3):
    """Differing, somewhere, by more than any rounding."""
    gaps = [abs(np.asarray(a) - np.asarray(b)).max() for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want))]
    assert max(gaps) > by


def floats(tree) -> bool:
    """Whether a tree can be differentiated."""
    return all(jnp.issubdtype(a.dtype, jnp.floating) for a in jax.tree.leaves(tree))

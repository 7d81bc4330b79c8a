"""Small operations on pytrees."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base._cell import PyTree


def count(params: Any) -> int:
    """How many numbers there are in a tree.

    Example:
      >>> import jax.numpy as jnp
      >>> count({"w": jnp.ones((3, 4)), "b": jnp.ones(4)})
      16
    """
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))


def concatenate(a: PyTree, b: PyTree) -> PyTree:
    """Two trees of features side by side."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=-1), a, b)


def path_name(path: tuple[Any, ...]) -> str:
    """The name of a parameter: its path, as in "1/u" or "core/gate/w"."""
    return "/".join(str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in path)

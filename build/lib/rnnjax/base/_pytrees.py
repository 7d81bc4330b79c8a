"""Small operations on pytrees."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base._cell import PyTree


def count(params: Any) -> int:
    """Returns the number of scalars in a tree.

    Example:
      >>> import jax.numpy as jnp
      >>> count({"w": jnp.ones((3, 4)), "b": jnp.ones(4)})
      16
    """
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))


def concatenate(a: PyTree, b: PyTree) -> PyTree:
    """Concatenates two trees along their features."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=-1), a, b)


def path_name(path: tuple[Any, ...]) -> str:
    """Returns the name of a parameter: its path, such as "1/u" or "core/gate/w"."""
    return "/".join(str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in path)

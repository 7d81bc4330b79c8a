"""States with every kind of leaf, for the tests of checkpoints."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax

from rnnjax.base import PyTree


class State(NamedTuple):
    """One leaf of every kind that a training state may hold."""

    arrays: dict[str, Any]
    keys: tuple[jax.Array, ...]
    numbers: list[Any]
    nothing: tuple[Any, ...]


def random_array(seed: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Random bits as numbers: subnormals, infinities and NaN with their payloads among them."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(np.random.default_rng(seed).bytes(size), dtype).reshape(shape)


def make_state(seed: int) -> State:
    arrays = {
        "float32": jnp.asarray(random_array(seed, (4, 3), np.float32)),
        "bfloat16": jnp.asarray(random_array(seed + 1, (5,), ml_dtypes.bfloat16)),
        "float16": jnp.asarray(random_array(seed + 2, (2, 2), np.float16)),
        "float64": random_array(seed + 3, (3,), np.float64),
        "a name/with.dots ['é']": jnp.arange(seed, seed + 3),
        "scalar": jnp.int32(seed),
        "flags": jnp.array([True, False]),
        "empty": jnp.zeros((0, 4), jnp.bfloat16),
    }
    params = {"w": arrays["float32"]}
    keys = (jax.random.key(seed), jax.random.split(jax.random.key(seed, impl="rbg"), 3))
    return State(arrays, keys, [seed, seed / 7, True, np.float32(seed)], ((), None, optax.adam(0.1).init(params)))


def raw(tree: PyTree) -> list[tuple[Any, ...]]:
    """What a state is, down to the last bit, and the structure it stands in."""

    def leaf(x: Any) -> tuple[Any, ...]:
        if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return "key", str(x.dtype), np.asarray(jax.random.key_data(x)).tobytes(), x.shape
        return type(x).__name__, str(np.asarray(x).dtype), np.asarray(x).tobytes(), np.shape(x)

    return [jax.tree.structure(tree), *map(leaf, jax.tree.leaves(tree))]  # type: ignore[list-item]

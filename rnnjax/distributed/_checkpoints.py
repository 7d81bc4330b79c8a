"""Checkpoints of a run on several machines: process 0 writes and reads, and sends the state to the others."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from rnnjax.base import PyTree
from rnnjax.distributed._runtime import from_leader, is_leader
from rnnjax.runs import Checkpoints


class Shared(Checkpoints):
    """A `Checkpoints` whose folder only process 0 accesses; all processes must call each method together.

    The files are those of `Checkpoints`, so a run may resume on more or fewer devices than it was saved from.
    """

    def save(self, step: int, state: PyTree) -> None:
        """Gathers the leaves one by one and writes them."""
        whole = jax.tree.map(_gather_leaf, state)
        if is_leader():
            super().save(step, whole)

    def restore(self, like: PyTree) -> tuple[int, PyTree] | None:
        """Returns the checkpoint that process 0 reads, laid out as `like`."""
        here = jax.tree.map(_placeholder, like)
        restored = super().restore(here) if is_leader() else None
        step = from_leader(-1 if restored is None else restored[0])
        if step < 0:
            return None
        state = here if restored is None else restored[1]
        return step, jax.tree.map(_laid_out, state, like)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _bits(leaf: Any) -> Any:
    """Returns a key as the integers that it consists of; any other leaf unchanged."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _as_key(like: Any, bits: Any) -> Any:
    """Returns integers as a key if `like` is one."""
    return jax.random.wrap_key_data(jnp.asarray(bits), impl=jax.random.key_impl(like)) if _is_key(like) else bits


def _gather_leaf(leaf: Any) -> Any:
    """Returns a whole leaf on the host."""
    if not isinstance(leaf, jax.Array):
        return leaf
    bits = _bits(leaf)
    if bits.is_fully_replicated:
        return _as_key(leaf, np.asarray(bits.addressable_data(0)))
    return _as_key(leaf, multihost_utils.process_allgather(bits, tiled=True))


def _placeholder(leaf: Any) -> Any:
    """Returns a placeholder to restore a leaf into: an array on the host."""
    if not isinstance(leaf, jax.Array):
        return leaf
    bits = jax.eval_shape(_bits, leaf)
    return _as_key(leaf, np.zeros(bits.shape, bits.dtype))


def _laid_out(host: Any, like: Any) -> Any:
    """Returns the leaf of process 0, laid out as `like`."""
    here = np.asarray(_bits(host))
    received = multihost_utils.broadcast_one_to_all(np.frombuffer(here.tobytes(), np.uint8))
    array = np.frombuffer(np.asarray(received).tobytes(), here.dtype).reshape(here.shape)
    if not isinstance(like, jax.Array):
        return array[()]
    bits = _bits(like)
    return _as_key(like, jax.make_array_from_callback(bits.shape, bits.sharding, lambda at: array[at]))

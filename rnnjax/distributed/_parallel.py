"""One run on many devices: each processes a part of every batch, and the estimates are summed.

Params, optimiser state and data are replicated on every device; a batch and the carries it produces are sharded by
example. The result does not depend on the number of devices, except for rounding in sums of a different order.
"""

from __future__ import annotations

import hashlib
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from rnnjax.base import PyTree
from rnnjax.data import Batch
from rnnjax.estimators import Estimate, Estimator
from rnnjax.estimators._base import EXAMPLES, batch_size_of
from rnnjax.training import Progress, Trainer


class UnevenBatchError(ValueError):
    """The number of devices does not divide the batch."""


def mesh(devices: int = 0) -> Mesh | None:
    """Returns the devices of a run as a one-dimensional mesh; None: one device, the default.

    Args:
      devices: how many; 0: one if there is only this process, otherwise all devices of all processes.

    Raises:
      ValueError: there are fewer devices, or several processes would not use all of theirs.

    Example:
      >>> mesh() is None
      True
      >>> mesh(1000)  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ValueError: there is 1 device (...), not 1000
    """
    available = jax.devices()
    if jax.process_count() > 1:
        if devices not in (0, len(available)):
            raise ValueError(f"several processes use all of their devices, which are {len(available)}, not {devices}")
        return Mesh(np.array(available), (EXAMPLES,))
    if devices > len(available):
        are = "there is 1 device" if len(available) == 1 else f"there are {len(available)} devices"
        raise ValueError(f"{are} ({available[0].device_kind}), not {devices}")
    return Mesh(np.array(available[:devices]), (EXAMPLES,)) if devices > 1 else None


def shard_stream(stream: Any, devices: Mesh | None) -> Any:
    """Returns a stream (or None) whose batches are sharded by example if the devices divide them, else replicated."""
    if devices is None or stream is None:
        return stream

    def following(data: PyTree, position: PyTree, key: jax.Array) -> tuple[Batch, PyTree]:
        batch, position = stream.next(data, position, key)
        return _shard_leaves(batch, devices, batch_size_of(batch)), position

    return stream._replace(next=following)


def _sum_over_devices(estimator: Estimator, devices: Mesh | None) -> Estimator:
    """Returns an estimator that runs on each device for its part of the batch and sums the estimates once.

    This requires `estimator.adds`. XLA partitions all other estimators; the result is the same, with a sum over devices
    in every step of the backward pass.
    """
    if devices is None or not estimator.adds:
        return estimator

    def grad(params: PyTree, state: PyTree, batch: Batch, key: jax.Array | None = None) -> tuple[Estimate, PyTree]:
        _assert_divides(devices, batch)

        def part(params: PyTree, state: PyTree, batch: Batch, key: Any) -> tuple[Estimate, PyTree]:
            estimate, after = estimator.grad(params, state, batch, key, EXAMPLES)
            return lax.psum(estimate, EXAMPLES), after

        cut = P(EXAMPLES)
        together = jax.shard_map(
            part, mesh=devices, in_specs=(P(), cut, cut, P()), out_specs=(P(), cut), check_vma=False
        )
        out: tuple[Estimate, PyTree] = together(params, state, batch, key)
        return out

    return estimator._replace(grad=grad)


def on_devices(trainer: Trainer, devices: Mesh | None) -> Trainer:
    """Returns the parts of a training run for many devices."""
    return trainer._replace(
        stream=shard_stream(trainer.stream, devices), estimator=_sum_over_devices(trainer.estimator, devices)
    )


def constrain_sharding(trainer: Trainer, progress: Progress, data: PyTree, devices: Mesh | None) -> Progress:
    """Constrains, under jit, where a run is stored: the estimator's state is sharded by example, the rest replicated.

    Raises:
      UnevenBatchError: the number of devices does not divide the batch.
    """
    if devices is None:
        return progress
    state = progress.state
    batch = jax.eval_shape(lambda data, s: trainer.stream.next(data, s.position, s.key)[0], data, state)
    _assert_divides(devices, batch)
    cut = _shard_leaves(state.estimator, devices, batch_size_of(batch))
    return _shard_leaves(progress, devices, 0)._replace(state=_shard_leaves(state, devices, 0)._replace(estimator=cut))


def _assert_divides(devices: Mesh, batch: Batch) -> None:
    examples = batch_size_of(batch)
    if examples % devices.size:
        raise UnevenBatchError(f"a batch of {examples} examples does not divide over {devices.size} devices")


def replicate(tree: PyTree, devices: Mesh | None) -> PyTree:
    """Replicates arrays of this process on all devices.

    Raises:
      ValueError: another process has different data.

    Example:
      >>> import jax.numpy as jnp
      >>> replicate({"w": jnp.ones(3)}, mesh(1))["w"].tolist()
      [1.0, 1.0, 1.0]
    """
    if devices is None:
        return tree
    whole = NamedSharding(devices, P())
    if jax.process_count() == 1:
        return jax.device_put(tree, whole)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    digests = multihost_utils.process_allgather(np.frombuffer(_digest(leaves), np.uint8))
    if (digests != digests[0]).any():
        raise ValueError("the processes have loaded different data: every machine needs the same files")
    laid = [jax.make_array_from_callback(a.shape, whole, a.__getitem__) for a in leaves]
    return jax.tree.unflatten(jax.tree.structure(tree), laid)


def to_local(tree: PyTree, devices: Mesh | None) -> PyTree:
    """Returns replicated arrays as arrays on one local device, so that work on them needs no other process."""
    alone = devices is None or jax.process_count() == 1
    return tree if alone else jax.tree.map(lambda a: a.addressable_data(0), tree)


def _shard_leaves(tree: PyTree, devices: Mesh, n: int) -> PyTree:
    """Shards leaves with n examples and replicates the rest; replicates all if the devices do not divide n."""

    def place(a: jax.Array) -> jax.Array:
        spec = P(EXAMPLES) if n and n % devices.size == 0 and a.ndim and a.shape[0] == n else P()
        return lax.with_sharding_constraint(a, NamedSharding(devices, spec))

    return jax.tree.map(place, tree)


def _digest(arrays: list[np.ndarray]) -> bytes:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype} {array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.digest()

"""A gradient that the devices of this process compute together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from rnnjax.base import PyTree
from rnnjax.base._arguments import check_function
from rnnjax.losses import Mean

_AXIS = "batch"


def parallel_grad(loss: Callable[..., Any], with_value: bool = False) -> Callable[..., Any]:
    """Returns the gradient of a loss in its params, for which each device takes an equal part of the batch.

        gradient(params, *batch) = d loss(params, *batch) / d params

    The parts are summed once. So the loss must be a sum over the examples, or a `losses.Mean` of them, whose value is
    then the mean over all parts, masked or not; the weight of the Mean must not depend on params. A plain mean is not a
    sum: it would come out once for each device. Call `host_devices()` at the start of the script, or there is one
    device only. The result is compiled; it equals `jax.grad(loss)` up to rounding.

    Args:
      loss: (params, *batch) -> a number, or a `losses.Mean`. All arrays of the batch have the examples on axis 0,
        random keys too.
      with_value: whether to return (value, gradient), as `jax.value_and_grad` does.

    Raises:
      ValueError: when called: the number of devices does not divide the batch, or its arrays disagree about its size.

    Example:
      >>> import jax.numpy as jnp
      >>> from rnnjax import losses
      >>> def loss(w, xs, mask):
      ...     return losses.mean((w * xs - 1) ** 2, mask)
      >>> value, gradient = parallel_grad(loss, with_value=True)(2.0, jnp.array([1.0, 9.0]), jnp.array([True, False]))
      >>> float(value), float(gradient)
      (1.0, 2.0)
    """

    check_function("parallel_grad: loss", loss)

    def part(params: PyTree, *batch: PyTree) -> tuple[jax.Array, jax.Array | None, PyTree]:
        """Returns the sum of the losses, the weight of a mean or None, and the gradient of the sum."""

        def total(params: PyTree) -> tuple[jax.Array, jax.Array | None]:
            found = loss(params, *batch)
            return (found.total, found.weight) if isinstance(found, Mean) else (found, None)

        (value, weight), gradient = jax.value_and_grad(total, has_aux=True)(params)
        return value, weight, gradient

    @jax.jit
    def together(params: PyTree, *batch: PyTree) -> PyTree:
        value, weight, gradient = _summed(part, _examples(batch))(params, *batch)
        if weight is not None:
            value, gradient = jax.tree.map(lambda a: a / weight.astype(a.dtype), (value, gradient))
        return (value, gradient) if with_value else gradient

    return together


def _summed(part: Callable[..., PyTree], examples: int) -> Callable[..., PyTree]:
    """Returns (whole, *cut) -> the sum of what each device returns for its part of the examples."""
    devices = Mesh(np.array(jax.local_devices()), (_AXIS,))
    if examples % devices.size:
        raise ValueError(f"a batch of {examples} examples does not divide over {devices.size} devices")

    def called(whole: PyTree, *cut: PyTree) -> PyTree:
        specs = (P(), *(P(_AXIS) for _ in cut))
        return jax.shard_map(
            lambda *args: lax.psum(part(*args), _AXIS), mesh=devices, in_specs=specs, out_specs=P(), check_vma=False
        )(whole, *cut)

    return part if devices.size == 1 else called


def _examples(batch: PyTree) -> int:
    """Returns the number of examples of a batch, on which all its arrays agree."""
    sizes = {np.shape(a)[0] if np.ndim(a) else 0 for a in jax.tree.leaves(batch)}
    if len(sizes) != 1 or 0 in sizes:
        shapes = ", ".join(str(list(np.shape(a))) for a in jax.tree.leaves(batch)) or "nothing"
        raise ValueError(f"expected arrays of a batch with the examples on axis 0, got {shapes}")
    return sizes.pop()

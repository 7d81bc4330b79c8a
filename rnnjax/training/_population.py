"""Populations: many members with different numbers, trained in one compiled program without affecting each other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import ArrayLike

from rnnjax.base import PyTree, check_number, check_size
from rnnjax.base._arguments import check_array, check_function
from rnnjax.base._misfits import check_key
from rnnjax.runs import usable_cores

_Population = Callable[..., PyTree]
STRATEGIES = ("auto", "map", "vmap", "shard")
_AXIS = "members"
_MOST = 8  # devices of a CPU that share a batch: more were not measured, and each takes time to make
_FEWEST_EXAMPLES = 8  # of each device
_SMALL = 200  # units of a layer whose weights stay in the cache of each core
_UNITS_PER_EXAMPLE = 20


def host_devices(n: int = 0) -> None:
    """Splits this CPU into n devices, so that work can be distributed over them; 0: one per core.

    Call it before JAX starts its backend; after that it has no effect.

    Example:
      >>> import jax
      >>> host_devices(1)
      >>> len(jax.devices("cpu")) >= 1
      True
    """
    check_size("host_devices: n", n, 0)
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", n or usable_cores())


def helpful_devices(examples: int, units: int, cores: int = 0) -> int:
    """Returns how many cores should share a batch, so that a step is fastest: a divisor of the batch, at most 8.

    Each core reads all weights. So it needs eight examples at least, and a layer of more than some 200 units one
    example for every twenty units. Measured on two cores, with LSTM, GRU and vanilla layers.

    Args:
      examples: of a batch.
      units: of the largest layer.
      cores: that are there; 0: those of this process.

    Example:
      >>> helpful_devices(64, units=128, cores=2), helpful_devices(20, units=650, cores=2), helpful_devices(9, 128, 2)
      (2, 1, 1)
      >>> helpful_devices(64, units=128, cores=6)
      4
    """

    for name, value, least in (("examples", examples, 1), ("units", units, 1), ("cores", cores, 0)):
        check_size(f"helpful_devices: {name}", value, least)

    def helps(n: int) -> bool:
        each = examples // n
        return examples % n == 0 and each >= _FEWEST_EXAMPLES and units <= max(_SMALL, _UNITS_PER_EXAMPLE * each)

    return max([1, *(n for n in range(2, min(cores or usable_cores(), _MOST) + 1) if helps(n))])


def chosen(strategy: str = "auto") -> str:
    """Returns the strategy that `auto` selects: shard with several devices, otherwise map on a CPU and vmap elsewhere.

    Batched small matmuls are slow on a CPU, so there vmap is slower than running the members one by one.

    Raises:
      ValueError: the strategy is unknown.

    Example:
      >>> chosen("vmap"), chosen() in ("map", "vmap", "shard")
      ('vmap', True)
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"unknown strategy {strategy}: one of {', '.join(STRATEGIES)}")
    if strategy != "auto":
        return strategy
    if jax.local_device_count() > 1:
        return "shard"
    return "map" if jax.default_backend() == "cpu" else "vmap"


def population(f: Callable[..., PyTree], strategy: str = "auto", member_batch: int = 0) -> _Population:
    """Returns a function of many members from a function of one: (members, *shared) -> outs.

        outs[i] = f(members[i], *shared)

    `map` runs the members one by one, so outs[i] is bitwise equal to a run alone. `vmap` runs all at once, equal up to
    rounding. `shard` distributes the members over the devices of this process; each device runs its own by map on a CPU
    and by vmap elsewhere. If a loop inside f stops for one member, it continues for the others.

    Args:
      f: a pure function (member, *shared) -> out; everything in `member` may be traced.
      strategy: map, vmap, shard, or auto, see `chosen`.
      member_batch: under vmap, how many members to run at once, which limits the memory; 0: all.

    Raises:
      ValueError: the strategy is unknown.

    Example: a different number of steps for each member.
      >>> import jax.numpy as jnp
      >>> from jax import lax
      >>> def doubled(n, x):
      ...     return lax.fori_loop(0, n, lambda i, x: 2 * x, x)
      >>> print(population(doubled, "vmap")(jnp.arange(4), 1.0))
      [1. 2. 4. 8.]
    """
    check_function("population: f", f)
    check_size("population: member_batch", member_batch, 0)
    kind = chosen(strategy)
    at_once = kind == "vmap" or (kind == "shard" and jax.default_backend() != "cpu")

    def run(members: PyTree, *shared: PyTree) -> PyTree:
        if at_once and not member_batch:
            return jax.vmap(lambda m: f(m, *shared))(members)
        return lax.map(lambda m: f(m, *shared), members, batch_size=member_batch if at_once else None)

    return _sharded(run) if kind == "shard" else run


def _mesh() -> Mesh:
    """Returns the devices of this process as a one-dimensional mesh."""
    return Mesh(np.array(jax.local_devices()), (_AXIS,))


def _sharded(run: _Population) -> _Population:
    """Distributes the members over the devices, repeating the last one until the number divides."""

    def shared_out(members: PyTree, *shared: PyTree) -> PyTree:
        n, devices = jax.tree.leaves(members)[0].shape[0], _mesh()
        more = -n % devices.size
        padded = jax.tree.map(lambda a: jnp.concatenate([a, a[-1:].repeat(more, 0)]), members) if more else members
        specs = (PartitionSpec(_AXIS), *(PartitionSpec() for _ in shared))
        outs = jax.shard_map(run, mesh=devices, in_specs=specs, out_specs=PartitionSpec(_AXIS), check_vma=False)(
            padded, *shared
        )
        return jax.tree.map(lambda a: a[:n], outs) if more else outs

    return shared_out


def replicated(tree: PyTree, strategy: str = "auto") -> PyTree:
    """Puts the data that all members share on every device once; otherwise `population` would copy it at each call."""
    return jax.device_put(tree, NamedSharding(_mesh(), PartitionSpec())) if chosen(strategy) == "shard" else tree


def spread(members: PyTree, strategy: str = "auto") -> PyTree:
    """Puts members where `population` leaves them: distributed over the devices under shard, otherwise unchanged.

    Example:
      >>> import jax.numpy as jnp
      >>> spread({"w": jnp.ones((4, 3))}, strategy="map")["w"].shape
      (4, 3)
    """
    return (
        jax.device_put(members, NamedSharding(_mesh(), PartitionSpec(_AXIS)))
        if chosen(strategy) == "shard"
        else members
    )


def interquartile_mean(scores: ArrayLike) -> float:
    """Returns the mean of the middle half of the scores, which outliers, even infinite ones, do not affect.

    The outer quarters are cut exactly: a score on the boundary counts in part.

    Example:
      >>> interquartile_mean([1.0, 2.0, 3.0, 1e9]), interquartile_mean([5.0])
      (2.5, 5.0)

    Reference: Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice, 2021.
    """
    values = np.asarray(check_array("interquartile_mean: scores", scores, "[n]", some=True), float)
    return float(_middle(np.sort(values[None]))[0])


def bootstrap(scores: ArrayLike, level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Returns a bootstrap confidence interval of the interquartile mean.

    Args:
      scores: scores of independent members, `[n]`.
      level: the confidence level.
      draws: the number of bootstrap samples, each of n scores with replacement.
      seed: the seed of the samples.

    Example:
      >>> low, high = bootstrap([1.0, 2.0, 3.0, 4.0])
      >>> 1.0 <= low <= 2.5 <= high <= 4.0
      True
    """
    values = np.asarray(check_array("bootstrap: scores", scores, "[n]", some=True), float)
    check_number("bootstrap: level", level, 0, 1, without=(0, 1))
    check_size("bootstrap: draws", draws)
    check_size("bootstrap: seed", seed, 0)
    drawn = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    means = np.sort(_middle(np.sort(values[drawn])))
    low, high = (means[min(int(q * draws), draws - 1)] for q in ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def _middle(ordered: np.ndarray) -> np.ndarray:
    """Returns the mean of the middle half of each row of sorted scores, `[rows, n]` -> `[rows]`."""
    n = ordered.shape[-1]
    weights = np.clip(np.minimum(np.arange(1, n + 1), 0.75 * n) - np.maximum(np.arange(n), 0.25 * n), 0, None)
    counted = np.where(weights > 0, ordered, 0.0)  # 0 * inf is nan
    return (counted * weights).sum(-1) / weights.sum()


def survivors(scores: ArrayLike, part: int) -> np.ndarray:
    """Returns the indices of the best 1/part of the members, at least one, in ascending order; nan is worst.

    Example:
      >>> survivors([0.3, float("nan"), 0.1, 0.2, 0.5, 0.4], part=3)
      array([2, 3])

    Reference: Jamieson, Talwalkar, Non-stochastic best arm identification and hyperparameter optimization, 2016.
    """
    values = np.asarray(scores, float)
    kept = np.argsort(np.where(np.isnan(values), np.inf, values), kind="stable")[: -(-len(values) // part)]
    return np.sort(kept)


def exploit(key: jax.Array, scores: jax.Array, part: float = 0.25) -> jax.Array:
    """Returns the member that each member continues from, `[n]`, as in population based training.

    Each of the worst `part` copies a random one of the best `part` if that one is better. All others continue
    themselves.

    Args:
      key: a random key.
      scores: losses `[n]`; nan is worst.
      part: a fraction, at most a half.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> exploit(jax.random.key(0), jnp.array([4.0, 1.0, jnp.nan, 2.0])).tolist()
      [0, 1, 1, 3]

    Reference: Jaderberg et al., Population based training of neural networks, 2017.
    """
    check_key(key)
    scores = jnp.asarray(check_array("exploit: scores", scores, "[n]", "floating", some=True))
    check_number("exploit: part", part, 0, 0.5)
    n = scores.shape[0]
    count = max(1, int(n * part))
    worth = jnp.where(jnp.isnan(scores), jnp.inf, scores)
    order = jnp.argsort(worth)
    donors = order[jax.random.randint(key, (count,), 0, count)]
    worst = order[n - count :]
    return jnp.arange(n).at[worst].set(jnp.where(worth[donors] < worth[worst], donors, worst))


def explore(key: jax.Array, numbers: jax.Array, low: Any, high: Any, factor: float = 1.25) -> jax.Array:
    """Multiplies or divides numbers `[n]` by a factor at random, within a range, as in population based training.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> print(explore(jax.random.key(0), jnp.array([1.0, 8.0]), low=1.0, high=8.0))
      [1.  6.4]
    """
    up = jax.random.bernoulli(key, 0.5, numbers.shape)
    return jnp.clip(jnp.where(up, numbers * factor, numbers / factor), low, high).astype(numbers.dtype)

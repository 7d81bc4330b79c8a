"""Linear probes of how much a state remembers of past inputs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rnnjax.base import check_number, check_size
from rnnjax.base._arguments import check_array
from rnnjax.dynamics._checks import check_single, check_state


def memory_curve(states: jax.Array, xs: jax.Array, lags: int, ridge: float = 1e-6) -> jax.Array:
    """Returns R^2 against lag: how well a linear probe recovers past inputs from the state.

        x_{t - k} ~ w_k h_t + b_k,  w_k = argmin ||X_k - H w||^2 + ridge n ||w||^2,  R^2 = 1 - error / variance

    One factorisation, the QR of [H; (ridge n)^(1/2) I], serves all lags. The probe is fitted on the first half of the
    sequences, and R^2 is computed on the other half. It is near 0, or slightly below, if the state remembers nothing.

    Args:
      states: h_1 .. h_T of B sequences, `[B, T, N]`.
      xs: inputs `[B, T]`, one number per step, independent over time.
      lags: the lags 0 .. lags - 1 are probed, each at the steps t >= lags - 1.
      ridge: the penalty, for states of order 1.

    Returns:
      `[lags]`.

    Raises:
      ValueError: there are fewer than two sequences, or no more steps than lags.

    Example: a state that holds two inputs.
      >>> import numpy as np
      >>> xs = jax.random.normal(jax.random.key(0), (20, 50))
      >>> states = jnp.stack([xs, jnp.roll(xs, 1, axis=1)], axis=-1)
      >>> np.testing.assert_allclose(memory_curve(states, xs, 4), [1, 1, 0, 0], atol=0.02)

    Reference: Jaeger, Short term memory in echo state networks, 2001.
    """
    states, xs = (
        jnp.asarray(check_array(f"memory_curve: {name}", a, holds="floating"))
        for name, a in (("states", states), ("xs", xs))
    )
    check_single("memory_curve: states", states)
    check_number("memory_curve: ridge", ridge, 0)
    if jnp.ndim(xs) != 2 or jnp.ndim(states) != 3 or jnp.shape(states)[:2] != jnp.shape(xs):
        given = f"{list(jnp.shape(states))} and {list(jnp.shape(xs))}"
        raise ValueError(f"memory_curve takes states [B, T, N] and xs [B, T], got {given}")
    check_size("memory_curve: lags", lags)
    b, steps = xs.shape
    if b < 2 or steps <= lags:
        raise ValueError(f"{b} sequences of {steps} steps for {lags} lags: two sequences and more steps than lags")
    past = jnp.stack([xs[:, lags - 1 - k : steps - k] for k in range(lags)], axis=-1)
    late = states[:, lags - 1 :]
    half, n = b // 2, states.shape[-1]
    h, y = late[:half].reshape(-1, n), past[:half].reshape(-1, lags)
    centre, mean = h.mean(0, keepdims=True), y.mean(0, keepdims=True)
    weight = jnp.sqrt(jnp.asarray(ridge * len(h), h.dtype)) * jnp.eye(n, dtype=h.dtype)
    q, r = jnp.linalg.qr(jnp.concatenate([h - centre, weight]))
    w = jax.scipy.linalg.solve_triangular(r, q[: len(h)].T @ (y - mean))
    h, y = late[half:].reshape(-1, n), past[half:].reshape(-1, lags)
    error = y - mean - (h - centre) @ w
    return 1 - (error**2).mean(0) / y.var(0)


def memory_capacity(r2: jax.Array) -> jax.Array:
    """Returns the sum of R^2 over the lags: how many past inputs a state holds, at most N, the size of the state.

    Args:
      r2: from `memory_curve`, with enough lags; negative values count as 0.

    Example:
      >>> float(memory_capacity(jnp.array([1.0, 0.75, -0.25])))
      1.75

    Reference: Jaeger, Short term memory in echo state networks, 2001.
    """
    r2 = check_state("memory_capacity: r2", r2, "[lags]")
    return jnp.maximum(r2, jnp.zeros((), r2.dtype)).sum()

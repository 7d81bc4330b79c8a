"""Classical dynamical systems as functions h -> h'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import check_number, check_positive, check_size
from rnnjax.base._arguments import check_array, check_function, describe_value
from rnnjax.dynamics._checks import check_state

_System = Callable[[jax.Array], jax.Array]


def _check_size_of(name: str, h: Any, size: int) -> None:
    """Refuses what is no state of a system of this many numbers; more axes may follow."""
    shape = check_array(f"{name}: h", h).shape
    if shape[:1] != (size,):
        raise ValueError(f"{name}: h is an array [{size}] of real numbers, got {describe_value(h)}")


def gingerbread(h: jax.Array) -> jax.Array:
    """The gingerbread-man map on `[2]`: chaos around hexagonal islands of order; it preserves area.

        x' = 1 - y + abs(x),  y' = x

    Example: inside the central hexagon each orbit has period six.
      >>> import jax.numpy as jnp
      >>> print(orbit(gingerbread, jnp.array([0.5, 1.0]), 6)[-1])
      [0.5 1. ]

    Reference: Devaney, A piecewise linear model for the zones of instability of an area-preserving map, 1984.
    """
    _check_size_of("gingerbread", h, 2)
    x, y = h
    return jnp.stack([1 - y + jnp.abs(x), x])


def henon(h: jax.Array) -> jax.Array:
    """The Henon map on `[2]` with a = 1.4, b = 0.3.

        x' = 1 - 1.4 x^2 + y,  y' = 0.3 x

    Example:
      >>> import jax.numpy as jnp
      >>> [round(x, 4) for x in henon(jnp.array([1.0, 0.5])).tolist()]
      [0.1, 0.3]

    Reference: Henon, A two-dimensional mapping with a strange attractor, 1976.
    """
    _check_size_of("henon", h, 2)
    x, y = h
    return jnp.stack([1 - 1.4 * x * x + y, 0.3 * x])


def lorenz(h: jax.Array) -> jax.Array:
    """The vector field of the Lorenz system on `[3]`; `rk4(lorenz, dt)` turns it into a map.

        x' = 10 (y - x),  y' = x (28 - z) - y,  z' = x y - 8/3 z

    Example:
      >>> import jax.numpy as jnp
      >>> print(lorenz(jnp.array([1.0, 1.0, 3.0])))
      [ 0. 24. -7.]

    Reference: Lorenz, Deterministic nonperiodic flow, 1963.
    """
    _check_size_of("lorenz", h, 3)
    x, y, z = h
    return jnp.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])


def lorenz96(h: jax.Array) -> jax.Array:
    """The vector field of the Lorenz-96 system on `[N]` with the forcing 8; `rk4(lorenz96, dt)` turns it into a map.

        x_i' = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + 8,  the indices around a circle

    With 40 numbers its largest Lyapunov exponent is about 1.7 in its unit of time, which stands for five days.

    Example: where all numbers are 8, nothing moves.
      >>> import jax.numpy as jnp
      >>> print(lorenz96(jnp.full(4, 8.0)), float(lorenz96(jnp.array([1.0, 2.0, 0.0, -3.0]))[0]))
      [0. 0. 0. 0.] 1.0

    Raises:
      ValueError: there are fewer than four numbers.

    Reference: Lorenz, Predictability: a problem partly solved, 1996.
    """
    if check_array("lorenz96: h", h, "[N]").shape[0] < 4:
        raise ValueError(f"lorenz96: h is an array [N] of at least 4 real numbers, got {describe_value(h)}")
    return (jnp.roll(h, -1) - jnp.roll(h, 2)) * jnp.roll(h, 1) - h + 8


def rk4(field: _System, dt: float) -> _System:
    """Returns the map of one classical Runge-Kutta step of dh/dt = field(h).

    Args:
      field: `[N] -> [N]`.
      dt: the time per step.

    Example: dh/dt = -h.
      >>> import jax.numpy as jnp
      >>> round(float(rk4(lambda h: -h, 0.1)(jnp.ones(()))), 4)
      0.9048
    """
    check_function("rk4: field", field)
    check_number("rk4: dt", dt)

    def step(h: jax.Array) -> jax.Array:
        a = field(h)
        b = field(h + dt / 2 * a)
        c = field(h + dt / 2 * b)
        d = field(h + dt * c)
        return h + dt / 6 * (a + 2 * b + 2 * c + d)

    return step


def mackey_glass(delay: float = 17.0, dt: float = 0.1) -> _System:
    """Returns the Mackey-Glass delayed feedback as a map on the history x(t - delay) .. x(t), `[delay / dt + 1]`.

        dx/dt = 0.2 x(t - delay) / (1 + x(t - delay)^10) - 0.1 x

    Each application is one Runge-Kutta step; the delayed value at half a step is the mean of its two neighbours.

    Args:
      delay: the system is chaotic from about 17 on.
      dt: the time per step; the delay is rounded to whole steps.

    Example: 1 is a fixed point.
      >>> import jax.numpy as jnp
      >>> float(mackey_glass(2.0)(jnp.ones(21))[-1])
      1.0

    Reference: Mackey, Glass, Oscillation and chaos in physiological control systems, 1977.
    """
    check_positive("mackey_glass: delay", delay)
    check_positive("mackey_glass: dt", dt)
    width = round(delay / dt) + 1

    def step(h: jax.Array) -> jax.Array:
        h = check_state("mackey_glass: h", h)
        if h.shape != (width,):
            raise ValueError(f"a delay of {delay} in steps of {dt} needs a history [{width}], got {list(h.shape)}")
        first, last = (0.2 * past / (1 + past**10) for past in (h[0], h[1]))
        past = (h[0] + h[1]) / 2
        middle, x = 0.2 * past / (1 + past**10), h[-1]
        a = first - 0.1 * x
        b = middle - 0.1 * (x + dt / 2 * a)
        c = middle - 0.1 * (x + dt / 2 * b)
        d = last - 0.1 * (x + dt * c)
        return jnp.append(h[1:], x + dt / 6 * (a + 2 * b + 2 * c + d))

    return step


def logistic(r: Any) -> _System:
    """Returns the logistic map on `[1]` with growth rate r, which may be a tracer.

        x' = r x (1 - x)

    Example: at r = 2, one half is a fixed point.
      >>> import jax.numpy as jnp
      >>> print(logistic(2.0)(jnp.array([0.5])))
      [0.5]

    Reference: May, Simple mathematical models with very complicated dynamics, 1976.
    """
    check_number("logistic: r", r)

    def step(h: jax.Array) -> jax.Array:
        h = check_state("logistic: h", h)
        return jnp.asarray(r, h.dtype) * h * (1 - h)

    return step


def orbit(
    f: _System, h: jax.Array, steps: int, discard: int = 0, see: Callable[[jax.Array], jax.Array] = lambda h: h
) -> jax.Array:
    """Returns the orbit h_1 .. h_steps of h' = f(h), `[steps, N]`.

    Args:
      f: the map.
      h: h_0 `[N]`.
      steps: the number of states to return.
      discard: steps to run before those.
      see: what to record of each state.

    Example:
      >>> import jax.numpy as jnp
      >>> print(orbit(lambda h: 2 * h, jnp.ones(1), 3)[:, 0])
      [2. 4. 8.]
    """
    check_function("orbit: f", f)
    check_function("orbit: see", see)
    h = check_state("orbit: h", h)
    check_size("orbit: steps", steps)
    check_size("orbit: discard", discard, 0)
    h = lax.fori_loop(0, discard, lambda _, h: f(h), h)
    return lax.scan(lambda h, _: (h := f(h), see(h)), h, None, length=steps)[1]


def bifurcation(
    family: Callable[[jax.Array], _System],
    values: jax.Array,
    starts: jax.Array,
    steps: int,
    discard: int = 500,
    see: Callable[[jax.Array], jax.Array] = lambda h: h[0],
) -> jax.Array:
    """Returns the states on which orbits settle, for all values of a parameter at once: `[values, starts * steps]`.

    Args:
      family: maps a parameter value to the system.
      values: the values of the parameter, `[k]`.
      starts: the initial states of the orbits, `[n, N]`; with several attractors, one start would show only one of
        them.
      steps: how many states of each orbit to record.
      discard: steps to run before those.
      see: maps a state to the number to record.

    Example: tanh(w h) has one attractor, then two.
      >>> import jax.numpy as jnp
      >>> starts = jnp.array([[-0.5], [0.5]])
      >>> ends = bifurcation(lambda w: lambda h: jnp.tanh(w * h), jnp.array([0.5, 2.0]), starts, 1)
      >>> [f"{h:.3f}" for h in abs(ends[0]).tolist()], [f"{h:.3f}" for h in ends[1].tolist()]
      (['0.000', '0.000'], ['-0.958', '0.958'])
    """
    check_function("bifurcation: family", family)
    check_function("bifurcation: see", see)
    values = check_state("bifurcation: values", values, "[k]")
    starts = check_state("bifurcation: starts", starts, "[n, N]")

    def settled(value: jax.Array) -> jax.Array:
        return jax.vmap(lambda h: orbit(family(value), h, steps, discard, see))(starts).reshape(-1)

    return jax.vmap(settled)(values)

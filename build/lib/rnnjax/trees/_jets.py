"""Jets of particles from a splitting process: trees from outside language."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from rnnjax.trees._brackets import Tree, delinearise

_Momentum = tuple[float, float, float, float]  # E, px, py, pz in GeV, with c = 1


class Jet(NamedTuple):
    """A jet and its history.

    Attributes:
      tree: of splittings; the leaves, all labelled "p", are the observed particles.
      momenta: E, px, py, pz of each node `[nodes, 4]`, in GeV; that of a node is the sum over its children.
    """

    tree: Tree
    momenta: np.ndarray

    def particles(self) -> np.ndarray:
        """Returns the momenta of the leaves, `[leaves, 4]`, from left to right."""
        return self.momenta[[not below for below in self.tree.children]]


def jet(
    rng: np.random.Generator, momentum: float, mass: float, rate: float, cut: float = 4.0, first: float | None = None
) -> Jet:
    """Draws a jet along the x axis. A particle with a mass m above the cut splits in two, isotropically at rest.

        m_1^2 / m^2, m_2^2 / m^2 ~ Exponential(rate), both drawn again until m_1 + m_2 < m

    A high rate makes light children: two narrow prongs. Each splitting conserves energy and momentum.

    Args:
      rng: the random generator.
      momentum, mass: of the whole jet, in GeV.
      rate: of the squared masses.
      cut: particles below this mass are stable, in GeV.
      first: another rate for the first splitting; None for the same.

    Example:
      >>> import numpy as np
      >>> one = jet(np.random.default_rng(0), momentum=400.0, mass=80.0, rate=2.0)
      >>> print(one.momenta[-1].round(1), (one.particles().sum(0) - one.momenta[-1]).round(9) + 0)
      [407.9 400.    0.    0. ] [0. 0. 0. 0.]

    Reference: Cranmer, Macaluso, Pappadopulo, Toy generative model for jets, 2019, simplified here.
    """
    symbols: list[str] = []
    momenta: list[_Momentum] = []
    todo: list[tuple[_Momentum, float] | _Momentum] = [((math.hypot(momentum, mass), momentum, 0.0, 0.0), mass)]
    now = rate if first is None else first
    while todo:
        at = todo.pop()
        if len(at) == 4:  # both children of the node are done
            symbols.append(")")
            momenta.append(at)
            continue
        p, m = at
        symbols.append("(")
        if m < cut:
            symbols += ["p", ")"]
            momenta.append(p)
            continue
        a, b = (m * share for share in shares(rng, now))
        one, other = _decay(rng, p, m, a, b)
        todo += [p, (other, b), (one, a)]
        now = rate
    return Jet(delinearise(symbols), np.array(momenta))


def shares(rng: np.random.Generator, rate: float) -> tuple[float, float]:
    """Draws the masses of two children relative to that of their parent."""
    a = b = 1.0
    while a + b >= 1:  # squares below 1 come from the inverse distribution function, or a low rate would take very long
        a, b = np.sqrt(-np.log1p(rng.random(2) * np.expm1(-rate)) / rate).tolist()
    return a, b


def _decay(rng: np.random.Generator, p: _Momentum, m: float, a: float, b: float) -> tuple[_Momentum, _Momentum]:
    """Returns the momenta of the two particles of masses a and b into which one of mass m > a + b decays."""
    energy = (m * m + a * a - b * b) / (2 * m)
    size = math.sqrt(max(energy * energy - a * a, 0.0))
    z, phi = rng.uniform(-1, 1), rng.uniform(0, 2 * math.pi)
    flat = size * math.sqrt(1 - z * z)
    q = (flat * math.cos(phi), flat * math.sin(phi), size * z)
    boosted = (p[0] * energy + sum(x * y for x, y in zip(p[1:], q))) / m
    along = (energy + boosted) / (p[0] + m)
    one: Any = (boosted, *(y + along * x for x, y in zip(p[1:], q)))
    other: Any = tuple(x - y for x, y in zip(p, one))
    return one, other

"""Analysis of a recurrent network as a dynamical system: fixed points, Lyapunov exponents, gradient flow, memory.

Belongs here: quantities computed from a cell. Does not belong here: figures (`plotting`).
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.dynamics._analyses import Analysis, analysis, matrices
from rnnjax.dynamics._flow import Flow, as_map, gradient_flow, loss_flow, powers, trajectory
from rnnjax.dynamics._forecasts import free_run, left_alone, valid_time
from rnnjax.dynamics._lyapunov import cell_lyapunov, lyapunov
from rnnjax.dynamics._points import Points, fixed_points
from rnnjax.dynamics._probes import memory_capacity, memory_curve
from rnnjax.dynamics._products import activation_bound, jacobian_bound, jacobians, spectra
from rnnjax.dynamics._systems import (
    bifurcation,
    gingerbread,
    henon,
    logistic,
    lorenz,
    lorenz96,
    mackey_glass,
    orbit,
    rk4,
)
from rnnjax.dynamics._unfolding import Graph, unfold

__all__ = [
    "Analysis",
    "Flow",
    "Graph",
    "Points",
    "activation_bound",
    "analysis",
    "as_map",
    "bifurcation",
    "cell_lyapunov",
    "fixed_points",
    "free_run",
    "gingerbread",
    "gradient_flow",
    "henon",
    "jacobian_bound",
    "jacobians",
    "left_alone",
    "logistic",
    "lorenz",
    "lorenz96",
    "loss_flow",
    "lyapunov",
    "mackey_glass",
    "matrices",
    "memory_capacity",
    "memory_curve",
    "orbit",
    "powers",
    "rk4",
    "spectra",
    "trajectory",
    "unfold",
    "valid_time",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)

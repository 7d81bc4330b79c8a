"""What a recurrence does to its states and to the gradients that run back through them.

Functions of a map `h -> h'`, or of a cell, its params and one sequence. All but `fixed_points` can be jitted and
batched, during training too.
"""

from rnnjax.dynamics.analyses import Analysis, analysis, goes_stepwise, matrices, memory_cells
from rnnjax.dynamics.flow import (
    Flow,
    Map,
    as_map,
    gradient_flow,
    loss_flow,
    memory_length,
    powers,
    trajectory,
)
from rnnjax.dynamics.forecasts import free_run, left_alone, valid_time
from rnnjax.dynamics.lyapunov import cell_lyapunov, lyapunov
from rnnjax.dynamics.points import Points, fixed_points
from rnnjax.dynamics.probes import forgetting, memory_capacity
from rnnjax.dynamics.products import activation_bound, jacobian_bound, jacobians, spectra
from rnnjax.dynamics.systems import bifurcation, gingerbread, henon, logistic, lorenz, mackey_glass, orbit, rk4
from rnnjax.dynamics.unfolding import Graph, unfold

__all__ = [
    "Analysis",
    "Flow",
    "Graph",
    "Map",
    "Points",
    "activation_bound",
    "analysis",
    "as_map",
    "bifurcation",
    "cell_lyapunov",
    "fixed_points",
    "forgetting",
    "free_run",
    "gingerbread",
    "goes_stepwise",
    "gradient_flow",
    "henon",
    "jacobian_bound",
    "jacobians",
    "left_alone",
    "logistic",
    "lorenz",
    "loss_flow",
    "lyapunov",
    "mackey_glass",
    "matrices",
    "memory_capacity",
    "memory_cells",
    "memory_length",
    "orbit",
    "powers",
    "rk4",
    "spectra",
    "trajectory",
    "unfold",
    "valid_time",
]

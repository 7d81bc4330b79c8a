"""Factories of cells.

Feedforward layers, recurrent cores and layers, linear recurrences, deep and stochastic cells, baselines. Belongs
here: a function that returns a `Cell`. Does not belong here: a function from a cell to a cell (`wrappers`), a cell
that keeps norms (`unitary`), a cell over trees (`trees`).
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.cells._baselines import (
    bag_of_inputs,
    convolution,
    delay_line,
    input_slots,
    max_so_far,
    mean_so_far,
    per_position,
    time_delay,
)
from rnnjax.cells._cores import ctrnn_core, gru_core, indrnn_core, mgu_core, recurrent, vanilla_core
from rnnjax.cells._deep import clockwork, clockwork_core, deep_transition, deep_transition_core
from rnnjax.cells._feedforward import dropout, embed, layer_norm, linear, one_hot, pointwise
from rnnjax.cells._layers import ctrnn, elman, gru, indrnn, irnn, lstm, mgu, peephole_lstm, vanilla
from rnnjax.cells._linear_recurrence import linear_recurrent, linear_scan, lru, mingru, minlstm, s4d
from rnnjax.cells._lstm import LSTMCarry, lstm_core, peephole_core
from rnnjax.cells._output_feedback import feedback, jordan, teacher_forced
from rnnjax.cells._stochastic import (
    Binary,
    binary,
    binary_core,
    boltzmann_core,
    energy,
    log_probability,
    stored,
    symmetric,
)

__all__ = [
    "Binary",
    "LSTMCarry",
    "bag_of_inputs",
    "binary",
    "binary_core",
    "boltzmann_core",
    "clockwork",
    "clockwork_core",
    "convolution",
    "ctrnn",
    "ctrnn_core",
    "deep_transition",
    "deep_transition_core",
    "delay_line",
    "dropout",
    "elman",
    "embed",
    "energy",
    "feedback",
    "gru",
    "gru_core",
    "indrnn",
    "indrnn_core",
    "input_slots",
    "irnn",
    "jordan",
    "layer_norm",
    "linear",
    "linear_recurrent",
    "linear_scan",
    "log_probability",
    "lru",
    "lstm",
    "lstm_core",
    "max_so_far",
    "mean_so_far",
    "mgu",
    "mgu_core",
    "mingru",
    "minlstm",
    "one_hot",
    "peephole_core",
    "peephole_lstm",
    "per_position",
    "pointwise",
    "recurrent",
    "s4d",
    "stored",
    "symmetric",
    "teacher_forced",
    "time_delay",
    "vanilla",
    "vanilla_core",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)

"""Factories of cells.

Feedforward layers, recurrent cores and layers, linear recurrences, deep and stochastic cells, baselines. Belongs here:
a function that returns a `Cell`. Does not belong here: a function from a cell to a cell (`wrappers`), a unitary cell
(`unitary`), a cell over trees (`trees`).
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
from rnnjax.cells._block_parts import rms_norm, short_convolution
from rnnjax.cells._continuous_time import PhasedCarry, cfc, ltc, phased_lstm
from rnnjax.cells._convolutional import conv_gru, conv_lstm
from rnnjax.cells._cores import ctrnn_core, gru_core, indrnn_core, mgu_core, vanilla_core
from rnnjax.cells._deep import clockwork, clockwork_core, deep_transition, deep_transition_core
from rnnjax.cells._delays import narx, rhn, tau_gru
from rnnjax.cells._delta_rule import delta_product, deltanet, gated_deltanet
from rnnjax.cells._feedforward import dropout, embed, layer_norm, linear, one_hot, pointwise
from rnnjax.cells._fixed_weights import LMUCarry, esn, lmu, ridge
from rnnjax.cells._found_gates import mut1, mut3
from rnnjax.cells._gated_recurrences import qrnn, rg_lru, rtu, sru
from rnnjax.cells._layers import ctrnn, elman, gru, indrnn, irnn, lstm, mgu, peephole_lstm, vanilla
from rnnjax.cells._lean_gates import atr, cfn, janet, ligru, minimal_rnn, ran, star, ugrnn
from rnnjax.cells._linear_attention import gla, linear_attention, mamba2, retnet
from rnnjax.cells._linear_dynamics import hgrn, linoss, plrnn
from rnnjax.cells._linear_recurrence import linear_recurrent, lru, mingru, minlstm, s4d
from rnnjax.cells._linear_scan import linear_scan
from rnnjax.cells._lstm import LSTMCarry, lstm_core, peephole_core
from rnnjax.cells._matrix_memory import Write, matrix_recurrent
from rnnjax.cells._memory_networks import ComputerCarry, TuringCarry, dnc, ntm
from rnnjax.cells._oscillators import OscillatorCarry, antisymmetric_rnn, cornn, lem, unicornn
from rnnjax.cells._output_feedback import feedback, jordan, teacher_forced
from rnnjax.cells._outside_memory import StackCarry, TapeCarry, stack_rnn, tape_rnn
from rnnjax.cells._recurrent import recurrent
from rnnjax.cells._small_cells import brc, fastgrnn, fastrnn, nbrc
from rnnjax.cells._spiking import AdaptiveCarry, alif, lif, spike
from rnnjax.cells._state_spaces import s5, s6
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
from rnnjax.cells._xlstm import MLSTMCarry, SLSTMCarry, mlstm, slstm

__all__ = [
    "AdaptiveCarry",
    "Binary",
    "ComputerCarry",
    "LMUCarry",
    "LSTMCarry",
    "MLSTMCarry",
    "OscillatorCarry",
    "PhasedCarry",
    "SLSTMCarry",
    "StackCarry",
    "TapeCarry",
    "TuringCarry",
    "Write",
    "alif",
    "antisymmetric_rnn",
    "atr",
    "bag_of_inputs",
    "binary",
    "binary_core",
    "boltzmann_core",
    "brc",
    "cfc",
    "cfn",
    "clockwork",
    "clockwork_core",
    "conv_gru",
    "conv_lstm",
    "convolution",
    "cornn",
    "ctrnn",
    "ctrnn_core",
    "deep_transition",
    "deep_transition_core",
    "delay_line",
    "delta_product",
    "deltanet",
    "dnc",
    "dropout",
    "elman",
    "embed",
    "energy",
    "esn",
    "fastgrnn",
    "fastrnn",
    "feedback",
    "gated_deltanet",
    "gla",
    "gru",
    "gru_core",
    "hgrn",
    "indrnn",
    "indrnn_core",
    "input_slots",
    "irnn",
    "janet",
    "jordan",
    "layer_norm",
    "lem",
    "lif",
    "ligru",
    "linear",
    "linear_attention",
    "linear_recurrent",
    "linear_scan",
    "linoss",
    "lmu",
    "log_probability",
    "lru",
    "lstm",
    "lstm_core",
    "ltc",
    "mamba2",
    "matrix_recurrent",
    "max_so_far",
    "mean_so_far",
    "mgu",
    "mgu_core",
    "mingru",
    "minimal_rnn",
    "minlstm",
    "mlstm",
    "mut1",
    "mut3",
    "narx",
    "nbrc",
    "ntm",
    "one_hot",
    "peephole_core",
    "peephole_lstm",
    "per_position",
    "phased_lstm",
    "plrnn",
    "pointwise",
    "qrnn",
    "ran",
    "recurrent",
    "retnet",
    "rg_lru",
    "rhn",
    "ridge",
    "rms_norm",
    "rtu",
    "s4d",
    "s5",
    "s6",
    "short_convolution",
    "slstm",
    "spike",
    "sru",
    "stack_rnn",
    "star",
    "stored",
    "symmetric",
    "tape_rnn",
    "tau_gru",
    "teacher_forced",
    "time_delay",
    "ugrnn",
    "unicornn",
    "vanilla",
    "vanilla_core",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)

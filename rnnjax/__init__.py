"""rnnjax: recurrent networks as pure step functions in JAX.

The cells and what goes around them are here. The rooms beside them, such as `rnnjax.losses`, `rnnjax.training` and
`rnnjax.app`, are imported when they are first used.
"""

import importlib
import importlib.metadata
from types import ModuleType

from rnnjax.base import Cell, run, with_step
from rnnjax.baselines import bag, convolution, time_window, unshared
from rnnjax.both_ways import Both, bidirectional, last
from rnnjax.cells import ctrnn, elman, gru, indrnn, irnn, lstm, mgu, peephole_lstm, vanilla
from rnnjax.compose import memoryless, stack
from rnnjax.cores import LSTMCarry, gru_core, lstm_core, mgu_core, peephole_core, recurrent, vanilla_core
from rnnjax.credit import eprop, kf_rtrl, kronecker_sum, random_truncate, rflo, rtrl, snap, truncate, uoro
from rnnjax.feedforward import dropout, embed, layer_norm, linear, one_hot, pointwise
from rnnjax.linear_recurrence import linear_recurrent, lru, mingru, minlstm, s4d
from rnnjax.newton import newton
from rnnjax.scans import Seq, chunk, remat, segmented, unroll
from rnnjax.sparsity import sparse
from rnnjax.topology import (
    Pair,
    bahdanau,
    clockwork,
    condition,
    deep_transition,
    dense,
    encoder_decoder,
    feedback,
    jordan,
    luong,
)
from rnnjax.transforms import (
    cast,
    dropconnect,
    highway,
    learn_carry,
    parametrize,
    residual,
    tie,
    zoneout,
)
from rnnjax.unitary import eunn, exprnn, goru, goru_core, modrelu_core, nnrnn, scornn, urnn, urnn_core

__all__ = [
    "Both",
    "Cell",
    "LSTMCarry",
    "Pair",
    "Seq",
    "bag",
    "bahdanau",
    "bidirectional",
    "cast",
    "chunk",
    "clockwork",
    "condition",
    "convolution",
    "ctrnn",
    "deep_transition",
    "dense",
    "dropconnect",
    "dropout",
    "elman",
    "embed",
    "encoder_decoder",
    "eprop",
    "eunn",
    "exprnn",
    "feedback",
    "goru",
    "goru_core",
    "gru",
    "gru_core",
    "highway",
    "indrnn",
    "irnn",
    "jordan",
    "kf_rtrl",
    "kronecker_sum",
    "last",
    "layer_norm",
    "learn_carry",
    "linear",
    "linear_recurrent",
    "lru",
    "lstm",
    "lstm_core",
    "luong",
    "memoryless",
    "mgu",
    "mgu_core",
    "mingru",
    "minlstm",
    "modrelu_core",
    "newton",
    "nnrnn",
    "one_hot",
    "parametrize",
    "peephole_core",
    "peephole_lstm",
    "pointwise",
    "random_truncate",
    "recurrent",
    "remat",
    "residual",
    "rflo",
    "rtrl",
    "run",
    "s4d",
    "scornn",
    "segmented",
    "snap",
    "sparse",
    "stack",
    "tie",
    "time_window",
    "truncate",
    "unroll",
    "unshared",
    "uoro",
    "urnn",
    "urnn_core",
    "vanilla",
    "vanilla_core",
    "with_step",
    "zoneout",
]

__version__ = importlib.metadata.version("rnnjax")

_ROOMS = (
    "app", "checkpoint", "ctc", "data", "decoding", "dynamics", "estimators", "interop", "lectures", "losses",
    "optimizers", "plotting", "population", "stochastic", "tasks", "teaching", "topology", "training", "trees",
    "writers",
)  # fmt: skip


def __getattr__(name: str) -> ModuleType:
    """The rooms that not every program needs, imported at first use."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'rnnjax' has no attribute {name!r}")
    return importlib.import_module(f"rnnjax.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})

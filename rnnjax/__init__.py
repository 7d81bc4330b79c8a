"""rnnjax: recurrent networks as pure step functions in JAX.

The cells and what goes around them are here. The rooms beside them, such as `rnnjax.losses`, `rnnjax.training` and
`rnnjax.app`, are imported when they are first used.
"""

import importlib
import importlib.metadata
from types import ModuleType

from rnnjax.base import Cell, Pair, Seq, chunk, memoryless, remat, run, segmented, stack, unroll, with_step
from rnnjax.cells import (
    LSTMCarry,
    bag,
    clockwork,
    convolution,
    ctrnn,
    deep_transition,
    dropout,
    elman,
    embed,
    feedback,
    gru,
    gru_core,
    indrnn,
    irnn,
    jordan,
    layer_norm,
    linear,
    linear_recurrent,
    lru,
    lstm,
    lstm_core,
    mgu,
    mgu_core,
    mingru,
    minlstm,
    one_hot,
    peephole_core,
    peephole_lstm,
    pointwise,
    recurrent,
    s4d,
    time_window,
    unshared,
    vanilla,
    vanilla_core,
)
from rnnjax.credit import eprop, kf_rtrl, kronecker_sum, random_truncate, rflo, rtrl, snap, truncate, uoro
from rnnjax.seq2seq import bahdanau, encoder_decoder, luong
from rnnjax.unitary import eunn, exprnn, goru, goru_core, modrelu_core, nnrnn, scornn, urnn, urnn_core
from rnnjax.wrappers import (
    Both,
    bidirectional,
    cast,
    condition,
    dense,
    dropconnect,
    highway,
    last,
    learn_carry,
    newton,
    parametrize,
    residual,
    sparse,
    tie,
    zoneout,
)

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

"""rnnjax: recurrent networks as pure step functions in JAX.

The cells and what goes around them are here. The rooms beside them, such as `rnnjax.losses`, `rnnjax.training` and
`rnnjax.app`, are imported when they are first used.
"""

import importlib
import importlib.metadata
from types import ModuleType

from rnnjax.base import Cell, Seq, SourceTarget, chunk, remat, run, stack, stateless, unroll, with_resets, with_step
from rnnjax.cells import (
    LSTMCarry,
    bag_of_inputs,
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
    per_position,
    pointwise,
    recurrent,
    s4d,
    time_delay,
    vanilla,
    vanilla_core,
)
from rnnjax.credit import eprop, kf_rtrl, optimal_kronecker, random_truncate, rflo, rtrl, snap, truncate, uoro
from rnnjax.seq2seq import bahdanau, encoder_decoder, luong
from rnnjax.unitary import eunn, exprnn, goru, goru_core, modrelu_core, nnrnn, scornn, urnn, urnn_core
from rnnjax.wrappers import (
    Directions,
    bidirectional,
    cast,
    concat_skip,
    condition,
    deer,
    dropconnect,
    highway,
    last,
    learn_carry,
    parametrize,
    residual,
    sparse,
    tie_weights,
    zoneout,
)

__all__ = [
    "Cell",
    "Directions",
    "LSTMCarry",
    "Seq",
    "SourceTarget",
    "bag_of_inputs",
    "bahdanau",
    "bidirectional",
    "cast",
    "chunk",
    "clockwork",
    "concat_skip",
    "condition",
    "convolution",
    "ctrnn",
    "deep_transition",
    "deer",
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
    "last",
    "layer_norm",
    "learn_carry",
    "linear",
    "linear_recurrent",
    "lru",
    "lstm",
    "lstm_core",
    "luong",
    "mgu",
    "mgu_core",
    "mingru",
    "minlstm",
    "modrelu_core",
    "nnrnn",
    "one_hot",
    "optimal_kronecker",
    "parametrize",
    "peephole_core",
    "peephole_lstm",
    "per_position",
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
    "snap",
    "sparse",
    "stack",
    "stateless",
    "tie_weights",
    "time_delay",
    "truncate",
    "unroll",
    "uoro",
    "urnn",
    "urnn_core",
    "vanilla",
    "vanilla_core",
    "with_resets",
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

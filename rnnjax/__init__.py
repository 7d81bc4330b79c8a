"""rnnjax: recurrent networks as pure step functions in JAX.

Cells and what wraps them are here. The folders, such as `rnnjax.losses`, `rnnjax.training` and `rnnjax.app`, are
imported when they are first used, and so are `load_run`, `load_runs` and `load_study`; `dir(rnnjax)` lists them.
"""

import importlib
import importlib.metadata
from typing import Any

from rnnjax._deprecated import getattr_of
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

_FOLDERS = (
    "app", "base", "cells", "credit", "data", "decoding", "distributed", "dynamics", "estimators", "interop", "losses",
    "plotting", "runs", "seq2seq", "studies", "tasks", "training", "trees", "unitary", "wrappers",
)  # fmt: skip

_TRAINED = {"load_run": "app", "load_runs": "app", "load_study": "studies"}  # name -> its folder

_renamed = getattr_of("rnnjax")


def __getattr__(name: str) -> Any:
    """Folders are imported at first use; a name that changed is found, with a warning."""
    if name in _TRAINED:
        return getattr(importlib.import_module(f"rnnjax.{_TRAINED[name]}"), name)
    return importlib.import_module(f"rnnjax.{name}") if name in _FOLDERS else _renamed(name, 3)


def __dir__() -> list[str]:
    return sorted({*__all__, *_FOLDERS, *_TRAINED, "__version__"})

"""How networks are put together: attention, contexts, encoder and decoder, outputs that come back, depth in time."""

from rnnjax.topology.attention import (
    Attending,
    Attention,
    Memory,
    Past,
    additive,
    alignments,
    attend,
    bahdanau,
    dot,
    general,
    luong,
    remember,
)
from rnnjax.topology.conditioning import condition
from rnnjax.topology.depth import clockwork, clockwork_core, deep_transition, deep_transition_core, dense
from rnnjax.topology.encoder_decoder import Carries, EncoderDecoder, Pair, encoder_decoder
from rnnjax.topology.outputs import feedback, jordan, teacher_forced

__all__ = [
    "Attending",
    "Attention",
    "Carries",
    "EncoderDecoder",
    "Memory",
    "Pair",
    "Past",
    "additive",
    "alignments",
    "attend",
    "bahdanau",
    "clockwork",
    "clockwork_core",
    "condition",
    "deep_transition",
    "deep_transition_core",
    "dense",
    "dot",
    "encoder_decoder",
    "feedback",
    "general",
    "jordan",
    "luong",
    "remember",
    "teacher_forced",
]

"""How networks are put together: attention, conditioning on a context, encoder and decoder."""

from rnnjax.topology.attention import (
    Attending,
    Attention,
    Memory,
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
from rnnjax.topology.encoder_decoder import Carries, EncoderDecoder, Pair, encoder_decoder

__all__ = [
    "Attending",
    "Attention",
    "Carries",
    "EncoderDecoder",
    "Memory",
    "Pair",
    "additive",
    "alignments",
    "attend",
    "bahdanau",
    "condition",
    "dot",
    "encoder_decoder",
    "general",
    "luong",
    "remember",
]

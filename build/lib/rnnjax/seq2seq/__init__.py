"""Attention and the encoder-decoder.

Belongs here: networks that map one sequence to another. Does not belong here: decoding from their logits (`decoding`).
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.seq2seq._attention import (
    Attention,
    CarryWithAttention,
    Memory,
    Past,
    additive,
    attend,
    dot,
    encode_memory,
    general,
)
from rnnjax.seq2seq._attentive_cells import alignments, bahdanau, luong
from rnnjax.seq2seq._encoder_decoder import Carries, Decoder, EncoderDecoder, encoder_decoder

__all__ = [
    "Attention",
    "Carries",
    "CarryWithAttention",
    "Decoder",
    "EncoderDecoder",
    "Memory",
    "Past",
    "additive",
    "alignments",
    "attend",
    "bahdanau",
    "dot",
    "encode_memory",
    "encoder_decoder",
    "general",
    "luong",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)

"""Attention, and the encoder-decoder.

Belongs here: networks from one sequence to another. Does not belong here: decoding from their logits (`decoding`).
"""

from rnnjax.seq2seq._attention import Attending, Attention, Memory, Past, additive, attend, dot, general, remember
from rnnjax.seq2seq._attentive_cells import alignments, bahdanau, luong
from rnnjax.seq2seq._encoder_decoder import Carries, EncoderDecoder, encoder_decoder

__all__ = [
    "Attending",
    "Attention",
    "Carries",
    "EncoderDecoder",
    "Memory",
    "Past",
    "additive",
    "alignments",
    "attend",
    "bahdanau",
    "dot",
    "encoder_decoder",
    "general",
    "luong",
    "remember",
]

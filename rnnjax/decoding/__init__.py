"""Decoding of logits to symbols: sampling, beam search, CTC prefix search and autoregressive generation.

Belongs here: generating outputs with a trained network. Does not belong here: losses.
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.decoding._beam import Search, beam_search
from rnnjax.decoding._ctc import Prefixes, best_path, prefix_beam_search
from rnnjax.decoding._generate import Decoded, decode, generate, log_probabilities
from rnnjax.decoding._sampling import Sampler, greedy, nucleus, temperature, top_k

__all__ = [
    "Decoded",
    "Prefixes",
    "Sampler",
    "Search",
    "beam_search",
    "best_path",
    "decode",
    "generate",
    "greedy",
    "log_probabilities",
    "nucleus",
    "prefix_beam_search",
    "temperature",
    "top_k",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)

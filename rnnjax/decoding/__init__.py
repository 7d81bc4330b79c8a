"""From logits to symbols: sampling, beam search, CTC prefixes, autoregressive generation.

Belongs here: what happens after training. Does not belong here: losses.
"""

from rnnjax.decoding._beam import Search, beam_search
from rnnjax.decoding._ctc import Prefixes, best_path, prefix_beam_search
from rnnjax.decoding._generate import Written, generate, log_probabilities, write
from rnnjax.decoding._sampling import Pick, greedy, nucleus, temperature, top_k

__all__ = [
    "Pick",
    "Prefixes",
    "Search",
    "Written",
    "beam_search",
    "best_path",
    "generate",
    "greedy",
    "log_probabilities",
    "nucleus",
    "prefix_beam_search",
    "temperature",
    "top_k",
    "write",
]

"""Writing with a network: the same step that was trained, fed its own output."""

from rnnjax.decoding.beam import beam_search
from rnnjax.decoding.picks import Pick, greedy, nucleus, temperature, top_k
from rnnjax.decoding.prefixes import best_path, prefix_beam_search
from rnnjax.decoding.writing import Written, generate, log_probabilities, write

__all__ = [
    "Pick",
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

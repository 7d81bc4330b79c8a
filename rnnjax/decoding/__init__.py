"""Writing with a network: the same step that was trained, fed its own output."""

from rnnjax.decoding.beam import beam_search
from rnnjax.decoding.picks import Pick, greedy, nucleus, temperature, top_k
from rnnjax.decoding.writing import Written, generate, log_probabilities, write

__all__ = [
    "Pick",
    "Written",
    "beam_search",
    "generate",
    "greedy",
    "log_probabilities",
    "nucleus",
    "temperature",
    "top_k",
    "write",
]

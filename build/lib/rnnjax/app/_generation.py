"""Generates text with a network that reads a symbol and predicts the next one."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, UserError, run
from rnnjax.base._unroll import as_step_cell
from rnnjax.data import END, Alphabet, Vocabulary
from rnnjax.decoding import generate, greedy, temperature


def write_text(
    cell: Cell, params: PyTree, vocabulary: Alphabet | Vocabulary, prompt: str, length: int, warmth: float, seed: int
) -> str:
    """Returns the prompt followed by the text that the network generates.

    Args:
      cell: a window cell, from symbols `[T]` to logits `[T, symbols]`.
      params: of the cell.
      vocabulary: of the symbols; words are separated by spaces.
      prompt: the beginning of the text; if empty, a line break or the first symbol.
      length: number of symbols to generate.
      warmth: sampling temperature; 0 always takes the most likely symbol.
      seed: for sampling.

    Raises:
      UserError: the network does not predict symbols, a number is out of range, or the vocabulary lacks a symbol of the
        prompt.
    """
    if length < 1 or not 0 <= warmth < float("inf"):
        raise UserError(f"length={length}, temperature={warmth}: must be at least 1 and 0")
    symbols = jnp.asarray(_read(vocabulary, prompt))
    _check(cell, params, symbols, _size(vocabulary))
    carry, logits = jax.jit(lambda params, symbols: run(cell, params, symbols))(params, symbols)
    pick = temperature(warmth) if warmth else greedy
    written = generate(as_step_cell(cell), params, carry, logits[-1], length, pick, jax.random.key(seed))
    if isinstance(vocabulary, Alphabet):
        return vocabulary.decode([*symbols, *written])
    return " ".join(vocabulary.decode([*symbols, *written])).replace(f" {END} ", "\n")


def _size(vocabulary: Alphabet | Vocabulary) -> int:
    return len(vocabulary.characters) if isinstance(vocabulary, Alphabet) else len(vocabulary)


def _read(vocabulary: Alphabet | Vocabulary, prompt: str) -> jax.Array:
    """Returns the symbols of a prompt."""
    if isinstance(vocabulary, Alphabet):
        known = vocabulary.characters
        return jnp.asarray(vocabulary.encode(prompt or ("\n" if "\n" in known else known[0])))
    words = prompt.split() or [END if END in vocabulary.index else vocabulary.words[0]]
    return jnp.asarray(vocabulary.encode(words))


def _check(cell: Cell, params: PyTree, symbols: jax.Array, size: int) -> None:
    """Refuses a network that does not map symbols to logits of the same symbols."""
    try:
        y = jax.eval_shape(lambda params: run(cell, params, symbols)[1], params)
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise UserError(
            f"this network cannot generate: it does not read symbols ({str(error).splitlines()[0]})"
        ) from error
    wanted = (*symbols.shape, size)
    if getattr(y, "shape", None) != wanted:
        raise UserError(
            f"this network does not write: it gives {getattr(y, 'shape', y)}, logits of the next symbol are {wanted}"
        )

"""Decodes the outputs of connectionist temporal classification: best path and prefix beam search."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import check_size
from rnnjax.base._arguments import check_array
from rnnjax.base._numerics import at_least_single
from rnnjax.decoding._generate import Decoded, mark_unknown
from rnnjax.decoding._sampling import likeliest

_BLANK = 0
_NEVER = -jnp.inf


class Prefixes(NamedTuple):
    """Label sequences that the frames so far may stand for, best first.

    Attributes:
      symbols: `[width, n]`, 0 after the end.
      length: `[width]`
      blank: `[width]`, the log-probability of all paths to these labels that end with a blank.
      label: `[width]`, of all paths that end with the last label.
    """

    symbols: jax.Array
    length: jax.Array
    blank: jax.Array
    label: jax.Array


def best_path(logits: jax.Array, valid: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """Greedy decoding: takes the most likely symbol of each frame, merges repetitions, then drops the blanks.

    A valid frame with a logit that is nan, or with no finite logit, gives the label -1.

    Args:
      logits: `[T, symbols]`; symbol 0 is the blank.
      valid: booleans `[T]`; None means that all frames are valid.

    Returns:
      (labels `[T]`, 0 after the last one; their number `[]`)

    Example:
      >>> import jax, jax.numpy as jnp
      >>> labels, n = best_path(9 * jax.nn.one_hot(jnp.array([0, 2, 2, 0, 2, 1]), 3))
      >>> print(labels, n)
      [2 2 1 0 0 0] 3
    """
    logits = _checked_logits("best_path", logits)
    path = likeliest(logits).astype(jnp.int32)
    if valid is not None:
        path = _compact(path, checked_frames("best_path", valid, logits))
    kept = (path != _BLANK) & (path != jnp.concatenate([jnp.full(1, _BLANK, path.dtype), path[:-1]]))
    return _compact(path, kept), kept.sum().astype(jnp.int32)


def _checked_logits(name: str, logits: Any) -> jax.Array:
    """Returns logits `[T, symbols]`, with at least one frame and one symbol."""
    return jnp.asarray(check_array(f"{name}: logits", logits, "[T, symbols]", "floating", some=True))


def checked_frames(name: str, valid: Any, logits: jax.Array) -> jax.Array:
    """Returns marks of frames.

    Raises:
      ValueError: they are not booleans, one for each frame.
    """
    valid = check_array(f"{name}: valid", valid, holds="number")
    if valid.dtype != bool or valid.shape != logits.shape[:1]:
        said = f"{valid.dtype} {list(valid.shape)}"
        raise ValueError(f"{name}: valid is boolean {list(logits.shape[:1])}, one for each frame, got {said}")
    return jnp.asarray(valid)


def _compact(symbols: jax.Array, kept: jax.Array) -> jax.Array:
    """Moves the kept symbols to the front and fills up with blanks."""
    order = jnp.argsort(~kept, stable=True)
    return jnp.where(kept[order], symbols[order], _BLANK)


def prefix_beam_search(logits: jax.Array, width: int, n: int = 0, valid: jax.Array | None = None) -> Decoded:
    """Returns the most likely label sequences, summed over all their paths, best first; use `jax.vmap` for a batch.

        p(labels) = sum of p(path) over the paths that `best_path` would reduce to these labels

    Each frame keeps the `width` most likely prefixes. A width of all possible sequences is exhaustive search. The
    sequence of the single best path, which `best_path` returns, need not be the most likely sequence.

    Args:
      logits: `[T, symbols]`; symbol 0 is the blank.
      width: number of prefixes kept and returned; if there are fewer, the last ones have a log-probability of -inf.
      n: maximal number of labels; 0 for T. Longer sequences are not considered.
      valid: booleans `[T]`; None means that all frames are valid. Invalid frames are skipped.

    Returns:
      `Decoded` with a leading axis `[width]`; its symbols are 0 after the end, and -1 where its log-probability is nan.

    Example: the best path is blank, blank, but three paths lead to the label 1.
      >>> import jax.numpy as jnp
      >>> found = prefix_beam_search(jnp.log(jnp.array([[0.6, 0.4], [0.6, 0.4]])), width=2)
      >>> for labels, p in zip(found.symbols, jnp.exp(found.log_probability)):
      ...     print(labels, f"{p:.2f}")
      [1 0] 0.64
      [0 0] 0.36

    Reference: Graves, Fernandez, Gomez, Schmidhuber, Connectionist temporal classification, 2006; Hannun et al., First-
    pass large vocabulary continuous speech recognition using bi-directional recurrent DNNs, 2014.
    """
    check_size("prefix_beam_search: width", width)
    check_size("prefix_beam_search: n", n, 0)
    logits = _checked_logits("prefix_beam_search", logits)
    steps = logits.shape[0]
    n = n or steps
    log_p = jax.nn.log_softmax(at_least_single(logits))

    def body(beam: Prefixes, frame: tuple[jax.Array, jax.Array]) -> tuple[Prefixes, None]:
        p, real = frame
        after = _extend_prefixes(beam, p)
        return jax.tree.map(lambda a, b: jnp.where(real, a, b), after, beam), None

    there = jnp.ones(steps, bool) if valid is None else checked_frames("prefix_beam_search", valid, logits)
    never = jnp.full(width, _NEVER, log_p.dtype)
    start = Prefixes(
        jnp.full((width, n), _BLANK, jnp.int32), jnp.zeros(width, jnp.int32), never.at[0].set(0), never
    )  # only the empty prefix
    beam, _ = lax.scan(body, start, (jnp.where(there[:, None], log_p, jnp.zeros_like(log_p)), there))
    total = jnp.logaddexp(beam.blank, beam.label)
    return mark_unknown(Decoded(beam.symbols, beam.length, total, total))


def _extend_prefixes(beam: Prefixes, p: jax.Array) -> Prefixes:
    """Extends the prefixes by one frame with log-probabilities p `[symbols]`."""
    width, n = beam.symbols.shape
    v = p.shape[0]
    total = jnp.logaddexp(beam.blank, beam.label)
    last = jnp.take_along_axis(beam.symbols, jnp.maximum(beam.length - 1, 0)[:, None], axis=1)[:, 0]
    again = jnp.arange(v)[None] == last[:, None]  # [width, symbols]; a repeated label needs a blank in between
    longer = jnp.where(again, beam.blank[:, None], total[:, None]) + p[None]
    longer = jnp.where((jnp.arange(v) == _BLANK)[None] | (beam.length >= n)[:, None], _NEVER, longer)
    blank = total + p[_BLANK]
    label = jnp.where(beam.length > 0, beam.label + p[last], _NEVER)

    parent = _prefix_parents(beam, total)  # [i, j]: j is i plus one label, so j is the same as i extended by that label
    gained = jnp.where(parent, longer[:, last], _NEVER).max(0)
    label = jnp.logaddexp(label, gained)
    longer = jnp.where((parent[:, :, None] & again[None]).any(1), _NEVER, longer)

    scores = jnp.concatenate([jnp.logaddexp(blank, label), longer.ravel()])
    _, at = lax.top_k(scores, width)
    stays, source, symbol = at < width, jnp.where(at < width, at, (at - width) // v), (at - width) % v
    length = beam.length[source]
    written = beam.symbols[source].at[jnp.arange(width), jnp.minimum(length, n - 1)].set(symbol.astype(jnp.int32))
    return Prefixes(
        jnp.where(stays[:, None], beam.symbols[source], written),
        jnp.where(scores[at] != _NEVER, jnp.where(stays, length, length + 1), 0),
        jnp.where(stays, blank[source], _NEVER),
        jnp.where(stays, label[source], longer[source, symbol]),
    )


def _prefix_parents(beam: Prefixes, total: jax.Array) -> jax.Array:
    """`[width, width]`: whether the second prefix is the first plus one label; both must be possible."""
    n = beam.symbols.shape[1]
    agree = (beam.symbols[:, None] == beam.symbols[None]) | (jnp.arange(n)[None, None] >= beam.length[:, None, None])
    possible = total != _NEVER
    one_more = beam.length[:, None] + 1 == beam.length[None]
    return agree.all(-1) & one_more & possible[:, None] & possible[None]

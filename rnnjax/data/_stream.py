"""Stream: a source of batches that knows its position."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax

from rnnjax.base import PyTree
from rnnjax.data._batch import Batch


class Stream(NamedTuple):
    """Where batches come from, purely: data -> position, and (data, position, key) -> (batch, position).

    Attributes:
      init: data -> the position of the first batch, a pytree of arrays.
      next: (data, position, key) -> (batch, position). A stream that draws reads the key, one that reads on does not.
      length: batches in one pass, where the stream ends; 0: it has no end.
    """

    init: Callable[[PyTree], PyTree]
    next: Callable[[PyTree, PyTree, jax.Array], tuple[Batch, PyTree]]
    length: int = 0

"""Stream: a source of batches with an explicit position."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax

from rnnjax.base import PyTree
from rnnjax.data._batch import Batch


class Stream(NamedTuple):
    """A pure source of batches.

    Attributes:
      init: data -> the position of the first batch, a pytree of arrays.
      next: (data, position, key) -> (batch, position). Random streams use the key; sequential ones ignore it.
      length: number of batches in one pass, after which the stream ends; 0 for no end.
    """

    init: Callable[[PyTree], PyTree]
    next: Callable[[PyTree, PyTree, jax.Array], tuple[Batch, PyTree]]
    length: int = 0

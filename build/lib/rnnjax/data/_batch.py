"""Batch: inputs, targets and a mask."""

from __future__ import annotations

from typing import Any, NamedTuple


class Batch(NamedTuple):
    """A batch of examples; the first axis is the example, the second is time.

    Attributes:
      x: inputs `[B, T, ...]`, plain or a `Seq`.
      y: targets, `[B, T, ...]`.
      mask: `[B, T]`, true where the target counts; None means that all count.
      restart: `[B]`, whether the carry is reset before this window; None resets always and keeps no carry between
        batches.
    """

    x: Any
    y: Any
    mask: Any = None
    restart: Any = None

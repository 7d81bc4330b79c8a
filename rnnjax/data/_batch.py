"""Batch: inputs, targets and a mask."""

from __future__ import annotations

from typing import Any, NamedTuple


class Batch(NamedTuple):
    """What training sees at once: examples first, then time.

    Attributes:
      x: inputs `[B, T, ...]`, plain or a `Seq`.
      y: targets, `[B, T, ...]`.
      mask: `[B, T]`, where the target counts; None: everywhere.
      restart: `[B]`, whether the carry starts anew before this window; None: always, and none is kept between batches.
    """

    x: Any
    y: Any
    mask: Any = None
    restart: Any = None

"""Synthetic tasks: from a random key to an example.

Belongs here: generators. Does not belong here: anything that reads a file (`data`).
"""

from rnnjax.tasks._films import EVENTS, MOVES, happening, moving
from rnnjax.tasks._shapes import COLOURS, LONGEST, SHAPES, SIDE, SIZES, WORDS, coded, scenes
from rnnjax.tasks._strokes import LETTERS, words
from rnnjax.tasks._synthetic import Task, adding, copying, drawn, echo, flipflop

__all__ = [
    "COLOURS",
    "EVENTS",
    "LETTERS",
    "LONGEST",
    "MOVES",
    "SHAPES",
    "SIDE",
    "SIZES",
    "WORDS",
    "Task",
    "adding",
    "coded",
    "copying",
    "drawn",
    "echo",
    "flipflop",
    "happening",
    "moving",
    "scenes",
    "words",
]

"""Synthetic tasks: functions from a random key to an example.

Belongs here: generators. Does not belong here: anything that reads a file (`data`).
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.tasks._cognition import (
    COHERENCES,
    anti_reach,
    context_integration,
    delayed_comparison,
    delayed_match,
    ideal_accuracy,
    perceptual_decision,
)
from rnnjax.tasks._films import EVENTS, MOVES, moving_shapes, shape_events
from rnnjax.tasks._languages import automaton, dyck, parity, permutation_words
from rnnjax.tasks._recall import associative_recall, induction, selective_copying
from rnnjax.tasks._shapes import LONGEST, SHAPE_COLOURS, SHAPES, SIDE, SIZES, WORDS, encode_words, scenes
from rnnjax.tasks._strokes import LETTERS, words
from rnnjax.tasks._synthetic import Task, adding, copying, echo, flipflop, task_stream
from rnnjax.tasks._twenty_tasks import TWENTY_TASKS, Reply, right_response, twenty_tasks

__all__ = [
    "COHERENCES",
    "EVENTS",
    "LETTERS",
    "LONGEST",
    "MOVES",
    "SHAPES",
    "SHAPE_COLOURS",
    "SIDE",
    "SIZES",
    "TWENTY_TASKS",
    "WORDS",
    "Reply",
    "Task",
    "adding",
    "anti_reach",
    "associative_recall",
    "automaton",
    "context_integration",
    "copying",
    "delayed_comparison",
    "delayed_match",
    "dyck",
    "echo",
    "encode_words",
    "flipflop",
    "ideal_accuracy",
    "induction",
    "moving_shapes",
    "parity",
    "perceptual_decision",
    "permutation_words",
    "right_response",
    "scenes",
    "selective_copying",
    "shape_events",
    "task_stream",
    "twenty_tasks",
    "words",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)

"""From files to arrays, and from arrays to batches and streams.

Belongs here: readers, vocabularies, batching. Does not belong here: synthetic tasks (`tasks`). Files are data:
nothing here runs what it reads, and every size has a limit.
"""

from rnnjax.data._batch import Batch
from rnnjax.data._batches import bucketed, cut, no_longer, packed, padded
from rnnjax.data._fetching import Member, Remote, fetch, opened, unpack
from rnnjax.data._files import blocks, contents, find, find_folder, lines, refuse, whole
from rnnjax.data._guard import guarded
from rnnjax.data._images import (
    Epoch,
    Images,
    digits,
    idx_folder,
    images_in_order,
    permuted,
    pixels,
    read_idx,
    shuffled_images,
    split,
    unpermuted,
)
from rnnjax.data._labelled import Labelled, class_folder, parted, read_labelled, unseen, with_classes
from rnnjax.data._music import KEYS, LOWEST, read_rolls
from rnnjax.data._numerals import column, numbers, pointed
from rnnjax.data._opening import decoded, unified
from rnnjax.data._series import Header, fields, read_frames, read_series, read_ts, vowels
from rnnjax.data._speech import Frames, Recording, decode_wav, frames, labels_of, log_mel, mel_bank, recordings
from rnnjax.data._stream import Stream
from rnnjax.data._streams import at_the_end, in_order, mapped, shuffled, taken
from rnnjax.data._tags import NONE, Sentences, Tagged, read_tagged
from rnnjax.data._text import Alphabet, Rows, in_rows, python_topics, read, reading, spelled
from rnnjax.data._vectors import Table, Vectors, read_vectors, table_of, write_vectors
from rnnjax.data._words import END, UNKNOWN, Vocabulary, read_words, tokenise

__all__ = [
    "END",
    "KEYS",
    "LOWEST",
    "NONE",
    "UNKNOWN",
    "Alphabet",
    "Batch",
    "Epoch",
    "Frames",
    "Header",
    "Images",
    "Labelled",
    "Member",
    "Recording",
    "Remote",
    "Rows",
    "Sentences",
    "Stream",
    "Table",
    "Tagged",
    "Vectors",
    "Vocabulary",
    "at_the_end",
    "blocks",
    "bucketed",
    "class_folder",
    "column",
    "contents",
    "cut",
    "decode_wav",
    "decoded",
    "digits",
    "fetch",
    "fields",
    "find",
    "find_folder",
    "frames",
    "guarded",
    "idx_folder",
    "images_in_order",
    "in_order",
    "in_rows",
    "labels_of",
    "lines",
    "log_mel",
    "mapped",
    "mel_bank",
    "no_longer",
    "numbers",
    "opened",
    "packed",
    "padded",
    "parted",
    "permuted",
    "pixels",
    "pointed",
    "python_topics",
    "read",
    "read_frames",
    "read_idx",
    "read_labelled",
    "read_rolls",
    "read_series",
    "read_tagged",
    "read_ts",
    "read_vectors",
    "read_words",
    "reading",
    "recordings",
    "refuse",
    "shuffled",
    "shuffled_images",
    "spelled",
    "split",
    "table_of",
    "taken",
    "tokenise",
    "unified",
    "unpack",
    "unpermuted",
    "unseen",
    "vowels",
    "whole",
    "with_classes",
    "write_vectors",
]

"""From files to arrays, and from arrays to batches and streams.

Belongs here: readers, vocabularies, batching. Does not belong here: synthetic tasks (`tasks`). Files are data:
nothing here runs what it reads, and every size has a limit.
"""

from rnnjax.data._batch import Batch
from rnnjax.data._batches import bucketed, cut, no_longer, packed, padded
from rnnjax.data._fetching import Remote, fetch, unpack
from rnnjax.data._files import contents, find, find_folder, lines
from rnnjax.data._images import (
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
from rnnjax.data._labelled import Labelled, class_folder, parted, read_labelled, unseen
from rnnjax.data._music import KEYS, LOWEST, read_rolls
from rnnjax.data._series import read_frames, read_series, read_ts, vowels
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
    "Frames",
    "Images",
    "Labelled",
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
    "bucketed",
    "class_folder",
    "contents",
    "cut",
    "decode_wav",
    "digits",
    "fetch",
    "find",
    "find_folder",
    "frames",
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
    "packed",
    "padded",
    "parted",
    "permuted",
    "pixels",
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
    "shuffled",
    "shuffled_images",
    "spelled",
    "split",
    "table_of",
    "taken",
    "tokenise",
    "unpack",
    "unpermuted",
    "unseen",
    "vowels",
    "write_vectors",
]

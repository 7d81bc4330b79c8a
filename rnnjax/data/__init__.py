"""Reads files into arrays, and turns arrays into batches and streams.

Belongs here: readers, vocabularies, batching. Does not belong here: synthetic tasks (`tasks`). Files are data: this
folder never executes what it reads, and limits every size.
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.data._arrays import from_arrays, lengths_of
from rnnjax.data._batch import Batch
from rnnjax.data._batches import bucketed_batches, packed, padded, split_long, within_length
from rnnjax.data._fetching import Remote, fetch, unpack
from rnnjax.data._files import find, find_folder, read_bytes, read_lines
from rnnjax.data._frames import read_frames, vowels
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
from rnnjax.data._labelled import Labelled, class_folder, drop_duplicates, random_split, read_labelled
from rnnjax.data._music import KEYS, LOWEST, read_rolls
from rnnjax.data._rows import from_columns, from_rows
from rnnjax.data._series import read_series
from rnnjax.data._speech import Frames, frames, labels_of, log_mel, mel_bank, recordings
from rnnjax.data._stream import Stream
from rnnjax.data._streams import gather_examples, in_order, label_last_step, map_batches, shuffled
from rnnjax.data._tags import NONE, Sentences, Tagged, read_tagged
from rnnjax.data._text import Alphabet, Rows, contiguous_rows, join_spelled, python_topics, read, reading_stream
from rnnjax.data._ts import read_ts
from rnnjax.data._vectors import EmbeddingTable, Vectors, embedding_table, read_vectors, write_vectors
from rnnjax.data._wav import Recording, decode_wav
from rnnjax.data._words import END, UNKNOWN, Vocabulary, detokenise, read_sentences, read_words, tokenise

__all__ = [
    "END",
    "KEYS",
    "LOWEST",
    "NONE",
    "UNKNOWN",
    "Alphabet",
    "Batch",
    "EmbeddingTable",
    "Frames",
    "Images",
    "Labelled",
    "Recording",
    "Remote",
    "Rows",
    "Sentences",
    "Stream",
    "Tagged",
    "Vectors",
    "Vocabulary",
    "bucketed_batches",
    "class_folder",
    "contiguous_rows",
    "decode_wav",
    "detokenise",
    "digits",
    "drop_duplicates",
    "embedding_table",
    "fetch",
    "find",
    "find_folder",
    "frames",
    "from_arrays",
    "from_columns",
    "from_rows",
    "gather_examples",
    "idx_folder",
    "images_in_order",
    "in_order",
    "join_spelled",
    "label_last_step",
    "labels_of",
    "lengths_of",
    "log_mel",
    "map_batches",
    "mel_bank",
    "packed",
    "padded",
    "permuted",
    "pixels",
    "python_topics",
    "random_split",
    "read",
    "read_bytes",
    "read_frames",
    "read_idx",
    "read_labelled",
    "read_lines",
    "read_rolls",
    "read_sentences",
    "read_series",
    "read_tagged",
    "read_ts",
    "read_vectors",
    "read_words",
    "reading_stream",
    "recordings",
    "shuffled",
    "shuffled_images",
    "split",
    "split_long",
    "tokenise",
    "unpack",
    "unpermuted",
    "vowels",
    "within_length",
    "write_vectors",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)

"""Labelled sequences for classification: read, divided into parts, cut and encoded as the flags say."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from experiments._shared.grammars import GENERATED
from experiments._shared.notes import print_notes
from rnnjax import app, trees
from rnnjax.base import UserError
from rnnjax.data import (
    UNKNOWN,
    Batch,
    Labelled,
    Vectors,
    Vocabulary,
    class_folder,
    drop_duplicates,
    find_folder,
    random_split,
    read_labelled,
    read_ts,
    tokenise,
    vowels,
    within_length,
)
from rnnjax.data import find as found_at


def sentences(folder: Path, config: app.Config) -> dict[str, Labelled]:
    """Reads the words of parse trees and the labels of their roots."""
    fine = config.task == "fine"
    classes = ("0", "1", "2", "3", "4") if fine else ("0", "1", "3", "4")
    parts = {}
    for part, file in (("train", "train"), ("valid", "dev"), ("test", "test")):
        path = str(folder / f"{file}.txt")
        found = trees.read_trees(path, config.encoding)
        wrong = [(i, t.labels[-1]) for i, t in enumerate(found, 1) if t.labels[-1] not in tuple("01234")]
        if wrong:
            raise UserError(f"{path}, tree {wrong[0][0]}: the label {wrong[0][1]!r} is none of 0, 1, 2, 3, 4")
        kept = [t for t in found if t.labels[-1] in classes]
        if len(kept) < len(found):
            print(f"{part}: {len(found) - len(kept)} of {len(found)} sentences are left out, neither good nor bad")
        y = [int(t.labels[-1]) if fine else int(t.labels[-1] > "2") for t in kept]
        names = tuple("01234") if fine else ("negative", "positive")
        parts[part] = Labelled([[w.lower() for w in t.sentence()] for t in kept], np.array(y, np.int32), names)
    return parts


def divided(examples: Labelled, config: app.Config, test: Labelled | None = None) -> dict[str, Labelled]:
    """Splits a data set in three parts; a separate test set replaces the test part."""
    places = random_split(len(examples.xs), config.valid, *([] if test else [config.test]))
    if test is not None:
        if np.shape(test.xs[0])[1:] != np.shape(examples.xs[0])[1:]:
            wide, due = np.shape(test.xs[0])[-1], np.shape(examples.xs[0])[-1]
            raise UserError(f"--test_data has {wide} dimensions, and --data {due}")
        return dict(zip(("train", "valid"), map(examples.at, places))) | {"test": test}
    if not isinstance(examples.xs[0], np.ndarray):
        places, known = drop_duplicates(examples.xs, places)
        if known:
            print(f"{known} examples of the test are left out: they are in the training part too")
    return dict(zip(("train", "valid", "test"), map(examples.at, places)))


def read(config: app.Config) -> tuple[dict[str, Labelled], str]:
    """Reads the examples in three parts, and the units of their texts: words or characters."""
    if config.data in GENERATED:
        return GENERATED[config.data](config.sentences, config.seed), "words"
    path = Path(found_at(config.data, config.data_dir))
    if path.is_file():
        one = read_ts if path.suffix == ".ts" else partial(read_labelled, complete=False)
        examples, test = print_notes(config.data, one(str(path), encoding=config.encoding)), None
        if config.test_data:  # labels are mapped by name; one that is not in --data is refused
            other = found_at(config.test_data, config.data_dir)
            test = print_notes(config.test_data, one(other, examples.classes, encoding=config.encoding))
        return divided(examples, config, test), "words"
    folder = find_folder(config.data, config.data_dir)
    if (folder / "ae.train").exists():
        train, test = vowels(str(folder))
        return divided(train, config, test), "words"
    if (folder / "train.txt").exists():
        return sentences(folder, config), "words"
    return divided(print_notes(config.data, class_folder(str(folder), config.encoding)), config), "characters"


def reduced(train: Labelled, part: float) -> Labelled:
    """Returns a fraction of the training examples."""
    kept = train.at(random_split(len(train.xs), part)[1]) if part < 1 else train
    if not len(kept.xs):
        raise UserError(f"--part={part:g}: no example is left to train on")
    return kept


def encoded(
    parts: dict[str, Labelled], units: str, most: int, vectors: Vectors | None
) -> tuple[Vocabulary, dict[str, Labelled]]:
    """Returns the vocabulary of the training texts and of the vectors, and all texts as indices."""
    parts = {name: part._replace(xs=[split(x, units) for x in part.xs]) for name, part in parts.items()}
    every = [unit for x in parts["train"].xs for unit in x] + list(vectors.words if vectors else ())
    vocabulary = Vocabulary.of(every, most, [UNKNOWN])
    return vocabulary, {n: part._replace(xs=[vocabulary.encode(x) for x in part.xs]) for n, part in parts.items()}


def by_share(train: np.ndarray, test: np.ndarray, classes: int) -> tuple[float, float]:
    """Returns the test loss of predicting the class frequencies, and the accuracy of the most common class."""
    share = np.bincount(train, minlength=classes) / len(train)
    return float(-np.log(np.maximum(share[test], 1e-9)).mean()), float((test == share.argmax()).mean())


def split(x: str | list[str], units: str) -> list[str]:
    """Splits a text into words or characters; a list of words stays as it is."""
    if isinstance(x, list):
        return x
    return list(x) if units == "characters" else tokenise(x)


def drop_long(part: Labelled, name: str, longest: int) -> Labelled:
    """Returns the examples that are not too long, and prints how many are skipped."""
    kept, out = within_length([len(x) for x in part.xs], longest)
    if not len(kept):
        raise UserError(f"--longest={longest}: no example of the {name} part is that short")
    if out:
        print(f"{name}: {out} of {len(part.xs)} examples are left out, longer than --longest={longest}")
    return part.at(kept)


def standardised(data: dict[str, Batch]) -> dict[str, Batch]:
    """Scales numeric inputs to mean 0 and variance 1 on the training part; symbols stay as they are."""
    seq = data["train"].x
    if not np.issubdtype(seq.x.dtype, np.floating):
        return data
    frames = seq.x[seq.valid]
    mean = frames.mean(0, dtype=np.float64).astype(np.float32)
    deviation = np.maximum(frames.std(0, dtype=np.float64), 1e-6).astype(np.float32)

    def unit(batch: Batch) -> Batch:
        x = np.where(batch.x.valid[..., None], (batch.x.x - mean) / deviation, 0).astype(np.float32)
        return batch._replace(x=batch.x._replace(x=x))

    return {name: unit(batch) for name, batch in data.items()}

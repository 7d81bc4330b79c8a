"""Laws of pictures with sentences: the sentence is what a reading of the pixels says, held-out combinations are."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from rnnjax import tasks
from rnnjax.tasks._shapes import FAR, HELD_OUT

COLOURS = np.array(list(tasks.SHAPE_COLOURS.values()))
OFFSETS = {"above": (0, -1), "left": (-1, 0)}
PLACES = {"top": (0, -1), "bottom": (0, 1), "left": (-1, 0), "right": (1, 0), "middle": (0, 0)}


@pytest.fixture(scope="module")
def drawn():
    """Pictures and sentences, of combinations to learn from and held out."""
    both = jax.jit(lambda key: [tasks.scenes(held_out).batch(key, 2000) for held_out in (False, True)])
    return jax.device_get(both(jax.random.key(0)))


def words(batch) -> list[list[str]]:
    return [[tasks.WORDS[s] for s in y if s] for y in batch.y]


def kinds(sentence: list[str]) -> list[tuple[str, str]]:
    """Colour and shape of each thing in a sentence."""
    return [(sentence[i + 2], sentence[i + 3]) for i, word in enumerate(sentence) if word == "a"]


def blobs(picture: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pixels and mean colour of each connected thing that is not background."""
    left = {tuple(p) for p in np.argwhere(picture.max(-1) > 0.4)}
    found = []
    while left:
        todo, blob = [left.pop()], []
        while todo:
            r, c = at = todo.pop()
            blob.append(at)
            near = {(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            todo += near
        pixels = np.array(blob)
        found.append((pixels, picture[pixels[:, 0], pixels[:, 1]]))
    return found


def test_a_sentence_says_the_colours_the_order_and_the_place_that_the_pixels_show(drawn):
    for batch in drawn:
        for picture, said in zip(batch.x.source[:300], words(batch)):
            found = sorted(blobs(picture), key=lambda blob: blob[0].mean(0).sum())  # upper or left first
            assert len(found) == said.count("a")
            for (_, seen), (colour, _) in zip(found, kinds(said)):
                strongest = seen[seen.sum(1).argmax()]
                distance = np.linalg.norm(COLOURS - strongest, axis=1)
                assert list(tasks.SHAPE_COLOURS)[distance.argmin()] == colour
            middles = [(p.min(0) + p.max(0) + 1)[::-1] / 2 / tasks.SIDE for p, _ in found]
            if len(found) == 2:
                way = (middles[0] - middles[1]) / (2 * FAR)
                expected = OFFSETS[next(w for w in said if w in OFFSETS)]
            else:
                way, expected = (middles[0] - 0.5) / FAR, PLACES[said[-1]]
            np.testing.assert_allclose(way, expected, atol=0.35)


def test_a_large_shape_is_wider_than_a_small_one(drawn):
    widths = {"small": [], "large": []}
    for picture, said in zip(drawn[0].x.source[:300], words(drawn[0])):
        if said.count("a") == 1:
            pixels = blobs(picture)[0][0]
            widths[said[1]].append(np.ptp(pixels, axis=0).max() + 1)
    assert max(widths["small"]) < min(widths["large"])


def test_held_out_combinations_are_in_every_picture_of_the_test_and_in_no_other(drawn):
    seen, test = ([kinds(s) for s in words(batch)] for batch in drawn)
    held = set(HELD_OUT)
    assert all(sum(kind in held for kind in s) == 0 for s in seen)
    assert all(sum(kind in held for kind in s) == 1 for s in test)
    assert any(s[-1] in held for s in test if len(s) == 2) and any(s[0] in held for s in test if len(s) == 2)
    for i, names in enumerate((tasks.SHAPE_COLOURS, tasks.SHAPES)):
        assert {kind[i] for s in seen for kind in s} == set(names)
    assert {kind for s in test for kind in s} >= held


def test_the_decoder_reads_the_sentence_a_word_late_and_the_mask_ends_with_the_end_symbol(drawn):
    for batch in drawn:
        assert (batch.x.target[:, 1:] == batch.y[:, :-1]).all() and not batch.x.target[:, 0].any()
        assert (batch.mask.sum(1) == (batch.y > 0).sum(1) + 1).all()


def test_the_yardstick_is_the_entropy_of_the_language(drawn):
    mask = drawn[0].mask
    two = np.array([said.count("a") == 2 for said in words(drawn[0])]).mean()
    thing = np.log(40 * 2)
    total = np.log(2) + thing + (1 - two) * np.log(5) + two * (thing + np.log(2))
    assert abs(tasks.scenes().baseline - total / mask.sum(1).mean()) < 0.02

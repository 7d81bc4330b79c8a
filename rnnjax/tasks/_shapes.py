"""Small random pictures of shapes and sentences about them; some combinations are held out for testing."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import SourceTarget
from rnnjax.base._arguments import check_text
from rnnjax.data import Batch
from rnnjax.tasks._synthetic import Task

SIDE = 24  # pixels
SHAPES = ("circle", "square", "triangle", "cross")
SHAPE_COLOURS = {
    "red": (1.0, 0.1, 0.1), "green": (0.1, 0.8, 0.1), "blue": (0.1, 0.2, 1.0), "yellow": (1.0, 0.9, 0.1),
    "white": (1.0, 1.0, 1.0), "purple": (0.7, 0.1, 0.8), "orange": (1.0, 0.5, 0.0), "cyan": (0.1, 0.9, 0.9),
    "pink": (1.0, 0.6, 0.75), "brown": (0.6, 0.35, 0.1), "teal": (0.0, 0.55, 0.55), "lime": (0.6, 1.0, 0.1),
}  # fmt: skip
_TINGE = 0.1  # how far each channel may be from the nominal colour
SIZES = {"small": 0.11, "large": 0.19}  # half the width, in sides of the picture
_RELATIONS = {"above": (0, -1), "left of": (-1, 0)}  # of the first shape to the second
_PLACES = {
    "at the top": (0, -1),
    "at the bottom": (0, 1),
    "on the left": (-1, 0),
    "on the right": (1, 0),
    "in the middle": (0, 0),
}
FAR = 0.26  # distance from the centre, in sides
HELD_OUT = tuple(zip(SHAPE_COLOURS, SHAPES * 2))  # red circle, green square, ..., cyan cross: each shape in two colours
WORDS = ("", *dict.fromkeys(" ".join(["a", *SIZES, *SHAPE_COLOURS, *SHAPES, *_RELATIONS, *_PLACES]).split()))
LONGEST = 11  # symbols of a sentence, including the end symbol


def encode_words(text: str) -> list[int]:
    """Returns the words of a text as symbols, followed by 0 for the end.

    Example:
      >>> [WORDS[symbol] for symbol in encode_words("a small red cross")]
      ['a', 'small', 'red', 'cross']
    """
    check_text("encode_words: text", text)
    unknown = [word for word in text.split() if word not in WORDS]
    if unknown:
        raise ValueError(f"encode_words: {unknown[0]!r:.40} is none of the {len(WORDS) - 1} words of tasks.WORDS")
    return [WORDS.index(word) for word in text.split()]


def _table(texts: tuple[str, ...], size: int) -> np.ndarray:
    """Returns texts as rows of symbols, padded with -1."""
    return np.array([encode_words(t) + [-1] * (size - len(t.split())) for t in texts], np.int32)


def paint(
    picture: jax.Array, shape: jax.Array, tint: jax.Array, half: jax.Array, centre: jax.Array, there: jax.Array
) -> jax.Array:
    """Paints a shape onto a picture, if it is present; parts beyond one edge appear at the opposite one.

    Args:
      picture: `[SIDE, SIDE, 3]`.
      shape: an index into `SHAPES`.
      tint: the colour `[3]`.
      half: half its width, in sides.
      centre: x and y, in sides from the upper left corner.
      there: whether the shape is present.
    """
    at = (jnp.arange(SIDE, dtype=half.dtype) + 0.5) / SIDE
    away = at[:, None] - centre[None]
    x, y = ((away - jnp.round(away)) / half).T
    x, y = jnp.broadcast_arrays(x[None], y[:, None])
    ax, ay = jnp.abs(x), jnp.abs(y)
    inside = jnp.stack(
        [
            1 - jnp.hypot(x, y),
            0.85 - jnp.maximum(ax, ay),
            jnp.minimum((1 + y) / 2 - ax, 0.9 - y),
            jnp.minimum(1 - jnp.maximum(ax, ay), 0.3 - jnp.minimum(ax, ay)),
        ]
    )[shape]
    cover = (jnp.clip(inside * half * SIDE + 0.5, 0, 1) * there.astype(half.dtype))[..., None]
    return picture * (1 - cover) + cover * tint[None, None]


def index_from_uniform(u: jax.Array, n: int) -> jax.Array:
    """Returns an integer below n from a number in [0, 1)."""
    return (u * n).astype(jnp.int32)


def scenes(held_out: bool = False) -> Task:
    """Returns a task to describe pictures of one or two shapes; x is a `SourceTarget`, the sentence shifted by a word.

    Examples: `a small red cross on the left`, `a large blue cross left of a small white square`. Half of the pictures
      have
    one shape. Position, colour and background vary slightly.

    Args:
      held_out: if set, one of the shapes is of `HELD_OUT`; otherwise none is.

    Returns:
      A task: x.source `[24, 24, 3]` in [0, 1], x.target and y integers `[11]`, indices into `WORDS` with 0 at the end,
      mask `[11]`. The baseline is the loss per symbol of a predictor that knows the language but does not
      see the picture, without held-out shapes.

    Example:
      >>> import jax
      >>> batch = jax.jit(lambda key: scenes().batch(key, 3))(jax.random.key(0))
      >>> batch.x.source.shape, " ".join(WORDS[s] for s in batch.y[0]).strip()
      ((3, 24, 24, 3), 'a large purple circle left of a small white square')
    """
    names = list(SHAPE_COLOURS)
    pairs = [(names.index(c), SHAPES.index(s)) for c, s in HELD_OUT]
    others = [(c, s) for c in range(len(names)) for s in range(len(SHAPES)) if (c, s) not in pairs]
    shades, halves = np.array(list(SHAPE_COLOURS.values()), np.float32), np.array(list(SIZES.values()), np.float32)
    places = np.array(list(_PLACES.values()), np.float32)
    relations = np.array(list(_RELATIONS.values()), np.float32)
    said_places, said_relations = _table(tuple(_PLACES), 3), _table(tuple(_RELATIONS), 2)
    size_words, colour_words, shape_words = (encode_words(" ".join(w)) for w in (SIZES, SHAPE_COLOURS, SHAPES))
    article = encode_words("a")[0]

    def thing(u: jax.Array, new: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        kind = jnp.where(
            new,
            jnp.array(pairs)[index_from_uniform(u[0], len(pairs))],
            jnp.array(others)[index_from_uniform(u[0], len(others))],
        )
        return kind[0], kind[1], index_from_uniform(u[1], len(SIZES))

    def words(colour: jax.Array, shape: jax.Array, size: jax.Array) -> jax.Array:
        lists = ((size_words, size), (colour_words, colour), (shape_words, shape))
        return jnp.stack([jnp.int32(article), *(jnp.asarray(w, jnp.int32)[i] for w, i in lists)])

    def sample(key: jax.Array) -> Batch:
        ku, kb = jax.random.split(key)
        u = jax.random.uniform(ku, (18,))  # one draw, since each draw costs compile time
        two = u[0] < 0.5
        at_second = two & (u[1] < 0.5)
        first, second = thing(u[2:4], held_out & ~at_second), thing(u[4:6], held_out & at_second)
        place, relation = index_from_uniform(u[6], len(_PLACES)), index_from_uniform(u[7], len(_RELATIONS))
        jitter, tinge = 0.08 * u[8:12].reshape(2, 2) - 0.04, _TINGE * (2 * u[12:].reshape(2, 3) - 1)
        away = jnp.where(two, jnp.asarray(relations)[relation], jnp.asarray(places)[place]) * FAR
        picture = 0.15 + 0.1 * jax.random.uniform(kb, (SIDE, SIDE, 3))
        for i, (colour, shape, size) in enumerate((first, second)):
            tint = jnp.clip(jnp.asarray(shades)[colour] + tinge[i], 0, 1)
            centre, there = 0.5 + away * (1 - 2 * i) + jitter[i], two if i else jnp.array(True)
            picture = paint(picture, shape, tint, jnp.asarray(halves)[size], centre, there)
        where = jnp.append(jnp.asarray(said_places)[place], jnp.full(4, -1, jnp.int32))
        pair = jnp.concatenate([jnp.asarray(said_relations)[relation], words(*second), jnp.full(1, -1, jnp.int32)])
        slots = jnp.concatenate([words(*first), jnp.where(two, pair, where)])
        slots = slots[jnp.argsort(slots < 0, stable=True)]
        y = jnp.maximum(slots, 0)
        late = jnp.concatenate([jnp.zeros(1, y.dtype), y[:-1]])
        return Batch(SourceTarget(picture, late), y, jnp.arange(LONGEST) <= (slots >= 0).sum())

    one = math.log(len(others) * len(SIZES))
    entropy = math.log(2) + one + (math.log(len(_PLACES)) + one + math.log(len(_RELATIONS))) / 2
    symbols = 1 + (7 + 9.5) / 2  # with two shapes there are 9 or 10
    return Task(sample, entropy / symbols)

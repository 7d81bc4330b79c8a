"""Laws of examples from a user's own arrays, rows and columns: the same batches whatever they came in; one line for
what does not fit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import app, data
from rnnjax.base import UserError, without_marks
from rnnjax.data import from_arrays, from_columns, from_rows

LENGTHS = [5, 2, 4]
RNG = np.random.default_rng(0)
LIST = [RNG.normal(size=(n, 2)) for n in LENGTHS]
STEPS = [RNG.integers(0, 3, n) for n in LENGTHS]
LABELS = np.array([0, 2, 1])
DENSE = np.full((3, 5, 2), np.nan)  # what is beyond a length is never read
for row, x in zip(DENSE, LIST):
    row[: len(x)] = x
DENSE_STEPS = np.full((3, 5), 9)
for row, y in zip(DENSE_STEPS, STEPS):
    row[: len(y)] = y


class Tensor:
    """A tensor of another library: NumPy can read it, and that is all."""

    def __init__(self, a):
        self.a = np.asarray(a)
        self.shape, self.ndim = self.a.shape, self.a.ndim

    def __array__(self, dtype=None, copy=None):
        return self.a if dtype is None else self.a.astype(dtype)

    def __len__(self):
        return len(self.a)

    def __iter__(self):
        return map(Tensor, self.a)

    def __getitem__(self, at):
        return Tensor(self.a[at])


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def loader(size=2):
    """Batches as a PyTorch loader yields them, padded, with their lengths."""
    for i in range(0, 3, size):
        yield Tensor(DENSE[i : i + size]), Tensor(DENSE_STEPS[i : i + size]), Tensor(LENGTHS[i : i + size])


TABLE = {
    "id": np.repeat(["c", "a", "b"], LENGTHS),
    "u": np.concatenate(LIST)[:, 0],
    "v": np.concatenate(LIST)[:, 1],
    "y": np.concatenate(STEPS),
}
SOURCES = {
    "lists of arrays": lambda: from_arrays(LIST, STEPS),
    "lists of lists": lambda: from_arrays([x.tolist() for x in LIST], [y.tolist() for y in STEPS]),
    "an array with lengths": lambda: from_arrays(DENSE, DENSE_STEPS, LENGTHS),
    "arrays of JAX": lambda: from_arrays(jnp.asarray(DENSE), jnp.asarray(DENSE_STEPS), jnp.asarray(LENGTHS)),
    "tensors": lambda: from_arrays(Tensor(DENSE), Tensor(DENSE_STEPS), Tensor(LENGTHS)),
    "an iterator": lambda: from_arrays(iter(LIST), iter(STEPS)),
    "rows of a data set": lambda: from_rows([{"x": x, "y": y} for x, y in zip(LIST, STEPS)], "x", "y"),
    "rows of a generator": lambda: from_rows(zip(LIST, STEPS)),
    "a loader": lambda: from_rows(loader(), lengths=2, batched=True),
    "columns": lambda: from_columns(TABLE, ["u", "v"], "y", by="id"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_examples_from_every_source(source):
    made = SOURCES[source]()
    assert made.x.x.dtype == np.float32 and made.y.dtype == np.int32
    assert made.x.valid.sum(1).tolist() == data.lengths_of(made).tolist() == LENGTHS
    same(made, SOURCES["lists of arrays"]())


def test_columns_of_pandas_in_any_order_and_sequences_in_cells():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = pandas.DataFrame(TABLE)
    mixed = table.sort_values("id", kind="stable")  # other sequences first, steps of each in order
    same(from_columns(table, ["u", "v"], "y", by="id"), from_arrays(LIST, STEPS))
    assert from_columns(mixed, ["u", "v"], "y", by="id").x.valid.sum(1).tolist() == [2, 4, 5]
    cells = pandas.DataFrame({"x": LIST, "y": LABELS})
    same(from_arrays(cells["x"], cells["y"]), from_arrays(LIST, LABELS))


def test_a_length_goes_to_the_last_step_that_counts():
    valid = np.array([[True, False, True, False], [False] * 4, [True] * 4])
    made = data.Batch(rnnjax.Seq(np.ones((3, 4, 1)), valid), None)
    assert data.lengths_of(made).tolist() == [3, 0, 4]


def test_steps_of_mixed_sequences_keep_their_order():
    owner = np.random.default_rng(0).integers(0, 3, 300)  # enough that a sort which is not stable would mix them
    made = from_columns({"id": owner, "t": np.arange(300.0), "y": np.arange(300)}, ["t"], "y", by="id")
    for name, row in zip(dict.fromkeys(owner.tolist()), made.y):
        at = np.flatnonzero(owner == name)
        assert row[: len(at)].tolist() == at.tolist()


def test_a_target_for_each_sequence_or_for_each_step():
    assert from_arrays(LIST, LABELS).y.tolist() == LABELS.tolist()
    assert from_arrays(np.ones((4, 6, 1)), np.ones((4, 3))).y.shape == (4, 3)
    ambiguous = np.ones((4, 6, 1)), np.ones((4, 6), int)
    assert not isinstance(from_arrays(*ambiguous).x, rnnjax.Seq)
    assert from_arrays(*ambiguous, per_step=False).y.shape == (4, 6)
    assert from_columns({"a": np.arange(7.0), "b": np.arange(7)}, ["a"], "b", steps=3).x.valid.sum(1).tolist() == [
        3,
        2,
        2,
    ]


def test_packed_rows_have_every_step_once():
    made = from_arrays(LIST, STEPS, pack=True)
    assert made.x.x.shape[:2] == (3, 5) or made.x.x.shape[:2] == (2, 5)
    assert sorted(made.y[made.x.valid].tolist()) == sorted(np.concatenate(STEPS).tolist())


REFUSED = [
    (lambda: from_arrays(LIST, LABELS[:2]), "xs has 3 sequences, and ys 2 targets"),
    (lambda: from_arrays(LIST, [STEPS[0], STEPS[0], STEPS[2]]), "ys has targets of different shapes"),
    (lambda: from_arrays(LIST, [STEPS[0], STEPS[0], STEPS[2]], per_step=True), r"xs\[1\] has 2 steps, and ys\[1\] 5"),
    (lambda: from_arrays(DENSE, LABELS, [5, 2]), r"lengths is int32 \[2\], and xs has 3 sequences"),
    (lambda: from_arrays(DENSE, LABELS, [5, 2, 6]), r"lengths\[2\] is 6, and xs\[2\] has 5 steps"),
    (lambda: from_arrays(DENSE, LABELS, [5, -1, 2]), r"lengths\[1\] is -1"),
    (lambda: from_arrays(DENSE, LABELS, [5.0, 2.0, 2.5]), "lengths is float32"),
    (lambda: from_arrays(DENSE, LABELS, [True, True, True]), "lengths is bool"),
    (lambda: from_arrays(DENSE * 1e300, LABELS), "xs holds 1.2573e[+]299, too large for float32"),
    (lambda: from_arrays(np.ma.masked_less(DENSE * [0, 1], 1), LABELS), "xs has masked values"),
    (lambda: from_arrays(DENSE, LABELS, [0, 0, 0]), "all sequences of xs are empty"),
    (lambda: from_arrays(DENSE[..., 0], LABELS), r"xs is \[3, 5\]: features come last"),
    (lambda: from_arrays(DENSE[0, :, 0], LABELS), "xs has one axis"),
    (lambda: from_arrays([], []), "xs is empty"),
    (lambda: from_arrays(7, LABELS), "xs is a int, not an array"),
    (lambda: from_arrays("abc", LABELS), "xs is a str"),
    (lambda: from_arrays(LIST, 7), "ys is a int"),
    (lambda: from_arrays([["to", "be"], ["or"]], [0, 1]), "holds <U2, not numbers, data.Vocabulary encodes words"),
    (lambda: from_arrays(LIST, ["yes", "no", "yes"]), "ys holds <U3, not numbers"),
    (lambda: from_arrays([LIST[0], LIST[1][:, :1]], [0, 1]), r"float32 \[T, 2\], and xs\[1\] float32 \[T, 1\]"),
    (lambda: from_arrays([STEPS[0], -STEPS[0] - 1], [0, 1]), "negative integers"),
    (lambda: from_arrays([[2**40]], [0]), "more than 31 bits"),
    (lambda: from_arrays(LIST, LABELS, pack=True), "ys needs a target for each step"),
    (lambda: from_arrays(LIST, STEPS, steps=4), "sequence 1 has 5 steps, and a row 4"),
    (lambda: from_rows([{"x": [1]}], "x", "label"), "row 0 has no 'label': it has x"),
    (lambda: from_rows([([1],)]), "row 0 has no 1"),
    (lambda: from_rows([([[1.0]], 0, 2.7)], lengths=2), "row 0: lengths is an integer, got 2.7"),
    (lambda: from_rows([([[1.0]], 0, np.nan)], lengths=2), "row 0: lengths is an integer, got nan"),
    (lambda: from_rows([([[1.0]], 0, [1])], lengths=2), r"row 0: lengths is an integer, got \[1\]"),
    (lambda: from_rows([([[1.0]], 0, -1)], lengths=2), r"lengths\[0\] is -1, and xs\[0\] has 1 steps"),
    (lambda: from_rows([([[1.0]], 0, 2)], lengths=2), r"lengths\[0\] is 2, and xs\[0\] has 1 steps"),
    (lambda: from_rows([]), "there are no rows"),
    (lambda: from_rows({"train": [([1], 0)], "test": []}), "rows is a dict of train, test: give one part of it"),
    (lambda: from_rows(3), "rows is a int, which yields no rows"),
    (lambda: from_columns({"x": [[1], [2, 3]], "y": [0, 1]}, "x", "y"), "column 'x' has a sequence in each row"),
    (lambda: from_columns({"x": [[1, 2], [2, 3]], "y": [0, 1]}, "x", "y"), "column 'x' has a sequence in each row"),
    (lambda: from_rows((([1], 0) for _ in iter(int, 1)), limit=10), "more than 10 rows"),
    (lambda: from_columns(TABLE, ["u", "w"], "y"), "there is no column 'w': id, u, v, y"),
    (lambda: from_columns(TABLE | {"y": [1]}, ["u"], "y"), "has 11 rows, and y 1"),
    (lambda: from_columns(TABLE | {"v": [1.0]}, ["u", "v"], "y"), "different lengths: u 11, v 1"),
    (lambda: from_columns(TABLE | {"id": [None] * 11}, ["u"], "y", by="id"), "'id' names no sequence in row 0"),
    (lambda: from_columns(TABLE | {"id": [1.0] * 9 + [np.nan] * 2}, ["u"], "y", by="id"), "no sequence in row 9"),
    (lambda: from_columns({"u": [], "y": []}, ["u"], "y"), "has no rows"),
    (lambda: from_columns(TABLE, [], "y"), "takes the names of columns, got none"),
    (lambda: from_columns(TABLE, ["id"], "y"), "column 'id' holds <U1, not numbers"),
    (lambda: app.on_arrays(DENSE), "train is a ndarray: data.from_arrays makes examples"),
    (lambda: app.on_arrays(from_arrays(LIST, LABELS)), "of 3 examples none is left for the"),
    (lambda: app.on_arrays(from_arrays(LIST, LABELS), valid=0.5, test=0.5), "leave something to learn from"),
    (lambda: app.on_arrays(from_arrays(LIST, LABELS), from_arrays(STEPS, LABELS), 0), "train has floating"),
    (lambda: app.on_arrays(from_arrays(LIST, LABELS - 1), 0, 0), "ys has the class -1"),
    (lambda: app.on_arrays(from_arrays(LIST, LABELS * 0 + 1), 0, 0), "all examples to learn from are of the class 1"),
    (lambda: app.on_arrays(from_arrays(LIST, LABELS + 2**30), 0, 0), "ys holds 1073741826: number its 3 classes or"),
    (lambda: app.on_arrays(from_arrays([[2**30], [5]], [0, 1]), 0, 0), "xs holds 1073741824: number its 2 classes or"),
    (lambda: app.on_arrays(from_arrays(LIST, LABELS), 0, 0, outputs=2), "outputs=2, and ys has the class 2"),
]  # fmt: skip


@pytest.mark.parametrize("make, said", REFUSED, ids=[said for _, said in REFUSED])
def test_refused_in_one_line(make, said):
    with pytest.raises(UserError, match=said) as error:
        make()
    assert "\n" not in str(error.value)


def test_an_experiment_on_arrays_trains_and_is_loaded_and_tells_its_arrays_from_others(tmp_path):
    ids = [RNG.integers(0, 5, n) for n in RNG.integers(1, 9, 40)]
    with jax.numpy_dtype_promotion("standard"):
        experiment = app.on_arrays(
            from_arrays(ids, [int(i[-1]) for i in ids]), cell="gru", hidden_size="3", batch_size=8
        )
        run = app.train(experiment, tmp_path, buckets=2, num_steps=1, progress="none", writers="jsonl")
        assert run.summary["baseline"]["loss"] > 0 and run.setup.around is not None
        assert without_marks(run.apply(ids[0])).shape == (5,)
        assert rnnjax.load_run(tmp_path, experiment).arrays().keys() == run.arrays().keys()
        others = app.on_arrays(
            from_arrays(ids, [int(i[0]) for i in ids]), cell="vanilla", hidden_size="3", batch_size=8
        )
        with pytest.raises(UserError, match="--arrays"):
            app.train(others, tmp_path, buckets=2, num_steps=1, progress="none", writers="jsonl")


def test_numbers_in_half_precision():
    given = from_arrays(jnp.ones((4, 3, 2), jnp.bfloat16), LABELS[[0, 1, 0, 1]])
    assert given.x.dtype == np.float32 and given.x.sum() == 24


def test_loaders_and_data_sets_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from torch.utils.data import DataLoader, Dataset, TensorDataset

    xs, ys = torch.arange(24.0).reshape(4, 3, 2), torch.tensor([0, 1, 1, 0])
    want = from_arrays(xs.numpy(), ys.numpy())
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        pairs = TensorDataset(xs.clone().to(dtype).requires_grad_(), ys)
        same(from_rows(pairs), want)
        same(from_rows(DataLoader(pairs, 3), batched=True), want)
        same(from_rows(DataLoader(pairs, None)), want)
    with pytest.raises(UserError, match="this DataLoader yields batches: batched=True"):
        from_rows(DataLoader(pairs, 3))

    class Endless(Dataset):
        """As most are written: it never raises an IndexError."""

        def __len__(self):
            return 4

        def __getitem__(self, i):
            return {"x": xs[i % 4, : 1 + i % 3], "y": ys[i % 4]}

    def padded(rows):
        lengths = torch.tensor([len(row["x"]) for row in rows])
        whole = torch.nn.utils.rnn.pad_sequence([row["x"] for row in rows], batch_first=True)
        return whole, torch.stack([row["y"] for row in rows]), lengths

    ragged = from_arrays([xs[i, : 1 + i % 3].numpy() for i in range(4)], ys.numpy())
    same(from_rows(Endless(), "x", "y"), ragged)
    same(from_rows(DataLoader(Endless(), 2, collate_fn=padded), batched=True, lengths=2), ragged)

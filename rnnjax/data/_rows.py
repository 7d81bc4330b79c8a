"""Examples from rows that another library yields, or from the columns of a table."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rnnjax.base import UserError
from rnnjax.data._arrays import as_numbers, from_arrays, trim
from rnnjax.data._batch import Batch
from rnnjax.data._batches import split_long


def from_rows(
    rows: Iterable[Any],
    x: Hashable = 0,
    y: Hashable = 1,
    lengths: Hashable | None = None,
    batched: bool = False,
    limit: int = 1_000_000,
    **given: Any,
) -> Batch:
    """Returns examples from anything that yields rows: a Hugging Face data set, a PyTorch loader, a generator.

    All rows are read into memory, once.

    Args:
      rows: dicts or tuples of arrays, tensors or lists.
      x, y: the keys, or places, of inputs `[T_i, ...]` and targets in a row.
      lengths: the key of the number of steps that count; None: all.
      batched: whether a row is a batch, all of whose arrays have an axis of examples first.
      limit: refuse more sequences than this.
      **given: `per_step`, `steps` and `pack` of `from_arrays`.

    Raises:
      UserError: a row lacks a key, there are too many rows or none, or sizes do not fit together.

    Example: as `datasets.Dataset` yields them, and as `torch.utils.data.DataLoader` does.
      >>> from_rows([{"ids": [1, 2, 3], "label": 0}, {"ids": [4], "label": 1}], x="ids", y="label").x.x.tolist()
      [[1, 2, 3], [4, 0, 0]]
      >>> loader = [(np.ones((2, 5, 1)), np.array([0, 1])), (np.ones((1, 5, 1)), np.array([1]))]
      >>> from_rows(loader, batched=True).y.tolist()
      [0, 1, 1]
    """
    names = (x, y) if lengths is None else (x, y, lengths)
    found: list[tuple[Any, ...]] = []
    for number, row in enumerate(_each(rows, batched)):
        parts = tuple(_part(row, name, number) for name in names)
        found += zip(*map(_unbatched, parts), strict=False) if batched else [parts]
        if len(found) > limit:
            raise UserError(f"more than {limit:,} rows: an endless source ends with itertools.islice, or give limit=")
    if not found:
        raise UserError("there are no rows")
    columns = [list(column) for column in zip(*found)]
    if lengths is not None:
        counts = _counts(columns[2])
        columns[0] = trim([as_numbers(a, f"row {i}: {x!r}") for i, a in enumerate(columns[0])], counts)
        per_step = given.get("per_step", all(np.ndim(a) and len(a) >= n for a, n in zip(columns[1], counts)))
        columns[1] = [np.asarray(a)[:n] for a, n in zip(columns[1], counts)] if per_step else columns[1]
    return from_arrays(columns[0], columns[1], **given)


def from_columns(
    table: Any, x: str | Sequence[str], y: str | Sequence[str], by: str | None = None, **given: Any
) -> Batch:
    """Returns examples from the columns of a table, a row for each step: pandas, polars, or a dict of arrays.

    Args:
      table: anything whose `table[name]` is a column of numbers.
      x: names of the columns of the input; a single column of integers, given as a string, holds symbols.
      y: names of the columns of the target at each step; a single name of integers holds classes.
      by: name of the column that says to which sequence a row belongs, in any order; None: all rows are one sequence,
        or, with `steps`, pieces of it.
      **given: `steps` and `pack` of `from_arrays`.

    Raises:
      UserError: there is no such column, or columns have different lengths.

    Example:
      >>> table = {"id": [7, 7, 8], "price": [1.0, 2.0, 5.0], "up": [0, 1, 1]}
      >>> examples = from_columns(table, x=["price"], y="up", by="id")
      >>> examples.x.x[..., 0].tolist(), examples.y.tolist()
      ([[1.0, 2.0], [5.0, 0.0]], [[0, 1], [1, 0]])
    """
    inputs, targets = _columns(table, x), _columns(table, y)
    if not len(inputs):
        raise UserError(f"column {x} has no rows")
    if len(inputs) != len(targets):
        raise UserError(f"column {x} has {len(inputs)} rows, and {y} {len(targets)}")
    if by is not None:
        owner = _column(table, by)
        if len(owner) != len(inputs):
            raise UserError(f"column {x} has {len(inputs)} rows, and {by} {len(owner)}")
        lacks = [i for i, name in enumerate(owner.tolist()) if name is None or name != name]
        if lacks:
            raise UserError(f"column {by!r} names no sequence in row {lacks[0]}")
        known = {name: i for i, name in enumerate(dict.fromkeys(owner.tolist()))}
        places = np.array([known[name] for name in owner.tolist()], int)
        order, ends = np.argsort(places, kind="stable"), np.cumsum(np.bincount(places))[:-1]
        pieces = [np.split(a[order], ends) for a in (inputs, targets)]
    else:
        steps = given.get("steps") or len(inputs)
        pieces = [split_long([a], steps) for a in (inputs, targets)]
    return from_arrays(pieces[0], pieces[1], per_step=True, **given)


def _each(rows: Any, batched: bool) -> Iterable[Any]:
    """Returns what yields the rows, each once.

    Raises:
      UserError: it holds several sets of rows, or yields batches that were not announced.
    """
    if isinstance(rows, Mapping):
        raise UserError(
            f"rows is a dict of {', '.join(map(str, rows))}: give one part of it, or a table to from_columns"
        )
    if not batched and getattr(rows, "batch_sampler", None) is not None:
        raise UserError(f"this {type(rows).__name__} yields batches: batched=True")
    if not hasattr(rows, "__iter__") and hasattr(rows, "__getitem__") and hasattr(rows, "__len__"):
        return (rows[i] for i in range(len(rows)))  # a data set of PyTorch, which need not end by itself
    if not hasattr(rows, "__iter__"):
        raise UserError(f"rows is a {type(rows).__name__}, which yields no rows")
    return iter(rows)


def _part(row: Any, name: Hashable, number: int) -> Any:
    try:
        return row[name]
    except (KeyError, IndexError, TypeError) as error:
        there = f": it has {', '.join(map(str, row))}; give x= and y=" if hasattr(row, "keys") else ""
        raise UserError(f"row {number} has no {name!r}{there}") from error


def _unbatched(part: Any) -> list[Any]:
    return list(as_numbers(part, "a batch")) if hasattr(part, "shape") else list(part)


def _counts(lengths: Sequence[Any]) -> list[int]:
    """Returns the lengths of the rows as integers, of whatever library."""
    for i, n in enumerate(lengths):
        array = as_numbers(n, f"row {i}: lengths")
        if array.ndim or array.dtype != np.int32 or isinstance(n, bool):
            raise UserError(f"row {i}: lengths is an integer, got {n!r:.40}")
    return [int(as_numbers(n, "lengths")) for n in lengths]


def _column(table: Any, name: str) -> np.ndarray:
    try:
        column = table[name]
        if getattr(column, "ndim", 1) == 1 and np.ndim(next(iter(column), 0)):
            raise UserError(f"column {name!r} has a sequence in each row: from_arrays(table[x], table[y])")
        return np.asarray(column)
    except UserError:
        raise
    except (KeyError, TypeError, IndexError) as error:
        there = ", ".join(itertools.islice(map(str, getattr(table, "columns", table)), 12))
        raise UserError(f"there is no column {name!r}: {there}") from error
    except Exception as error:  # polars has an error of its own
        raise UserError(f"there is no column {name!r}: {str(error).splitlines()[0]}") from error


def _columns(table: Any, names: str | Sequence[str]) -> np.ndarray:
    """Returns a column as it is, or several side by side."""
    if isinstance(names, str):
        column = as_numbers(_column(table, names), f"column {names!r}")
        return column[:, None] if column.dtype.kind == "f" else column
    if not names:
        raise UserError("from_columns takes the names of columns, got none")
    columns = [as_numbers(_column(table, name), f"column {name!r}").astype(np.float32) for name in names]
    if len({len(column) for column in columns}) > 1:
        sizes = ", ".join(f"{name} {len(column)}" for name, column in zip(names, columns))
        raise UserError(f"columns have different lengths: {sizes}")
    return np.stack(columns, axis=1)

"""Law: every size and every rate of a public factory is checked where it is given, by its name."""

import importlib
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import Seq, bidirectional, lstm, run, unroll

FOLDERS = ("base", "cells", "wrappers", "credit", "unitary", "seq2seq", "trees", "tasks", "estimators", "decoding")
MAKES = ("Cell", "TreeCell", "Factor", "Parametrization", "Attention", "Task", "Estimator", "Sampler")
GIVEN = {  # what stands for arguments without a default
    "hidden": 4, "width": 4, "classes": 4, "vocabulary": 4, "states": 4, "k": 2, "length": 4, "delay": 2,
    "reflections": 2, "capacity": 2, "count": 2, "advance": 1, "truncation": 2, "rate": 0.5, "p": 0.5, "t": 1.0,
    "shortest": 1, "longest": 2, "n": 4, "cell": lstm(4), "core": lstm(4), "update": lambda p, h, z: (h, h),
    "apply": lambda p, x: x,
    "init": lambda key, x: (), "y0": np.ones(2), "drive": lambda p, x: (x, x), "f": jnp.tanh,
    "objective": lambda outputs, batch: {},
    "attention": None, "memory": None, "shape": (1, 1, 1), "moves": [[0]], "layer": lstm,
    "block": "s5", "depth": 2, "gate": lstm(4), "channels": 2,
}  # fmt: skip
SEEDS = ("seed", "permutation", "limit")  # any number that NumPy takes; bytes
# A size may be None: as many as there are. Of these 0 says so too.
BAD_SIZES = (-1, 2.5, 2.0, True, "2", float("nan"), np.ones(2, int), jnp.ones((), bool))
BAD_NUMBERS = (float("nan"), float("inf"), True, "1", np.ones(2), jnp.ones(1), None)
RATES = {"rate", "decay", "eps", "r_min", "r_max", "p"}
POSITIVE = {"temperature", "sigma", "tau", "dt_min", "dt_max", "max_phase"}


def factories():
    for folder in FOLDERS:
        module = importlib.import_module(f"rnnjax.{folder}")
        for name in module.__all__:
            f = getattr(module, name)
            if inspect.isfunction(f) and inspect.signature(f).return_annotation in MAKES:
                yield f"{folder}.{name}", f


def arguments(kind):
    """A parametrisation: each argument of each factory that is of a kind, by name and annotation."""
    found = [
        pytest.param(f, name, id=f"{where}-{name}")
        for where, f in factories()
        for name, p in inspect.signature(f).parameters.items()
        if kind(name, str(p.annotation))
    ]
    return pytest.mark.parametrize("f, name", found)


def attempt(f, name, value):
    """A factory called with one argument and what it cannot do without."""
    ps = inspect.signature(f).parameters.values()
    needed = {p.name: GIVEN[p.name] for p in ps if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
    return f(**needed | {name: value})


@arguments(lambda name, a: a in ("int", "int | None") and name not in SEEDS)
def test_a_size_is_an_integer_that_is_large_enough(f, name):
    for bad in BAD_SIZES:
        with pytest.raises(ValueError, match=f"{name} is an integer from [012], got"):
            attempt(f, name, bad)


@arguments(lambda name, a: a == "Any" and name not in ("dtype", "scales"))
def test_a_number_is_one_finite_number(f, name):
    optional = inspect.signature(f).parameters[name].default is None or f is rnnjax.cells.boltzmann_core
    bad = BAD_NUMBERS[: -1 if optional else None]
    bad += (-0.1, 1.5) if name in RATES else (0.0, -1.0) if name in POSITIVE else ()
    for value in bad:
        with pytest.raises(ValueError, match=f"{'temperature' if name == 't' else name} is a .*number.*, got"):
            attempt(f, name, value)


TAKE_CELLS = [
    pytest.param(f, name, id=f"{folder}.{f.__name__}-{name}")
    for folder in (*FOLDERS, "dynamics", "training", "interop")
    for f in vars(importlib.import_module(f"rnnjax.{folder}")).values()
    if inspect.isfunction(f) and f.__name__ in importlib.import_module(f"rnnjax.{folder}").__all__
    for name, p in inspect.signature(f).parameters.items()
    if str(p.annotation) == "Cell" and p.kind is p.POSITIONAL_OR_KEYWORD
]


@pytest.mark.parametrize("f, name", TAKE_CELLS)
def test_what_takes_a_cell_takes_no_function_that_makes_one(f, name):
    ps = inspect.signature(f).parameters.values()
    needed = [p.name for p in ps if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    for bad, given in ((lstm, r"the function lstm: .*lstm\(128\)"), ("lstm", "str"), (None, "NoneType")):
        optional = bad is None and inspect.signature(f).parameters[name].default is None
        if not optional:
            with pytest.raises(ValueError, match=f"takes a cell, got {given}"):
                f(**{n: GIVEN.get(n, 2) for n in needed} | {name: bad})


@arguments(lambda name, a: a == "Objective")
def test_an_objective_is_a_function(f, name):
    with pytest.raises(ValueError, match=f"{f.__name__}: objective is a function, got None"):
        attempt(f, name, None)


def test_numbers_that_are_what_they_should_be():
    for n in (4, np.int64(4), np.uint8(4), jnp.int32(4)):
        lstm(n)
    for rate in (0, 0.5, np.float64(0.5), np.float32(0.5), jnp.float32(0.5), jnp.bfloat16(0.5), np.array(0.5)):
        rnnjax.dropout(rate)
    rnnjax.zoneout(lstm(4), 1.0)
    assert jax.eval_shape(lambda r: rnnjax.dropout(r) and 0.0, 1.5) is not None  # a tracer passes


@pytest.mark.parametrize("periods", [(), (0, 1), (1, -2), (1.5, 1), (True, 2), (1, 2, 3)])
def test_periods_of_a_clockwork(periods):
    with pytest.raises(ValueError, match="clockwork"):
        rnnjax.clockwork(4, periods)


MARKS = {
    "short": (jnp.ones(3, bool), "x has 12 steps and {} has 3"),
    "long": (jnp.ones(13, bool), "x has 12 steps and {} has 13"),
    "of rank two": (jnp.ones((12, 1), bool), r"{} is booleans \[T\], got bool \[\d+, 1\]"),
    "of rank zero": (jnp.ones((), bool), r"{} is booleans \[T\], got bool \[\]"),
    "float": (jnp.ones(12), "{} is booleans .*, got float32"),
    "integer": (jnp.ones(12, int), "{} is booleans .*, got int"),
}


@pytest.mark.parametrize(
    "wrap", [unroll, bidirectional, lambda c: rnnjax.chunk(unroll(c), 5)], ids=["unroll", "both", "chunk"]
)
@pytest.mark.parametrize("field", ["valid", "first"])
@pytest.mark.parametrize("name", MARKS)
def test_the_marks_of_a_seq(name, field, wrap):
    mark, message = MARKS[name]
    xs, cell = jnp.ones((12, 3)), wrap(lstm(4))
    params = cell.init(jax.random.key(0), xs)
    message = message.format(field)
    with pytest.raises(ValueError, match=f"{message}|one time axis"):
        run(cell, params, Seq(xs, **{field: mark}))

"""Law: every public factory is in the table, each of its numbers a tracer there; every public name has an example."""

import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import sys
from typing import Any

import _table as table
import _table_published
import jax
import jax.numpy as jnp
import pytest
from _helpers import build

import rnnjax

# Factories whose cells break a law by design (segmented: its input is a Seq of one step; cast: it mixes dtypes;
# encoder_decoder: its input is two windows), and the file that holds laws of their own.
ELSEWHERE = {
    "with_resets": "laws/test_window.py",
    "cast": "laws/test_dtypes.py",
    "encoder_decoder": "seq2seq/test_seq2seq.py",
}


def factories():
    """Public functions that return a Cell: those at the top level, and the rules of credit."""
    names = {name: getattr(rnnjax, name) for name in rnnjax.__all__}
    credit = {
        name: f for name, f in vars(rnnjax.credit).items() if getattr(f, "__module__", "").startswith("rnnjax.credit")
    }
    return {name: f for name, f in (names | credit).items() if inspect.isfunction(f) and returns_cell(f)}


def returns_cell(f):
    return inspect.signature(f).return_annotation in ("Cell", rnnjax.Cell)


def caller(frame):
    """Who calls this code: not what `wrapper` and `factory` put around it."""
    back = frame.f_back
    while back is not None and back.f_code in (rnnjax.stack.__code__, rnnjax.lstm.__code__):
        back = back.f_back
    return back


def called_from_the_table(build):
    """The code that the table calls by itself, with the names of the arguments that were tracers."""
    calls, files = {}, (table.__file__, _table_published.__file__)

    def look(frame, event, argument):
        back = caller(frame)
        if event == "call" and back is not None and back.f_code.co_filename in files:
            traced = {name for name, value in frame.f_locals.items() if isinstance(value, jax.core.Tracer)}
            calls.setdefault(frame.f_code, set()).update(traced)

    sys.setprofile(look)
    try:
        build()
    finally:
        sys.setprofile(None)
    return calls


@pytest.fixture(scope="module")
def calls():
    """All rows and rules of the table, built with tracers for numbers."""

    def everything():
        for row in table.ROWS:
            jax.eval_shape(
                lambda numbers, row=row: build(row, **numbers) and 0.0,
                {name: jnp.float32(low) for name, (low, _) in row.numbers.items()},
            )
        for rule in table.RULES + table.INFLUENCES:
            rule.wrap(rnnjax.lstm(4))

    return called_from_the_table(everything)


@pytest.mark.parametrize("name", [name for name in factories() if name not in ELSEWHERE])
def test_a_factory_is_in_the_table(name, calls):
    assert inspect.unwrap(factories()[name]).__code__ in calls, f"tests/_table.py has no row that calls {name}"


@pytest.mark.parametrize("name", [name for name, f in factories().items() if "credit" not in f.__module__])
def test_the_numbers_of_a_factory_are_tracers_in_the_table(name, calls):
    f = inspect.unwrap(factories()[name])
    numbers = {
        n for n, p in inspect.signature(f).parameters.items() if p.annotation in ("Any", "float") and n != "dtype"
    }
    assert numbers <= calls.get(inspect.unwrap(f).__code__, set()), (
        f"tests/_table.py has no row with a number for each of {numbers}"
    )


@pytest.mark.parametrize("name, file", ELSEWHERE.items())
def test_what_is_tested_elsewhere_is(name, file, request):
    assert name in (request.config.rootpath / "tests" / file).read_text()


def public():
    """Names at the top level, and those of each module: its __all__, or what it defines without an underscore."""
    names = {f"rnnjax.{name}": getattr(rnnjax, name) for name in rnnjax.__all__}
    for info in pkgutil.walk_packages(rnnjax.__path__, "rnnjax."):
        module = importlib.import_module(info.name)
        names |= {f"{info.name}.{name}": getattr(module, name) for name in getattr(module, "__all__", ())}
    return names


@pytest.mark.parametrize("name", public())
def test_a_public_name_has_a_docstring_with_an_example(name):
    thing = public()[name]
    if (inspect.isfunction(thing) or inspect.isclass(thing)) and thing is not Any:  # PyTree stands for any
        assert thing.__doc__, f"{name} has no docstring"
        if inspect.isclass(thing) and (issubclass(thing, tuple) or dataclasses.is_dataclass(thing)):
            return  # a record: the functions that take it or give it show it
        tests = doctest.DocTestFinder(recurse=False).find(thing, name)
        assert any(test.examples for test in tests), f"{name} has no example"


def test_examples_are_run(request):
    assert request.config.getoption("doctestmodules")
    assert "rnnjax" in request.config.getini("testpaths")


def test_the_names_of_a_row_are_unique():
    names = [row.name for row in table.ROWS]
    assert len(names) == len(set(names))

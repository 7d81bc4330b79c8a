"""Properties of what a run writes: flags come back from their lines, states from their checkpoints."""

from __future__ import annotations

import shutil

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from absl import flags
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rnnjax import app
from rnnjax.base import UserError
from rnnjax.runs import Checkpoints, flag_lines

LINE = st.text(st.characters(exclude_categories=("Cs",)), max_size=9)
VALUES = st.fixed_dictionaries(
    {
        "whole": st.integers(-(2**31), 2**31 - 1),
        "real": st.floats(allow_nan=False, allow_infinity=False),
        "yes": st.booleans(),
        "text": LINE,
        "several": st.lists(LINE, max_size=3),
        "names": LINE,
        "one": st.sampled_from(["a", "b c"]),
    }
)


def defined() -> flags.FlagValues:
    """A flag of every kind that experiments have."""
    values = flags.FlagValues()
    flags.DEFINE_integer("whole", 3, "", flag_values=values)
    flags.DEFINE_float("real", 0.5, "", flag_values=values)
    flags.DEFINE_boolean("yes", False, "", flag_values=values)
    flags.DEFINE_string("text", "", "", flag_values=values)
    flags.DEFINE_multi_string("several", [], "", flag_values=values)
    flags.DEFINE_list("names", [], "", flag_values=values)
    flags.DEFINE_enum("one", "a", ["a", "b c"], "", flag_values=values)
    return values


@settings(max_examples=100)
@given(VALUES)
def test_flags_are_read_from_their_lines_as_they_were_or_refused_before(tmp_path, given_):
    """`flag_lines` then `parse`: what a flagfile cannot say is refused when it is written, not when it is read."""
    values = defined()
    several = [f"--several={text}" for text in given_.pop("several")]
    try:
        values(["x", *several, *(f"--{name}={value}" for name, value in given_.items())])
    except flags.Error:
        assume(False)
    expected = {name: values[name].value for name in (*given_, "several")}
    try:
        lines = flag_lines(values[name] for name in expected).values()
    except UserError as error:
        assert str(error).startswith("--") and "\n" not in str(error)
        return
    (tmp_path / "flags.cfg").write_bytes("\n".join(line for line in lines if line).encode())
    found = app.parse(defined(), ["x", f"--flagfile={tmp_path / 'flags.cfg'}"])
    assert {name: found.values[name] for name in expected} == expected


@settings(max_examples=100)
@given(st.lists(LINE, max_size=4))
def test_a_command_line_is_read_or_refused_in_one_line(words):
    try:
        app.parse(defined(), ["x", *words])
    except UserError as error:
        assert "\n" not in str(error)


DTYPES = st.sampled_from(
    [np.float32, np.float16, ml_dtypes.bfloat16, np.int32, np.int8, np.uint32, np.bool_, np.float64]
)
KEYS = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)


@st.composite
def leaves(draw):
    """An array of random bits, of NumPy or JAX, a key, or a number."""
    kind = draw(st.sampled_from(["numpy", "jax", "key", "number"]))
    if kind == "key":
        return jax.random.key(draw(st.integers(0, 9)))
    if kind == "number":
        return draw(st.one_of(st.integers(-(2**40), 2**40), st.floats(), st.booleans()))
    shape, dtype = tuple(draw(st.lists(st.integers(0, 3), max_size=3))), np.dtype(draw(DTYPES))
    bits = np.random.default_rng(draw(st.integers(0, 99))).bytes(int(np.prod(shape)) * dtype.itemsize)
    array = np.frombuffer(bits, np.uint8).reshape(-1) % 2 if dtype.kind == "b" else np.frombuffer(bits, dtype)
    array = array.astype(dtype).reshape(shape)
    return jnp.asarray(array) if kind == "jax" and dtype.itemsize < 8 else array


STATES = st.recursive(
    leaves(),
    lambda below: st.one_of(
        st.dictionaries(KEYS, below, max_size=3), st.lists(below, max_size=3), st.tuples(below, below)
    ),
    max_leaves=5,
)


def bits(tree) -> list:
    """The structure of a tree, and what its leaves are to the last bit."""

    def leaf(x):
        key = hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(x) if key else x)
        return type(x).__name__, str(array.dtype), array.shape, array.tobytes()

    return [str(jax.tree.structure(tree)), *map(leaf, jax.tree.leaves(tree))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def emptied(folder):
    """A place for the checkpoints of one example."""
    shutil.rmtree(folder / "c", ignore_errors=True)
    return Checkpoints(folder / "c", keep=2, report=lambda line: None)


@settings(max_examples=15)
@given(STATES, st.integers(0, 2**31))
def test_any_state_comes_back_bit_for_bit(folder, state, step):
    emptied(folder).save(step, state)
    found = Checkpoints(folder / "c").restore(state)
    assert found is not None and found[0] == step and bits(found[1]) == bits(state)


class KilledError(BaseException):
    """What stands for the end of a process."""


@settings(max_examples=10)
@given(st.integers(1, 3), st.integers(0, 12))
def test_a_write_that_is_interrupted_leaves_the_old_set_or_the_new_one(folder, steps, at):
    checkpoints = emptied(folder)
    for step in range(1, steps + 1):
        checkpoints.save(step, {"w": np.full(3, step)})
    before, left = checkpoints.steps(), at
    patch = pytest.MonkeyPatch()
    for owner, name in (
        (type(folder), "rename"),
        (shutil, "rmtree"),
        (type(folder), "write_text"),
        (type(folder), "mkdir"),
    ):
        real = getattr(owner, name)

        def interrupted(*args, real=real, **given):
            nonlocal left
            left -= 1
            if left < 0:
                raise KilledError
            return real(*args, **given)

        patch.setattr(owner, name, interrupted)
    try:
        checkpoints.save(steps, {"w": np.full(3, -1)})
    except KilledError:
        pass
    finally:
        patch.undo()
    again = Checkpoints(folder / "c", keep=2)
    assert again.steps() == before
    step, state = again.restore({"w": np.zeros(3, int)})
    assert step == steps and state["w"].tolist() in ([steps] * 3, [-1] * 3)
    again.save(steps + 1, {"w": np.full(3, 7)})
    assert again.restore({"w": np.zeros(3, int)})[1]["w"].tolist() == [7] * 3
    assert sorted(path.name for path in again.directory.iterdir()) == sorted(map(str, again.steps()))

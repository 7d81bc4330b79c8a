"""Laws: the rows of `describe` add up to the whole; `repr` is the call that made a cell, and builds it again."""

import ast
import inspect

import jax
import jax.numpy as jnp
import pytest
from _helpers import rows
from _rows import H, T
from _table import BODIES, INFLUENCES, ROWS, RULES, leaky

import rnnjax
from rnnjax import Cell, SourceTarget, gru, linear, lstm, one_hot, residual, seq2seq, stack, unitary, unroll, zoneout
from rnnjax.base import count, describe, factory

FACTORIES = {
    name: getattr(module, name)
    for module in (rnnjax, rnnjax.base, rnnjax.cells, rnnjax.wrappers, rnnjax.credit, unitary)
    for name in module.__all__
}


def shape_of(row):
    """One input of a row's cell."""
    features = () if row.features is None else (row.features,)
    steps = (T,) if row.level == "window" else ()
    return jax.ShapeDtypeStruct(steps + features, jnp.int32 if row.features is None else jnp.float32)


def windows(x):
    return jax.ShapeDtypeStruct((T, *x.shape), x.dtype)


def shapes(cell, x):
    """Shapes of the params and of the carry of a cell."""
    key = jax.eval_shape(jax.random.key, 0)
    params = jax.eval_shape(cell.init, key, x)
    return params, jax.eval_shape(lambda p, x: cell.initial_carry(cell.weights(p), x), params, x)


def check_sums(cell, x):
    found, (params, carry) = describe(cell, x), shapes(cell, x)
    leaves = jax.tree.leaves(carry)
    assert found.parameters == sum(part.parameters for part in found.parts) == count(params)
    assert found.carry_leaves == len(leaves)
    assert found.carry_bytes == sum(a.size * a.dtype.itemsize for a in leaves)
    assert min(part.parameters for part in found.parts) >= 0
    assert len({len(line) for line in str(found).splitlines() if set(line) == {"-"}}) == 1
    assert f"{found.parameters:,}" in str(found).splitlines()[-1]
    return found


@rows(ROWS)
def test_the_parts_add_up(row):
    check_sums(row.make(), shape_of(row))


@pytest.mark.parametrize("row", BODIES, ids=lambda row: row.name)
def test_the_parts_add_up_over_time(row):
    found = check_sums(unroll(row.make()), windows(shape_of(row)))
    assert found.parts[0].name == "unroll"
    assert found.parts[0].x.shape[0] == T


@pytest.mark.parametrize(
    "rule",
    [*RULES, *(r for r in INFLUENCES if r.name in ("rtrl-windows", "uoro", "random"))],
    ids=lambda rule: rule.name,
)
def test_the_influences_of_a_rule_are_part_of_its_carry(rule):
    check_sums(rule.wrap(leaky(H) if "lstm" in rule.refuses else lstm(H)), jax.ShapeDtypeStruct((T, 3), jnp.float32))


def encoder_decoder(attends):
    """A translator, as a user writes one."""
    encoder = stack(one_hot(5), rnnjax.bidirectional(gru(2)))
    if not attends:
        return seq2seq.encoder_decoder(encoder, stack(one_hot(5), gru(H), linear(5)))
    attention = seq2seq.dot()

    def decoder(memory):
        return stack(one_hot(5), rnnjax.luong(gru(H), attention, memory, width=H), linear(5))

    return seq2seq.encoder_decoder(encoder, decoder, attention)


@pytest.mark.parametrize("attends", [False, True])
def test_an_encoder_decoder_shows_its_decoder(attends):
    x = SourceTarget(jnp.zeros(7, jnp.int32), jnp.zeros(6, jnp.int32))
    found = check_sums(encoder_decoder(attends), x)
    names = [part.name.strip() for part in found.parts]
    assert names[0].startswith("encoder_decoder")
    assert f"gru({H})" in names and "gru(2)" in names and "linear(5)" in names


def test_a_nest_of_wrappers_by_hand():
    """lstm: 4 * 4 * (3 + 4 + 1); gru: 3 * 4 * (4 + 4 + 1), its bias of the input only; linear: 2 * (4 + 1)."""
    core = rnnjax.learn_carry(lstm(4))
    found = describe(unroll(stack(core, residual(gru(4)), linear(2))), jnp.ones((T, 3)))
    parts = {(part.depth, part.name): part for part in found.parts}
    assert list(parts) == [
        (0, "unroll"),
        (1, "stack"),
        (2, "learn_carry"),
        (3, "lstm(4)"),
        (2, "residual"),
        (3, "gru(4)"),
        (2, "linear(2)"),
    ]
    assert [part.parameters for part in found.parts] == [0, 0, 8, 128, 0, 108, 10]
    assert [part.carry_bytes for part in found.parts] == [0, 0, 0, 32, 0, 16, 0]
    assert [part.time for part in found.parts] == ["", "", "", "window", "", "window", "window"]
    assert parts[2, "linear(2)"].x.shape == (T, 4)
    assert parts[2, "linear(2)"].y.shape == (T, 2)


def test_the_table_of_a_small_network_by_hand():
    """A share is of the whole, numbers end in one column, and what is scanned twice is named once."""
    scanned = rnnjax.recurrent(2, lambda p, h, z: (h, h))
    found = describe(unroll(stack(linear(2), scanned, scanned)), jnp.ones((T, 1)))  # 1 * 2 + 2, and twice 2 * 2
    assert found.short().endswith("; scanned: recurrent(2, <lambda>)")
    assert [row[4] for row in found.rows()] == ["", "", "33.3%", "33.3%", "33.3%"]
    lines = describe(unroll(stack(linear(20), linear(1))), jnp.ones((T, 1))).__str__().splitlines()
    assert len({line.index(size) + len(size) for line, size in zip(lines[4:6], ("40", "21"))}) == 1
    wide = describe(unroll(stack(linear(60), linear(1))), jnp.ones((T, 1))).__str__().splitlines()
    ends = [line.index(size) + len(size) for line, size in zip(wide[4:6], ("120", " 61"))]
    assert ends[0] == ends[1] == wide[0].index("parameters") + len("parameters")


def test_what_is_scanned_says_so():
    found = describe(unroll(stack(linear(H), rnnjax.recurrent(H, lambda p, h, z: (h, h)), lstm(H))), jnp.ones((T, 3)))
    assert [part.time for part in found.parts] == ["", "", "window", "scan", "window"]
    assert found.short().endswith("scanned: recurrent(4, <lambda>)")
    plain = describe(unroll(lstm(H).replace(window=None)), jnp.ones((T, 3)))
    assert "scan" in [part.time for part in plain.parts]
    assert "window" not in [part.time for part in plain.parts]


def test_two_cells_that_are_one_object_are_two_parts():
    layer = lstm(H)
    found = describe(stack(layer, layer), jnp.ones(3))
    assert [part.parameters for part in found.parts] == [0, 128, 144]


def test_a_tied_matrix_is_counted_once():
    found = describe(next(row.make() for row in ROWS if row.name == "tie"), jnp.int32(0))
    assert [part.parameters for part in found.parts if part.name.startswith(("embed", "read"))] == [20, 5]


def test_params_in_another_dtype_belong_to_the_part_that_draws_them():
    found = describe(rnnjax.wrappers.cast(unroll(lstm(H)), jnp.bfloat16), jnp.ones((T, 3)))
    assert [part.parameters for part in found.parts] == [0, 0, 128]


def test_nothing_is_computed():

    big = describe(unroll(stack(lstm(10**5), linear(3))), jax.ShapeDtypeStruct((10**6, 10**4), jnp.float32))
    assert big.parameters == 4 * 10**5 * (10**4 + 10**5 + 1) + 3 * (10**5 + 1)


def test_a_notebook_shows_a_table():
    text = describe(stack(linear(2), rnnjax.pointwise(jnp.tanh)), jnp.ones(3))._repr_html_()
    assert text.count("<tr>") == 5
    assert "linear(2)" in text and "<lambda>" not in text
    assert "&lt;lambda&gt;" in describe(rnnjax.pointwise(lambda x: x), jnp.ones(3))._repr_html_()


def test_a_misfit_is_one_line():
    with pytest.raises(ValueError, match="x is") as refusal:
        describe(unroll(lstm(H)), jnp.ones(3))
    assert "\n" not in str(refusal.value)


def plain(text):
    """Whether a repr holds nothing but calls, names of factories, and literals."""
    try:
        parts = list(ast.walk(ast.parse(text, mode="eval")))
    except SyntaxError:  # such as <lambda>
        return False
    return {part.id for part in parts if isinstance(part, ast.Name)} <= FACTORIES.keys()


@rows([row for row in ROWS if plain(repr(row.make()))])
def test_a_repr_builds_the_cell_again(row):
    cell, key, x = row.make(), jax.eval_shape(jax.random.key, 0), shape_of(row)
    again = eval(repr(cell), dict(FACTORIES))
    assert repr(again) == repr(cell)
    assert jax.eval_shape(again.init, key, x) == jax.eval_shape(cell.init, key, x)


def test_most_rows_have_a_plain_repr():
    assert sum(plain(repr(row.make())) for row in ROWS) > 0.75 * len(ROWS)


@pytest.mark.parametrize(
    "name",
    [
        n
        for n, f in FACTORIES.items()
        if inspect.isfunction(f) and inspect.signature(f).return_annotation in ("Cell", Cell)
    ],
)
def test_every_factory_names_itself(name):
    if name != "without_fast":
        assert hasattr(FACTORIES[name], "__wrapped__"), f"{name} wants the decorator factory or wrapper"


def test_reprs_by_hand():
    assert repr(stack(lstm(40), gru(20))) == "stack(lstm(40), gru(20))"
    assert (
        repr(stack(a=lstm(4, forget_bias=jnp.float32(0.5)), b=linear(2)))
        == "stack(a=lstm(4, forget_bias=0.5), b=linear(2))"
    )
    assert repr(zoneout(lstm(4), 0.1).replace(window=None)) == "zoneout(lstm(4), 0.1).replace(window=None)"
    assert repr(Cell(lambda k, x: (), lambda w, x: (), test_reprs_by_hand)) == "<Cell of test_reprs_by_hand>"


def test_a_repr_of_a_traced_number_and_of_arrays_holds_no_address():
    texts = []
    jax.eval_shape(lambda bias: texts.append(repr(lstm(4, bias))) or bias, jnp.float32(1.0))
    assert texts == ["lstm(4, float32[])"]
    assert not [text for text in (repr(row.make()) for row in ROWS) if " at 0x" in text or "\n" in text]


def test_a_factory_of_a_user():
    @factory
    def leaky_pair(hidden, rate=0.1):
        return stack(leaky(hidden, rate), leaky(hidden, rate))

    assert repr(unroll(leaky_pair(4, rate=0.5))) == "unroll(leaky_pair(4, rate=0.5))"
    assert check_sums(leaky_pair(4), jnp.ones(3)).parts[0].name == "leaky_pair(4)"

"""Cells beside what their papers write, once more in numpy, step by step, in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import close, draw
from _papers import D, H, by_paper, given
from _papers_linear import (
    delta,
    delta_product,
    duality,
    fading,
    gated_attention,
    gated_delta,
    linear_attention,
    mlstm,
    retention,
    rg_lru,
    rtu,
    s5,
    s6,
    slstm,
    sru,
)
from _papers_memory import dnc, ntm, stack_rnn, tape_rnn
from _papers_nonlinear import (
    alif,
    antisymmetric,
    atr,
    brc,
    cfc,
    cfn,
    cornn,
    fastgrnn,
    fastrnn,
    hgrn,
    janet,
    lem,
    lif,
    ligru,
    linoss,
    ltc,
    minimal_rnn,
    mut1,
    mut3,
    narx,
    nbrc,
    phased_lstm,
    plrnn,
    ran,
    rhn,
    star,
    tau_gru,
    ugrnn,
    unicornn,
)

import rnnjax
from rnnjax import Seq, run, unroll

STEPS = 75  # more steps than two chunks of a matrix memory, and no multiple of one


CELLS = {
    "linear_attention": (rnnjax.linear_attention(H, 2), linear_attention),
    "retnet": (rnnjax.retnet(H, 2), fading(retention)),
    "gla": (rnnjax.gla(H, 2, 3.0), fading(gated_attention)),
    "mamba2": (rnnjax.mamba2(H, 3, 2), duality),
    "deltanet": (rnnjax.deltanet(H, 2, 2.0), fading(delta, delta=True)),
    "gated_deltanet": (rnnjax.gated_deltanet(H, 2), fading(gated_delta, delta=True)),
    "delta_product": (rnnjax.delta_product(H, 2, 3), delta_product),
    "mlstm": (rnnjax.mlstm(H, 2), mlstm),
    "slstm": (rnnjax.slstm(H, 2, 0.5), slstm),
    "s5": (rnnjax.s5(H, 3), s5),
    "s6": (rnnjax.s6(H, 3, 2), s6),
    "rg_lru": (rnnjax.rg_lru(H), rg_lru),
    "sru": (rnnjax.sru(H), sru),
    "rtu": (rnnjax.rtu(H), rtu),
    "cornn": (rnnjax.cornn(H, 0.1, 2.0, 3.0), cornn),
    "unicornn": (rnnjax.unicornn(H), unicornn),
    "lem": (rnnjax.lem(H, 0.7), lem),
    "antisymmetric_rnn": (rnnjax.antisymmetric_rnn(H), antisymmetric(False)),
    "antisymmetric_rnn, gated": (rnnjax.antisymmetric_rnn(H, gated=True), antisymmetric(True)),
    "janet": (rnnjax.janet(H, 1.0, 0.5), janet),
    "ligru": (rnnjax.ligru(H), ligru),
    "ugrnn": (rnnjax.ugrnn(H), ugrnn),
    "minimal_rnn": (rnnjax.minimal_rnn(H), minimal_rnn),
    "ran": (rnnjax.ran(H), ran),
    "star": (rnnjax.star(H), star),
    "atr": (rnnjax.atr(H), atr),
    "cfn": (rnnjax.cfn(H), cfn),
    "fastrnn": (rnnjax.fastrnn(H), fastrnn),
    "fastgrnn": (rnnjax.fastgrnn(H), fastgrnn),
    "brc": (rnnjax.brc(H), brc),
    "nbrc": (rnnjax.nbrc(H), nbrc),
    "ltc": (rnnjax.ltc(H, 0.7, 3), ltc),
    "cfc": (rnnjax.cfc(H, 5, 0.7), cfc),
    "phased_lstm": (rnnjax.phased_lstm(H, 1.0, 0.1, 0.6, 0.37, longest=9.0), phased_lstm),
    "lif": (rnnjax.lif(H, 0.8, 0.6), lif),
    "alif": (rnnjax.alif(H, 0.8, 0.9, 0.2, 0.6), alif),
    "mut1": (rnnjax.mut1(H), mut1),
    "mut3": (rnnjax.mut3(H), mut3),
    "narx": (rnnjax.narx(H, 3), narx),
    "tau_gru": (rnnjax.tau_gru(H, 3), tau_gru),
    "rhn": (rnnjax.rhn(H, 3, -1.0), rhn),
    "hgrn": (rnnjax.hgrn(H, 0.2), hgrn),
    "linoss": (rnnjax.linoss(H, 3), linoss),
    "plrnn": (rnnjax.plrnn(H), plrnn(0)),
    "plrnn, two rectified": (rnnjax.plrnn(H, 2), plrnn(2)),
    "stack_rnn": (rnnjax.stack_rnn(H, 2, 3), stack_rnn),
    "tape_rnn": (rnnjax.tape_rnn(H, 2, 4, jump=2), tape_rnn),
    "ntm": (rnnjax.ntm(H, 4, 2), ntm),
    "dnc": (rnnjax.dnc(H, 3, 2, reads=2), dnc),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_what_its_paper_writes(name, x64):
    cell, step = CELLS[name]
    xs, params = given(cell, STEPS)
    got = jax.jit(lambda: run(unroll(cell), params, xs)[1])()
    assert got.dtype == jnp.float64
    np.testing.assert_allclose(got, by_paper(step, params, xs), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", CELLS)
def test_a_nan_reaches_what_comes_after_it_and_nothing_before(name, x64):
    cell, at = CELLS[name][0], 40
    xs, params = given(cell, STEPS)
    both = jax.jit(lambda xs: run(unroll(cell), params, xs))
    carry, ys = both(xs.at[at, 1].set(jnp.nan))
    np.testing.assert_allclose(ys[:at], both(xs)[1][:at], rtol=1e-9, atol=1e-11)
    assert jnp.isnan(ys[at:]).any(1).all()
    assert any(jnp.isnan(leaf).any() for leaf in jax.tree.leaves(carry))


MATRICES = ["gla", "deltanet", "gated_deltanet", "delta_product", "mlstm"]


@pytest.mark.parametrize("name", MATRICES)
def test_chunks_restart_and_hold_where_a_seq_says(name, x64):
    """Starts and gaps inside chunks, at their edges and next to each other, in value and gradient."""
    cell = CELLS[name][0]
    xs, params = given(cell, STEPS)
    first = jnp.zeros(STEPS, bool).at[jnp.array([0, 5, 31, 32, 33, 64, 70])].set(True)
    valid = jnp.ones(STEPS, bool).at[jnp.array([3, 31, 40, 41, 64, 74])].set(False)
    weight = draw((STEPS, H), jnp.float64, 5)

    def total(cell):
        def value(params):
            carry, ys = run(unroll(cell), params, Seq(xs, valid, first))
            return (ys.x * weight).sum() + sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(carry))

        return jax.jit(jax.value_and_grad(value))(params)

    close(total(cell), total(cell.replace(window=None)), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["mlstm", "slstm"])
def test_gates_of_any_size_do_not_overflow(name):
    """exp(1000) has no place in any floating type: the stabiliser must keep it out."""
    cell = CELLS[name][0]
    xs = 1000 * draw((STEPS, D))
    params = cell.init(jax.random.key(3), xs[0])
    value, slope = jax.value_and_grad(lambda p: run(unroll(cell), p, xs)[1].sum())(params)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((value, slope)))


REFUSED = {
    "heads": (lambda: rnnjax.deltanet(10, heads=3), "divides its units, got 3 heads of 10"),
    "no heads": (lambda: rnnjax.mlstm(4, heads=0), "heads is an integer from 1"),
    "no state": (lambda: rnnjax.s6(4, states=0), "states is an integer"),
    "no mode": (lambda: rnnjax.s5(4, states=0), "states is an integer"),
    "odd": (lambda: rnnjax.rtu(5), "even number"),
    "no connection": (lambda: rnnjax.esn(5, degree=0), "degree is an integer"),
    "no write": (lambda: rnnjax.delta_product(4, writes=0), "writes is an integer"),
    "no order": (lambda: rnnjax.lmu(4, order=0), "order is an integer"),
    "no input": (lambda: rnnjax.qrnn(4, width=0), "width is an integer"),
    "odd number": (lambda: rnnjax.hgrn(5), "even number"),
    "bound": (lambda: rnnjax.hgrn(4, 1.0), "lower_bound is a number"),
    "rectified": (lambda: rnnjax.plrnn(4, 5), "at most all of its 4 units, not 5"),
    "no oscillator": (lambda: rnnjax.linoss(4, 0), "states is an integer"),
    "no depth": (lambda: rnnjax.rhn(4, 0), "depth is an integer"),
    "no delay": (lambda: rnnjax.tau_gru(4, 0), "delay is an integer"),
    "four dimensions": (lambda: rnnjax.conv_lstm(4, 3, 4), "dimensions is 1, 2 or 3, got 4"),
    "negative time": (lambda: rnnjax.ltc(4, dt=-1.0), "dt is a number above 0"),
    "no period": (lambda: rnnjax.phased_lstm(4, longest=0.5), "longest is a number from 1"),
    "never open": (lambda: rnnjax.phased_lstm(4, open_ratio=0.0), "open_ratio is a number above 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_sizes_that_a_family_cannot_have_are_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        make()


def test_an_image_without_channels_and_a_time_without_features_are_refused():
    with pytest.raises(ValueError, match=r"\[8, 8\]"):
        rnnjax.conv_lstm(2).init(jax.random.key(0), jnp.ones((8, 8)))
    with pytest.raises(ValueError, match="timed=True takes features and then the time"):
        rnnjax.ltc(4, timed=True).init(jax.random.key(0), jnp.ones(1))


@pytest.mark.parametrize("name", CELLS)
def test_a_window_without_unroll_is_refused_by_name(name):
    cell, xs = CELLS[name][0], jnp.ones((7, D))
    with pytest.raises(ValueError, match="unroll"):
        run(cell, cell.init(jax.random.key(0), xs), xs)

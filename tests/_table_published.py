"""The rows of published cells that the lectures do not have, and of blocks."""

from __future__ import annotations

import jax.numpy as jnp
from _rows import BIAS, RATE, D, H, Row

from rnnjax import (
    alif,
    antisymmetric_rnn,
    atr,
    brc,
    cfc,
    cfn,
    conv_gru,
    conv_lstm,
    cornn,
    delta_product,
    deltanet,
    dnc,
    dropout,
    esn,
    fastgrnn,
    fastrnn,
    gated_deltanet,
    gla,
    gru,
    hgrn,
    janet,
    lem,
    lif,
    ligru,
    linear_attention,
    linoss,
    lmu,
    lru,
    lstm,
    ltc,
    mamba2,
    matrix_recurrent,
    mingru,
    minimal_rnn,
    mlstm,
    mut1,
    mut3,
    narx,
    nbrc,
    ntm,
    phased_lstm,
    plrnn,
    pointwise,
    qrnn,
    ran,
    retnet,
    rg_lru,
    rhn,
    rtu,
    s5,
    s6,
    slstm,
    sru,
    stack,
    stack_rnn,
    star,
    tape_rnn,
    tau_gru,
    ugrnn,
    unicornn,
    vanilla,
)
from rnnjax.cells import Write, rms_norm, short_convolution
from rnnjax.wrappers import blocks, gated, griffin_block, mamba_block, s5_block, transformer_block, xlstm_block


def keyed(heads=2, size=2):
    """A matrix memory as a user writes one: features are values, queries and keys are fixed."""

    def drive(p, x):
        one = jnp.ones((heads, size), x.dtype)
        return Write(p["q"], p["k"], jnp.tile(x[None], (heads, 1)), -one / 2, one[:, 0])

    def init(key, x):
        return {"q": jnp.ones((heads, size), x.dtype), "k": jnp.ones((heads, size), x.dtype)}

    return matrix_recurrent((heads, size, D), drive, init)


PUBLISHED = [
    Row("matrix-recurrent", keyed),
    Row("linear-attention", lambda: linear_attention(H, 2)),
    Row("retnet", lambda: retnet(H, 2)),
    Row("gla", lambda slowness=16.0: gla(H, 2, slowness), numbers={"slowness": (1.0, 9.0)}),
    Row("mamba2", lambda: mamba2(H, 3, 2)),
    Row("deltanet", lambda strength=1.0: deltanet(H, 2, strength), numbers={"strength": (0.5, 2.0)}),
    Row("gated-deltanet", lambda strength=1.0: gated_deltanet(H, 2, strength), numbers={"strength": (0.5, 2.0)}),
    Row("delta-product", lambda strength=2.0: delta_product(H, 2, 3, strength), numbers={"strength": (0.5, 2.0)}),
    Row("mlstm", lambda forget_bias=1.0: mlstm(H, 2, forget_bias), numbers={"forget_bias": BIAS}),
    Row("slstm", lambda forget_bias=1.0: slstm(H, 2, forget_bias), numbers={"forget_bias": BIAS}),
    Row(
        "s5",
        lambda dt_min=1e-2, dt_max=1e-1: s5(H, 2, dt_min, dt_max),
        numbers={"dt_min": (1e-3, 1e-2), "dt_max": (0.1, 0.3)},
    ),
    Row(
        "s6",
        lambda dt_min=1e-2, dt_max=1e-1: s6(H, 2, 1, dt_min, dt_max),
        numbers={"dt_min": (1e-3, 1e-2), "dt_max": (0.1, 0.3)},
    ),
    Row("rg-lru", lambda sharpness=8.0: rg_lru(H, sharpness), numbers={"sharpness": (1.0, 8.0)}),
    Row("qrnn", lambda: qrnn(H, 2)),
    Row("sru", lambda: sru(H)),
    Row(
        "rtu",
        lambda r_min=0.1, r_max=0.9, max_phase=6.28: rtu(H, r_min, r_max, max_phase),
        numbers={"r_min": (0.1, 0.3), "r_max": (0.7, 0.9), "max_phase": (0.5, 6.0)},
    ),
    Row(
        "cornn",
        lambda dt=0.2, gamma=2.7, epsilon=4.7: cornn(H, dt, gamma, epsilon),
        numbers={"dt": (0.05, 0.2), "gamma": (1.0, 3.0), "epsilon": (1.0, 5.0)},
    ),
    Row(
        "unicornn",
        lambda dt=0.3, alpha=5.0: unicornn(H, dt, alpha),
        numbers={"dt": (0.1, 0.4), "alpha": (1.0, 9.0)},
    ),
    Row("lem", lambda dt=1.0: lem(H, dt), numbers={"dt": (0.3, 1.0)}),
    Row(
        "antisymmetric",
        lambda dt=0.1, gamma=0.01: antisymmetric_rnn(H, dt, gamma, gated=True),
        numbers={"dt": (0.1, 0.5), "gamma": (0.01, 0.9)},
    ),
    Row("antisymmetric-plain", lambda: antisymmetric_rnn(H, 0.3, 0.1)),
    Row(
        "janet",
        lambda forget_bias=1.0, beta=1.0: janet(H, forget_bias, beta),
        numbers={"forget_bias": BIAS, "beta": (0.0, 2.0)},
    ),
    Row("ligru", lambda: ligru(H)),
    Row("ugrnn", lambda gate_bias=1.0: ugrnn(H, gate_bias), numbers={"gate_bias": BIAS}),
    Row("minimal", lambda: minimal_rnn(H)),
    Row("ran", lambda: ran(H)),
    Row("star", lambda: star(H)),
    Row("atr", lambda: atr(H)),
    Row("cfn", lambda: cfn(H)),
    Row("fastrnn", lambda: fastrnn(H)),
    Row("fastgrnn", lambda: fastgrnn(H)),
    Row("brc", lambda: brc(H)),
    Row("nbrc", lambda: nbrc(H)),
    Row("lmu", lambda: lmu(H, 3, 6)),
    Row(
        "esn",
        lambda radius=0.9, leak=0.7, input_scale=0.5: esn(H, radius, leak, input_scale, 3),
        numbers={"radius": (0.3, 1.2), "leak": (0.3, 0.9), "input_scale": (0.1, 0.9)},
    ),
]

PUBLISHED += [
    Row("rms-norm", lambda epsilon=1e-5: rms_norm(epsilon), numbers={"epsilon": (1e-3, 1.0)}),
    Row("short-convolution", lambda: short_convolution(3)),
    Row("gated", lambda: gated(gru(H), stack(vanilla(H), dropout(0.3))), noisy=True),
    Row("s5-block", lambda rate=0.2: s5_block(lru, H, rate), H, noisy=True, numbers={"rate": RATE}),
    Row("griffin-block", lambda rate=0.2: griffin_block(rg_lru, H, rate), H, noisy=True, numbers={"rate": RATE}),
    Row("mamba-block", lambda rate=0.2: mamba_block(mingru, H, rate), H, noisy=True, numbers={"rate": RATE}),
    Row("xlstm-block", lambda rate=0.2: xlstm_block(lstm, H, rate), H, noisy=True, numbers={"rate": RATE}),
    Row("transformer-block", lambda rate=0.2: transformer_block(gru, H, rate), H, noisy=True, numbers={"rate": RATE}),
    Row("blocks", lambda rate=0.2: blocks("mamba", lru, H, 2, rate), noisy=True, numbers={"rate": RATE}),
]


def imaged(cell, dimensions):
    """A cell of images as one of features: features lie along the first axis, the others and the channel are one."""
    axes = tuple(range(-dimensions, 0))
    return stack(pointwise(lambda x: jnp.expand_dims(x, axes)), cell, pointwise(flat_image(dimensions)))


def flat_image(dimensions):
    """From images to features, with or without a time axis."""
    return lambda y: y.reshape(*y.shape[: y.ndim - dimensions - 1], -1)


PUBLISHED += [
    Row("ltc", lambda dt=0.7: ltc(H, dt, 3), numbers={"dt": (0.3, 2.0)}),
    Row("cfc", lambda dt=0.7: cfc(H, 5, dt), numbers={"dt": (0.3, 2.0)}),
    Row(
        "phased-lstm",
        lambda forget_bias=1.0, leak=0.1, open_ratio=0.6, dt=0.37, longest=9.0: phased_lstm(
            H, forget_bias, leak, open_ratio, dt, longest=longest
        ),
        numbers={
            "forget_bias": BIAS,
            "leak": (0.1, 0.4),
            "open_ratio": (0.5, 0.7),
            "dt": (0.3, 0.4),
            "longest": (5.0, 9.0),
        },
    ),
    Row(
        "lif",
        lambda decay=0.8, threshold=0.6, dampening=0.9: lif(H, decay, threshold, dampening),
        surrogate=True,
        numbers={"decay": (0.5, 0.9), "threshold": (0.4, 0.8), "dampening": (0.3, 1.0)},
    ),
    Row(
        "alif",
        lambda decay=0.8, rho=0.9, beta=0.2, threshold=0.6, dampening=0.9: alif(
            H, decay, rho, beta, threshold, dampening
        ),
        surrogate=True,
        numbers={
            "decay": (0.5, 0.9),
            "rho": (0.8, 0.99),
            "beta": (0.1, 0.3),
            "threshold": (0.4, 0.8),
            "dampening": (0.3, 1.0),
        },
    ),
    Row("mut1", lambda: mut1(H)),
    Row("mut3", lambda: mut3(H)),
    Row("narx", lambda: narx(H, 3)),
    Row("tau-gru", lambda: tau_gru(H, 3)),
    Row("rhn", lambda carry_bias=-1.0: rhn(H, 2, carry_bias), numbers={"carry_bias": BIAS}),
    Row("hgrn", lambda lower_bound=0.2: hgrn(H, lower_bound), numbers={"lower_bound": (0.1, 0.9)}),
    Row("linoss", lambda: linoss(H, 3)),
    Row("plrnn", lambda: plrnn(H)),
    Row("almost-linear", lambda: plrnn(H, 2)),
    Row("stack-rnn", lambda: stack_rnn(H, 2, 3)),
    Row("tape-rnn", lambda: tape_rnn(H, 2, 4, jump=2)),
    Row("ntm", lambda: ntm(H, 4, 2)),
    Row("dnc", lambda: dnc(H, 3, 2, reads=2)),
    Row("conv-lstm", lambda forget_bias=1.0: imaged(conv_lstm(2, 3, 1, forget_bias), 1), numbers={"forget_bias": BIAS}),
    Row("conv-gru", lambda: imaged(conv_gru(2, 2, 2), 2)),
]

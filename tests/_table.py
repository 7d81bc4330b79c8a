"""The table: every cell, transform and rule with a small example. The laws, one a file, run over its rows.

A new factory needs a row here (test_coverage.py says so if it has none), and a row is all it needs.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from _rows import BIAS, RATE, SYMBOLS, D, H, Row, Rule
from _table_published import PUBLISHED

from rnnjax import (
    bag_of_inputs,
    bahdanau,
    bidirectional,
    chunk,
    clockwork,
    concat_skip,
    condition,
    convolution,
    ctrnn,
    deep_transition,
    deer,
    dropconnect,
    dropout,
    elman,
    embed,
    eprop,
    feedback,
    gru,
    gru_core,
    highway,
    indrnn,
    irnn,
    jordan,
    kf_rtrl,
    last,
    layer_norm,
    learn_carry,
    linear,
    linear_recurrent,
    lru,
    lstm,
    lstm_core,
    luong,
    mgu,
    mgu_core,
    mingru,
    minlstm,
    one_hot,
    optimal_kronecker,
    parametrize,
    peephole_core,
    peephole_lstm,
    per_position,
    pointwise,
    random_truncate,
    recurrent,
    remat,
    residual,
    rflo,
    rtrl,
    s4d,
    seq2seq,
    snap,
    sparse,
    stack,
    stateless,
    tie_weights,
    time_delay,
    truncate,
    unitary,
    unroll,
    uoro,
    urnn,
    urnn_core,
    vanilla,
    vanilla_core,
    with_step,
    zoneout,
)


def leaky(hidden, rate=0.1):
    """A cell as a user writes one."""

    def update(p, h, z):
        r = jnp.asarray(rate, z.dtype)
        h = (1 - r) * h + r * jnp.tanh(z + h @ p["u"])
        return h, h

    return stack(linear(hidden), recurrent(hidden, update))


def halved():
    """An LSTM whose step is wrapped, so that its window must be dropped."""
    cell = lstm(H)

    def step(w, carry, x, key=None):
        carry, y = cell.step(w, carry, x, key)
        return jax.tree.map(lambda h: h / 2, carry), y

    return with_step(cell, step)


def language_model(dtype=jnp.float32):
    """The table of the input read again, transposed, by the output layer."""
    net = stack(embed=embed(SYMBOLS, H, dtype=dtype), core=lstm(H), read=linear(SYMBOLS))
    return tie_weights(net, lambda p, w: {**p, "read": {**p["read"], "w": w}}, lambda p: p["embed"]["w"].T)


def orthogonal(a):
    """The Cayley transform of the skew part of a matrix."""
    one, s = jnp.eye(a.shape[0], dtype=a.dtype), (a - a.T) / 4
    return (one - s) @ (one + s + s @ s)  # enough of a map for a test, without a solver


def deep(rate=0.3):
    """Layers with dropout between them, and names."""
    return stack(encode=linear(H), first=lstm(H), drop=dropout(rate), second=residual(gru(H)), read=linear(D))


MEMORY = seq2seq.Memory(np.sin(np.arange(12.0)).reshape(4, 3), np.cos(np.arange(16.0)).reshape(4, H), np.arange(4) < 3)
CONTEXT = jnp.array([0.5, -1.0])

STEPS = [
    Row("vanilla", lambda: vanilla(H)),
    Row("vanilla-relu", lambda: vanilla(H, jax.nn.relu)),
    Row("vanilla-sigmoid", lambda: vanilla(H, jax.nn.sigmoid, bias=False)),
    Row("vanilla-layer-norm", lambda: vanilla(H, layer_norm=True)),
    Row("irnn", lambda scale=1.0: irnn(H, scale), numbers={"scale": (0.2, 0.9)}),
    Row("lstm", lambda forget_bias=1.0: lstm(H, forget_bias), numbers={"forget_bias": BIAS}),
    Row("lstm-layer-norm", lambda forget_bias=1.0: lstm(H, forget_bias, layer_norm=True)),
    Row("peephole-lstm", lambda forget_bias=1.0: peephole_lstm(H, forget_bias), numbers={"forget_bias": BIAS}),
    Row("gru", lambda: gru(H)),
    Row("gru-replace", lambda: gru(H, keep=False)),
    Row("gru-after", lambda: gru(H, reset_after=True, recurrent_bias=True)),
    Row("gru-after-replace", lambda: gru(H, reset_after=True, keep=False)),
    Row("gru-layer-norm", lambda: gru(H, reset_after=True, layer_norm=True)),
    Row("mgu", lambda: mgu(H)),
    Row("leaky", lambda rate=0.1: leaky(H, rate), numbers={"rate": RATE}),
    Row("vanilla-core", lambda: vanilla_core(H), H),
    Row("lstm-core", lambda forget_bias=1.0: lstm_core(H, forget_bias), 4 * H, numbers={"forget_bias": BIAS}),
    Row("peephole-core", lambda forget_bias=1.0: peephole_core(H, forget_bias), 4 * H, numbers={"forget_bias": BIAS}),
    Row("gru-core", lambda: gru_core(H), 3 * H),
    Row("mgu-core", lambda: mgu_core(H), 2 * H),
    Row("urnn", lambda: urnn(H)),
    Row("urnn-core", lambda: urnn_core(H), 2 * H),
    Row("eunn", lambda: unitary.eunn(H)),
    Row("eunn-fourier", lambda: unitary.eunn(H, capacity=None)),
    Row("exprnn", lambda: unitary.exprnn(H)),
    Row("scornn", lambda: unitary.scornn(H)),
    Row("nnrnn", lambda: unitary.nnrnn(H)),
    Row("goru", lambda openness=5.0: unitary.goru(H, openness=openness), numbers={"openness": BIAS}),
    Row("modrelu-core", lambda: unitary.modrelu_core(H, unitary.householder(2)), H),
    Row("goru-core", lambda: unitary.goru_core(H, unitary.cayley(negative=1)), 3 * H),
    Row(
        "lru",
        lambda r_min=0.1, r_max=0.9, max_phase=6.28: lru(H, r_min, r_max, max_phase),
        numbers={"r_min": (0.1, 0.3), "r_max": (0.7, 0.9), "max_phase": (0.5, 6.0)},
    ),
    Row(
        "s4d",
        lambda dt_min=1e-2, dt_max=1e-1: s4d(H, 2, dt_min, dt_max),
        numbers={"dt_min": (1e-3, 1e-2), "dt_max": (0.1, 0.3)},
    ),
    Row("mingru", lambda: mingru(H)),
    Row("minlstm", lambda forget_bias=1.0: minlstm(H, forget_bias), numbers={"forget_bias": BIAS}),
    Row(
        "linear-recurrent",
        lambda: linear_recurrent(
            D, lambda key, x: {"a": jnp.ones(x.shape, x.dtype)}, lambda p, x: (jnp.tanh(p["a"]), x)
        ),
    ),
    Row("newton", lambda tolerance=1e-6: deer(gru(H), tolerance), numbers={"tolerance": (1e-6, 10.0)}),
    Row("newton-diagonal", lambda: deer(lstm(H), 1e-7, diagonal=True)),
    Row("elman", lambda: elman(H)),
    Row("ctrnn", lambda tau=5.0: ctrnn(H, tau), numbers={"tau": (1.5, 9.0)}),
    Row("indrnn", lambda u_max=1.0: indrnn(H, jnp.tanh, u_max), numbers={"u_max": (0.2, 0.9)}),
    Row(
        "feedback",
        lambda decay=0.3: feedback(stack(gru(H), linear(2)), np.ones(2), "softmax", decay),
        numbers={"decay": (0.1, 0.9)},
    ),
    Row("jordan", lambda decay=0.5: jordan(H, 2, decay), numbers={"decay": (0.1, 0.9)}),
    Row("deep-transition", lambda: deep_transition(H, 3, skip=True)),
    Row("clockwork", lambda: clockwork(H, (1, 3))),
    Row("dense", lambda: stack(concat_skip(lstm(2)), concat_skip(vanilla(2)), linear(H))),
    Row("linear", lambda: linear(H)),
    Row("embed", lambda dtype=jnp.float32: embed(SYMBOLS, H, dtype=dtype), None),
    Row("one-hot", lambda dtype=jnp.float32: stack(one_hot(SYMBOLS, dtype), gru(H)), None),
    Row("pointwise", lambda: pointwise(jnp.tanh)),
    Row("layer-norm", lambda epsilon=1e-5: layer_norm(epsilon), numbers={"epsilon": (1e-3, 1.0)}),
    Row("dropout", lambda rate=0.3: dropout(rate), noisy=True, numbers={"rate": RATE}),
    Row("memoryless", lambda: stateless(lambda k, x: {"s": jnp.ones_like(x)}, lambda p, x, k=None: p["s"] * x * x)),
    Row("stack", lambda rate=0.3: stack(lstm(H), dropout(rate), vanilla(H)), noisy=True, numbers={"rate": RATE}),
    Row("stack-named", deep, noisy=True, numbers={"rate": RATE}),
    Row("residual", lambda: residual(lstm(H)), H),
    Row("residual-dropout", lambda: residual(stack(vanilla(H), dropout(0.5))), H, noisy=True),
    Row("highway", lambda gate_bias=-2.0: highway(gru(H), gate_bias), H, numbers={"gate_bias": BIAS}),
    Row("zoneout", lambda rate=0.3: zoneout(lstm(H), rate), noisy=True, numbers={"rate": RATE}),
    Row("zoneout-core", lambda: stack(linear(H), zoneout(vanilla_core(H), 0.4), dropout(0.2)), noisy=True),
    Row(
        "dropconnect",
        lambda rate=0.4: stack(linear(4 * H), dropconnect(lstm_core(H), rate)),
        noisy=True,
        numbers={"rate": RATE},
    ),
    Row("learn-carry", lambda: learn_carry(lstm(H))),
    Row("learn-carry-deep", lambda: stack(learn_carry(vanilla(H)), linear(H), learn_carry(lstm_core(1)))),
    Row("parametrize", lambda: stack(linear(H), parametrize(vanilla_core(H), u=orthogonal))),
    Row("sparse", lambda: stack(linear(4 * H), sparse(lstm_core(H), u=np.arange(4 * H * H).reshape(H, -1) % 3))),
    Row("tie", language_model, None),
    Row("with-step", halved),
    Row("bahdanau", lambda: bahdanau(gru(H), seq2seq.additive(H, coverage=True, location=3), MEMORY)),
    Row("luong", lambda: luong(lstm(H), seq2seq.general(H), MEMORY, 5)),
    Row("luong-feed", lambda: luong(vanilla(H), seq2seq.dot(), MEMORY, 2, feed=True)),
    Row("condition", lambda: condition(gru(H), CONTEXT)),
    Row("condition-gate", lambda: condition(vanilla(H), CONTEXT, "gate")),
    Row("time-window", lambda: time_delay(H, 3)),
    Row("convolution", lambda: convolution(H, 3)),
    Row("bag", lambda: bag_of_inputs(H)),
    Row("unshared", lambda: per_position(H, 9)),
    Row("remat", lambda: remat(lstm(H))),
    Row("remat-deep", lambda: remat(stack(lstm(H), dropout(0.3), gru(H))), noisy=True),
]


def two_layers():
    """Two bidirectional layers and a linear map of windows."""
    return stack(bidirectional(lstm(H)), dropout(0.3), bidirectional(vanilla(H), gru(H)), linear(D))


STEPS += PUBLISHED

WINDOWS = [
    Row("unroll", lambda: unroll(lstm(H)), level="window"),
    Row("unroll-reverse", lambda: unroll(gru(H), reverse=True), level="window", causal=False),
    Row("bidirectional", lambda: bidirectional(lstm(H)), level="window", causal=False),
    Row("bidirectional-last", lambda: bidirectional(gru(H), last=True), level="window", causal=False, each=False),
    Row("bidirectional-deep", two_layers, level="window", causal=False, noisy=True),
    Row("last", lambda: last(unroll(lstm(H))), level="window", each=False),
    Row("residual-window", lambda: residual(bidirectional(vanilla(2))), 4, level="window", causal=False),
]

ROWS = STEPS + WINDOWS

# A few cells for the laws of wrappers: noise, a learned carry, integers, weights of their own.
BODIES = [r for r in STEPS if r.name in ("vanilla", "lstm", "learn-carry-deep", "stack-named", "dropconnect", "tie")]

# One of each kind: fused, unitary, diagonal, a matrix, names and noise, weights of its own and integers, windows.
KINDS = [
    r
    for r in ROWS
    if r.name in ("vanilla", "lstm", "urnn", "lru", "mlstm", "stack-named", "dropconnect", "tie", "bidirectional")
]

# The fewest that still have noise, a learned carry and names: for laws that multiply with the rules.
FEW = [r for r in BODIES if r.name in ("lstm", "learn-carry-deep", "stack-named")]

# Fewer still, where each case compiles several programs: the long suite has the others.
TWO = [r for r in FEW if r.name != "stack-named"]

RULES = [
    Rule("chunk", lambda cell: chunk(unroll(cell), 5), exact=True),
    Rule("remat", lambda cell: unroll(remat(cell)), exact=True),
    Rule("remat-sqrt", lambda cell: remat(unroll(cell), every="sqrt"), exact=True),
    Rule("truncate", lambda cell: chunk(truncate(unroll(cell)), 5), exact=False),
    Rule("truncate-step", lambda cell: unroll(truncate(cell)), exact=False),
]

TABLES = ("stack-named", "tie")
NOT_LEAKY = ("lstm", "learn-carry-deep", "stack-named", "dropconnect", "tie")

# Rules whose cells carry an influence beside the carry: exact, if they are, in the weights alone.
INFLUENCES = [
    Rule("rtrl", lambda cell: unroll(rtrl(cell)), exact=True),
    Rule("rtrl-windows", lambda cell: chunk(rtrl(unroll(cell)), 3), exact=True),
    Rule("snap", lambda cell: unroll(snap(cell)), exact=False),
    Rule("uoro", lambda cell: unroll(uoro(cell)), exact=False, keyed=True),
    Rule("uoro-windows", lambda cell: chunk(uoro(unroll(cell)), 3), exact=False, keyed=True),
    Rule("kf-rtrl", lambda cell: unroll(kf_rtrl(cell)), exact=False, refuses=TABLES, keyed=True),
    Rule("kronecker-sum", lambda cell: unroll(optimal_kronecker(cell)), exact=False, refuses=TABLES, keyed=True),
    Rule("eprop", lambda cell: unroll(eprop(cell)), exact=False, refuses=("stack-named",)),
    Rule("rflo", lambda cell: unroll(rflo(cell)), exact=False, refuses=NOT_LEAKY),
    Rule("random", lambda cell: unroll(rated(cell)), exact=False, keyed=True),
]


def rated(cell, rate=0.3):
    """Truncation at random."""
    return random_truncate(cell, rate)


# Rows near to another, a core beside its layer or one more setting, or with a file of their own: the laws on them
# belong to the long suite.
NEAR = {
    "vanilla-sigmoid", "gru-replace", "gru-after-replace", "leaky", "peephole-core", "mgu-core", "urnn-core",
    "goru-core", "eunn-fourier", "s4d", "mingru", "linear-recurrent",
    "newton", "newton-diagonal",  # test_newton.py
    "eunn", "exprnn", "goru",  # tests/unitary
    "deltanet", "slstm", "gated", "lstm-layer-norm", "residual", "gru-after", "parametrize",
    "deep-transition", "feedback", "time-window", "minlstm", "peephole-lstm", "gru-layer-norm", "vanilla-layer-norm",
    "scornn", "nnrnn", "vanilla-relu", "irnn", "mgu", "vanilla-core", "lstm-core", "gru-core", "modrelu-core",
    "learn-carry", "bidirectional-deep", "residual-window", "remat", "highway", "sparse", "stack", "one-hot",
    "elman", "ctrnn", "indrnn", "jordan", "clockwork", "dense",
    "residual-dropout", "zoneout-core", "remat-deep",
    "convolution", "bag", "unshared",
    "matrix-recurrent", "linear-attention", "retnet", "mamba2", "gla", "s6",
    "gated-deltanet", "delta-product", "s5", "rg-lru",
    "qrnn", "sru", "rtu", "cornn", "unicornn", "lem", "antisymmetric", "antisymmetric-plain", "janet", "ligru", "ugrnn",
    "minimal", "ran", "star", "atr", "cfn", "fastrnn", "fastgrnn", "brc", "nbrc", "lmu", "esn",  # tests/cells
    "rms-norm", "short-convolution", "s5-block", "griffin-block", "mamba-block", "xlstm-block", "transformer-block",
    "blocks",  # tests/wrappers/test_blocks.py
    "ltc", "cfc", "phased-lstm", "lif", "alif", "mut1", "mut3", "narx", "tau-gru", "rhn", "hgrn", "linoss", "plrnn",
    "almost-linear", "stack-rnn", "tape-rnn", "ntm", "dnc",
    "conv-lstm", "conv-gru",  # tests/cells/test_published.py
    "bahdanau", "luong", "luong-feed", "condition", "condition-gate",  # test_topology.py has their own laws
}  # fmt: skip
assert {r.name for r in ROWS} >= NEAR

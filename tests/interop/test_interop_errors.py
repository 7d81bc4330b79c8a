"""What does not fit another library is refused by one error that names it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _equations import XS, keras_weights, numbers, shaken, torch_state
from flax import linen as nn
from flax import nnx

import rnnjax
from rnnjax import interop, run

STATE = torch_state("LSTM", 2)


def but(tree, **changes):
    return {k: v for k, v in (tree | changes).items() if v is not None}


def batch_norm(training):
    cell = interop.from_flax(nn.BatchNorm(use_running_average=not training))
    return run(cell, {"scale": jnp.ones(3), "bias": jnp.zeros(3)}, jnp.ones(3))


REFUSED = {
    "torch: a missing key": (
        lambda: interop.from_torch(but(STATE, weight_hh_l1=None)),
        "no 'weight_hh_l1'",
    ),
    "torch: a forgotten prefix": (
        lambda: interop.from_torch({"a.lstm." + k: v for k, v in STATE.items()}),
        "no 'weight_ih_l0': give prefix='a.lstm.'",
    ),
    "torch: a projection": (
        lambda: interop.from_torch(STATE | {"weight_hr_l0": numbers(2, 4)}),
        "'weight_hr_l0': projections",
    ),
    "torch: an unknown key": (lambda: interop.from_torch(STATE | {"w": numbers(2)}), "has 'w': it has no counterpart"),
    "torch: a wrong shape": (
        lambda: interop.from_torch(but(STATE, weight_ih_l1=numbers(16, 3))),
        r"weight_ih_l1: expected shape \[16, 4\], got \[16, 3\]",
    ),
    "torch: an unknown kind": (
        lambda: interop.from_torch(but(STATE, weight_hh_l0=numbers(8, 4))),
        r"weight_hh_l0: expected shape \[n hidden, hidden\] with n = 1 .vanilla., 3 .GRU. or 4 .LSTM., got \[8, 4\]",
    ),
    "torch: integers": (
        lambda: interop.from_torch(but(STATE, bias_ih_l0=np.arange(16))),
        "bias_ih_l0: expected floating numbers, got int64",
    ),
    "torch: another nonlinearity": (lambda: interop.from_torch(STATE, nonlinearity="elu"), "nonlinearity: .* 'elu'"),
    "to torch: a GRU that resets before": (
        lambda: interop.to_torch(shaken(rnnjax.gru(4), XS[0])),
        "torch has no GRU that resets before the matmul",
    ),
    "to torch: an MGU": (lambda: interop.to_torch(shaken(rnnjax.mgu(4), XS[0])), r"\[1\]\['u'\].*got \[4, 8\]"),
    "to torch: peepholes": (
        lambda: interop.to_torch(shaken(rnnjax.peephole_lstm(4), XS[0])),
        r"params\[1\]\['p'\] has no counterpart",
    ),
    "to torch: layer norm": (
        lambda: interop.to_torch(shaken(rnnjax.lstm(4, layer_norm=True), XS[0])),
        r"params\[0\]\['w'\] is not part of a recurrent layer",
    ),
    "to torch: a read-out": (
        lambda: interop.to_torch({"core": ({"w": XS}, {"u": XS}), "read": {"w": XS}}),
        r"params\['read'\]\['w'\] is not part of a recurrent layer",
    ),
    "to torch: layers that differ": (
        lambda: interop.to_torch(shaken(rnnjax.stack(rnnjax.lstm(4), rnnjax.lstm(5)), XS[0])),
        r"layer 1 has 1 direction.s., w \[4, 20\] and u \[5, 20\]; one torch module needs 1, \[4, 16\] and \[4, 16\]",
    ),
    "to torch: nothing": (lambda: interop.to_torch(()), "no recurrent layer"),
    "keras: too few": (lambda: interop.from_keras([XS]), "expected 2, 3, 4 or 6 arrays"),
    "keras: a wrong kernel": (
        lambda: interop.from_keras([numbers(3, 15), *keras_weights("LSTM")[1:]]),
        r"^kernel: expected shape \[any, 16\], got \[3, 15\]",
    ),
    "keras: a wrong bias backwards": (
        lambda: interop.from_keras([*keras_weights("LSTM", 2)[:-1], numbers(15)]),
        r"backward bias: expected shape \[16\], got \[15\]",
    ),
    "keras: two layers of one width": (
        lambda: interop.from_keras([numbers(4, 16), numbers(4, 16), numbers(16)] * 2),
        "a Bidirectional or two layers: give both_ways=True",
    ),
    "keras: two layers of other widths": (
        lambda: interop.from_keras([numbers(n, 16) for n in (3, 4, 4, 4)]),
        "the arrays of several layers, convert them one by one",
    ),
    "keras: an unknown activation": (lambda: interop.from_keras([XS, XS], activation="elu"), "activation: .* 'elu'"),
    "to keras: a stack": (
        lambda: interop.to_keras(shaken(rnnjax.stack(rnnjax.lstm(4), rnnjax.lstm(4)), XS[0])),
        "these hold 2: convert a stack part by part",
    ),
    "flax: an MGUCell's params": (
        lambda: interop.from_flax_params(dict.fromkeys(("if", "in", "hf", "hn"))),
        r"MGUCell, .*run it by from_flax\(module\)",
    ),
    "flax: unknown names": (lambda: interop.from_flax_params({"kernel": XS}), r"got \['kernel'\]"),
    "flax: a missing bias": (
        lambda: interop.from_flax_params({"i": {"kernel": numbers(3, 4)}, "h": {"kernel": numbers(4, 4)}}),
        r"params\['i'\] has no 'bias'",
    ),
    "flax: a wrong shape": (
        lambda: interop.from_flax_params({"i": {"kernel": numbers(3, 5)}, "h": {"kernel": numbers(4, 4)}}),
        r"params\['i'\]\['kernel'\]: expected shape \[any, 4\], got \[3, 5\]",
    ),
    "flax: batch statistics at init": (
        lambda: interop.from_flax(nn.BatchNorm(use_running_average=True)).init(jax.random.key(0), jnp.ones(3)),
        "BatchNorm keeps 'batch_stats' beside its params",
    ),
    "flax: batch statistics in training": (lambda: batch_norm(True), "BatchNorm keeps 'batch_stats'"),
    "flax: batch statistics in evaluation": (lambda: batch_norm(False), "BatchNorm keeps 'batch_stats'"),
    "flax: a layer that knows time": (
        lambda: interop.from_flax(nn.RNN(nn.LSTMCell(4))),
        "from_flax takes the cell inside RNN",
    ),
    "flax: an nnx module": (
        lambda: interop.from_flax(nnx.Linear(3, 4, rngs=nnx.Rngs(0))),
        "from_flax takes a flax.linen module, got Linear",
    ),
}


@pytest.mark.parametrize("call, message", REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""What a few host devices compute, against one: run in a process of its own, whose devices can be set. Prints JSON."""

from __future__ import annotations

import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

import rnnjax
from rnnjax import distributed, estimators, losses, tasks, training
from rnnjax.data import Batch, Stream
from rnnjax.distributed._parallel import constrain_sharding, on_devices, shard_stream
from rnnjax.tasks import task_stream

WINDOWED = ("tbptt", "sliding_tbptt", "pes", "nres")
B, T = 8, 6
SUM = re.compile(r" all-reduce(?:-start)?\(")


def network(stochastic: bool = False) -> rnnjax.Cell:
    """With noise: in every step of every example, and in the weights of a window."""
    if stochastic:
        core = rnnjax.cells.binary_core(4, gradient="score")
        return rnnjax.unroll(rnnjax.stack(rnnjax.linear(4), core, rnnjax.linear(1)))
    core = rnnjax.dropconnect(rnnjax.vanilla_core(4), 0.2)
    return rnnjax.unroll(rnnjax.stack(rnnjax.linear(4), core, rnnjax.dropout(0.3), rnnjax.linear(1)))


def reading_on() -> Stream:
    """A stream whose carries go on, but for the rows that start anew."""

    def following(data, position, key):
        batch = tasks.adding(T).batch(key, B)
        y = jnp.broadcast_to(batch.y, (B, T, 1))
        return Batch(batch.x, y, None, (jnp.arange(B) + position) % 3 == 0), position + 1

    return Stream(lambda data: jnp.zeros((), jnp.int32), following)


def trained(rule: str, devices, steps: int = 4):
    """(the run before and after a few steps, validation loss, the compiled program)."""
    cell = network(rule == "score")
    estimator = estimators.RULES[rule](cell, losses.regress, 3 if rule in WINDOWED else 0)
    stream = task_stream(tasks.adding(T), B) if rule in ("score", "anneal", "bptt") else reading_on()
    trainer = on_devices(training.Trainer(cell, estimator, optax.sgd(0.1), stream), devices)
    odd = shard_stream(task_stream(tasks.adding(T), 5, 2), devices)  # 4 devices do not divide 5 examples

    def run(key):
        start = training.init(trainer, (), key)
        end = constrain_sharding(trainer, training.loop(trainer, start, (), steps), (), devices)
        scores = training.evaluate(cell, losses.regress, odd)(end.state.params, (), key)
        return start.state.params, end, scores["loss"].value()

    compiled = jax.jit(run).lower(jax.random.key(0)).compile()
    return *compiled(jax.random.key(0)), compiled.as_text()


def gap(a, b) -> float:
    """The largest difference, relative to the largest entry."""
    pairs = [
        (np.asarray(x, np.float64), np.asarray(y, np.float64)) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b))
    ]
    return max(abs(x - y).max(initial=0) / max(1, abs(y).max(initial=0)) for x, y in pairs)


def loops(text: str) -> list[int]:
    """In how many loops stands each sum over the devices of a compiled program."""
    return [
        re.search('op_name="([^"]*)"', line)[1].count("while/body") for line in text.splitlines() if SUM.search(line)
    ]


def checked(rule: str) -> dict:
    """A rule on all devices beside the same on one."""
    start, one, loss, _ = trained(rule, None)
    _, many, same, text = trained(rule, distributed.mesh(jax.device_count()))
    carried = [a for a in jax.tree.leaves(many.state.estimator) if a.ndim and a.shape[0] == B]
    one, many = (p._replace(state=p.state._replace(key=())) for p in (one, many))
    return {
        "gap": gap(
            many._replace(state=many.state._replace(estimator=())), one._replace(state=one.state._replace(estimator=()))
        ),
        "carried": gap(many.state.estimator, one.state.estimator),
        "moved": gap(one.state.params, start),
        "valid": gap(same, loss),
        "cut": [a.addressable_shards[0].data.shape[0] for a in carried],
        "loops": loops(text),
    }


def shared_gradient() -> dict:
    """`parallel_grad` of a sum and of a masked mean, on all devices, beside the plain gradient on one."""
    net = rnnjax.unroll(rnnjax.vanilla(4))
    xs = jax.random.normal(jax.random.key(0), (B, T, 2))
    mask = jnp.arange(B)[:, None] > jnp.arange(T)  # the first example counts for nothing
    params = net.init(jax.random.key(1), xs[0])

    def total(params, xs):
        return (jax.vmap(lambda x: rnnjax.run(net, params, x)[1])(xs) ** 2).sum()

    def masked(params, xs, mask):
        ys = jax.vmap(lambda x: rnnjax.run(net, params, x)[1])(xs)
        return losses.mean((ys**2).sum(-1), mask)

    want = jax.grad(total)(params, xs), jax.value_and_grad(lambda p: masked(p, xs, mask).value())(params)
    shared = training.parallel_grad(masked, with_value=True)
    got = training.parallel_grad(total)(params, xs), shared(params, xs, mask)
    said = ""
    try:
        shared(params, xs[:7], mask[:7])
    except ValueError as error:
        said = str(error)
    text = shared.lower(params, xs, mask).compile().as_text()
    return {"gap": gap(got, want), "said": said, "loops": loops(text)}


if __name__ == "__main__":
    print(json.dumps({rule: checked(rule) for rule in sys.argv[1:]} | {"parallel_grad": shared_gradient()}))

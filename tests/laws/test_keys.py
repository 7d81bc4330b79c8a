"""Law: a key of `jax.random.PRNGKey` is as good as one of `jax.random.key`: the same params, the same noise."""

import jax
import jax.numpy as jnp
import optax
from _helpers import close, inputs, rows, window
from _table import ROWS

from rnnjax import dropout, estimators, linear, losses, one_hot, run, stack, tasks, training, unroll, vanilla

OLD, NEW = jax.random.PRNGKey(3), jax.random.key(3)
FEW = ("vanilla", "gru", "lstm", "indrnn", "urnn", "dropout", "stack", "zoneout", "dropconnect", "bidirectional-deep")


@rows([row for row in ROWS if row.name in FEW], fast=[row for row in ROWS if row.name in ("lstm", "dropconnect")])
def test_of_a_cell(row):
    xs, cell = inputs(row), window(row)
    a, b = (jax.jit(lambda key: run(cell, cell.init(key, xs), xs, key=key))(key) for key in (OLD, NEW))
    close(a, b, rtol=0, atol=0)


def test_of_one_step():
    assert (run(dropout(0.5), (), jnp.ones(32), key=OLD)[1] == run(dropout(0.5), (), jnp.ones(32), key=NEW)[1]).all()


def test_of_training():
    cell = unroll(stack(one_hot(10), vanilla(4), dropout(0.2), linear(9)))
    estimator = estimators.backprop(cell, losses.classify)
    trainer = training.Trainer(cell, estimator, optax.sgd(0.1), tasks.task_stream(tasks.copying(5), 8))

    @jax.jit
    def trained(key):
        return training.loop(trainer, training.init(trainer, (), key), (), 3).state.params

    close(trained(OLD), trained(NEW), rtol=0, atol=0)

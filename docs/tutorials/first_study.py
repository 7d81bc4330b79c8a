# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # A first study: many networks in one program
#
# Numbers given to a cell, an optimiser or a task may be tracers. So a study of learning rates, biases and seeds is a
# function of one member, mapped over all of them.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import optax

import rnnjax
from rnnjax import estimators, losses, tasks, training
from rnnjax.tasks import task_stream
from rnnjax.training import population


def member(numbers):
    """The loss of one network after some learning."""
    net = rnnjax.unroll(rnnjax.stack(rnnjax.lstm(8, numbers["forget_bias"]), rnnjax.linear(1)))
    stream = task_stream(tasks.echo(16, delay=3), batch_size=16)
    optimizer = optax.sgd(numbers["learning_rate"], momentum=0.9)
    trainer = training.Trainer(net, estimators.backprop(net, losses.regress), optimizer, stream)
    progress = training.loop(trainer, training.init(trainer, (), jax.random.key(numbers["seed"])), (), 200)
    test = training.evaluate(net, losses.regress, stream._replace(length=10))
    return test(progress.state.params, (), jax.random.key(99))["loss"].value()


# %% [markdown]
# Two rates, two biases, three seeds: twelve members, compiled once. On a CPU they run one after another in one program,
# which is faster there than in parallel; on a GPU they run all at once. `population` chooses.

# %%
rates, biases, seeds = jnp.array([0.02, 0.2]), jnp.array([0.0, 2.0]), jnp.arange(3)
grid = dict(
    zip(("learning_rate", "forget_bias", "seed"), map(jnp.ravel, jnp.meshgrid(rates, biases, seeds, indexing="ij")))
)
errors = np.asarray(jax.jit(population(member))(grid)).reshape(2, 2, 3)
for i, rate in enumerate(rates):
    for j, bias in enumerate(biases):
        low, middle, high = np.sort(errors[i, j])
        print(f"rate {rate:.2f}, forget bias {bias:.0f}: {middle:.2f} ({low:.2f} to {high:.2f} over three seeds)")
assert errors[1].mean() < errors[0].mean()

# %% [markdown]
# The same from the shell, with a table, figures and a workdir that resumes:
#
# ```
# python -m experiments.sweep --experiment=adding --grid=learning_rate=1e-3,1e-2 --grid=seed=0,1,2
# ```

# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # A first cell of your own
#
# A cell is an update of its state from pre-activations z: the linear map of the input is a layer before it, the
# recurrent matrix u is made for you. Ten lines are enough for every transform, rule, study and analysis. Here the
# output is the new state, which `recurrent` detects; if it is another function of it, pass `output=`.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import optax

import rnnjax
from rnnjax import estimators, losses, tasks, training
from rnnjax.tasks import task_stream


def leaky(hidden, rate=0.3):
    """h_t = (1 - rate) h_{t-1} + rate tanh(x_t w + b + h_{t-1} u)"""

    def update(p, h, z):
        h = (1 - rate) * h + rate * jnp.tanh(z + h @ p["u"])
        return h, h

    return rnnjax.stack(rnnjax.linear(hidden), rnnjax.recurrent(hidden, update))


# %% [markdown]
# A cell acts on one step of one example. `unroll` makes it act on a window, `jax.vmap` on a batch.

# %%
cell = leaky(8)
xs = jax.random.normal(jax.random.key(0), (5, 12, 3))  # [batch, time, features]
params = cell.init(jax.random.key(1), xs[0, 0])
carry, ys = jax.vmap(lambda xs: rnnjax.run(rnnjax.unroll(cell), params, xs))(xs)
print(ys.shape)

# %% [markdown]
# Lengths, gaps and restarts are marks on the window, and the cell does not have to handle them.

# %%
short = rnnjax.Seq(xs[0], valid=jnp.arange(12) < 7)
carry, ys = rnnjax.run(rnnjax.unroll(cell), params, short)
alone, _ = rnnjax.run(rnnjax.unroll(cell), params, xs[0, :7])
np.testing.assert_allclose(carry[1], alone[1], rtol=1e-6)

# %% [markdown]
# Learning: the network goes into an estimator of gradients (here plain backpropagation through time), the data are a
# stream, and the whole loop is one compiled program.

# %%
net = rnnjax.unroll(rnnjax.stack(leaky(16), rnnjax.linear(1)))
stream = task_stream(tasks.echo(20, delay=2), batch_size=16)
trainer = training.Trainer(net, estimators.backprop(net, losses.regress), optax.sgd(0.1, momentum=0.9), stream)
progress = jax.jit(lambda key: training.init(trainer, (), key))(jax.random.key(2))
learn = jax.jit(lambda progress, n: training.loop(trainer, progress, (), n))
score = jax.jit(training.evaluate(net, losses.regress, stream._replace(length=10)))


def error(progress):
    return float(score(progress.state.params, (), jax.random.key(3))["loss"].value())


before = error(progress)
progress = learn(progress, 300)
print(f"squared error of what was read two steps ago: {before:.2f}, learned {error(progress):.2f} (saying nothing: 1)")
assert error(progress) < 0.5

# %% [markdown]
# The rule that assigns credit is a wrapper like any other. Real-time recurrent learning gives the same gradient from
# windows of three steps, where truncation does not.


# %%
def gradient(wrapped):
    def loss(params):
        return (rnnjax.run(wrapped, params, xs[0])[1] ** 2).sum()

    return jax.grad(loss)(params)[1]["u"]


whole = gradient(rnnjax.unroll(cell))
online = gradient(rnnjax.chunk(rnnjax.rtrl(rnnjax.unroll(cell)), 3))
cut = gradient(rnnjax.chunk(rnnjax.truncate(rnnjax.unroll(cell)), 3))
print(f"rtrl is off by {float(abs(online - whole).max()):.1e}, truncation by {float(abs(cut - whole).max()):.1e}")
assert abs(online - whole).max() < 1e-5 < abs(cut - whole).max()

# %% [markdown]
# In a file `mylab/cells.py` it runs in every experiment: `python -m experiments.adding --cell=mylab.cells:leaky`.

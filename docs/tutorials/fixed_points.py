# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # The fixed points of a trained network
#
# A network that remembers must have fixed points under zero input. We train one to store one bit, find its fixed
# points, and read the bit there.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import optax

import rnnjax
from rnnjax import dynamics, estimators, losses, tasks, training

# %% [markdown]
# The flip-flop task: the input has occasional pulses of 1 or -1; the output at each step is the last pulse.

# %%
task = tasks.flipflop(length=30, bits=1)
core = rnnjax.gru(8)
net = rnnjax.unroll(rnnjax.stack(core=core, read=rnnjax.linear(1)))
stream = tasks.task_stream(task, batch_size=32)
trainer = training.Trainer(net, estimators.backprop(net, losses.regress), optax.adam(1e-2), stream)
progress = jax.jit(lambda key: training.init(trainer, (), key))(jax.random.key(0))
progress = jax.jit(lambda progress, n: training.loop(trainer, progress, (), n))(progress, 300)
params = progress.state.params
test = training.evaluate(net, losses.regress, stream._replace(length=10))
error = float(test(params, (), jax.random.key(1))["loss"].value())
print(f"squared error {error:.4f}")
assert error < 0.05

# %% [markdown]
# One step of the core under an input of zero is a map from states to states. `fixed_points` finds the states that
# it does not change, from many starts. A GRU's state stays between -1 and 1, so the network never reaches points
# beyond.

# %%
still = dynamics.as_map(core, params["core"], jnp.zeros(1))
starts = jax.random.uniform(jax.random.key(2), (100, 8), minval=-1, maxval=1)
points = dynamics.fixed_points(lambda h: still.advance(h, jnp.zeros(1)), starts)
within = np.all(np.abs(points.h) <= 1, axis=1)
states, unstable = points.h[within], points.unstable[within]
print(f"{len(states)} fixed points, of which {int(np.sum(unstable == 0))} are stable")

# %% [markdown]
# The readout at each of them, and the number of unstable directions:

# %%
said = np.asarray(states @ params["read"]["w"] + params["read"]["b"])[:, 0]
for value, directions in zip(said, unstable):
    print(f"says {value:+.2f}, {int(directions)} unstable directions")
stable = said[unstable == 0]
assert stable.min() < -0.7 and stable.max() > 0.7

# %% [markdown]
# A stable point for each value of the bit; a pulse moves the state from one to the other. With three bits and a
# picture:
#
# ```
# python -m experiments.flipflop
# ```

# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # A unitary network, from its factors to long delays
#
# A unitary matrix keeps the length of every vector. A recurrence with a unitary matrix can neither blow up its state
# nor let it fade, and the same is true of the gradient. Here we build such a matrix from cheap factors, watch the
# state over 2,000 steps, and train a network to copy ten symbols.

# %%
import jax
import jax.numpy as jnp
import optax

import rnnjax
from rnnjax import dynamics, estimators, losses, tasks, training, unitary

# %% [markdown]
# ## The product
#
# Arjovsky and others (2016) multiply diagonal matrices of phases, reflections, a fixed permutation and the Fourier
# transform. Each factor is unitary, so the product is. It has 7 n real parameters instead of n squared, and applying
# it takes n log n operations.

# %%
w = unitary.product(
    unitary.diagonal(),
    unitary.reflection(),
    unitary.inverse_fourier(),
    unitary.diagonal(),
    unitary.permutation(0),
    unitary.reflection(),
    unitary.fourier(),
    unitary.diagonal(),
)
n = 32
params = w.init(jax.random.key(0), n, jnp.float32)
weights = w.weights(params)
print(f"{sum(leaf.size for leaf in jax.tree.leaves(params))} parameters for a {n} x {n} matrix")

h = jax.random.normal(jax.random.key(1), (n,)).astype(complex)
moved = w.apply(weights, h)
print(f"length before {float(jnp.linalg.norm(h)):.4f}, after {float(jnp.linalg.norm(moved)):.4f}")
print(f"the adjoint brings h back, to {float(jnp.abs(w.adjoint(weights, moved) - h).max()):.0e}")


# %% [markdown]
# After 2,000 applications the length has moved by rounding alone. A real matrix that is a mere one per cent too small
# would have lost nine digits: 0.99 to the power of 2,000 is 2e-9.


# %%
@jax.jit
def after(weights, h):
    return jax.lax.fori_loop(0, 2000, lambda _, h: w.apply(weights, h), h)


kept = float(jnp.linalg.norm(after(weights, h)) / jnp.linalg.norm(h))
print(f"length after 2,000 steps, relative to the start: {kept:.5f}")
assert abs(kept - 1) < 1e-3

# %% [markdown]
# ## The gradient
#
# `rnnjax.urnn(n)` is the network around this product: a linear map of the input, the unitary matrix, and modReLU, a
# nonlinearity that changes the length of each complex number and leaves its phase alone. The norm of the derivative of
# the last state in an earlier one hardly depends on the distance. In a plain network it fades.

# %%
xs = jax.random.normal(jax.random.key(2), (200, 3))
for name, cell in {"urnn": rnnjax.urnn(32), "vanilla": rnnjax.vanilla(32)}.items():
    flow = jax.jit(dynamics.gradient_flow, static_argnums=0)(cell, cell.init(jax.random.key(3), xs[0]), xs).norms
    print(f"{name}: " + ", ".join(f"{200 - t} steps back {float(flow[t]):.1e}" for t in (190, 100, 0)))

# %% [markdown]
# ## Copying
#
# Ten symbols, then thirty blanks, then a cue: repeat the symbols. A network without memory reaches 10 ln 8 / 50 =
# 0.416 nats a step and no less.

# %%
task = tasks.copying(30)
net = rnnjax.unroll(rnnjax.stack(rnnjax.one_hot(10), rnnjax.urnn(32), rnnjax.linear(9)))
stream = tasks.task_stream(task, 20)
optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-3))
trainer = training.Trainer(net, estimators.backprop(net, losses.classify), optimizer, stream)
progress = jax.jit(lambda key: training.init(trainer, (), key))(jax.random.key(4))
train = jax.jit(lambda progress, n: training.loop(trainer, progress, (), n))


@jax.jit
def test_loss(params):
    batch = task.batch(jax.random.key(5), 100)
    logits = jax.vmap(lambda x: rnnjax.run(net, params, x)[1])(batch.x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch.y).mean()


for _ in range(2):
    progress = train(progress, 100)
    loss = float(test_loss(progress.state.params))
    print(f"step {int(progress.state.step)}: {loss:.4f} nats, {loss / task.baseline:.1%} of the baseline")

assert loss < 0.1 * task.baseline

# %% [markdown]
# ## Longer delays
#
# The same network with 128 units copies over 2,000 steps. One thing changes: the recurrence must learn more slowly
# than the readout. A phase that moves by e in an update has moved by 2,000 e at the end of the delay, so its learning
# rate is a hundredth of the others (`--lr_scale`). This run takes about half an hour:
#
# ```
# python -m experiments.copying --flagfile=experiments/flags/copying_2000.cfg --cell=urnn --hidden_size=128
# ```
#
# Other maps keep norms as well: `unitary.full_capacity`, `unitary.exponential`, `unitary.cayley`,
# `unitary.householder`. `rnnjax.parametrize` puts any of them on the recurrent matrix of any cell.

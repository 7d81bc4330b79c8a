# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # How a vanilla network forgets, step by step
#
# A recurrent network is a step function, $h_t = \tanh(x_t W + b + h_{t-1} U)$. What it saw at step 0 reaches step T
# through the product of T Jacobians. Here we look at that product, and at what it means for learning.

# %%
import jax
import jax.numpy as jnp

import rnnjax
from rnnjax import dynamics

xs = jax.random.normal(jax.random.key(0), (40, 3))
cell = rnnjax.vanilla(16)
params = cell.init(jax.random.key(1), xs[0])

# %% [markdown]
# `gradient_flow` gives the norm of $\partial h_T / \partial h_t$ for every t, scaled so that 1 means: nothing is lost.
# The recurrent matrix starts orthogonal; what shrinks the product is the slope of tanh, which is below one.

# %%
flow = jax.jit(lambda params: dynamics.gradient_flow(cell, params, xs).norms)
for t in (40, 30, 20, 10, 0):
    print(f"{40 - t:2d} steps back: {float(flow(params)[t]):.1e}")

# %% [markdown]
# With a smaller recurrent matrix it forgets faster. With one twice as large a small change grows instead: the gradient
# explodes, and the network remembers no better.


# %%
def scaled(factor):
    return (params[0], {"u": factor * params[1]["u"]})


for factor in (0.5, 1.0, 2.0):
    print(f"u times {factor}: {float(flow(scaled(factor))[20]):.1e} of a change is left after 20 steps")

# %% [markdown]
# An LSTM has a shortcut through time: its cell $c_t = f_t c_{t-1} + \ldots$ With forget gates near one, c keeps what h
# loses.

# %%
lstm = rnnjax.lstm(16, forget_bias=3.0)
kept = dynamics.gradient_flow(lstm, lstm.init(jax.random.key(1), xs[0]), xs, part=lambda carry: carry[1].c).norms
print(f"c of an LSTM, 40 steps back: {float(kept[0]):.2f}")
assert flow(scaled(0.5))[20] < flow(params)[20] < 1 < flow(scaled(2.0))[20]
assert kept[0] > 100 * flow(params)[0]

# %% [markdown]
# So a loss at the end hardly tells a vanilla network about its first input. Its gradient says so directly.


# %%
def slope(cell):
    def last(xs):
        params = cell.init(jax.random.key(1), xs[0])
        return rnnjax.run(rnnjax.unroll(cell), params, xs)[1][-1].sum()

    return jnp.linalg.norm(jax.grad(last)(xs), axis=-1)


for name, net in {"vanilla": cell, "lstm": lstm}.items():
    felt = slope(net)
    print(f"{name}: an input 39 steps back counts {float(felt[0] / felt[-1]):.0e} as much as the last")

# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # Truncated backpropagation or RTRL?
#
# Truncation looks back a few steps and ignores earlier ones. Real-time recurrent learning (RTRL) carries the
# derivative of the state forward in time and is exact with any window, but needs more memory. Here both get the same
# windows.

# %%
import jax
import jax.numpy as jnp

import rnnjax

cell = rnnjax.stack(rnnjax.vanilla(8), rnnjax.linear(1))
xs = jax.random.normal(jax.random.key(0), (60, 3))
params = cell.init(jax.random.key(1), xs[0])

# %% [markdown]
# The loss asks at each step for an input of five steps ago.


# %%
def loss(net):
    def of(params):
        ys = rnnjax.run(net, params, xs)[1]
        return jnp.mean((ys[5:, 0] - xs[:-5, 0]) ** 2)

    return of


def error(net):
    """The relative error of the gradient in the recurrent matrix."""
    exact, other = (jax.grad(loss(n))(params)[0][1]["u"] for n in (rnnjax.unroll(cell), net))
    return float(jnp.linalg.norm(other - exact) / jnp.linalg.norm(exact))


# %% [markdown]
# Both wrappers leave the values of the network unchanged; `chunk` runs it in windows.

# %%
for window in (1, 5, 20):
    cut = error(rnnjax.chunk(rnnjax.truncate(rnnjax.unroll(cell)), window))
    forward = error(rnnjax.chunk(rnnjax.rtrl(rnnjax.unroll(cell)), window))
    print(f"windows of {window:2d}: truncated {cut:.3f}, RTRL {forward:.0e}")
    assert forward < 1e-4 < cut

# %% [markdown]
# The cost: a truncated network carries its state, RTRL also the derivative of the state with respect to each
# parameter.


# %%
def carried(net):
    weights = net.weights(params)
    return sum(leaf.size for leaf in jax.tree.leaves(net.initial_carry(weights, xs)))


print(f"carried from window to window: truncated {carried(rnnjax.truncate(rnnjax.unroll(cell)))} numbers,")
print(f"RTRL {carried(rnnjax.rtrl(rnnjax.unroll(cell)))}")

# %% [markdown]
# Between the two lie SnAp, which keeps influences within a few steps, and UORO, which keeps one random product.
# Any of them is a flag:
#
# ```
# python -m experiments.audit --cell=vanilla --rules=tbptt,rtrl,snap1,uoro --truncations=1,5,20
# ```

# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # A decoder with attention
#
# An encoder reads a sequence, a decoder writes another one. With attention the decoder looks at all outputs of the
# encoder before each symbol that it writes. The task here is to write a sequence backwards; the attention should then
# move from the last place to the first.

# %%
import jax
import jax.numpy as jnp
import optax

import rnnjax
from rnnjax import decoding, seq2seq
from rnnjax.base import Seq, SourceTarget

SYMBOLS, LENGTH = 6, 8
START = END = SYMBOLS  # one token begins and ends a target

# %% [markdown]
# ## The network
#
# The decoder is a function of the memory, which holds the outputs of the encoder. `luong` puts attention around a cell:
# its state is the query, `general` compares the query with each place of the memory, and the weighted mean of the
# memory is combined with the state before the output. Each part works on one example and, in the decoder, on one step.

# %%
attention = seq2seq.general(32)


def decoder(memory):
    cell = rnnjax.luong(rnnjax.gru(32), attention, memory, width=32)
    return rnnjax.stack(rnnjax.one_hot(SYMBOLS + 1), cell, rnnjax.linear(SYMBOLS + 1))


net = seq2seq.encoder_decoder(
    encoder=rnnjax.stack(rnnjax.one_hot(SYMBOLS), rnnjax.bidirectional(rnnjax.gru(16))),
    decoder=decoder,
    attention=attention,
)

# %% [markdown]
# ## The data
#
# Sources have 3 to 8 symbols. A `Seq` carries the mask, so the encoder ignores the padding and attention
# gives it no weight. In training the decoder reads the right symbols, one place late ("teacher forcing").


# %%
def example(key):
    k_length, k_symbols = jax.random.split(key)
    length = jax.random.randint(k_length, (), 3, LENGTH + 1)
    symbols = jax.random.randint(k_symbols, (LENGTH,), 0, SYMBOLS)
    at = jnp.arange(LENGTH + 1)
    backwards = jnp.where(at < length, symbols[(length - 1 - at) % LENGTH], END)
    source = Seq(symbols, jnp.arange(LENGTH) < length)
    return SourceTarget(source, jnp.concatenate([jnp.array([START]), backwards[:-1]])), backwards, at <= length


x, y, counts = jax.vmap(example)(jax.random.split(jax.random.key(0), 2))
print("source", x.source.x[0], "of length", int(x.source.valid[0].sum()), "-> target", y[0])

# %% [markdown]
# ## Training


# %%
def loss(params, key):
    x, y, counts = jax.vmap(example)(jax.random.split(key, 32))
    logits = jax.vmap(lambda x: rnnjax.run(net, params, x)[1])(x)
    errors = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return (errors * counts).sum() / counts.sum()


optimizer = optax.adam(1e-2)
params = net.init(jax.random.key(1), jax.tree.map(lambda a: a[0], x))


@jax.jit
def train(params, key):
    def update(carry, key):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params, key)
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), value

    (params, _), values = jax.lax.scan(update, (params, optimizer.init(params)), jax.random.split(key, 250))
    return params, values


params, values = train(params, jax.random.key(2))
print("loss at steps 1, 100, 250:", [round(float(values[i]), 3) for i in (0, 99, 249)])

# %% [markdown]
# ## Writing
#
# `net.begin` reads a source and gives the decoder as a cell of one step. After the first token, `decoding.decode` feeds
# it its own output until it writes the end symbol.


# %%
def write(params, source):
    cell, inner = net.begin(params, source)
    carry, logits = rnnjax.run(cell, inner, jnp.asarray(START))
    return decoding.decode(cell, inner, carry, logits, LENGTH + 1, decoding.greedy, jax.random.key(0), end=END).symbols


x, y, counts = jax.vmap(example)(jax.random.split(jax.random.key(3), 200))
written = jax.jit(jax.vmap(write, in_axes=(None, 0)))(params, x.source)
right = (jnp.where(counts, written, END) == y).all(1).mean()
print(f"written without a fault: {float(right):.1%} of 200 new sequences")
assert right > 0.9

# %% [markdown]
# ## Where it looks
#
# `alignments` gives the weights of each written symbol over the places of the source. The largest one of each row
# should move backwards.

# %%
one = jax.tree.map(lambda a: a[0], x)
weights = seq2seq.alignments(*net.begin(params, one.source), one.target)
length = int(one.source.valid.sum())
for step in range(length):
    print(f"symbol {step}: " + " ".join(f"{float(a):.2f}" for a in weights[step][:length]))

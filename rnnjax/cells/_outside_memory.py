"""Networks with a memory outside of their state: a stack or a tape, on which they act by degrees."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_size, factory, stack
from rnnjax.base._numerics import Initializer, lecun_normal, nothing, orthogonal
from rnnjax.cells._feedforward import linear
from rnnjax.cells._recurrent import driven


class StackCarry(NamedTuple):
    """The state of a network with a stack: its units h `[hidden]`, and the stack `[depth, width]`, its top first."""

    h: jax.Array
    stack: jax.Array


class TapeCarry(NamedTuple):
    """The state of a network with a tape: its units h `[hidden]`, and the tape `[cells, width]`, from its head on."""

    h: jax.Array
    tape: jax.Array


@factory
def stack_rnn(
    hidden: int, width: int = 8, depth: int = 32, bias: bool = True, u_init: Initializer = orthogonal
) -> Cell:
    """A vanilla RNN with a stack of vectors: a mixture of push, pop and no change at each step.

        h_t = tanh(x_t w + b + h_{t-1} u + top_{t-1} v)
        push, pop, stay = softmax(h_t q + b_r);  value = sigmoid(h_t r + b_i)
        S_t[0] = push value + pop S_{t-1}[1] + stay S_{t-1}[0]
        S_t[i] = push S_{t-1}[i-1] + pop S_{t-1}[i+1] + stay S_{t-1}[i]

    What is pushed beyond the depth is lost, and zeros lie below. The paper has several stacks of numbers, each with its
    own action; here it is one of vectors. Params: ({w, b}, {u, v, q `[hidden, 3]`, b_r, r `[hidden, width]`, b_i}).

    Args:
      hidden: the number of units.
      width: the numbers in each entry of the stack.
      depth: the number of entries.
      bias: whether the input's linear map has a bias.
      u_init: the initialiser of u.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = stack_rnn(4, width=2).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 4 + 2 + 1) + 5 (3 + 2)
      65

    Reference: Joulin, Mikolov, Inferring algorithmic patterns with stack-augmented recurrent nets, 2015; with vectors
    Deletang et al., Neural networks and the Chomsky hierarchy, 2022.
    """
    check_size("stack_rnn: hidden", hidden)
    check_size("stack_rnn: width", width)
    check_size("stack_rnn: depth", depth)

    def update(p: PyTree, carry: StackCarry, z: jax.Array) -> tuple[StackCarry, jax.Array]:
        s = carry.stack
        h = jnp.tanh(z + carry.h @ p["u"] + s[0] @ p["v"])
        push, pop, stay = jax.nn.softmax(h @ p["q"] + p["b_r"])
        value = jax.nn.sigmoid(h @ p["r"] + p["b_i"])[None]
        pushed, popped = jnp.concatenate([value, s[:-1]]), jnp.concatenate([s[1:], jnp.zeros_like(value)])
        return StackCarry(h, push * pushed + pop * popped + stay * s), h

    def empty(h: jax.Array) -> StackCarry:
        return StackCarry(h, jnp.zeros((depth, width), h.dtype))

    params = _params(hidden, width, 3, u_init)
    return stack(linear(hidden, bias), driven("stack_rnn", hidden, hidden, update, params, empty))


@factory
def tape_rnn(
    hidden: int, width: int = 8, cells: int = 32, jump: int = 0, bias: bool = True, u_init: Initializer = orthogonal
) -> Cell:
    """A vanilla RNN with a circular tape of vectors: it writes at the head, then stays or moves, by degrees.

        h_t = tanh(x_t w + b + h_{t-1} u + T_{t-1}[0] v)
        stay, left, right = softmax(h_t q + b_r);  T' = T_{t-1} with h_t r + b_i in place of T_{t-1}[0]
        T_t[i] = stay T'[i] + left T'[i+1] + right T'[i-1]

    The reference has five actions: two jump by the length of the whole input, which a cell does not know; here by
    `jump`, where that is not 0. Params: ({w, b}, {u, v, q `[hidden, actions]`, b_r, r `[hidden, width]`, b_i}).

    Args:
      hidden: the number of units.
      width: the numbers in each cell of the tape.
      cells: the length of the tape.
      jump: the distance of two more actions; 0 for none.
      bias: whether the input's linear map has a bias.
      u_init: the initialiser of u.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = tape_rnn(4, width=2).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 4 + 2 + 1) + 5 (3 + 2)
      65

    Reference: Deletang et al., Neural networks and the Chomsky hierarchy, 2022, and its published code.
    """
    for what, size in (("hidden", hidden), ("width", width), ("cells", cells)):
        check_size(f"tape_rnn: {what}", size)
    check_size("tape_rnn: jump", jump, 0)
    moves = (0, -1, 1, -jump, jump) if jump else (0, -1, 1)

    def update(p: PyTree, carry: TapeCarry, z: jax.Array) -> tuple[TapeCarry, jax.Array]:
        h = jnp.tanh(z + carry.h @ p["u"] + carry.tape[0] @ p["v"])
        written = carry.tape.at[0].set(h @ p["r"] + p["b_i"])
        actions = jax.nn.softmax(h @ p["q"] + p["b_r"])
        moved = jnp.stack([jnp.roll(written, by, axis=0) for by in moves])
        return TapeCarry(h, jnp.einsum("a,acw->cw", actions, moved)), h

    def empty(h: jax.Array) -> TapeCarry:
        return TapeCarry(h, jnp.zeros((cells, width), h.dtype))

    params = _params(hidden, width, len(moves), u_init)
    return stack(linear(hidden, bias), driven("tape_rnn", hidden, hidden, update, params, empty))


def _params(
    hidden: int, width: int, actions: int, u_init: Initializer
) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
    """Returns the params of the units, of what they read, of their actions and of what they write."""
    return {
        "u": (u_init, (hidden, hidden)),
        "v": (lecun_normal, (width, hidden)),
        "q": (lecun_normal, (hidden, actions)),
        "b_r": (nothing, (actions,)),
        "r": (lecun_normal, (hidden, width)),
        "b_i": (nothing, (width,)),
    }

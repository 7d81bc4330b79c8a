"""Recursive networks as step functions, from a leaf's input or from the children's states to a state."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import PyTree, check_number, check_size
from rnnjax.base._cell import Init, Weights, identity
from rnnjax.base._numerics import as_dtype, draw_initial, lecun_normal, orthogonal
from rnnjax.cells import LSTMCarry


@dataclasses.dataclass(frozen=True, eq=False)
class TreeCell:
    """The functions of a recursive network at a node; `fold_forest` turns them into a Cell over forests.

    Attributes:
      init: (key, x) -> params, where x is the input of one leaf, for its shape.
      leaf: (weights, x, key=None) -> the state of a leaf. The key is for cells that draw noise and differs from node
        to node.
      node: (weights, children, present, key=None) -> the state of an inner node. The children's states are stacked:
        their leaves are `[arity, ...]`. present `[arity]` marks the children that exist; the others are zero.
      weights: (params, key) -> weights, once per batch.
      read: state -> its visible part, h.
      write: (state, h) -> the state with another h.
    """

    init: Init
    leaf: Callable[..., PyTree]
    node: Callable[..., PyTree]
    weights: Weights = identity
    read: Callable[[PyTree], PyTree] = lambda state: state
    write: Callable[[PyTree, PyTree], PyTree] = lambda state, h: h

    def replace(self, **changes: Any) -> TreeCell:
        """Returns a copy with some functions changed."""
        return dataclasses.replace(self, **changes)


def _check_two_children(name: str, present: jax.Array) -> None:
    """Refuses nodes whose arity is not two."""
    if present.shape != (2,):
        raise ValueError(
            f"{name} joins two children, and these trees have nodes of up to {present.shape[0]}: "
            "child_sum takes any number"
        )


def _matrices(key: jax.Array, children: int, gates: int, hidden: int, dtype: Any) -> jax.Array:
    """Draws a matrix for each child `[children, hidden, gates * hidden]`, with an orthogonal block per gate."""
    keys = jax.random.split(key, (children, gates))
    blocks = [[draw_initial(orthogonal, k, (hidden, hidden), dtype) for k in row] for row in keys]
    return jnp.stack([jnp.concatenate(row, 1) for row in blocks])


def _sum_children(h: jax.Array, u: jax.Array) -> jax.Array:
    """Returns sum_k h_k u_k as a single matrix product, which is faster for many nodes than one product per child."""
    return h.reshape(-1) @ u.reshape(h.size, -1)


def recnn(hidden: int) -> TreeCell:
    """The recursive network, with the same affine map at every node.

        leaf: h = x w          node: h = tanh(h_left u_left + h_right u_right + b)

    Params: w `[features of x, hidden]`, u `[2, hidden, hidden]`, b `[hidden]`.

    Args:
      hidden: units.

    Raises:
      ValueError: a node has more than two children. A missing child counts as zero.

    Example:
      >>> import jax.numpy as jnp
      >>> p = {"w": jnp.eye(1), "u": jnp.array([[[1.0]], [[2.0]]]), "b": jnp.zeros(1)}
      >>> print(recnn(1).node(p, jnp.array([[1.0], [-0.5]]), jnp.array([True, True])))
      [0.]

    Reference: Pollack, Recursive distributed representations, 1990; Socher, Lin, Ng, Manning, Parsing natural scenes
    and natural language with recursive neural networks, 2011; the gradient: Goller, Kuechler, Learning task-dependent
    distributed representations by backpropagation through structure, 1996.
    """
    check_size("recnn: hidden", hidden)

    def init(key: jax.Array, x: Any) -> PyTree:
        kw, ku = jax.random.split(key)
        return {
            "w": draw_initial(lecun_normal, kw, (x.shape[-1], hidden), x.dtype),
            "u": _matrices(ku, 2, 1, hidden, x.dtype),
            "b": jnp.zeros(hidden, x.dtype),
        }

    def node(p: PyTree, h: jax.Array, present: jax.Array, key: jax.Array | None = None) -> jax.Array:
        _check_two_children("recnn", present)
        return jnp.tanh(_sum_children(h, p["u"]) + p["b"])

    return TreeCell(init, lambda p, x, key=None: x @ p["w"], node)


def rntn(hidden: int, scale: Any = 0.1) -> TreeCell:
    """The recursive neural tensor network, in which the children also interact by multiplication.

        leaf: h = x w          node: h_k = tanh(g^T t_k g / (2 hidden) + (g u)_k + b_k),  g = [h_left; h_right]

    Params: those of `recnn`, and t `[hidden, 2 hidden, 2 hidden]`. The paper's tensor is t / (2 hidden). Each entry is
    one of (2 hidden)^2 in a sum. Without the scaling, optimisers with the same step size for all parameters, such as
    Adam, would move that sum so far at once that the network learns from single words only.

    Args:
      hidden: units.
      scale: initial standard deviation of t.

    Raises:
      ValueError: a node has more than two children. A missing child counts as zero.

    Example: without t it is the recursive network.
      >>> import jax, jax.numpy as jnp
      >>> h, both = jnp.ones((2, 4)), jnp.array([True, True])
      >>> p = rntn(4, scale=0.0).init(jax.random.key(0), jnp.ones(3))
      >>> bool((rntn(4).node(p, h, both) == recnn(4).node(p, h, both)).all())
      True

    Reference: Socher, Perelygin, Wu, Chuang, Manning, Ng, Potts, Recursive deep models for semantic compositionality
    over a sentiment treebank, 2013.
    """
    check_size("rntn: hidden", hidden)
    check_number("rntn: scale", scale, 0)

    def init(key: jax.Array, x: Any) -> PyTree:
        params = recnn(hidden).init(key, x)
        t = draw_initial(
            jax.nn.initializers.normal(1.0), jax.random.fold_in(key, 2), (hidden, 2 * hidden, 2 * hidden), x.dtype
        )
        return params | {"t": t * as_dtype(scale, x)}

    def node(p: PyTree, h: jax.Array, present: jax.Array, key: jax.Array | None = None) -> jax.Array:
        _check_two_children("rntn", present)
        g = h.reshape(-1)
        return jnp.tanh((p["t"] @ g) @ g / g.size + _sum_children(h, p["u"]) + p["b"])

    return TreeCell(init, lambda p, x, key=None: x @ p["w"], node)


def _gated(z: jax.Array) -> LSTMCarry:
    """Returns the state of a leaf from the pre-activations i, g, o; a leaf has nothing to forget."""
    i, g, o = jnp.split(z, 3)
    c = jax.nn.sigmoid(i) * jnp.tanh(g)
    return LSTMCarry(c, jax.nn.sigmoid(o) * jnp.tanh(c))


def _without_forgetting(b: jax.Array, hidden: int) -> jax.Array:
    """Returns the biases of i, g, o, which are the first and the last two of a node's gates."""
    return jnp.concatenate([b[:hidden], b[-2 * hidden :]])


def tree_lstm(hidden: int, forget_bias: Any = 1.0) -> TreeCell:
    """The binary Tree-LSTM. Each child has its own matrix and its own forget gate; gates i, f_left, f_right, g, o.

        leaf: i, g, o = x w + b
        node: i, f_left, f_right, g, o = h_left u_left + h_right u_right + b
              c = sigmoid(f_left + forget_bias) c_left + sigmoid(f_right + forget_bias) c_right + sigmoid(i) tanh(g)
        h = sigmoid(o) tanh(c)

    Params: w `[features of x, 3 hidden]`, u `[2, hidden, 5 hidden]`, b `[5 hidden]`. A leaf has c = sigmoid(i) tanh(g);
    inner nodes have no input of their own, as in a constituency tree.

    Args:
      hidden: units.
      forget_bias: added to both forget gates at run time, not stored in params.

    Raises:
      ValueError: a node has more than two children. A missing child counts as zero.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> {name: p.shape for name, p in tree_lstm(4).init(jax.random.key(0), jnp.ones(3)).items()}
      {'w': (3, 12), 'u': (2, 4, 20), 'b': (20,)}

    Reference: Tai, Socher, Manning, Improved semantic representations from tree-structured long short-term memory
    networks, 2015: the N-ary Tree-LSTM with N = 2.
    """
    check_size("tree_lstm: hidden", hidden)
    check_number("tree_lstm: forget_bias", forget_bias)

    def init(key: jax.Array, x: Any) -> PyTree:
        kw, ku = jax.random.split(key)
        return {
            "w": draw_initial(lecun_normal, kw, (x.shape[-1], 3 * hidden), x.dtype),
            "u": _matrices(ku, 2, 5, hidden, x.dtype),
            "b": jnp.zeros(5 * hidden, x.dtype),
        }

    def leaf(p: PyTree, x: jax.Array, key: jax.Array | None = None) -> LSTMCarry:
        return _gated(x @ p["w"] + _without_forgetting(p["b"], hidden))

    def node(p: PyTree, below: LSTMCarry, present: jax.Array, key: jax.Array | None = None) -> LSTMCarry:
        _check_two_children("tree_lstm", present)
        z = _sum_children(below.h, p["u"]) + p["b"]
        i, left, right, g, o = jnp.split(z, 5)
        kept = [jax.nn.sigmoid(f + as_dtype(forget_bias, f)) * c for f, c in zip((left, right), below.c)]
        c = kept[0] + kept[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
        return LSTMCarry(c, jax.nn.sigmoid(o) * jnp.tanh(c))

    return TreeCell(init, leaf, node, read=lambda state: state.h, write=lambda state, h: state._replace(h=h))


def child_sum(hidden: int, forget_bias: Any = 1.0) -> TreeCell:
    """The child-sum Tree-LSTM, for any number of unordered children; gates i, f, g, o.

        leaf: i, g, o = x w + b
        node: i, _, g, o = (sum_k h_k) u + b,   f_k = h_k u_f + b_f
              c = sum_k sigmoid(f_k + forget_bias) c_k + sigmoid(i) tanh(g)
        h = sigmoid(o) tanh(c)

    Params: w `[features of x, 3 hidden]`, u `[hidden, 4 hidden]`, b `[4 hidden]`.

    Args:
      hidden: units.
      forget_bias: added to each forget gate at run time, not stored in params.

    Example: the order of the children does not matter.
      >>> import jax, jax.numpy as jnp
      >>> from rnnjax import LSTMCarry
      >>> cell, h = child_sum(2), jnp.array([[1.0, 2.0], [3.0, 4.0]])
      >>> p = cell.init(jax.random.key(0), jnp.ones(3))
      >>> a, b = (cell.node(p, LSTMCarry(h, h), jnp.array([True, True])) for h in (h, h[::-1]))
      >>> print((a.h == b.h).all())
      True

    Reference: Tai, Socher, Manning, Improved semantic representations from tree-structured long short-term memory
    networks, 2015.
    """
    check_size("child_sum: hidden", hidden)
    check_number("child_sum: forget_bias", forget_bias)

    def init(key: jax.Array, x: Any) -> PyTree:
        kw, ku = jax.random.split(key)
        return {
            "w": draw_initial(lecun_normal, kw, (x.shape[-1], 3 * hidden), x.dtype),
            "u": _matrices(ku, 1, 4, hidden, x.dtype)[0],
            "b": jnp.zeros(4 * hidden, x.dtype),
        }

    def leaf(p: PyTree, x: jax.Array, key: jax.Array | None = None) -> LSTMCarry:
        return _gated(x @ p["w"] + _without_forgetting(p["b"], hidden))

    def node(p: PyTree, below: LSTMCarry, present: jax.Array, key: jax.Array | None = None) -> LSTMCarry:
        i, _, g, o = jnp.split(below.h.sum(0) @ p["u"] + p["b"], 4)
        u, b = (p[name][..., hidden : 2 * hidden] for name in ("u", "b"))
        forget = jax.vmap(lambda h: jax.nn.sigmoid(h @ u + b + as_dtype(forget_bias, h)))(below.h)
        c = (forget * below.c).sum(0) + jax.nn.sigmoid(i) * jnp.tanh(g)  # c is zero for a missing child
        return LSTMCarry(c, jax.nn.sigmoid(o) * jnp.tanh(c))

    return TreeCell(init, leaf, node, read=lambda state: state.h, write=lambda state, h: state._replace(h=h))

"""Eligibility traces: influences that pass from step to step only through each unit's own state."""

from __future__ import annotations

import jax

from rnnjax.base import Cell, PyTree, with_step, wrapper
from rnnjax.credit._attached import LIMIT, NotAdmitted
from rnnjax.credit._jaxprs import loops, without_derivatives
from rnnjax.credit._snap import masked_rtrl
from rnnjax.credit._sparsity import finder


@wrapper
def eprop(cell: Cell, limit: int = LIMIT) -> Cell:
    """Eligibility propagation: RTRL without the derivative that flows through recurrent matrices.

        e_t = d step / d weights + (d h_t / d h_{t-1} with h_{t-1} u held still) e_{t-1}

    The remaining derivative is a unit's own memory: the forget gate times the cell in an LSTM, the leak of a leaky
    unit, the update gate of a GRU. A vanilla network has none, so there this is truncation at every step. A product is
    recurrent if its vector depends on a part of the carry that the product affects; connections between layers pass
    derivatives as usual. The trace stores what a weight can reach in this way: two numbers per weight of an LSTM.

    Args:
      cell: a single-step cell whose recurrent connections are products of weights with a vector.
      limit: the most bytes for the influence of one example.

    Raises:
      NotAdmitted: there is no such product (the recurrence is a Fourier transform or elementwise), or weights act on
        the state before it (a GRU that resets before the product).

    Example: a cell without recurrent weights is rejected, because this would be RTRL.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell, x = eprop(rnnjax.linear(4)), jnp.ones(3)
      >>> cell.initial_carry(cell.init(jax.random.key(0), x), x)
      Traceback (most recent call last):
      rnnjax.credit.NotAdmitted: eprop: this cell has no product of a recurrent matrix with its state

    Reference: Bellec et al., A solution to the learning dilemma for recurrent networks of spiking neurons, 2020.
    """
    return _along_own_state("eprop", cell, limit)


@wrapper
def rflo(cell: Cell, limit: int = LIMIT) -> Cell:
    """The temporal part of random-feedback local online learning: the leaky trace of a network with one state per unit.

        h_t = (1 - a) h_{t-1} + a f(z_t),   p_t = (1 - a) p_{t-1} + a f'(z_t) (x) v_t

    It is `eprop` for cells whose carry is one array. The error reaches the units through the readout weights, not
    through random ones.

    Args:
      cell: a single-step cell with one array of state.
      limit: the most bytes for the influence of one example.

    Raises:
      NotAdmitted: the carry has another number of arrays (an LSTM), or there is no recurrent product.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell, x = rflo(rnnjax.lstm(4)), jnp.ones(3)
      >>> cell.initial_carry(cell.init(jax.random.key(0), x), x)
      Traceback (most recent call last):
      rnnjax.credit.NotAdmitted: rflo: the carry has 2 arrays, but a leaky network has one; use eprop

    Reference: Murray, Local online learning in recurrent networks with random feedback, 2019.
    """
    return _along_own_state("rflo", cell, limit, arrays=1)


def _along_own_state(rule: str, cell: Cell, limit: int, arrays: int | None = None) -> Cell:
    """Applies RTRL to a cell with its recurrent products cut, storing only what is left; rejects a cell without any."""

    def recurrent(weights: PyTree, x: PyTree) -> frozenset[int]:
        w, x = jax.eval_shape(lambda *tree: tree, weights, x)
        carry = jax.eval_shape(cell.initial_carry, w, x)
        n, (products, gated, hidden) = len(jax.tree.leaves(carry)), loops(cell.step, w, carry, x)
        if gated:
            raise NotAdmitted(
                f"{rule}: weights act between the state and a recurrent matrix, as in a GRU that resets "
                "before the product; use gru(n, reset_after=True)"
            )
        if hidden:
            raise NotAdmitted(f"{rule}: this cell's step has products inside loops or hand-written derivatives")
        if not products:
            raise NotAdmitted(f"{rule}: this cell has no product of a recurrent matrix with its state")
        if arrays is not None and n != arrays:
            raise NotAdmitted(f"{rule}: the carry has {n} arrays, but a leaky network has one; use eprop")
        return products

    def step(w: PyTree, h: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        return without_derivatives(cell.step, recurrent(w, x))(w, h, x, key)

    past = with_step(cell, step).replace(output=cell.output)
    ruled = masked_rtrl(rule, past, finder(past, None), limit)

    def initial_carry(weights: PyTree, x: PyTree) -> PyTree:
        recurrent(weights, x)
        return ruled.initial_carry(weights, x)

    return ruled.replace(initial_carry=initial_carry)

"""What the names of parameters mean to those who read them: part of the contract of a cell.

A leaf of params is known by its path ("1/u", "core/gate/w"). Its last part says what kind of weights it holds:

    w, u                            matrices of the input and of the recurrence
    b, bias, c_bias                 biases, that of a layer norm, and that of the norm of an LSTM's cell
    gain, c_gain                    gains of the same norms
    p                               peepholes
    b_r, b_i, b_g, b_h              biases of one gate each
    rate, decay, phase, frequency   how fast a linear recurrence fades and turns
    alpha, beta, zeta               numbers between a state and its update (FastRNN, FastGRNN)
    carry                           a learned initial carry of one array (`learn_carry`)

A leaf of another name is trained and stored like any other; it is just not found by that which looks for these.
"""

from __future__ import annotations

from typing import Any

from rnnjax.base._pytrees import path_name

RECURRENT = "u"  # a recurrent matrix: dynamics take its eigenvalues, reports its distance from orthogonality
# Weight decay leaves paths that match this alone.
NOT_DECAYED = r"(^|/)(b|b_[righ]|p|gain|bias|c_gain|c_bias|carry|rate|decay|phase|frequency|alpha|beta|zeta)$"


def is_recurrent(path: tuple[Any, ...]) -> bool:
    """Whether a path of params or weights leads to what a recurrence multiplies its state with.

    Example:
      >>> import jax
      >>> [is_recurrent(path) for path, _ in jax.tree.leaves_with_path(({"w": 1.0}, {"u": 2.0}))]
      [False, True]
    """
    return path_name(path[-1:]) == RECURRENT

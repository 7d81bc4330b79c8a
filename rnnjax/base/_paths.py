"""What the names of parameters mean to those who read them: part of the contract of a cell.

A leaf of params is known by its path ("1/u", "core/gate/w"). Its last part says what kind of weights it holds:

    w, u                            matrices of the input and of the recurrence
    b, bias, c_bias                 biases, that of a layer norm, and that of the norm of an LSTM's cell
    gain, c_gain                    gains of the same norms
    p                               peepholes
    carry                           a learned initial carry of one array (`learn_carry`)

A leaf of another name is trained and stored like any other; it is just not found by that which looks for these.
"""

from __future__ import annotations

from typing import Any

from rnnjax.base._pytrees import path_name

RECURRENT = "u"  # a recurrent matrix: dynamics take its eigenvalues, reports its distance from orthogonality
NOT_DECAYED = r"(^|/)(b|p|gain|bias|c_gain|c_bias|carry)$"  # weight decay leaves paths that match this alone


def is_recurrent(path: tuple[Any, ...]) -> bool:
    """Whether a path of params or weights leads to what a recurrence multiplies its state with.

    Example:
      >>> import jax
      >>> [is_recurrent(path) for path, _ in jax.tree.leaves_with_path(({"w": 1.0}, {"u": 2.0}))]
      [False, True]
    """
    return path_name(path[-1:]) == RECURRENT

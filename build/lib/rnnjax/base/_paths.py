"""The meaning of parameter names, which is part of the contract of a cell.

A leaf of params is identified by its path ("1/u", "core/gate/w"). The last part is the kind of weights:

    w, u                            input and recurrent matrices
    b, bias, c_bias                 biases: of a linear map, of a layer norm, of the norm of an LSTM's cell
    gain, c_gain                    gains of these norms
    p                               peepholes
    b_r, b_i, b_g, b_h              biases of single gates
    rate, decay, phase, frequency   decay rates and frequencies of linear recurrences
    alpha, beta, zeta               weights of a state and its update (FastRNN, FastGRNN)
    carry                           a learned initial carry of one array (`learn_carry`)

A leaf with another name is trained and stored like any other; code that looks for these names ignores it.
"""

from __future__ import annotations

from typing import Any

from rnnjax.base._pytrees import path_name

RECURRENT = "u"  # analyses compute its eigenvalues, reports its distance from orthogonality
# Weight decay skips paths that match this.
NOT_DECAYED = r"(^|/)(b|b_[righ]|p|gain|bias|c_gain|c_bias|carry|rate|decay|phase|frequency|alpha|beta|zeta)$"


def is_recurrent(path: tuple[Any, ...]) -> bool:
    """Returns whether a path of params or weights leads to a recurrent matrix.

    Example:
      >>> import jax
      >>> [is_recurrent(path) for path, _ in jax.tree.leaves_with_path(({"w": 1.0}, {"u": 2.0}))]
      [False, True]
    """
    return path_name(path[-1:]) == RECURRENT

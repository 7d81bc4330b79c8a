"""Unitary and orthogonal recurrences.

Factors and their products, parametrisations, modReLU, and cells built on them. Belongs here: maps that preserve norms.
Does not belong here: other recurrences.
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.unitary._cells import AS_FACTORS, AS_MATRIX, eunn, halves_window, urnn, urnn_core
from rnnjax.unitary._factors import (
    BoundFactor,
    Factor,
    dense,
    diagonal,
    evolution,
    fourier,
    inverse_fourier,
    permutation,
    product,
    reflection,
)
from rnnjax.unitary._full import full_capacity, reflections
from rnnjax.unitary._maps import (
    Parametrization,
    Schur,
    cayley,
    cayley_condition,
    exponential,
    householder,
    orthogonality_error,
    schur,
    unconstrained,
)
from rnnjax.unitary._meshes import butterfly, givens, kronecker, tunable
from rnnjax.unitary._orthogonal import exprnn, goru, goru_core, modrelu_core, nnrnn, scornn
from rnnjax.unitary._pairs import ComplexPair, halves_matrix, modrelu
from rnnjax.unitary._skew import cayley_start, expm, henaff, random_skew, skew
from rnnjax.unitary._trivialized import Trivialized, dynamic, rebase, rebasing

__all__ = [
    "AS_FACTORS",
    "AS_MATRIX",
    "BoundFactor",
    "ComplexPair",
    "Factor",
    "Parametrization",
    "Schur",
    "Trivialized",
    "butterfly",
    "cayley",
    "cayley_condition",
    "cayley_start",
    "dense",
    "diagonal",
    "dynamic",
    "eunn",
    "evolution",
    "expm",
    "exponential",
    "exprnn",
    "fourier",
    "full_capacity",
    "givens",
    "goru",
    "goru_core",
    "halves_matrix",
    "halves_window",
    "henaff",
    "householder",
    "inverse_fourier",
    "kronecker",
    "modrelu",
    "modrelu_core",
    "nnrnn",
    "orthogonality_error",
    "permutation",
    "product",
    "random_skew",
    "rebase",
    "rebasing",
    "reflection",
    "reflections",
    "schur",
    "scornn",
    "skew",
    "tunable",
    "unconstrained",
    "urnn",
    "urnn_core",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)

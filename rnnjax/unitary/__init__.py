"""Unitary and orthogonal recurrences: factors and their products, parametrisations, modReLU, and cells."""

from rnnjax.unitary.cells import eunn, urnn, urnn_core
from rnnjax.unitary.factors import (
    Bound,
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
from rnnjax.unitary.full import full_capacity, reflections
from rnnjax.unitary.maps import (
    Parametrization,
    Schur,
    cayley,
    cayley_condition,
    drift,
    exponential,
    free,
    householder,
    schur,
)
from rnnjax.unitary.meshes import butterfly, givens, kronecker, tunable
from rnnjax.unitary.orthogonal import exprnn, goru, goru_core, modrelu_core, nnrnn, scornn
from rnnjax.unitary.pairs import Pair, modrelu
from rnnjax.unitary.skew import cayley_start, expm, henaff, random_skew, skew
from rnnjax.unitary.trivialized import Trivialized, dynamic, rebase, rebasing

__all__ = [
    "Bound",
    "Factor",
    "Pair",
    "Parametrization",
    "Schur",
    "Trivialized",
    "butterfly",
    "cayley",
    "cayley_condition",
    "cayley_start",
    "dense",
    "diagonal",
    "drift",
    "dynamic",
    "eunn",
    "evolution",
    "expm",
    "exponential",
    "exprnn",
    "fourier",
    "free",
    "full_capacity",
    "givens",
    "goru",
    "goru_core",
    "henaff",
    "householder",
    "inverse_fourier",
    "kronecker",
    "modrelu",
    "modrelu_core",
    "nnrnn",
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
    "urnn",
    "urnn_core",
]

"""Unitary and orthogonal recurrences: factors and their products, parametrisations, modReLU, and cells."""

from rnnjax.unitary.cells import urnn, urnn_core
from rnnjax.unitary.factors import (
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
from rnnjax.unitary.maps import (
    Parametrization,
    Schur,
    Trivialized,
    cayley,
    drift,
    dynamic,
    exponential,
    free,
    householder,
    rebase,
    schur,
)
from rnnjax.unitary.orthogonal import exprnn, goru, goru_core, modrelu_core, nnrnn, scornn
from rnnjax.unitary.pairs import Pair, modrelu
from rnnjax.unitary.skew import cayley_start, expm, henaff, random_skew, skew

__all__ = [
    "Factor",
    "Pair",
    "Parametrization",
    "Schur",
    "Trivialized",
    "cayley",
    "cayley_start",
    "dense",
    "diagonal",
    "drift",
    "dynamic",
    "evolution",
    "expm",
    "exponential",
    "exprnn",
    "fourier",
    "free",
    "goru",
    "goru_core",
    "henaff",
    "householder",
    "inverse_fourier",
    "modrelu",
    "modrelu_core",
    "nnrnn",
    "permutation",
    "product",
    "random_skew",
    "rebase",
    "reflection",
    "schur",
    "scornn",
    "skew",
    "urnn",
    "urnn_core",
]

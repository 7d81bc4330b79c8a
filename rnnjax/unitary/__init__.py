"""Unitary recurrences: factors and their products, modReLU, and the cells that stand on them."""

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
from rnnjax.unitary.pairs import Pair, modrelu

__all__ = [
    "Factor",
    "Pair",
    "dense",
    "diagonal",
    "evolution",
    "fourier",
    "inverse_fourier",
    "modrelu",
    "permutation",
    "product",
    "reflection",
    "urnn",
    "urnn_core",
]

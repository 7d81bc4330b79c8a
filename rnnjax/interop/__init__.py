"""Weights and modules of other libraries: torch, Keras, flax. None but flax needs to be installed."""

from rnnjax.interop.flax import from_flax, to_flax
from rnnjax.interop.flax_params import from_flax_params, to_flax_params
from rnnjax.interop.keras import from_keras, to_keras
from rnnjax.interop.torch import from_torch, to_torch

__all__ = [
    "from_flax",
    "from_flax_params",
    "from_keras",
    "from_torch",
    "to_flax",
    "to_flax_params",
    "to_keras",
    "to_torch",
]

"""Conversion of weights and layers from and to PyTorch, Keras and Flax; parameters and programs as single files.

Belongs here: conversions. Does not belong here: benchmarks against those libraries.
"""

from typing import TYPE_CHECKING, Any

from rnnjax._deprecated import getattr_of
from rnnjax.interop._flax_params import from_flax_params, to_flax_params
from rnnjax.interop._keras import from_keras, to_keras
from rnnjax.interop._params import load_arrays, load_params, save_params
from rnnjax.interop._program import load_program, save_program
from rnnjax.interop._torch import from_torch, to_torch

if TYPE_CHECKING:
    from rnnjax.interop._flax import from_flax, to_flax

__all__ = [
    "from_flax",
    "from_flax_params",
    "from_keras",
    "from_torch",
    "load_arrays",
    "load_params",
    "load_program",
    "save_params",
    "save_program",
    "to_flax",
    "to_flax_params",
    "to_keras",
    "to_torch",
]

_renamed = getattr_of(__name__)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Imports Flax when it is first asked for: that takes as long as all of rnnjax."""
        if name not in ("from_flax", "to_flax"):
            return _renamed(name, 3)
        from rnnjax.interop import _flax

        return getattr(_flax, name)

"""Settings of the whole process: precision, the folder of compiled programs."""

from __future__ import annotations

import os

import jax

from rnnjax.app._config import Flags
from rnnjax.runs._provenance import processor


def configure(config: Flags) -> None:
    """Configures the JAX settings of the whole process."""
    jax.config.update("jax_enable_x64", config.dtype == "float64")
    jax.config.update("jax_default_matmul_precision", config.matmul_precision)
    use_compilation_cache(config)


def use_compilation_cache(config: Flags) -> None:
    """Sets the folder of compiled programs."""
    if config.compilation_cache == "off":
        jax.config.update("jax_compilation_cache_dir", None)
    else:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        cache = os.path.join(home, "rnnjax", processor())  # JAX does not tell processors apart, and homes may be shared
        jax.config.update("jax_compilation_cache_dir", config.compilation_cache or cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

"""Flags of XLA with which small programs compile in half the time."""

import importlib.metadata
import os

# XLA's newer emitters take twice as long for a small program, and the tests compile tens of thousands of them. JAX 0.12
# has no others, and no such flag.
OLD_JAX = tuple(map(int, importlib.metadata.version("jax").split(".")[:2])) < (0, 12)


def quick_flags() -> str:
    """Those of the environment, and the older emitters where XLA still has them."""
    given = os.environ.get("XLA_FLAGS", "")
    older = "--xla_cpu_use_fusion_emitters=false"
    return f"{given} {older}" if OLD_JAX and older not in given else given

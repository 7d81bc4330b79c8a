"""The origin of a result: the commit of the code, the versions of the packages, the device."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

_PACKAGES = ("rnnjax", "jax", "jaxlib", "numpy", "flax", "optax", "orbax-checkpoint")
_UNKNOWN: dict[str, Any] = {"commit": "unknown", "dirty": None}


def code_version(folder: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Returns the git commit of a folder of code, and whether the code has changed since.

    Args:
      folder: the folder; None for that of the running script.

    Returns:
      commit: the hash, "unknown" if git tracks no file of this folder.
      dirty: True if a tracked file differs from the commit, or a Python file is untracked; None if unknown.

    Example:
      >>> code_version(sys.base_prefix)
      {'commit': 'unknown', 'dirty': None}
    """
    folder = Path(folder or _script_folder())
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None or not _git(folder, "ls-files", "."):
        return dict(_UNKNOWN)
    changes = (
        _git(folder, "status", "--porcelain", "-uno"),
        _git(folder, "ls-files", "-o", "--exclude-standard", "*.py"),
    )
    return {"commit": commit, "dirty": any(changes)}


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that affect results.

    Example:
      >>> versions()["jax"] == jax.__version__
      True
    """
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _PACKAGES}


def describe_devices() -> str:
    """Describes the devices that JAX computes on.

    Example:
      >>> describe_devices().split()[0] in ("cpu", "cuda", "rocm", "tpu")
      True
    """
    devices = jax.devices()
    platform_name = "cuda" if "nvidia" in devices[0].device_kind.lower() else devices[0].platform
    if platform_name == "cpu":
        return f"cpu {_processor()}, {usable_cores()} cores".replace("  ", " ")
    return f"{platform_name} {devices[0].device_kind} x {len(devices)}"


def processor() -> str:
    """Returns a name for this machine's kind of processor; compiled programs depend on its instructions.

    Example:
      >>> processor().startswith(platform.machine())
      True
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not on Linux
        lines = [platform.processor()]
    told = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))} or lines)
    return f"{platform.machine()}-{hashlib.sha256(repr(told).encode()).hexdigest()[:8]}"


def provenance() -> dict[str, Any]:
    """Returns the commit, the versions and the device, for the summary of a run.

    Example:
      >>> sorted(provenance())
      ['code', 'device', 'rnnjax', 'versions']
    """
    library = Path(__file__).parent.parent
    return {
        "code": code_version(),
        "rnnjax": code_version(library),
        "versions": versions(),
        "device": describe_devices(),
    }


def _script_folder() -> Path:
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(script).absolute().parent if script else Path.cwd()


def _git(folder: Path, *arguments: str) -> str | None:
    """Returns the output of git; None if it fails or is not installed."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    """Returns the name of the processor, if the system provides it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def usable_cores() -> int:
    """Returns the number of cores that this process may use.

    Example:
      >>> usable_cores() >= 1
      True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

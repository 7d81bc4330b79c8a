"""Imports optional packages, and never a file of the same name in the user's folder."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from rnnjax.base import UserError


def import_extra(name: str, what: str, extra: str) -> Any:
    """Imports an optional package; a file of that name in the user's folder is refused.

    Args:
      name: of the package.
      what: needs it, for error messages.
      extra: of this package, which installs it.

    Raises:
      UserError: it is not installed, or hidden by another file.

    Example:
      >>> import_extra("nowhere", "--engine=nowhere", "cluster")
      Traceback (most recent call last):
      rnnjax.base.UserError: --engine=nowhere needs a package that is not installed: pip install 'rnnjax[cluster]'
    """
    known = name in sys.modules
    spec = getattr(sys.modules[name], "__spec__", None) if known else importlib.util.find_spec(name)
    if spec is not None and not _is_package(spec.origin):
        raise UserError(f"{what}: {spec.origin or name + '/'} in this folder hides the package {name}")
    try:
        if spec is None and not known:
            raise ImportError(name)
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{what} needs a package that is not installed: pip install 'rnnjax[{extra}]'") from error


def _is_package(origin: str | None) -> bool:
    """Returns whether a module is an installed package, not a file or folder in the current directory."""
    path = Path(origin or "").absolute()
    return bool(origin) and ("site-packages" in path.parts or not path.is_relative_to(Path.cwd()))

"""Files in standard formats -> arrays."""

from __future__ import annotations

from pathlib import Path


def find(path: str, data_dir: str = "") -> str:
    """A path as it is given or, where nothing is there, the same below the folder of data sets, if that is there.

    Example:
      >>> find("nowhere.txt", "/data")
      'nowhere.txt'
    """
    below = Path(data_dir) / path
    return str(below) if data_dir and below.exists() and not Path(path).exists() else path

"""Checkpoints: orbax writes the arrays, and a manifest with a digest of every file tells whether they are intact.

    directory/300/manifest.json     step; path, dtype and shape of every leaf; sha256 of every file, and of all this
    directory/300/arrays/           what orbax wrote: the leaves that are not empty, by the path in the tree

A checkpoint is made under a hidden name and renamed once it is complete, so what has a number for a name is whole. The
digest is checked before orbax sees a byte. Nothing here is ever unpickled.
"""

from __future__ import annotations

import operator
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rnnjax.base import PyTree, UserError
from rnnjax.base._errors import as_user_error
from rnnjax.runs._leaves import DamagedError, _leaves, _read, _read_arrays, _sync, _write, to_stderr


class AllDamagedError(UserError):
    """Of several checkpoints none is intact."""


class Checkpoints:
    """The last few states of a run, in a folder.

    A leaf is an array (JAX or NumPy, of any shape, empty ones too), a typed key or a Python number. It comes back
    bit for bit as what it is in the state given to `restore`, on the device of that leaf; only a weak type is lost.
    One process saves; others may read meanwhile.

    Args:
      directory: a local folder; made by the first `save`.
      keep: how many to keep, the newest ones.
      report: is given one line for each damaged checkpoint passed over.

    Example:
      >>> import tempfile, jax, jax.numpy as jnp
      >>> checkpoints = Checkpoints(tempfile.mkdtemp(), keep=2)
      >>> for step in (100, 200, 300):
      ...     checkpoints.save(step, {"w": jnp.full(3, step), "key": jax.random.key(step)})
      >>> checkpoints.steps()
      [200, 300]
      >>> step, state = checkpoints.restore({"w": jnp.zeros(3, int), "key": jax.random.key(0)})
      >>> step, state["w"].tolist(), bool(state["key"] == jax.random.key(300))
      (300, [300, 300, 300], True)
    """

    def __init__(
        self, directory: str | os.PathLike[str], keep: int = 3, report: Callable[[str], None] = to_stderr
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep is {keep}: keep at least one checkpoint")
        self.directory = Path(directory).absolute()
        self.keep = keep
        self.report = report

    def save(self, step: int, state: PyTree) -> None:
        """Writes a state; killed at any moment, it leaves the old set complete, or the new one.

        Checkpoints of later steps are dropped: they belong to a future that was given up when an earlier one was
        restored. So are the oldest beyond `keep`.

        Raises:
          UserError: the folder cannot be written.
          TypeError: a leaf is neither an array nor a number, or the step is no integer.
          ValueError: the step is negative.
        """
        step, leaves = _step(step), _leaves(state)
        new = self.directory / f".{step}.new"
        with as_user_error("write", self.directory):
            self._clear_leftovers()
            new.mkdir(parents=True)
            _write(new, step, leaves)
            for later in (other for other in self.steps() if other > step):
                self._remove(self.directory / str(later))
            self._put_in_place(new, step)
            for oldest in self.steps()[: -self.keep]:
                self._remove(self.directory / str(oldest))

    def restore(self, like: PyTree) -> tuple[int, PyTree] | None:
        """The newest intact checkpoint; a damaged one is reported, and the one before it taken.

        Args:
          like: a state with the same tree, shapes and dtypes; leaves may be `jax.ShapeDtypeStruct`.

        Returns:
          (step, state), or None when nothing was saved yet.

        Raises:
          MisfitError: it is a state of another model; a ValueError, it names the leaf.
          AllDamagedError: every checkpoint is damaged; a UserError.
        """
        steps = self.steps()
        damages = []
        for i in reversed(range(len(steps))):
            try:
                return steps[i], _read(self._folder(steps[i]), steps[i], like)
            except DamagedError as damage:
                damages.append(f"{steps[i]}: {damage}")
                if i:
                    self.report(f"checkpoint {steps[i]} is damaged ({damage}): going back to {steps[i - 1]}")
        if damages:
            raise AllDamagedError(
                f"every checkpoint in {self.directory} is damaged ({'; '.join(damages)}): delete to start anew"
            )
        return None

    def read(self, step: int, like: PyTree) -> PyTree:
        """The state saved at one of `steps()`.

        Raises:
          DamagedError: it has changed since.
          MisfitError: it is a state of another model.
        """
        return _read(self._folder(step), step, like)

    def arrays(self, step: int, prefix: str = "") -> dict[str, np.ndarray]:
        """The arrays saved at one of `steps()`, by name, without a state like it: {"core/0/w": ...}; keys are left out.

        Args:
          step: one of `steps()`.
          prefix: only what lies below this path of `jax.tree_util.keystr`, named from there on.

        Raises:
          DamagedError: it has changed since.
        """
        return _read_arrays(self._folder(step), step, prefix)

    def steps(self) -> list[int]:
        """The steps saved, in order."""
        if not self.directory.is_dir():
            return []
        names = {path.name for path in self.directory.iterdir() if path.is_dir() and not path.is_symlink()}
        plain = {name.removeprefix(".").removesuffix(".replaced") for name in names}
        return sorted(int(name) for name in plain if _is_step(name) and {name, f".{name}.replaced"} & names)

    def latest(self) -> Path | None:
        """The folder of the newest checkpoint, for messages; None when there is none."""
        steps = self.steps()
        return self._folder(steps[-1]) if steps else None

    def _folder(self, step: int) -> Path:
        """Where a step lies: aside, if the process was killed while it was being replaced."""
        folder = self.directory / str(step)
        return folder if folder.exists() else self.directory / f".{step}.replaced"

    def _put_in_place(self, new: Path, step: int) -> None:
        folder, aside = self.directory / str(step), self.directory / f".{step}.replaced"
        if folder.exists() or folder.is_symlink():
            folder.rename(aside)
        new.rename(folder)
        _sync(self.directory)
        if aside.exists():
            self._remove(aside)

    def _remove(self, folder: Path) -> None:
        """Removes a folder; it loses its name first, so that half of it never passes for a checkpoint."""
        rubbish = self.directory / f".{folder.name.strip('.')}.old"
        folder.rename(rubbish)
        _erase(rubbish)

    def _clear_leftovers(self) -> None:
        """What a killed process left: a replaced checkpoint goes back to its place if nothing took it."""
        for path in self.directory.glob(".*.replaced"):
            folder = self.directory / path.name.removeprefix(".").removesuffix(".replaced")
            if _is_step(folder.name) and not folder.exists():
                path.rename(folder)
        for pattern in (".*.new", ".*.old", ".*.replaced"):
            for path in self.directory.glob(pattern):
                _erase(path)


def _is_step(name: str) -> bool:
    """Whether a folder's name is one that `save` gives.

    Example:
      >>> [_is_step(name) for name in ("300", "0", "007", "x")]
      [True, True, False, False]
    """
    return name.isascii() and name.isdecimal() and str(int(name[:20])) == name


def _erase(path: Path) -> None:
    """Removes a folder with all that is in it, or whatever bears its name."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _step(step: object) -> int:
    """A step as an int, from any integer scalar."""
    if isinstance(step, bool) or not hasattr(step, "__index__"):
        raise TypeError(f"a checkpoint's step is an integer, got {step!r}")
    number = operator.index(step)  # an array that is no integer scalar raises TypeError itself
    if number < 0:
        raise ValueError(f"a checkpoint's step is not negative, got {number}")
    return number

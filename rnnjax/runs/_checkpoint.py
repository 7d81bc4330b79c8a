"""Checkpoints: orbax writes the arrays, and a manifest with a digest of every file shows whether they are intact.

    directory/300/manifest.json     step; path, dtype and shape of every leaf; sha256 of every file, and of itself
    directory/300/arrays/           the files of orbax: the leaves that are not empty, by their path in the tree

A checkpoint is written under a hidden name and renamed once it is complete, so every numbered folder is complete. The
digests are checked before orbax reads a byte. Nothing here is ever unpickled.
"""

from __future__ import annotations

import operator
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rnnjax.base import PyTree, UserError
from rnnjax.base._errors import as_user_error
from rnnjax.runs._leaves import DamagedError, _leaves, _read, _read_arrays, _sync, _write_arrays, to_stderr


class AllDamagedError(UserError):
    """None of several checkpoints is intact."""


class Checkpoints:
    """The latest states of a run, in a folder.

    A leaf is an array (JAX or NumPy, of any shape, even empty), a typed key or a Python number. It is restored bit for
    bit, in the type and on the device of the corresponding leaf of the state given to `restore`; only weak types are
    lost. One process may save while others read.

    Args:
      directory: a local folder, created by the first `save`.
      keep: how many of the newest checkpoints to keep.
      report: called with one line for each damaged checkpoint that is skipped, and if several are removed at once: an
        earlier session kept more, or was killed before it removed its last one.

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
        self._made = False

    def save(self, step: int, state: PyTree) -> None:
        """Writes a state. A process that is killed at any moment leaves either the old set or the new one complete.

        Checkpoints of later steps are deleted, since restoring an earlier one has abandoned them. So are the oldest
        beyond `keep`.

        Raises:
          UserError: the folder cannot be written.
          TypeError: a leaf is neither an array nor a number, or the step is not an integer.
          ValueError: the step is negative.
        """
        step, leaves = _step(step), _leaves(state)
        new = self.directory / f".{step}.new"
        with as_user_error("write", self.directory):
            self._make()
            self._clear_leftovers()
            new.mkdir()
            _write_arrays(new, step, leaves)
            for later in (other for other in self.steps() if other > step):
                self._remove(self.directory / str(later))
            self._put_in_place(new, step)
            self._prune()

    def restore(self, like: PyTree) -> tuple[int, PyTree] | None:
        """Returns the newest intact checkpoint; damaged ones are reported and skipped.

        Args:
          like: a state with the same tree, shapes and dtypes; leaves may be `jax.ShapeDtypeStruct`.

        Returns:
          (step, state), or None if nothing was saved yet.

        Raises:
          MisfitError: the checkpoint is of another model; a ValueError that names the leaf.
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
        """Returns the state saved at one of `steps()`.

        Raises:
          DamagedError: its files have changed.
          MisfitError: it is a state of another model.
        """
        return _read(self._folder(step), step, like)

    def arrays(self, step: int, prefix: str = "") -> dict[str, np.ndarray]:
        """Returns the arrays saved at one of `steps()` by name, such as {"core/0/w": ...}, without keys.

        Args:
          step: one of `steps()`.
          prefix: only return leaves below this path, in the form of `jax.tree_util.keystr`, with names relative to it.

        Raises:
          DamagedError: the files have changed.
        """
        return _read_arrays(self._folder(step), step, prefix)

    def steps(self) -> list[int]:
        """Returns the saved steps, in order."""
        if not self.directory.is_dir():
            return []
        names = {path.name for path in self.directory.iterdir() if path.is_dir() and not path.is_symlink()}
        plain = {name.removeprefix(".").removesuffix(".replaced") for name in names}
        return sorted(int(name) for name in plain if _is_step(name) and {name, f".{name}.replaced"} & names)

    def latest(self) -> Path | None:
        """Returns the folder of the newest checkpoint, for messages; None if there is none."""
        steps = self.steps()
        return self._folder(steps[-1]) if steps else None

    def _make(self) -> None:
        """Creates the folder before the first save; one that was removed since stays so, and saving fails."""
        if not self._made:
            self.directory.mkdir(parents=True, exist_ok=True)
        self._made = True

    def _folder(self, step: int) -> Path:
        """Returns the folder of a step, which is set aside if the process was killed while replacing it."""
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

    def _prune(self) -> None:
        """Removes the oldest checkpoints beyond `keep`, and reports it if an earlier session left more than one."""
        oldest = self.steps()[: -self.keep]
        if len(oldest) > 1:
            steps = ", ".join(map(str, oldest))
            self.report(f"keep is {self.keep}: {len(oldest)} older checkpoints are removed, those of steps {steps}")
        for step in oldest:
            self._remove(self.directory / str(step))

    def _remove(self, folder: Path) -> None:
        """Removes a folder after renaming it, so that a partial one never passes for a checkpoint."""
        rubbish = self.directory / f".{folder.name.strip('.')}.old"
        folder.rename(rubbish)
        _erase(rubbish)

    def _clear_leftovers(self) -> None:
        """Cleans up after a killed process: a replaced checkpoint is moved back unless the new one is in place."""
        for path in self.directory.glob(".*.replaced"):
            folder = self.directory / path.name.removeprefix(".").removesuffix(".replaced")
            if _is_step(folder.name) and not folder.exists():
                path.rename(folder)
        for pattern in (".*.new", ".*.old", ".*.replaced"):
            for path in self.directory.glob(pattern):
                _erase(path)


def _is_step(name: str) -> bool:
    """Returns whether `save` would give a folder this name.

    Example:
      >>> [_is_step(name) for name in ("300", "0", "007", "x")]
      [True, True, False, False]
    """
    return name.isascii() and name.isdecimal() and str(int(name[:20])) == name


def _erase(path: Path) -> None:
    """Removes a folder with its content, or a file of this name."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _step(step: object) -> int:
    """Returns a step as an int, from any integer scalar."""
    try:
        if isinstance(step, (bool, np.bool_)):
            raise TypeError
        number = operator.index(step)  # type: ignore[arg-type]
    except TypeError as error:  # of JAX too, for a traced step
        raise TypeError(f"a checkpoint's step is one integer, got {_kind(step)}") from error
    if not 0 <= number < 2**63:
        raise ValueError(f"a checkpoint's step is from 0 to 2^63 - 1, got {'less' if number < 0 else 'more'}")
    return number


def _kind(step: Any) -> str:
    """Describes what is no step in a few words."""
    if not hasattr(step, "shape"):
        return f"{step!r}"
    return f"{'a traced' if isinstance(step, jax.core.Tracer) else 'an'} array {step.dtype}{list(step.shape)}"

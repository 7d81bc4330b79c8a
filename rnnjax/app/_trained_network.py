"""A trained network with its task: applies, evaluates, generates and exports it."""

from __future__ import annotations

import functools
import os
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rnnjax.app._config import Config
from rnnjax.app._digest import digest, digests_of, vocabularies_of, vocabulary_from
from rnnjax.app._experiment import Experiment
from rnnjax.app._generation import write_text
from rnnjax.app._opened import Opened, example_of, numerics, open_config
from rnnjax.app._refusals import refused_as
from rnnjax.app._setup import Setup
from rnnjax.base import Cell, PyTree, UserError, run, without_marks
from rnnjax.base._errors import as_user_error
from rnnjax.data import Alphabet, Batch, Stream, Vocabulary
from rnnjax.interop import save_params, save_program
from rnnjax.interop._params import fit_params


class TrainedNetwork:
    """A trained network with its task. The data are read and the network is built when they are first needed.

    Attributes:
      path: its folder.
      origin: the content of run.json: the experiment, digests of code and data, the vocabularies.

    Example: the best member of a study is a trained network; the example of `TrainedRun` trains one.
      >>> from rnnjax import studies
      >>> issubclass(studies.TrainedMember, TrainedNetwork)
      True
    """

    path: Path
    origin: dict[str, Any]

    @property
    def experiment(self) -> Experiment:
        """The experiment of the run."""
        raise NotImplementedError

    @property
    def config(self) -> Config:
        """The parsed flags that it was trained with."""
        raise NotImplementedError

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the parameters by path, such as {"0/w": ...}; this needs neither data nor code."""
        raise NotImplementedError

    @functools.cached_property
    def _opened(self) -> Opened:
        with numerics(self.config):
            opened = open_config(self.experiment, self.config)
        known, now = self.origin.get("facts", {}), digests_of(opened.facts)
        others = [name or "facts" for name in known if now.get(name) != known[name]]
        if others:
            raise UserError(f"the data of {self.path} are not those it was trained on: {', '.join(others)} differ")
        if self.origin.get("data", "") not in ("", digest(opened.data)):
            warnings.warn(f"the data of {self.path} are not bit for bit those it was trained on", stacklevel=3)
        return opened

    @property
    def facts(self) -> Any:
        """The facts from loading the data, such as an alphabet, in an object of the experiment's own type."""
        return self._opened.facts

    @property
    def data(self) -> PyTree:
        """The data of the task."""
        return self._opened.data

    @property
    def setup(self) -> Setup:
        """The network with its task: objective, streams, baseline."""
        return self._opened.programs.setup

    @property
    def cell(self) -> Cell:
        """The network, from a window of inputs to outputs."""
        return self.setup.cell

    @functools.cached_property
    def params(self) -> PyTree:
        """The parameters of `cell`."""
        with numerics(self.config):
            like = jax.eval_shape(self.cell.init, jax.random.key(0), self.example())
            try:
                return fit_params(like, self.arrays(), os.fspath(self.path))[0]
            except ValueError as error:
                raise UserError(str(error)) from error

    def example(self) -> PyTree:
        """The shapes and dtypes of one input, as in training."""
        with numerics(self.config):
            return example_of(self._opened.programs.setup, self._opened.data)

    @functools.cached_property
    def vocabulary(self) -> Alphabet | Vocabulary:
        """The meaning of the task's symbols, as recorded; the data are not read.

        Raises:
          UserError: the task has no vocabulary, or several, which are in `facts`.
        """
        said = self.origin.get("vocabularies")
        found = vocabularies_of(self.facts) if said is None else said
        if len(found) != 1:
            which = f"several vocabularies ({', '.join(found)}): see facts" if found else "no vocabulary"
            raise UserError(f"the task of {self.path} has {which}")
        return vocabulary_from(next(iter(found.values())))

    def batch(self, split: str = "test", seed: int = 0) -> Batch:
        """Returns a first batch with examples on the first axis: inputs `x`, targets `y`, `mask`.

        Args:
          split: "train", "valid" or "test".
          seed: for the random draws of the task.

        Raises:
          UserError: there is no such split.
        """
        stream = self._stream(split)
        with numerics(self.config):
            return stream.next(self.data, stream.init(self.data), jax.random.key(seed))[0]

    def _stream(self, split: str) -> Stream:
        """Returns the stream of a split."""
        if split not in ("train", "valid", "test"):
            raise UserError(f"split is {split!r}: train, valid or test")
        stream: Stream | None = getattr(self.setup, split)
        if stream is None:
            raise UserError(f"the task of {self.path} has no {split} data")
        return stream

    def apply(self, xs: PyTree) -> PyTree:
        """Returns the outputs of the network for one window of inputs; use `jax.vmap(run.apply)` for a batch.

        Args:
          xs: one input of `cell`: `[T, ...]`; see `example`.
        """
        params = self.params
        with numerics(self.config):
            return self._compiled(params, xs)

    @functools.cached_property
    def _compiled(self) -> Any:
        cell = self.cell
        return jax.jit(lambda params, xs: run(cell, params, xs)[1])

    def evaluate(self, split: str = "test") -> dict[str, float]:
        """Returns the metrics on the test or validation data, as training measures them.

        Args:
          split: "test" or "valid".

        Raises:
          UserError: there is no such split.
        """
        if split == "train":
            raise UserError("the loss on the training data is in metrics: split is valid or test")
        self._stream(split)
        params, scored = self.params, getattr(self._opened.programs, split)
        with numerics(self.config):
            return dict(scored(params, self.data))

    def generate(self, prompt: str = "", length: int = 100, temperature: float = 1.0, seed: int = 0) -> str:
        """Returns a text that begins with the prompt, for a network that reads a symbol and predicts the next one.

        Args:
          prompt: the beginning of the text; if empty, a line break or the first symbol.
          length: number of symbols to generate after it.
          temperature: of sampling; 0 always takes the most likely symbol.
          seed: for sampling.

        Raises:
          UserError: the network does not predict symbols, or the vocabulary lacks a symbol of the prompt.
        """
        vocabulary, params = self.vocabulary, self.params
        with numerics(self.config):
            return write_text(self.cell, params, vocabulary, prompt, length, temperature, seed)

    def save_params(self, path: str | os.PathLike[str]) -> None:
        """Writes the parameters to a .npz or .safetensors file; see `rnnjax.interop.save_params`."""
        arrays = self.arrays()
        with refused_as("", (ValueError, TypeError)), as_user_error("write", str(path)):
            save_params(path, arrays)

    def export(self, path: str | os.PathLike[str], padding: bool = True) -> None:
        """Writes the network as a program that runs without this code; see `rnnjax.interop.save_program`.

        Args:
          path: a folder.
          padding: whether the program of a network that was trained on padded sequences takes their marks too; without,
            it takes sequences of one length.
        """
        params, example = self.params, self.example()
        example = example if padding else without_marks(example)
        with numerics(self.config), as_user_error("write", str(path)):
            save_program(path, self.cell, params, example, {"run": os.fspath(self.path)})

"""Members of a study, and their groups, which one compiled program trains."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnjax.app import Config, Experiment, load_data, parse, run_configs
from rnnjax.app._config import ARGUMENT
from rnnjax.app._devices import AUTO
from rnnjax.base import UserError
from rnnjax.studies._space import Assignment

_OURS = ("dtype", "matmul_precision", "compilation_cache", "score")  # flags of the whole process, hence of the study
_FIXED = ("eval_every", "eval_batches", "data_dir")  # may be set, not varied
_NEVER = (
    "workdir", "writers", "profile", "debug_nans", "checkpoint_every", "keep_checkpoints", "log_every", "report",
    "start_from", "start_partial", "allow_other_code", "find_lr", "help", "helpfull", "helpshort", "?",
)  # fmt: skip


class Member(NamedTuple):
    """One member of a study.

    Attributes:
      id: its number.
      flags: its own flags, by name, as strings as on a command line.
      config: all its flags, parsed, with a single cell and hidden size.
    """

    id: int
    flags: Assignment
    config: Config


class Group(NamedTuple):
    """Members that one compiled program trains; they differ in numbers only.

    Attributes:
      key: what they have in common, see `Config.without`.
      members: of the group.
    """

    key: Hashable
    members: list[Member]


def refuse(experiment: Experiment, flag: str, option: str) -> None:
    """Refuses a flag that does not exist or that a member cannot have.

    Raises:
      UserError: always; names the flag.
    """
    known = [f for f in experiment.flags if f not in _NEVER + _OURS and not (option != "set" and f in _FIXED)]
    if flag in known or (flag.startswith(ARGUMENT) and "cell_args" in known):
        return
    if flag in _OURS:
        raise UserError(f"--{option}={flag}=...: give --{flag} to the study itself")
    if flag in experiment.flags:
        raise UserError(
            f"--{option}={flag}=...: --{flag} cannot be {'set' if option == 'set' else 'varied'} in a study"
        )
    close = difflib.get_close_matches(flag, known, n=1, cutoff=0.5)
    hint = f": did you mean {close[0]}?" if close else ""
    raise UserError(f"--{option}={flag}=...: the experiment has no flag --{flag}{hint}")


def command(fixed: Sequence[tuple[str, str]], own: Mapping[str, str]) -> list[str]:
    """Returns the flags of a member as on a command line; arguments of the cell are joined in --cell_args.

    Example:
      >>> command([("cell", "lstm")], {"cell_args.forget_bias": "2.0", "seed": "1"})
      ['--cell=lstm', '--seed=1', '--cell_args=forget_bias=2.0']
    """
    together = [*((f, v) for f, v in fixed if f not in own), *own.items()]
    plain = [f"--{flag}={value}" for flag, value in together if flag != "cell_args" and not flag.startswith(ARGUMENT)]
    arguments = [value for flag, value in together if flag == "cell_args" and value]
    arguments += [f"{f.removeprefix(ARGUMENT)}={v}" for f, v in together if f.startswith(ARGUMENT)]
    return plain + ([f"--cell_args={','.join(arguments)}"] if arguments else [])


def member(experiment: Experiment, id: int, fixed: Sequence[tuple[str, str]], own: Assignment) -> Member:
    """Builds a member from its flags. A study trains each member on one device, so this is what auto takes.

    Raises:
      UserError: a flag is out of range, or there are several cells.
    """
    given = parse(experiment.flags, ["member", *command(fixed, own)])
    if "cell" not in given.values:
        raise UserError("this script is not a training run, so a study cannot run it")
    singles = run_configs(given)
    if len(singles) > 1:
        cells = ",".join(given.cell)
        raise UserError(f"the experiment trains several cells ({cells}): give --set=cell=... or --grid=cell={cells}")
    config = singles[0]
    return Member(id, own, config.replace(devices=1) if config.values.get("devices") == AUTO else config)


def numbers(experiment: Experiment, config: Config) -> dict[str, np.generic]:
    """Returns the numbers of a config that are arguments of the compiled program of a study, by name.

    They are those of a single run, those that the experiment declares, and the seed.
    """
    declared = {name: config.values[name] for name in experiment.numbers}
    single = {name: np.float32(value) for name, value in (config.numbers() | declared).items()}
    return {**single, "seed": np.uint32(config.seed)}


def groups(experiment: Experiment, members: Sequence[Member], structural: frozenset[str] = frozenset()) -> list[Group]:
    """Groups members that share a compiled program.

    Args:
      experiment: of the study.
      members: of the study.
      structural: numbers that cannot be arguments, because the data or the build depend on them.
    """
    found: dict[Hashable, list[Member]] = {}
    for m in members:
        arguments = numbers(experiment, m.config).keys() - structural
        found.setdefault(m.config.without(arguments), []).append(m)
    return [Group(key, list(ms)) for key, ms in found.items()]


@dataclasses.dataclass(frozen=True)
class _Noting(Config):
    """A config that records which of its values are read."""

    read: set[str] = dataclasses.field(default_factory=set)

    def __getattr__(self, name: str) -> Any:
        object.__getattribute__(self, "read").add(name)
        return super().__getattr__(name)


def load_noting(experiment: Experiment, config: Config) -> tuple[Any, frozenset[str]]:
    """Returns the facts and data of `load_data`, and the flags that were read by it."""
    noting = _Noting(config.values)
    facts, _ = load_data(experiment.load, noting)
    return facts, frozenset(noting.read)

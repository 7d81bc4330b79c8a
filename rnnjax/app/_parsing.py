"""Parses command lines into configs, checking all flags together, and reads the config of a run from its workdir."""

from __future__ import annotations

import copy
import math
import os
import re
from typing import Any

from absl import flags

from rnnjax._deprecated import argument_of_today
from rnnjax.app._config import Config, LaunchConfig
from rnnjax.base import UserError


def parse(values: flags.FlagValues, argv: list[str]) -> LaunchConfig:
    """Returns the flags of a command line, checked together. The set of flags is not changed.

    Raises:
      UserError: a flag is unknown, a value is out of range, or an argument is not a flag.
    Example:
      >>> from rnnjax.app import common_flags
      >>> parse(common_flags(), ["copying.py", "--batch_size=64"]).batch_size
      64
    """
    return parse_into(copy.deepcopy(values), argv)


def parse_into(values: flags.FlagValues, argv: list[str]) -> LaunchConfig:
    """Returns the flags of a command line, and stores their values in the set of flags: see `parse`."""
    check_argv(argv)
    for argument in argv[1:]:
        if not argument.isascii() and argument.encode(errors="replace").decode() != argument:
            raise UserError(f"{ascii(argument)[:200]} is not text in UTF-8")
    try:
        arguments = values.read_flags_from_files(argv[1:])  # old files may use old names
        rest = values([argv[0], *(argument_of_today(argument, values) for argument in arguments)])
    except flags.UnrecognizedFlagError as error:
        value = error.flagvalue.partition("=")[2] or "VALUE"
        where = f"; did you mean --set={error.flagname}={value}?" if "experiment" in values else ""
        raise UserError(" ".join(str(error).split()) + where) from error
    except flags.CantOpenFlagFileError as error:
        raise UserError(f"--flagfile: {str(error).removeprefix('ERROR:: ')}") from error
    except (flags.Error, UnicodeError) as error:
        said = re.sub("invalid literal for int.*", "expected a whole number", " ".join(str(error).split()))
        raise UserError(re.sub("could not convert string to float.*", "expected a number", said)) from error
    if rest[1:]:
        raise UserError(f"unexpected argument {rest[1]!r}: flags are written --name=value")
    _check_numbers(values)
    given = LaunchConfig({name: values[name].value for name in values if name not in _HELP})
    if "hidden_size" not in values:
        return given
    chosen = values["hidden_size"].value != values["hidden_size"].default
    return given.replace(hidden_size=_sizes(given.cell, values["hidden_size"].value, chosen))


def check_argv(argv: Any) -> None:
    """Refuses a command line that is no list of texts with the name of the program.

    Raises:
      UserError: it is something else.

    Example:
      >>> check_argv("copying --cell=gru")
      Traceback (most recent call last):
      rnnjax.base.UserError: a command line is a list of texts, first the program's name, got 'copying --cell=gru'
    """
    if not isinstance(argv, list | tuple) or not argv or not all(isinstance(argument, str) for argument in argv):
        raise UserError(f"a command line is a list of texts, first the program's name, got {argv!r:.80}")


_LARGEST = {"seed": 2**32 - 1, "num_layers": 1000}  # of integers; all others are limited to 31 bits


def allow_infinite(values: flags.FlagValues, *names: str) -> None:
    """Marks flags of a set that accept inf and nan, which all others refuse.

    Example:
      >>> values = flags.FlagValues()
      >>> _ = flags.DEFINE_float("limit", 1.0, "Of time.", flag_values=values)
      >>> allow_infinite(values, "limit")
      >>> parse(values, ["x", "--limit=inf"]).limit
      inf
    """
    for name in names:
        values[name].takes_infinite = True


def _check_numbers(values: flags.FlagValues) -> None:
    """Refuses numbers that no run can use: nan, inf, beyond 31 bits, nothing to train on, a warm-up past the end.

    Raises:
      UserError: names the flag.
    """
    for name in values:
        given = values[name].value
        for value in given if isinstance(given, list) else [given]:
            if isinstance(value, float) and not math.isfinite(value) and not hasattr(values[name], "takes_infinite"):
                raise UserError(f"--{name}={value}: expected a finite number")
            most = _LARGEST.get(name, 2**31 - 1)
            if isinstance(value, int) and not -(2**31) <= value <= most:
                raise UserError(f"--{name}={value}: at most {most:,}")
    parts = [values[name].value for name in ("valid", "test") if name in values]
    if len(parts) == 2 and all(isinstance(part, float) for part in parts) and sum(parts) >= 1:
        raise UserError(f"--valid={parts[0]:g} --test={parts[1]:g}: nothing is left to train on")
    steps = [values[name].value for name in ("warmup_steps", "num_steps") if name in values]
    if len(steps) == 2 and steps[0] > steps[1]:
        raise UserError(f"--warmup_steps={steps[0]} --num_steps={steps[1]}: the run ends before its warm-up does")
    horizon = values["horizon"].value if "horizon" in values else 0
    if horizon and horizon < values["warmup_steps"].value:
        raise UserError(f"--horizon={horizon} --warmup_steps={steps[0]}: the schedule ends before its warm-up does")


_HELP = ("help", "helpfull", "helpshort", "?")


def _sizes(cells: list[str], texts: list[str], chosen: bool) -> list[int]:
    """Returns `--hidden_size` for each cell; defaults are repeated or cut, sizes from the user must match."""
    n, flag = len(cells), f"--hidden_size={','.join(texts)}"
    try:
        numbers = [int(text) for text in texts]
    except ValueError as error:  # also for more than 4,300 digits
        raise UserError(f"{flag}: expected whole numbers") from error
    if not n or not all(cells):
        raise UserError(f"--cell={','.join(cells)}: names of cells, none of them empty")
    if max(map(abs, numbers), default=0) >= 2**31:
        raise UserError(f"{flag}: at most {2**31 - 1:,}")
    if not chosen:
        numbers = (numbers + numbers[-1:] * n)[:n]
    if len(numbers) not in (1, n) or min(numbers) < 1:
        raise UserError(f"{flag}: one positive number, or one for each of the {n} cells")
    return numbers * n if len(numbers) == 1 else numbers


def run_configs(given: LaunchConfig) -> list[Config]:
    """Returns the runs of a launch, one per cell; a script without a network has a single config.

    Example:
      >>> from rnnjax.app import common_flags
      >>> [(c.cell, c.hidden_size) for c in run_configs(parse(common_flags(), ["x", "--cell=lstm,gru"]))]
      [('lstm', 128), ('gru', 128)]
    """
    if "cell" not in given.values:
        return [Config(given.values)]
    scales, arguments = given.values.get("lr_scale", []), given.values.get("cell_args", "")
    return [
        Config(
            {**given.values, "cell": cell, "hidden_size": size}
            | {"lr_scale": _of_cell(scales, cell, given.cell)}
            | {"cell_args": _arguments_of_cell(arguments, cell, given.cell)}
        )
        for cell, size in zip(given.cell, given.hidden_size)
    ]


def read_config(values: flags.FlagValues, workdir: str | os.PathLike[str]) -> Config:
    """Returns the config of the run in a workdir, from its flags.cfg.

    Args:
      values: the flags of the experiment.
      workdir: of one run; a launch with several cells has a folder for each.

    Raises:
      UserError: the file does not exist, has unknown flags, or has several cells.

    Example:
      >>> import pathlib, tempfile
      >>> from rnnjax.app import common_flags
      >>> folder = pathlib.Path(tempfile.mkdtemp())
      >>> _ = (folder / "flags.cfg").write_text("--cell=gru\\n--hidden_size=9\\n")
      >>> read_config(common_flags(), folder).hidden_size
      9
    """
    configs = run_configs(parse(values, ["flags.cfg", f"--flagfile={os.fspath(workdir)}/flags.cfg"]))
    if len(configs) > 1:
        names = ", ".join(config.cell for config in configs)
        raise UserError(f"{os.fspath(workdir)} has several runs ({names}): name the folder of one of them")
    return configs[0]


def _of_cell(settings: list[str], cell: str, cells: list[str]) -> list[str]:
    """Returns the settings for a cell: those for all cells, and those that begin with its name.

    Example:
      >>> _of_cell(["u$=0.1", "urnn:h0=0"], "urnn", ["urnn", "lstm"]), _of_cell(["urnn:h0=0"], "lstm", ["urnn", "lstm"])
      (['u$=0.1', 'h0=0'], [])
    """
    others = tuple(f"{other}:" for other in cells if other != cell)
    return [s.removeprefix(f"{cell}:") for s in settings if not s.startswith(others)]


def _arguments_of_cell(text: str, cell: str, cells: list[str]) -> str:
    """Returns `--cell_args` for a cell: what stands before any CELL:, and what stands after its own.

    Raises:
      UserError: a CELL: is none of the cells.

    Example:
      >>> text = "layer_norm=True,lstm:forget_bias=2.0,gru:u_init='a,b'"
      >>> _arguments_of_cell(text, "lstm", ["lstm", "gru"]), _arguments_of_cell(text, "gru", ["lstm", "gru"])
      ('layer_norm=True,forget_bias=2.0', "layer_norm=True,u_init='a,b'")
    """
    kept, owner = [], cell
    for item in _split_arguments(text):
        named = next((c for c in sorted(cells, key=len, reverse=True) if item.startswith(f"{c}:")), None)
        if named is None and re.match(r"[\w.:]+:[A-Za-z_]\w*=", item):
            raise UserError(f"--cell_args={text}: {item.rpartition(':')[0]} is none of --cell={','.join(cells)}")
        owner = named or owner
        if owner == cell:
            kept.append(item if named is None else item.removeprefix(f"{named}:"))
    return ",".join(kept)


def _split_arguments(text: str) -> list[str]:
    """Splits arguments at commas that are in no brackets and no quotes.

    Example:
      >>> _split_arguments("a=(1,2), b='x,y',c=3")
      ['a=(1,2)', "b='x,y'", 'c=3']
    """
    items, depth, quote = [""], 0, ""
    for letter in text:
        if letter == "," and not depth and not quote:
            items.append("")
            continue
        items[-1] += letter
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        else:
            depth += (letter in "([{") - (letter in ")]}")
    return [item.strip() for item in items]

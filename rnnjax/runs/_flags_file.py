"""flags.cfg: the flags of a run as lines of a flagfile, and what has changed in them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from absl import flags as absl_flags

from rnnjax.base import UserError
from rnnjax.base._errors import as_user_error
from rnnjax.runs._files import atomic_write

_HEADER = "# The flags of a run of rnnjax; not to be edited: sha256 "


def flag_lines(flags: Iterable[absl_flags.Flag]) -> dict[str, str]:
    """Returns flags in the form of a flagfile: by name, the line or lines, separated by `\\n`; "" for None.

    Raises:
      UserError: a flagfile cannot hold a value, because it has a line break or ends in white space.

    Example:
      >>> from absl import flags
      >>> values = flags.FlagValues()
      >>> _ = flags.DEFINE_bool("tied", True, "", flag_values=values)
      >>> _ = flags.DEFINE_multi_string("grid", ["seed=0,1", "delay=9"], "", flag_values=values)
      >>> _ = values(["program", "--notied"])
      >>> flag_lines(values[name] for name in values)
      {'tied': '--notied', 'grid': '--grid=seed=0,1\\n--grid=delay=9'}
    """
    return {flag.name: _line_of(flag) for flag in flags}


def _line_of(flag: absl_flags.Flag) -> str:
    text: str = flag.serialize()
    lines = text.split("\n")
    count = len(flag.value or [""]) if isinstance(flag, absl_flags.MultiFlag) else 1
    if len(lines) != count or any(line != line.rstrip() or "\r" in line for line in lines):
        raise UserError(f"--{flag.name} has a line break or ends in white space, which flags.cfg cannot hold")
    return text


def write_flags(path: Path, flags: Mapping[str, str]) -> None:
    """Writes flags.cfg: the lines of the flags below a line with their digest."""
    text = "".join(f"{lines}\n" for lines in flags.values() if lines)
    atomic_write(path, f"{_HEADER}{_sha256(text)}\n{text}")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def allowed_changes(path: Path, flags: Mapping[str, str], free: Collection[str]) -> dict[str, str]:
    """Returns the flags that differ from flags.cfg; raises an error unless they are free to change."""
    changes = _changes(read_flags(path / "flags.cfg", flags), flags)
    forbidden = "; ".join(change for name, change in changes.items() if name not in free)
    if forbidden:
        longer = "num_steps" in changes and "num_steps" not in free
        hint = ", or say by --horizon where the schedule of a longer run ends" if longer else ""
        raise UserError(
            f"{path} was begun with other flags: {forbidden}; go back to those, or give another --workdir{hint}"
        )
    return changes


def read_flags(path: Path, names: Collection[str]) -> dict[str, str]:
    """Returns the lines of flags.cfg by the name of their flag."""
    with as_user_error("read", path):
        header, _, text = path.read_text(encoding="utf-8").partition("\n")
    if not header.startswith(_HEADER):
        raise UserError(f"{path} is not one that rnnjax wrote: restore it, or give another folder")
    if header.removeprefix(_HEADER) != _sha256(text):
        raise UserError(f"{path} was edited after the run began: undo that, or copy it for another run")
    lines: dict[str, str] = {}
    for line in filter(None, text.split("\n")):
        name = _name(line, names)
        lines[name] = f"{lines[name]}\n{line}" if name in lines else line
    return lines


def is_study(flags: Mapping[str, str]) -> bool:
    """Returns whether flags are those of a study: of members drawn from grids or a space.

    Example:
      >>> is_study({"experiment": "--experiment=adding", "trials": "--trials=8"}), is_study({"cell": "--cell=gru"})
      (True, False)
    """
    return {"experiment", "trials"} <= set(flags)


def _name(line: str, names: Collection[str]) -> str:
    """Returns the flag of a line: --name=value, --name or --noname."""
    name, equals, _ = line.removeprefix("--").partition("=")
    return name if equals or name in names else name.removeprefix("no")


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Describes by name how the flags differ."""
    names = [name for name in {**old, **new} if old.get(name, "") != new.get(name, "")]
    return {
        name: f"--{name}: {flag_value(name, old.get(name, ''))} -> {flag_value(name, new.get(name, ''))}"
        for name in names
    }


def flag_value(name: str, lines: str) -> str:
    """Formats the value in the line or lines of a flag.

    Example:
      >>> flag_value("seed", "--seed=3"), flag_value("tied", "--notied"), flag_value("text", "--text=")
      ('3', 'false', '""')
    """
    if not lines:
        return "not given"
    if "=" not in lines:
        return "true" if lines == f"--{name}" else "false"
    return " ".join(line.removeprefix(f"--{name}=") or '""' for line in lines.split("\n"))

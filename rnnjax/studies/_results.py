"""The results of a study: a record per finished member, the table, the best member, the settings over seeds."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rnnjax.base import UserError
from rnnjax.losses import Criterion, criterion
from rnnjax.runs import atomic_write
from rnnjax.runs._files import to_json_value
from rnnjax.runs._log import Log
from rnnjax.training import bootstrap, interquartile_mean

Row = dict[str, Any]
_LOSS = criterion("loss")


class Results:
    """The finished members of a study, in members.jsonl, with results.csv beside it.

    Args:
      folder: the workdir of the study.
      flags: the flags that vary, in order; the first columns of the table.
      criterion: that the scores are of.
      repair: whether to remove an incomplete last line from members.jsonl.

    Raises:
      UserError: members.jsonl is damaged.

    Example:
      >>> import tempfile
      >>> results = Results(Path(tempfile.mkdtemp()), ["seed"])
      >>> results.add([{"member": 0, "flags": {"seed": "3"}, "status": "done", "score": 0.5}])
      >>> 0 in results, Results(results.folder, ["seed"]).best()["flags"]
      (True, {'seed': '3'})
    """

    def __init__(self, folder: Path, flags: Sequence[str], criterion: Criterion = _LOSS, repair: bool = True) -> None:
        self.folder, self.flags, self.criterion = folder, list(flags), criterion
        self.log = Log(folder / "members.jsonl", repair=repair)
        for i, row in enumerate(self.log.records):
            if not _is_row(row):
                raise UserError(f"{self.log.path} is damaged: line {i + 1} is not a member")
        self.rows: dict[int, Row] = {row["member"]: row for row in self.log.records}

    def __contains__(self, member: int) -> bool:
        return member in self.rows

    def add(self, rows: Iterable[Row]) -> None:
        """Adds finished members; those that are present already are ignored."""
        new = [to_json_value(row) for row in rows if row["member"] not in self.rows]
        self.log.add(new)
        self.rows |= {row["member"]: row for row in new}
        self.write_csv()

    def write_csv(self) -> None:
        """Writes results.csv: one row per member, in order."""
        rows = [self.rows[i] for i in sorted(self.rows)]
        own = ["curve", "flags", "note", "member"]
        columns = list(dict.fromkeys(name for row in rows for name in row if name not in own))
        text = io.StringIO()
        table = csv.DictWriter(text, ["member", *self.flags, *columns, "note"], restval="", lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({k: v for k, v in row.items() if k not in ("curve", "flags")} | row["flags"])
        atomic_write(self.folder / "results.csv", text.getvalue())

    def best(self) -> Row | None:
        """Returns the member with the best score on validation."""
        return best_of(self.rows.values(), self.criterion)

    def cost(self, row: Row) -> float:
        """Returns the cost of a member's score, lower is better; inf if it has none."""
        return _cost(row, self.criterion)

    def settings(self) -> list[Row]:
        """Returns settings with the interquartile mean of their scores over seeds, the best first."""
        return settings_of(self.rows.values(), self.criterion)


def best_of(rows: Iterable[Row], criterion: Criterion = _LOSS) -> Row | None:
    """Returns the row with the best score; None if no row has one."""
    scored = [row for row in rows if row.get("score") is not None]
    return min(scored, key=lambda row: (_cost(row, criterion), row["member"]), default=None)


def settings_of(rows: Iterable[Row], criterion: Criterion = _LOSS) -> list[Row]:
    """Returns settings with the interquartile mean of their scores over seeds, the best first."""
    found: dict[tuple[tuple[str, str], ...], list[Row]] = {}
    for row in rows:
        setting = tuple((k, v) for k, v in row["flags"].items() if k != "seed")
        found.setdefault(setting, []).append(row)
    middles = [dict(setting) | _middle(members, criterion) for setting, members in found.items()]
    return sorted(middles, key=lambda row: criterion.cost(row["score"]))


def _is_row(row: Row) -> bool:
    """Returns whether a record is a valid row of a member."""
    kinds = {"member": int, "flags": dict, "status": str}
    score = row.get("score")
    return all(isinstance(row.get(name), kind) for name, kind in kinds.items()) and (
        score is None or isinstance(score, (int, float))
    )


def _middle(members: Sequence[Row], criterion: Criterion) -> Row:
    """Returns a setting's number of members, interquartile means of validation metrics, and interval of the score."""
    scores = [criterion.cost(_cost(row, criterion)) for row in members]
    interval = dict(zip(("low", "high"), bootstrap(scores))) if len(scores) > 1 else {}
    measured = {
        name: [row[name] for row in members if row.get(name) is not None]
        for row in members
        for name in row
        if name.startswith("valid_") and name != f"valid_{criterion.metric}"
    }
    sizes = {row["parameters"] for row in members if "parameters" in row}
    return {
        "members": len(members),
        **({"parameters": sizes.pop()} if len(sizes) == 1 else {}),
        "score": interquartile_mean(scores),
        **interval,
        **{name.removeprefix("valid_"): interquartile_mean(values) for name, values in measured.items() if values},
    }


def _cost(row: Row, criterion: Criterion) -> float:
    """Returns the cost of a member's score, lower is better; inf if it has none."""
    value = row.get("score")
    return math.inf if value is None else float(criterion.cost(value))

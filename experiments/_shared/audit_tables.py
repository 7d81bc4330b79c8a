"""What an audit found, as rows of tables, files and pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from rnnjax import plotting
from rnnjax.estimators import Lag, Quality, Update
from rnnjax.runs import Workdir, atomic_write

# The gradient of these is the same for every truncation, which only sets how often they return one.
FREE_OF_TRUNCATION = (
    "snap1",
    "snap2",
    "uoro",
    "kfrtrl",
    "optimal_kronecker",
    "rflo",
    "eprop",
    "forward",
    "nres",
)


class Found(NamedTuple):
    """The audit of one rule.

    Attributes:
      rule, truncation: the rule and its truncation; 0 for none.
      refused: why the cell does not support the rule; the other fields are then empty.
      groups: the quality of the estimate in total and for each group of params.
      draws: number of draws; 1 for a deterministic rule.
      lags: the share of the gradient that arrives from each range of lags.
      update: one window of a stream, and the time it takes.
    """

    rule: str
    truncation: int
    refused: str = ""
    groups: Mapping[str, Quality] = MappingProxyType({})
    draws: int = 0
    lags: tuple[Lag, ...] = ()
    update: Update | None = None
    seconds: float = float("nan")

    @property
    def name(self) -> str:
        """Returns the name of its row."""
        varies = self.truncation and self.rule not in FREE_OF_TRUNCATION
        return f"{self.rule} {self.truncation}" if varies else self.rule


def ranges(length: int) -> list[int]:
    """Returns the last lag of each range: single lags first, then ranges that double in length."""
    ends = [0, 1, 2, 3, 5]
    while ends[-1] < length - 1:
        ends.append(2 * ends[-1])
    return [end for end in ends if end < length - 1] + [length - 1]


def labels(ends: list[int]) -> list[str]:
    """Returns the names of ranges of lags."""
    begins = [0] + [end + 1 for end in ends]
    return [f"{a}" if a == b else f"{a}-{b}" for a, b in zip(begins, ends)]


def bias_row(f: Found) -> dict[str, object]:
    """Returns a row of the first table."""
    if not f.groups or f.update is None:
        return {"rule": f.name, "not admitted": f.refused}
    q = f.groups["total"]
    chance = {"+-": q.error, "variance": q.variance} if f.draws > 1 else {"+-": None, "variance": None}
    return {
        "rule": f.name, "bias": q.bias, **chance, "cosine": q.cosine, "norm ratio": q.ratio, "steps": f.update.steps,
        "state kB": f.update.state / 1e3, "temp kB": f.update.temporary / 1e3, "kFLOP": f.update.flops / 1e3,
        "ms": f.seconds * 1e3,
    }  # fmt: skip


def noise_row(f: Found) -> dict[str, object]:
    """Returns a row of the second table."""
    return {"rule": f.name} | {name: q.bias for name, q in f.groups.items() if name != "total"}


def lag_row(f: Found, ends: list[int]) -> dict[str, str]:
    """Returns a row of the third table."""

    def text(lag: Lag) -> str:
        return f"{lag.delivered:.2f}" + (f" +- {lag.error:.2f}" if f.draws > 1 else "")

    return {"rule": f.name} | {name: text(lag) for name, lag in zip(labels(ends), f.lags)}


def write_files(found: dict[str, list[Found]], lags: list[str], workdir: Workdir, kind: str) -> None:
    """Writes the files."""
    rows = [
        {"cell": c, "rule": f.rule, "truncation": f.truncation, "group": g, "draws": f.draws, **q._asdict()}
        for c, results in found.items()
        for f in results
        for g, q in f.groups.items()
    ]
    rows += [
        {"cell": c, "rule": f.rule, "truncation": f.truncation, "not_admitted": f.refused}
        for c, results in found.items()
        for f in results
        if f.refused
    ]
    by_lag = [
        {"cell": c, "rule": f.rule, "truncation": f.truncation, "lags": name, **lag._asdict()}
        for c, results in found.items()
        for f in results
        for name, lag in zip(lags, f.lags)
    ]
    atomic_write(workdir.file("audit.csv"), as_csv(rows))
    atomic_write(workdir.file("lags.csv"), as_csv(by_lag))
    plotting.save(
        workdir.file(f"audit.{kind}"),
        plotting.draw_audits({name: panel(results, lags) for name, results in found.items()}),
    )
    lines = errors_by_truncation(found)
    if lines:
        plotting.save(
            workdir.file(f"truncations.{kind}"), plotting.draw_against_truncation(lines, "error of the gradient")
        )


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Formats rows as a CSV file, with every heading that occurs in a row."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def panel(results: list[Found], lags: list[str]) -> plotting.AuditPanel:
    """Returns the data of the panel of one network."""
    lines = {}
    for f in results:
        if f.groups:
            q = f.groups["total"]
            share, errors = ([lag[i] for lag in f.lags] for i in (1, 2))
            lines[f.name] = plotting.Line(q.bias, q.error, q.variance**0.5, share, errors)
    first = next((f for f in results if f.lags), None)
    return plotting.AuditPanel(lines, lags, [lag.norm for lag in first.lags] if first else [0.0] * len(lags))


def errors_by_truncation(found: dict[str, list[Found]]) -> dict[str, tuple[list[int], list[float]]]:
    """Returns errors against the truncation, for deterministic rules with at least three."""
    lines: dict[str, tuple[list[int], list[float]]] = {}
    for cell, results in found.items():
        for rule in dict.fromkeys(f.rule for f in results):
            some = [f for f in results if f.rule == rule and f.draws == 1]
            if len(some) > 2:
                lines[f"{cell}, {rule}"] = [f.truncation for f in some], [f.groups["total"].bias for f in some]
    return lines

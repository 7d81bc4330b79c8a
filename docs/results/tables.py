"""Makes the tables and pictures of docs/results from the recorded runs; no number there is typed by hand.

    python docs/results/tables.py            writes the tables into the pages, and the pictures
    python docs/results/tables.py --check    exits with 1 if a table is not what the data give

A page holds its tables between two comments. The first one names the records and the columns:

    <!-- table: copying_100, copying_200
    delay = flags.delay | loss = test.loss .4f | parameters = parameters ,d | minutes = minutes .1f
    -->
    <!-- end -->

Each row is one cell; runs that differ in the seed alone are one row, with the mean and the smallest and largest value.
A picture is a comment as well: `<!-- picture: NAME = RECORD, RECORD; minutes, valid_accuracy -->`, a curve for a row.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TABLE = re.compile(r"(<!-- table: (?P<names>[^\n]*)\n(?P<columns>.*?)-->\n)(?P<body>.*?)(<!-- end -->)", re.S)
PICTURE = re.compile(r"<!-- picture: (?P<file>\w+) = (?P<names>[^;]*); *(?P<x>\w+), *(?P<y>\w+) *-->")
Record = dict[str, Any]


def records(names: str) -> list[Record]:
    """Reads the records of a comma-separated list of names, in that order."""
    return [
        run
        for name in names.split(",")
        for run in json.loads((HERE / "data" / f"{name.strip()}.json").read_text(encoding="utf-8"))
    ]


def rows(runs: Iterable[Record]) -> list[list[Record]]:
    """Groups runs that differ in the seed alone."""
    groups: dict[str, list[Record]] = {}
    for run in runs:
        flags = {name: value for name, value in run["flags"].items() if name != "seed"}
        key = json.dumps([run["experiment"], run["cell"], run["hidden_size"], flags], sort_keys=True)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def look_up(run: Record, path: str) -> Any:
    """Returns the value at a path such as test.loss; an empty string if there is none."""
    value: Any = run
    for part in path.split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    return value


def cell_text(group: list[Record], path: str, form: str) -> str:
    """Formats one value of a row: the mean over seeds, and its range."""
    values = [look_up(run, path) for run in group]
    if not form or any(isinstance(value, str) for value in values):
        return " / ".join(dict.fromkeys(map(str, values)))
    if form.endswith("d"):
        return format(round(sum(values) / len(values)), form)
    mean = format(sum(values) / len(values), form)
    low, high = format(min(values), form), format(max(values), form)
    return mean if low == high else f"{mean} ({low} to {high})"


def parsed_columns(text: str) -> list[tuple[str, str, str]]:
    """Parses `heading = path format | ...` into (heading, path, format)."""
    out = []
    for column in text.replace("\n", " ").split("|"):
        heading, _, value = column.partition("=")
        path, _, form = value.strip().partition(" ")
        out.append((heading.strip(), path, form.strip()))
    return out


def other_rows(runs: list[Record], width: int) -> list[list[str]]:
    """Returns the rows of the baseline and of published results, with their value in the first column of numbers."""
    baselines = {r["baseline"]["name"]: f"{r['baseline']['loss']:.4g}" for r in runs if r.get("baseline")}
    published = {
        f"{p['model']} ({p['source']}{'' if p['verified'] else ', unverified'})": str(p["value"])
        for r in runs
        for p in r.get("published", ())
    }
    one_baseline = baselines if len(baselines) == 1 else {}
    return [[name, value] + [""] * (width - 2) for name, value in (one_baseline | published).items()]


def line(cells: list[str]) -> str:
    """Formats a row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def origin(runs: list[Record]) -> str:
    """Says where, when and of which code the runs are."""

    def all_of(value: Callable[[Record], str]) -> str:
        return ", ".join(sorted({value(run) for run in runs}))

    seeds = ", ".join(str(seed) for seed in sorted({run["seed"] for run in runs}))
    return (
        f"Seeds {seeds}; {all_of(lambda r: r['device'])}; JAX {all_of(lambda r: r['versions']['jax'])}; "
        f"commit {all_of(lambda r: r['commit'][:7])}; {all_of(lambda r: r['date'])}."
    )


def table(names: str, columns: str) -> str:
    """Makes a table in Markdown."""
    runs, wanted = records(names), parsed_columns(columns)
    heads = ["model"] + [heading for heading, _, _ in wanted]
    body = [[model(group)] + [cell_text(group, path, form) for _, path, form in wanted] for group in rows(runs)]
    lines = [line(heads), line(["---"] * len(heads))] + [line(row) for row in body + other_rows(runs, len(heads))]
    return "\n".join(["", *lines, "", origin(runs), ""]) + "\n"


def model(group: list[Record]) -> str:
    """Names a row: the cell and its units."""
    run = group[0]
    layers = int(run["flags"].get("num_layers", 1))
    return (
        f"{run['cell']}, {layers} x {run['hidden_size']} units"
        if layers > 1
        else f"{run['cell']}, {run['hidden_size']} units"
    )


def filled(page: str) -> str:
    """Returns a page with its tables made anew."""
    return TABLE.sub(lambda m: m[1] + table(m["names"], m["columns"]) + m[5], page)


def averaged(group: list[Record], name: str) -> list[float]:
    """Returns the mean of a curve over the seeds of a row, as far as the shortest goes."""
    return [sum(values) / len(values) for values in zip(*(run["curve"][name] for run in group))]


def draw(page: str) -> list[Path]:
    """Draws the pictures of a page."""
    from rnnjax.plotting import Run, draw_curves, save

    paths = []
    for match in PICTURE.finditer(page):
        x, y, path = match["x"], match["y"], HERE.parent / "images" / f"{match['file']}.png"
        groups = [group for group in rows(records(match["names"])) if y in group[0]["curve"]]
        drawn = {model(group): Run(valid_steps=averaged(group, x), valid=averaged(group, y)) for group in groups}
        title = match["names"].replace("_", " ")
        save(path, draw_curves(drawn, ylabel=y.replace("_", " "), xlabel=x, title=title))
        paths.append(path)
    return paths


def main(argv: list[str]) -> None:
    """Runs the command."""
    stale = []
    for path in sorted(HERE.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        made = filled(page)
        if made != page:
            stale.append(path.name)
        if "--check" not in argv:
            path.write_text(made, encoding="utf-8")
            draw(made)
    if stale and "--check" in argv:
        sys.exit(f"{', '.join(stale)}: run python docs/results/tables.py, the tables are not what the data give")
    print(f"tables: {', '.join(stale) or 'up to date'}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Makes the tables and pictures of docs/results from the recorded runs; no number there is typed by hand.

    python docs/results/tables.py            writes the tables into the pages, and the pictures
    python docs/results/tables.py --check    exits with 1 if a table is not what the data give

A page holds its tables between two comments. The first one names the records and the columns:

    <!-- table: copying_100, copying_200
    delay = flags.delay | loss = test.loss .4f | parameters = parameters ,d | minutes = minutes .1f
    -->
    <!-- end -->

Each row is one cell; runs that differ in the seed alone are one row, with the mean and the smallest and largest value.
With a path after the names (`<!-- table: balancing; found.rows`) each row is an entry of the list or the object there,
whose name is `name` and whose run is `run`. `{cell}` in a path is the run's cell, and
`flags.rule else bptt` has a text for runs without that flag. Two other forms:

    <!-- pivot: depth; found.networks
    layers = layers | kind | error .2g
    -->
    <!-- end -->

has a column for each value of the second entry, and cells with the third. A picture, in docs/results/pictures, is

    <!-- picture: NAME = RECORD, RECORD; minutes, valid_accuracy; accuracy -->

with a curve for each row: the mean over seeds in a band from the smallest to the largest. Its last part labels the
vertical axis. A study of many members has a map for each cell, over two of its flags, with colours up to a number:

    <!-- map: NAME = RECORD; learning_rate, init_scale; squared error; 0.2 -->
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TABLE = re.compile(
    r"(<!-- (?P<kind>table|pivot): (?P<names>[^\n]*)\n(?P<columns>.*?)-->\n)(?P<body>.*?)(<!-- end -->)", re.S
)
PICTURE = re.compile(
    r"<!-- picture: (?P<file>\w+) = (?P<names>[^;]*); *(?P<x>\w+), *(?P<y>\w+); *(?P<label>[^;]*?) *-->"
)
MAP = re.compile(
    r"<!-- map: (?P<file>\w+) = (?P<names>\w+); *(?P<x>\w+), *(?P<y>\w+); *(?P<label>[^;]*); *(?P<top>[\d.]+) *-->"
)
FORMAT = re.compile(r",?(\.\d+)?[defg%]")
Record = dict[str, Any]


def records(names: str) -> list[Record]:
    """Reads the records of a comma-separated list of names, in that order."""
    return [
        run
        for name in names.split(",")
        for run in json.loads((HERE / "data" / f"{name.strip()}.json").read_text(encoding="utf-8"))
    ]


def entries(runs: Iterable[Record], path: str) -> list[Record]:
    """Returns what each run has at a path: the items of a list, or the values of an object with their names."""
    out = []
    for run in runs:
        found = look_up(run, path)
        named = found.items() if isinstance(found, dict) else enumerate(found)
        for name, entry in named:
            out.append({"name": name} | (entry if isinstance(entry, dict) else {"value": entry}) | {"run": run})
    return out


def rows(items: Iterable[Record]) -> list[list[Record]]:
    """Groups what differs in the seed alone: runs, or entries of them."""
    groups: dict[str, list[Record]] = {}
    for item in items:
        run = item.get("run", item)
        flags = {name: value for name, value in run["flags"].items() if name != "seed"}
        same = [run["experiment"], run.get("cell"), run.get("hidden_size"), flags, item.get("name")]
        groups.setdefault(json.dumps(same, sort_keys=True), []).append(item)
    return list(groups.values())


def look_up(run: Record, path: str) -> Any:
    """Returns the value at a path such as test.loss, found.rows.0.end or found.auc.{cell}; if it is not there, ""."""
    path, _, otherwise = path.partition(" else ")
    value: Any = run
    for part in path.replace("{cell}", str(run.get("cell", ""))).split("."):
        if isinstance(value, list):
            value = value[int(part)] if int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return otherwise if value is None else value


def cell_text(group: list[Record], path: str, form: str) -> str:
    """Formats one value of a row: the mean over seeds, and its range. A list is of several seeds too."""
    found = [look_up(run, path) for run in group]
    values = [value for values in found for value in (values if isinstance(values, list) else [values])]
    if not form or not values or any(isinstance(value, str) for value in values):
        return " / ".join(dict.fromkeys(map(str, values)))
    if form.endswith("d"):
        return format(round(sum(values) / len(values)), form)
    mean = format(sum(values) / len(values), form)
    low, high = format(min(values), form), format(max(values), form)
    return mean if low == high else f"{mean} ({low}, {high})"


def path_and_format(text: str) -> tuple[str, str]:
    """Parses `path format`; the path may have spaces, and the format may be absent."""
    path, _, form = text.strip().rpartition(" ")
    return (path.strip(), form) if path and FORMAT.fullmatch(form) else (text.strip(), "")


def parsed_columns(text: str) -> list[tuple[str, str, str]]:
    """Parses `heading = path format | ...` into (heading, path, format); the path alone is its own heading."""
    out = []
    for column in text.replace("\n", " ").split("|"):
        heading, _, value = column.rpartition("=")
        path, form = path_and_format(value)
        out.append((heading.strip() or path, path, form))
    return out


def other_rows(runs: list[Record], columns: list[tuple[str, str, str]]) -> list[list[str]]:
    """Returns the rows of the baseline, if there is one and a column of losses, and of published results.

    What was published stands in the first column.
    """
    paths = [path for _, path, _ in columns]
    baselines = {r["baseline"]["name"]: r["baseline"]["loss"] for r in runs if r.get("baseline")}
    at = next((i for i, path in enumerate(paths) if path in ("test.loss", "best.valid_loss")), None)
    out = []
    if len(baselines) == 1 and at is not None and None not in baselines.values():
        [(name, loss)] = baselines.items()
        out.append([name, *(f"{loss:.4g}" if i == at else "" for i in range(len(paths)))])
    published = {
        f"{p['model']} ({p['source']}{'' if p['verified'] else ', unverified'})": str(p["value"])
        for r in runs
        for p in r.get("published", ())
    }
    return out + [[name, value] + [""] * (len(paths) - 1) for name, value in published.items()]


def line(cells: list[str]) -> str:
    """Formats a row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def origin(runs: list[Record]) -> str:
    """Says where, when and of which code the runs are."""

    def all_of(value: Callable[[Record], str]) -> str:
        return ", ".join(sorted({value(run) for run in runs}))

    seeds = sorted({run["seed"] for run in runs})
    said = f"{'Seeds' if len(seeds) > 1 else 'One seed,'} {', '.join(map(str, seeds))}; "
    said = said if all("cell" in run for run in runs) else f"One launch, seed {seeds[0]}; "
    return textwrap.fill(
        f"{said}{all_of(lambda r: r['device'])}; JAX {all_of(lambda r: r['versions']['jax'])}; "
        f"commit {all_of(lambda r: r['commit'][:7])}; {all_of(lambda r: r['date'])}.",
        120,
    )


def table(names: str, columns: str) -> str:
    """Makes a table in Markdown: of runs, or of the entries of a path in them."""
    names, _, path = (part.strip() for part in names.partition(";"))
    runs, wanted = records(names), parsed_columns(columns)
    heads = [heading for heading, _, _ in wanted]
    body = [[cell_text(g, p, form) for _, p, form in wanted] for g in rows(entries(runs, path) if path else runs)]
    if not path:
        heads = ["model", *heads]
        body = [[model(group), *cells] for group, cells in zip(rows(runs), body)] + other_rows(runs, wanted)
    return framed(heads, body, runs)


def pivot(names: str, columns: str) -> str:
    """Makes a table with a column for each value of the second path, and the third in its cells."""
    names, _, path = (part.strip() for part in names.partition(";"))
    runs = records(names)
    *heads, (_, across, _), (_, value, form) = parsed_columns(columns)
    groups = rows(entries(runs, path) if path else runs)
    at = {tuple(cell_text(g, p, "") for _, p, _ in heads): {} for g in groups}
    for group in groups:
        key = tuple(cell_text(group, p, "") for _, p, _ in heads)
        at[key][cell_text(group, across, "")] = cell_text(group, value, form)
    named = list(dict.fromkeys(name for found in at.values() for name in found))
    body = [[*key, *(found.get(name, "") for name in named)] for key, found in at.items()]
    return framed([heading for heading, _, _ in heads] + named, body, runs)


def framed(heads: list[str], body: list[list[str]], runs: list[Record]) -> str:
    """Writes a table with its origin below."""
    lines = [line(heads), line(["---"] * len(heads))] + [line(row) for row in body]
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
    make = {"table": table, "pivot": pivot}
    return TABLE.sub(lambda m: m[1] + make[m["kind"]](m["names"], m["columns"]) + m[6], page)


def curve_of(group: list[Record], x: str, y: str) -> Any:
    """Returns the mean of a curve over the seeds of a row, and its range, as far as the shortest goes."""
    from rnnjax.plotting import Run

    ys = list(zip(*(run["curve"][y] for run in group)))
    xs = [sum(values) / len(values) for values in zip(*(run["curve"][x] for run in group))]
    band = {"low": [min(values) for values in ys], "high": [max(values) for values in ys]} if len(group) > 1 else {}
    return Run(valid_steps=xs, valid=[sum(values) / len(values) for values in ys], **band)


def pictures(page: str) -> list[Path]:
    """Returns the files of the pictures of a page."""
    return [HERE / "pictures" / f"{match['file']}.png" for form in (PICTURE, MAP) for match in form.finditer(page)]


def maps_of(settings: list[Record], x: str, y: str) -> tuple[dict[str, Any], list[str], list[str]]:
    """Returns the scores of settings as a map for each cell, nan where there is none, and the values of both flags."""
    across, up = (sorted({setting[flag] for setting in settings}, key=float) for flag in (x, y))
    found = {(s["cell"], s[x], s[y]): s["score"] for s in settings if s["score"] is not None}
    cells = sorted({setting["cell"] for setting in settings})
    scores = {c: [[found.get((c, a, b), float("nan")) for a in across] for b in up] for c in cells}
    return scores, across, up


def draw_map(match: re.Match[str]) -> None:
    """Draws the maps of a study."""
    from rnnjax.plotting import draw_maps, save

    [run] = records(match["names"])
    scores, across, up = maps_of(run["found"]["settings"], match["x"], match["y"])
    title = f"{run['found']['members']:,} members: {run['experiment'].removeprefix('experiments.')}"
    axes = {"x": [f"{float(a):.2g}" for a in across], "y": up, "xlabel": match["x"], "ylabel": match["y"]}
    figure = draw_maps(scores, label=match["label"], title=title.replace("_", " "), top=float(match["top"]), **axes)
    save(HERE / "pictures" / f"{match['file']}.png", figure)


def draw(page: str) -> None:
    """Draws the pictures of a page."""
    from rnnjax.plotting import draw_curves, save

    for match in MAP.finditer(page):
        draw_map(match)
    for match, path in zip(PICTURE.finditer(page), pictures(page)):
        runs, y = records(match["names"]), match["y"]
        drawn = {model(group): curve_of(group, match["x"], y) for group in rows(runs) if y in group[0]["curve"]}
        known = {r["baseline"]["name"]: r["baseline"]["loss"] for r in runs if r.get("baseline") and y == "valid_loss"}
        title = match["names"].replace("_", " ")
        save(path, draw_curves(drawn, ylabel=match["label"], xlabel=match["x"], title=title, baselines=known))


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
            if made != page or not all(map(Path.exists, pictures(made))):
                draw(made)
    if stale and "--check" in argv:
        sys.exit(f"{', '.join(stale)}: run python docs/results/tables.py, the tables are not what the data give")
    print(f"tables: {', '.join(stale) or 'up to date'}")


if __name__ == "__main__":
    main(sys.argv[1:])

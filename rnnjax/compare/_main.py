"""The command `python -m rnnjax.compare`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rnnjax.base import UserError
from rnnjax.compare._comparison import compare_runs
from rnnjax.plotting import save
from rnnjax.runs import print_table
from rnnjax.runs._listing import Parser


def parser() -> Parser:
    """Returns the command line of `python -m rnnjax.compare`."""
    found = Parser(prog="python -m rnnjax.compare", description="Draws runs in one picture and prints one table.")
    found.add_argument("runs", nargs="+", help="Folders of runs; a folder of several runs stands for all of them.")
    found.add_argument("--plot", default="loss", help="Metrics to draw, one panel each, as in loss,accuracy.")
    found.add_argument("--picture", default="comparison.png", help="File of the picture: png, pdf or svg.")
    found.add_argument("--title", default="", help="Title above the picture.")
    return found


def compare_command(argv: Sequence[str] | None = None) -> int:
    """The command `python -m rnnjax.compare RUN ...`: draws and prints runs side by side; returns its exit status.

    Args:
      argv: the arguments; None for those of this process.

    Example: a run that is not there.
      >>> compare_command(["nowhere"])
      1
    """
    try:
        given = parser().parse_args(sys.argv[1:] if argv is None else argv)
        picture = Path(given.picture)
        if picture.suffix not in (".png", ".pdf", ".svg"):
            raise UserError(f"--picture={picture}: a file that ends in .png, .pdf or .svg")
        found = compare_runs(*given.runs)
        figure = found.figure(given.plot.split(","), given.title)
        for line in found.warnings:
            print(f"compare: {line}", file=sys.stderr)
        save(picture, figure)
    except UserError as error:
        print(f"compare: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print_table(found.rows(), title="interquartile means over seeds; low, high: 95 % of the validation loss")
    print(f"picture: {picture}")
    return 0

"""The storm: `python -m tests.storm --count=200` strikes everything; --write keeps the counts on a page."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from _launches import in_fork, prepare  # noqa: E402
from _replay import replayed  # noqa: E402
from _storm import Tally, storm  # noqa: E402
from _table_of_storms import KINDS, with_tally  # noqa: E402
from _things import THINGS  # noqa: E402


def _tallies(given: argparse.Namespace, thing: str) -> Iterator[tuple[str, Tally]]:
    """Strikes a thing under each kind: in forks, or in one process where the thing is one and the kind is not kill."""
    alone, how = len(THINGS[thing]) == 1, (given.count, given.seed, given.seconds)
    for kind in given.kinds:
        if kind == "kill" or not (alone or kind == "replayed"):
            yield kind, storm(thing, kind, *how)
    rest = [kind for kind in given.kinds if alone and kind != "kill"]
    kinds = ["kill" if kind == "replayed" else kind for kind in rest]
    found = in_fork(replayed, thing, kinds, *how) if rest else []
    yield from zip(rest, (Tally(*one) for one in found or [(0, ["the process died"])] * len(rest)))


def main() -> int:
    """Strikes what was asked for, and says how often as soon as it is known."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="Strikes of each kind.")
    parser.add_argument("--things", nargs="*", default=list(THINGS), help="What is struck.")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), help=f"Some of {', '.join(KINDS)}.")
    parser.add_argument("--seed", type=int, default=0, help="Of the plan.")
    parser.add_argument("--seconds", type=float, default=3600.0, help="Of each kind, after which no new run begins.")
    parser.add_argument("--write", type=Path, help="A page with the table, whose counts are replaced.")
    given = parser.parse_args()
    bad = []
    with tempfile.TemporaryDirectory() as cache:
        prepare(Path(os.environ.get("STORM_CACHE", cache)))
        for thing in given.things:
            begun = time.monotonic()
            for kind, tally in _tallies(given, thing):
                bad += [f"{thing}, {kind}: {fault}" for fault in tally.faults]
                seconds = time.monotonic() - begun
                print(f"{thing}, {kind}: {tally.equal} of {tally.fell}, {seconds:.0f} s {tally.faults}", flush=True)
                if given.write and not tally.faults:
                    given.write.write_text(with_tally(given.write.read_text(), thing, kind, tally.equal, tally.fell))
    print("\n".join(bad), file=sys.stderr)
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())

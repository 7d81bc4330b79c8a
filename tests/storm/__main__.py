"""The storm: `python -m tests.storm --count=200` strikes everything, and prints the table of docs/distributed.md."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from _storm import THINGS, prepare, storm  # noqa: E402

KINDS = ("kill", "ENOSPC", "EIO", "flip")


def main() -> int:
    """Strikes what was asked for, and prints a line of the table as soon as it is known."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="Strikes of each kind.")
    parser.add_argument("--things", nargs="*", default=list(THINGS), help="What is struck.")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), help=f"Some of {', '.join(KINDS)}.")
    parser.add_argument("--seed", type=int, default=0, help="Of the plan.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        prepare(Path(os.environ.get("STORM_CACHE", cache)))
        print(f"| what | {' | '.join(given.kinds)} |\n|---|{'---|' * len(given.kinds)}", flush=True)
        bad = []
        for thing in given.things:
            cells = []
            for kind in given.kinds:
                begun = time.monotonic()
                tally = storm(thing, kind, given.count, given.seed)
                cells.append(f"{tally.fell - bool(tally.faults)} of {tally.fell}")
                bad += [f"{thing}, {kind}: {fault}" for fault in tally.faults]
                print(f"{thing}, {kind}: {time.monotonic() - begun:.0f} s {tally.faults}", file=sys.stderr, flush=True)
            print(f"| {thing} | {' | '.join(cells)} |", flush=True)
    print("\n".join(bad), file=sys.stderr)
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())

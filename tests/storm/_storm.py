"""Runs a command under strikes, restarts it until it ends, and compares its folder with an undisturbed twin."""

from __future__ import annotations

import math
import random
import shutil
import signal
import time
from pathlib import Path
from typing import NamedTuple

from _compare import differences
from _launches import FORKS, Ended, Way, place_of
from _strikes import ERRORS, Strike, flip
from _things import THINGS

MOST_LAUNCHES = 40


class Tally(NamedTuple):
    """What became of the strikes of a kind: how many fell, and what went wrong."""

    fell: int
    faults: list[str]

    @property
    def equal(self) -> int:
        """After how many of them all was as in the twin."""
        return max(0, self.fell - bool(self.faults))


def storm(thing: str, kind: str, count: int, seed: int = 0, seconds: float = math.inf, way: Way = FORKS) -> Tally:
    """Strikes a thing until so many strikes have fallen, on as many runs as that takes.

    Args:
      thing: a name in THINGS.
      kind: kill, ENOSPC, EIO or flip.
      count: of strikes.
      seed: of everything that is drawn.
      seconds: after which no new run is begun.
      way: how it is launched.
    """
    commands, draw, fell, faults = THINGS[thing], random.Random(f"{thing} {kind} {seed}"), 0, list[str]()
    with place_of() as folder:
        ends = way.go(commands, folder, Strike())
        if ends[0].status:
            return Tally(0, [f"the twin ends with {ends[0].status}: {ends[0].said[-500:]}"])
        wanted, points, end = way.held(folder), ends[0].passed, time.monotonic() + seconds
        while fell < count and not faults and time.monotonic() < end:
            shutil.rmtree(folder)
            fallen, faults = _struck(way, commands, folder, kind, points, draw, count - fell)
            fell += fallen
            faults = faults or [f"differs: {name}" for name in differences(way.held(folder), wanted, kind != "flip")]
    return Tally(fell, faults)


def _struck(
    way: Way, commands: list[list[str]], folder: Path, kind: str, points: dict[str, int], draw: random.Random, most: int
) -> tuple[int, list[str]]:
    """Strikes one run again and again until it has ended; returns how often, and what went wrong."""
    fell = 0
    for _ in range(MOST_LAUNCHES):
        strike, victim = _drawn(kind, points, draw, len(commands)) if fell < most else (Strike(), 0)
        ends = way.go(commands, folder, strike, victim)
        fault = _wrong(ends, strike, victim)
        if fault:
            return fell, [f"{strike} on process {victim}: {fault}"]
        fell += ends[victim].status != 0 and kind != "flip"
        if all(end.status == 0 for end in ends[: 1 if "--worker" in commands[-1] else None]):
            return fell, []
        if kind == "flip" and fell < most and folder.exists():
            fault, flipped = _flipped(way, commands, folder, draw)
            fell += flipped
            if fault:
                return fell, [fault]
    return fell, [f"it has not ended after {MOST_LAUNCHES} launches"]


def _drawn(kind: str, points: dict[str, int], draw: random.Random, processes: int) -> tuple[Strike, int]:
    """Draws a strike, and the process that it falls on."""
    point = draw.choice([p for p in points if points[p]] + ["call"])
    strike = Strike("kill" if kind == "flip" else kind, point, draw.randint(1, points[point]), draw.getrandbits(32))
    return strike, draw.randrange(processes)


def _wrong(ends: list[Ended], strike: Strike, victim: int) -> str:
    """Says what no launch may do: end without a word, with a traceback, or never."""
    for i, end in enumerate(ends):
        hit = i == victim and end.status == -signal.SIGKILL and strike.kind == "kill"
        if not hit and (end.status not in (0, 1, 3, 4, 143, -signal.SIGTERM) or "Traceback" in end.said):
            return f"process {i} ends with {end.status}: {end.said[-700:]}"
        faults = [line for line in end.said.splitlines() if line.startswith(("adding: ", "sweep: ", "queue: "))]
        if end.status == 1 and strike.kind in ERRORS and len(faults) > 1:
            return f"process {i} says more than a line: {end.said[-700:]}"
    return ""


def _flipped(way: Way, commands: list[list[str]], folder: Path, draw: random.Random) -> tuple[str, int]:
    """Flips a bit, and launches: the file is made again, or named; a named one is put back."""
    found = flip(folder, draw.getrandbits(32))
    if found is None:
        return "", 0
    path, data = found
    changed, ends = path.read_bytes(), way.go(commands, folder, Strike())
    if ends[0].status == 0:  # it was made again, or nobody had to read it: a checkpoint says so when it is read
        if path.name != "results.csv" and path.exists() and path.read_bytes() == changed:
            path.write_bytes(data)
        return "", 1
    name = path.relative_to(folder).parts[0]
    if ends[0].status != 1 or "Traceback" in ends[0].said or name not in ends[0].said:
        return f"a bit of {path.relative_to(folder)}: status {ends[0].status}: {ends[0].said[-500:]}", 1
    if path.exists() and path.read_bytes() == changed:
        path.write_bytes(data)
    return "", 1

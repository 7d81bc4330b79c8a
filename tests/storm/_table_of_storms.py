"""The table of a page that says how often each thing was struck."""

from __future__ import annotations

KINDS = {
    "kill": "killed",
    "replayed": "killed, replayed",
    "ENOSPC": "disk full",
    "EIO": "disk error",
    "flip": "flipped bit",
}


def with_tally(page: str, thing: str, kind: str, equal: int, fell: int) -> str:
    """Returns a page whose table has a new count for a thing under a kind of strike.

    Example:
      >>> page = "| what | killed | disk full |\\n|---|---|---|\\n| run | 1 of 1 | |\\n"
      >>> print(with_tally(page, "run", "ENOSPC", 2, 2))
      | what | killed | disk full |
      |---|---|---|
      | run | 1 of 1 | 2 of 2 |
      <BLANKLINE>
    """
    lines = page.split("\n")
    head = next(i for i, line in enumerate(lines) if line.startswith("| what | killed |"))
    column = _cells(lines[head]).index(KINDS[kind])
    end = next(i for i in range(head, len(lines)) if not lines[i].startswith("|"))
    row = next((i for i in range(head + 2, end) if _cells(lines[i])[0] == thing), end)
    if row == end:
        lines.insert(row, "|".join(["", f" {thing} ", *[" "] * (len(_cells(lines[head])) - 1), ""]))
    cells = _cells(lines[row])
    cells[column] = f"{equal} of {fell}"
    lines[row] = "|".join(["", *(f" {cell} " if cell else " " for cell in cells), ""])
    return "\n".join(lines)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|\n").split("|")]

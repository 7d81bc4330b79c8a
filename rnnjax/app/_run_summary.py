"""The summary of one finished run, as summary.json has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from rnnjax.app._state import RunState
from rnnjax.base import PyTree, count
from rnnjax.runs import provenance


class _Session(Protocol):
    """What is read of a session, whose own file imports this one."""

    config: Any
    setup: Any
    programs: Any
    data: PyTree
    records: list[dict[str, Any]]
    pace: Any
    workdir: Any

    def score(self, saved: RunState, /) -> float | None: ...


def summary_of(session: _Session, saved: RunState, params: PyTree, best_step: int) -> dict[str, Any]:
    """Returns the summary of a finished run whose best parameters are `params`, those of step `best_step`."""
    last, setup = session.records[-1] if session.records else {}, session.setup
    return {
        "cell": session.config.cell,
        "hidden_size": session.config.hidden_size,
        "steps": int(saved.progress.state.step),
        "final": {k: v for k, v in last.items() if k not in ("step", "seconds")},
        "score": session.score(saved),
        "best": {"step": best_step} | _best_record(session.records, best_step),
        "test": session.programs.test(params, session.data) if session.programs.test else {},
        "baseline": {"name": setup.baseline_name, "loss": setup.baseline},
        "published": [p._asdict() for p in setup.published],
        "parameters": count(params),
        "steps_per_second": session.pace.rate(),
        "seconds": session.workdir.seconds(),
        "workdir": str(Path(session.workdir.path)),
        **provenance(),
    }


def _best_record(records: list[dict[str, Any]], step: int) -> dict[str, Any]:
    """Returns the validation metrics of a step."""
    return {k: v for r in records if r["step"] == step for k, v in r.items() if k.startswith("valid_")}

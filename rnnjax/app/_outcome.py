"""Training in a workdir, and the end of a run: summary and closing table."""

from __future__ import annotations

import shutil

from rnnjax.app._analysis import Analyser
from rnnjax.app._config import Config
from rnnjax.app._digest import digest
from rnnjax.app._experiment import Experiment, Findings, Result
from rnnjax.app._origin import write_origin
from rnnjax.app._pictures import Picture
from rnnjax.app._session import Session
from rnnjax.app._setup import Setup
from rnnjax.distributed._runtime import is_leader, running
from rnnjax.runs import Workdir, print_table, provenance
from rnnjax.runs._ending import noted_ending


def run_nested(
    experiment: Experiment, session: Session, config: Config, root: Workdir, name: str, lines: dict[str, str]
) -> Result:
    """Trains one of several runs in a folder of its own, which can be resumed and repeated by itself."""
    path = root.file(name)
    own = {"cell": config.cell, "hidden_size": config.hidden_size, "cell_args": config.cell_args, "workdir": path}
    own["devices"] = session.recorded_devices
    scales = {"lr_scale": "\n".join(f"--lr_scale={setting}" for setting in config.lr_scale)}
    with Workdir(path, lines | {k: f"--{k}={v}" for k, v in own.items()} | scales, experiment.free) as workdir:
        if is_leader():
            shutil.copyfile(root.file("code.json"), workdir.file("code.json"))
        return run_session(experiment, session, workdir)


def run_session(experiment: Experiment, session: Session, workdir: Workdir) -> Result:
    """Trains one run in its workdir."""
    session.place(workdir)
    if is_leader():
        known = "" if running() else digest(session.data)
        write_origin(workdir, experiment, session.config.values, session.facts, known)
    last = [experiment.finish] if experiment.finish is not None else []
    last += [Analyser(session).finish] if session.config.analyse else []
    with noted_ending(workdir):
        result = session.train()
        for finish in last if is_leader() else []:
            result.summary.update(finish(result))
            workdir.write_summary({"runs": {session.name: result.summary}})
    return result


def report(name: str, workdir: Workdir, results: dict[str, Result]) -> None:
    """Draws the learning curves and writes the summary of several runs, and prints the table."""
    first = next(iter(results.values()))
    picture = workdir.file(f"curves.{first.config.picture}")
    if len(results) > 1:
        drawn = {name: result.records for name, result in results.items()}
        Picture(picture, first.setup, first.config.plot, name).draw(drawn)
        workdir.write_summary({"runs": {name: result.summary for name, result in results.items()}})
    print_table(_closing_rows(results, first.setup), title=f"{name}: {first.setup.loss_label}")
    print(f"curves: {picture}\nsummary: {workdir.file('summary.json')}")


def conclude(findings: Findings, workdir: Workdir, kind: str) -> None:
    """Writes the summary and the pictures of a study, and prints their paths."""
    from rnnjax.plotting import save

    workdir.write_summary({**findings.summary, **provenance()})
    paths = {name: workdir.file(f"{name}.{kind}") for name in findings.figures}
    for name, figure in findings.figures.items():
        save(paths[name], figure)
    if paths:
        print(f"pictures: {', '.join(map(str, paths.values()))}")
    print(f"summary: {workdir.file('summary.json')}")


def _closing_rows(results: dict[str, Result], setup: Setup) -> list[dict[str, object]]:
    """Returns the closing table: these runs, the baseline, and published results."""
    out: list[dict[str, object]] = []
    for name, result in results.items():
        s = result.summary
        scores = s["test"] or {k.removeprefix("valid_"): v for k, v in s["best"].items()} or s["final"]
        shown = {k: v for k, v in scores.items() if k not in ("step", "grad_norm")}
        size = {"parameters": s["parameters"], "steps": s["steps"], "minutes": s["seconds"] / 60}
        out.append({"": f"this run: {name}"} | shown | size)
    if setup.baseline is not None:
        out.append({"": setup.baseline_name, "loss": setup.baseline})
    marks = {True: "", False: ", unverified"}
    return out + [{"": f"{p.model} ({p.source}{marks[p.verified]})", "loss": p.value} for p in setup.published]

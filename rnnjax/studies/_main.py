"""A study of an experiment: trains many members over a grid or a space of flags, in few compiled programs.

    python -m rnnjax.studies --experiment=copying --set=cell=lstm --grid=learning_rate=1e-3,1e-2 --grid=seed=0,1,2
    python -m rnnjax.studies --experiment=adding --space=learning_rate=log:1e-4:1e-1 --trials=64 --sampler=tpe

Started again, it resumes.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from pathlib import Path

from absl import flags

from rnnjax import app
from rnnjax.app._opened import example_of, open_config
from rnnjax.app._signals import signals
from rnnjax.base import Cell, PyTree, UserError
from rnnjax.runs import Workdir, make_writers, print_table, provenance
from rnnjax.runs._engines import ENGINES
from rnnjax.runs._workers import join
from rnnjax.studies import _plots as plots
from rnnjax.studies._comparable import refuse_mixed_losses
from rnnjax.studies._display import Display
from rnnjax.studies._evolution import check_population, evolve
from rnnjax.studies._members import Member, command
from rnnjax.studies._plan import Plan, make_plan
from rnnjax.studies._results import Results, Row
from rnnjax.studies._search import SAMPLERS, Search, sampler
from rnnjax.studies._space import Assignment
from rnnjax.studies._study import Options, Study
from rnnjax.studies._workers import TASK, SharedStudy, refuse_workers
from rnnjax.training import STRATEGIES, host_devices

_FLAGS = app.study_flags(network=False)
flags.DEFINE_string("experiment", "", "Name of an experiment, or an importable module.", flag_values=_FLAGS)
flags.DEFINE_multi_string(
    "set", [], "flag=value: a flag of the experiment that all members share. May be repeated.", flag_values=_FLAGS
)
flags.DEFINE_multi_string(
    "grid",
    [],
    "flag=v1,v2: values to try, in all combinations with the other grids. Also flag=log:lo:hi:n, lin:lo:hi:n or "
    "int:lo:hi. cell+hidden_size=urnn+64,lstm+24 moves flags together; cell_args.forget_bias=0,1 is an argument of the "
    "cell. May be repeated.",
    flag_values=_FLAGS,
)
flags.DEFINE_multi_string(
    "space",
    [],
    "flag=log:lo:hi, lin:lo:hi, int:lo:hi or choice:v1:v2: a range to draw --trials from, each for all points of the "
    "grids, if there are any. May be repeated.",
    flag_values=_FLAGS,
)
flags.DEFINE_string(
    "score",
    "loss",
    "Metric on validation that ranks the members and decides which of their parameters are the best, such as accuracy; "
    "max:NAME or min:NAME says which is better.",
    flag_values=_FLAGS,
)
flags.DEFINE_boolean(
    "mixed_losses",
    False,
    "Rank members by the loss even where their flags make it another quantity.",
    flag_values=_FLAGS,
)
flags.DEFINE_integer("trials", 0, "Number of points to draw from the space.", 0, flag_values=_FLAGS)
flags.DEFINE_enum("sampler", "tpe", SAMPLERS, "Optuna's sampler.", flag_values=_FLAGS)
flags.DEFINE_integer("ask", 16, "Trials to draw at a time.", 1, flag_values=_FLAGS)
flags.DEFINE_integer(
    "halving",
    0,
    "Successive halving: the best 1/halving of the members go on from each rung; 0: all train to the end.",
    0,
    flag_values=_FLAGS,
)
flags.DEFINE_integer(
    "rung",
    0,
    "Steps of the first rung of --halving; each later rung has --halving times as many.",
    0,
    flag_values=_FLAGS,
)
flags.DEFINE_integer(
    "pbt",
    0,
    "Population based training: at this interval in steps, the worst quarter of the trials continues from the best, "
    "with slightly changed numbers of the space; 0: never.",
    0,
    flag_values=_FLAGS,
)
flags.DEFINE_enum(
    "strategy",
    "auto",
    STRATEGIES,
    "How members run: map, one after another; vmap, at once; shard, over devices (on a CPU, one per core); auto: "
    "shard if there are several devices, else map on a CPU and vmap elsewhere.",
    flag_values=_FLAGS,
)
flags.DEFINE_integer(
    "member_batch", 0, "Members in memory at once; 0: 16 on a CPU, 64 elsewhere.", 0, flag_values=_FLAGS
)
flags.DEFINE_integer("max_members", 10_000, "Refuse studies with more members.", 1, flag_values=_FLAGS)
flags.DEFINE_integer(
    "workers", 0, "Processes that train the members, a few each at a time; 0: this process.", 0, flag_values=_FLAGS
)
flags.DEFINE_enum(
    "engine",
    "local",
    ENGINES,
    "Where --workers run: local, on this machine; slurm, as jobs of a cluster (both need submitit); ray, as its tasks; "
    "none: they are started by hand, with --worker. All but local need a --workdir that all machines share.",
    flag_values=_FLAGS,
)
flags.DEFINE_string(
    "engine_args",
    "",
    "Submitit's options for each worker: timeout_min=600,gpus_per_node=1,cpus_per_task=4,slurm_partition=gpu; or "
    "Ray's: num_gpus=0.5. memory_fraction=0.4: the part of a GPU's memory that each worker takes.",
    flag_values=_FLAGS,
)
flags.DEFINE_boolean(
    "worker",
    False,
    "Be a worker of the study in --workdir, whose coordinator runs with --engine=none; other flags are not needed.",
    flag_values=_FLAGS,
)


def _run(configs: dict[str, app.Config], workdir: Workdir) -> None:
    """Trains all members, scores the best on the test set, and reports the results."""
    config = configs[""]
    asked = make_plan(config)  # checked before
    refuse_mixed_losses(asked, config)
    results = Results(workdir.path, asked.flags(), config.criterion())
    total = len(asked.points) * max(config.trials, 1)
    steps = asked.member(0, _example(asked)).config.num_steps
    done = sum(row.get("steps", steps) for row in results.rows.values())
    batch = config.member_batch or (total if config.pbt else 0)
    options = Options(config.strategy, batch, config.halving, config.rung)
    writer = make_writers(["jsonl", "tensorboard"], workdir, len(results.rows))
    if results.rows:
        results.write_csv()  # killed between members.jsonl and results.csv
    written = max((record["step"] for record in workdir.records()), default=0)
    display = Display(results, total, total * steps, done)
    with signals() as heard, contextlib.closing(writer), display:
        if config.workers:
            study: Study = SharedStudy(asked, config, workdir, results, display, writer, heard)
        else:
            study = Study(asked.experiment, workdir, results, options, display, writer, heard)
        study.write_scores(written)  # killed between members.jsonl and metrics.jsonl
        with study if isinstance(study, SharedStudy) else contextlib.nullcontext():
            _train(asked, config, study)
    _report(asked, study)


def _train(asked: Plan, config: app.Config, study: Study) -> None:
    """Trains the members that the flags describe."""
    if asked.ranges:
        _search(asked, config, study)
    else:
        study.train([asked.member(i, own) for i, own in enumerate(asked.points)])


def _example(asked: Plan) -> Assignment:
    """Returns the flags of one member."""
    return {r.flag: r.ends()[0] for r in asked.ranges} | asked.points[0]


def _search(asked: Plan, config: app.Config, study: Study) -> None:
    """Draws trials and trains them, batch by batch or all as one population."""
    trials = Search(study.workdir.path, asked.ranges, asked.points, config.trials, config.sampler, config.seed)
    space = {r.flag: r for r in asked.ranges}

    def train_all(assignments: dict[int, Assignment]) -> None:
        members = [asked.member(i, own) for i, own in assignments.items()]
        if config.pbt:
            evolve(study, members, space, config.pbt, config.seed)
        else:
            study.train(members)

    trials.run(config.trials if config.pbt else config.ask, study.results, train_all)


def _report(asked: Plan, study: Study) -> None:
    """Writes the summary and the pictures, and prints the table."""
    results, workdir = study.results, study.workdir
    best = results.best()
    if best is None:
        notes = [row["note"] for row in results.rows.values() if "note" in row]
        raise UserError(f"no member has a score: {notes[0] if notes else 'all of them diverged'}")
    chosen = asked.member(best["member"], best["flags"])
    known = workdir.summary() or {}
    scored = known.get("best") or {}
    run, data = study.run_alone(chosen)
    test = scored["test"] if scored.get("member") == best["member"] else study.test(chosen, run, data)
    setup = run.setup
    statuses = [row["status"] for row in results.rows.values()]
    settings = results.settings()
    workdir.write_summary(
        {
            "experiment": asked.name,
            "members": len(statuses),
            **{status: statuses.count(status) for status in dict.fromkeys(statuses)},
            "best": {k: v for k, v in best.items() if k != "curve"}
            | {"test": test, "command": _repeat(asked, chosen, best), "params": str(study.best_folder(chosen.id))},
            "score": str(results.criterion),
            "settings": settings[:20],
            "baseline": {"name": setup.baseline_name, "loss": setup.baseline},
            **provenance(),
        }
    )
    by_loss = results.criterion.metric == "loss"
    baseline = None if setup.baseline is None or not by_loss else (setup.baseline_name, setup.baseline)
    label = setup.loss_label if by_loss else results.criterion.metric
    pictures = plots.draw(workdir.path, results, label, asked.name.removeprefix("experiments."), baseline)
    print_table(
        settings[:20],
        title=f"settings, by the interquartile mean over their members (low, high: 95 %): {label}"
        + (", higher is better" if results.criterion.higher else ""),
    )
    said = f"best on validation: member {best['member']}, {best['score']:.4g}"
    print(f"{said}; on the test set, once: {_format_scores(test)}")
    print(f"  {_repeat(asked, chosen, best)}")
    for path in (workdir.file("results.csv"), workdir.file("summary.json"), *pictures):
        print(path)


def _format_scores(scores: dict[str, float]) -> str:
    """Formats test scores in a line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in scores.items()) or "there is none"


def _repeat(asked: Plan, member: Member, row: Row) -> str:
    """Returns the command that trains a member by itself."""
    if any(name.startswith("last_") for name in row):
        return "(no run alone repeats it: it took over from others)"
    default = [("dtype", "float32"), ("matmul_precision", "default")]
    fixed = [pair for pair in asked.fixed if pair not in default]
    words = command(
        [("devices", str(member.config.devices)), *(pair for pair in fixed if pair[0] != "devices")], member.flags
    )
    return " ".join(["python -m", asked.name, *map(shlex.quote, words)])


def _check(configs: dict[str, app.Config]) -> None:
    """Refuses impossible flags before there is a workdir."""
    config = configs[""]
    if config.worker:
        raise UserError("--worker is for the command line: python -m rnnjax.studies --worker --workdir=STUDY")
    asked = make_plan(config)
    refuse_workers(config)
    if config.pbt:
        check_population(asked.experiment, asked.drawn(), {r.flag: r for r in asked.ranges})
    if config.trials:
        sampler(config.sampler, config.seed)


_FREE = ("workers", "engine", "engine_args", "mixed_losses", "worker")


def _networks(configs: dict[str, app.Config]) -> dict[str, tuple[Cell, PyTree]]:
    """Returns the networks of the members with the shape of their input, for `--describe`."""
    asked, shaping = make_plan(configs[""]), set(app.study_flags()) - set(app.study_flags(network=False))
    found: dict[str, tuple[Cell, PyTree]] = {}
    for number, own in enumerate(asked.points):
        config = asked.member(number, _example(asked) | own).config
        apart = [f"--{flag}={value}" for flag, value in own.items() if flag.partition(".")[0] in shaping]
        name = " ".join(apart or [config.values.get("cell", "")])
        if name not in found:
            opened = open_config(asked.experiment, config)
            found[name] = opened.programs.setup.cell, example_of(opened.programs.setup, opened.data)
    return found


EXPERIMENT = app.Study(_run, _FLAGS, _FREE, __doc__, _check, _networks)


def run_study(argv: list[str] | None = None) -> None:
    """The command `python -m rnnjax.studies`: trains the members of a study, then exits like `app.main`.

    Args:
      argv: the flags; None for those of this process.

    Example: an experiment that does not exist.
      >>> try:
      ...     run_study(["--experiment=nowhere"])
      ... except SystemExit as stop:
      ...     print(stop.code)
      1
    """
    host_devices()
    words = [_command_name(argv), *(sys.argv[1:] if argv is None else argv)]
    if any(word.lstrip("-").partition("=")[0] == "worker" for word in words[1:]):
        sys.exit(_worked(words))
    app.main(EXPERIMENT, words)


def _command_name(argv: list[str] | None) -> str:
    """Returns the name that messages and the default workdir begin with: that of the script, or else studies."""
    script = Path(sys.argv[0]).stem if argv is None else "__main__"
    return "studies" if script == "__main__" else script


def _worked(words: list[str]) -> int:
    """Runs a worker that no engine has started, and returns its exit status."""
    try:
        given = app.parse(_FLAGS, words)
        if not (given.worker and given.workdir):
            raise UserError("--worker needs --workdir, the folder of its study, and nothing else")
        join(os.path.abspath(os.path.join(given.workdir, "workers")), TASK)
    except UserError as error:
        print(f"{words[0]}: {error}", file=sys.stderr)
        return 1
    return 0

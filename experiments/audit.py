"""Compares the gradient of each learning rule with exact backpropagation, without training.

It estimates the gradient of an untrained network on one small batch with every rule in `--rules`. The tables and the
picture show bias, variance and cost of each estimate, and how much of the gradient arrives from each lag.
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags

import rnnjax
from experiments._shared.small_runs import first_input
from rnnjax import app, losses, plotting, tasks
from rnnjax.app import build_setup, resolve
from rnnjax.base import Cell, PyTree, UserError
from rnnjax.credit import NotAdmitted
from rnnjax.data import Batch
from rnnjax.estimators import (
    RULES,
    Estimator,
    Lag,
    Quality,
    Update,
    by_lag,
    compare_leaves,
    compile_update,
    credit_delivered,
    estimates,
    median_seconds,
)
from rnnjax.runs import ProgressBar, Workdir, atomic_write, print_table
from rnnjax.tasks import task_stream

FLAGS = app.study_flags(cell="vanilla", hidden_size="8")
flags.DEFINE_list(
    "rules",
    [rule for rule in RULES if rule != "anneal"],  # which does not estimate a gradient
    f"Rules to audit: {', '.join(RULES)}, or import paths.",
    flag_values=FLAGS,
)
flags.DEFINE_list(
    "truncations", ["5"], "Truncations in steps, for rules whose gradient depends on them.", flag_values=FLAGS
)
flags.DEFINE_integer("keys", 200, "Number of draws for each random rule.", 2, flag_values=FLAGS)
flags.DEFINE_integer("lag_keys", 20, "Number of draws for each random rule and lag.", 2, flag_values=FLAGS)
flags.DEFINE_enum(
    "task",
    "echo",
    ["echo", "adding", "copying"],
    "echo: normal inputs, the target is the first input of --delay steps before; adding: a loss at the last step only; "
    "copying: ten symbols, or fewer in a short sequence.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("length", 20, "Steps per sequence.", 3, flag_values=FLAGS)
flags.DEFINE_integer("delay", 3, "Delay of echo in steps.", 0, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 2, "Sequences in the batch whose gradient is estimated.", 1, flag_values=FLAGS)

# The gradient of these is the same for every truncation, which only sets how often they return one.
WHATEVER_TRUNCATION = ("snap1", "snap2", "uoro", "kfrtrl", "optimal_kronecker", "rflo", "eprop", "forward", "nres")
# These take whole sequences.
WITHOUT_TRUNCATION = ("bptt", "score", "anneal")


def build(config: app.Config) -> app.Setup:
    """Builds the task and a network of the flags' layers from its inputs to its outputs."""
    if config.dropout:
        raise UserError("--dropout: the audit compares derivatives of one and the same function, without noise")
    if config.delay >= config.length:
        raise UserError(f"--delay={config.delay} needs a --length above it, not {config.length}")
    if config.task != "copying":
        task = tasks.echo(config.length, config.delay, 2) if config.task == "echo" else tasks.adding(config.length)
        cell, objective = rnnjax.stack(config.layers(), rnnjax.linear(1)), losses.regress
    else:
        symbols = min(10, (config.length - 1) // 2)
        task = tasks.copying(config.length - 2 * symbols, symbols)
        cell = rnnjax.stack(rnnjax.one_hot(10, config.dtype), config.layers(), rnnjax.linear(9))
        objective = losses.classify
    return app.Setup(rnnjax.unroll(cell), objective, task_stream(task, config.batch_size))


class Found(NamedTuple):
    """The audit of one rule.

    Attributes:
      rule, truncation: the rule and its truncation; 0 for none.
      refused: why the cell does not support the rule; the other fields are then empty.
      groups: the quality of the estimate in total and for each group of params.
      draws: number of draws; 1 for a deterministic rule.
      lags: the share of the gradient that arrives from each range of lags.
      update: one window of a stream, and the time it takes.
    """

    rule: str
    truncation: int
    refused: str = ""
    groups: Mapping[str, Quality] = MappingProxyType({})
    draws: int = 0
    lags: tuple[Lag, ...] = ()
    update: Update | None = None
    seconds: float = float("nan")

    @property
    def name(self) -> str:
        """Returns the name of its row."""
        varies = self.truncation and self.rule not in WHATEVER_TRUNCATION
        return f"{self.rule} {self.truncation}" if varies else self.rule


def pair_rules(config: app.Config) -> list[tuple[str, int]]:
    """Pairs rules with truncations: all of them for a rule that depends on them, the shortest for the others."""
    try:
        truncations = sorted({int(text) for text in config.truncations})
    except ValueError as error:
        raise UserError(f"--truncations={','.join(config.truncations)}: expected whole numbers") from error
    if not truncations or truncations[0] < 1:
        raise UserError(f"--truncations={','.join(config.truncations)}: at least one, and none below 1")
    if not config.rules:
        raise UserError(f"--rules is empty: name some of {', '.join(RULES)}")
    pairs: list[tuple[str, int]] = []
    for rule in dict.fromkeys(config.rules):
        resolve("rules", rule, RULES)
        some = [0] if rule in WITHOUT_TRUNCATION else truncations[:1] if rule in WHATEVER_TRUNCATION else truncations
        pairs += [(rule, truncation) for truncation in some]
    return pairs


def ranges(length: int) -> list[int]:
    """Returns the last lag of each range: single lags first, then ranges that double in length."""
    ends = [0, 1, 2, 3, 5]
    while ends[-1] < length - 1:
        ends.append(2 * ends[-1])
    return [end for end in ends if end < length - 1] + [length - 1]


def labels(ends: list[int]) -> list[str]:
    """Returns the names of ranges of lags."""
    begins = [0] + [end + 1 for end in ends]
    return [f"{a}" if a == b else f"{a}-{b}" for a, b in zip(begins, ends)]


def first_params(config: app.Config, setup: app.Setup, key: jax.Array, batch: Batch) -> PyTree:
    """Returns the params of the untrained network."""
    try:
        return setup.cell.init(key, jax.tree.map(lambda a: a[0], batch.x))
    except (TypeError, ValueError) as error:
        raise UserError(f"--cell={config.cell}: {error}") from error


class Audit:
    """One network under audit: params, batch, and when first needed the exact gradient, in total and by lag."""

    def __init__(self, config: app.Config) -> None:
        self.config, self.setup = config, build_setup(build, config)
        self.cell = self.setup.cell
        params_key, data_key, self.key = jax.random.split(jax.random.key(config.seed), 3)
        self.batch, _ = self.setup.train.next((), (), data_key)
        self.params = first_params(config, self.setup, params_key, self.batch)
        self.ends = ranges(config.length)

    @functools.cached_property
    def exact(self) -> PyTree:
        """The gradient of backpropagation."""
        exact = jax.tree.map(lambda a: a[0], self.draws("bptt", 0))
        if not all(np.isfinite(a).all() for a in jax.tree.leaves(exact)):
            raise UserError(f"--cell={self.config.cell}: the exact gradient itself is not finite")
        return exact

    @functools.cached_property
    def exact_lags(self) -> PyTree:
        """The parts of this gradient by lag."""
        return self.parts("bptt", 0, 1)

    def make(self, rule: str, truncation: int) -> Callable[[Cell], Estimator]:
        """Returns the estimator of a rule for any cell."""
        return lambda cell: resolve("rules", rule, RULES)(cell, self.setup.objective, truncation)

    def draws(self, rule: str, truncation: int) -> PyTree:
        """Returns the draws of its gradient."""
        return estimates(self.make(rule, truncation)(self.cell), self.params, self.batch, self.key, self.config.keys)

    def parts(self, rule: str, truncation: int, n: int) -> PyTree:
        """Its gradients by lag."""
        keys = jax.random.split(jax.random.fold_in(self.key, 1), n)
        return by_lag(self.make(rule, truncation), self.cell, self.params, self.batch, self.ends, keys)

    def price(self, rule: str, truncation: int) -> Update:
        """One update of a stream."""
        short = jax.tree.map(lambda a: a[:, : truncation or self.config.length], self.batch)
        return compile_update(
            self.make(rule, truncation)(self.cell), self.params, short, self.key, rule not in WITHOUT_TRUNCATION
        )

    def rule(self, rule: str, truncation: int) -> Found:
        """All there is to say about a rule."""
        try:
            draws = self.draws(rule, truncation)
            n = len(jax.tree.leaves(draws)[0])
            lags = credit_delivered(
                self.parts(rule, truncation, 1 if n == 1 else self.config.lag_keys), self.exact_lags
            )
            price = self.price(rule, truncation)
        except NotAdmitted as error:
            return Found(rule, truncation, refused=" ".join(str(error).split()))
        return Found(
            rule, truncation, "", compare_leaves(draws, self.exact), n, tuple(lags), price, median_seconds(price.call)
        )


def audit(configs: dict[str, app.Config], workdir: Workdir) -> app.Findings:
    """Audits each cell, writes audit.csv, lags.csv, summary.json and the pictures, and prints the tables."""
    rules, kind = pair_rules(next(iter(configs.values()))), next(iter(configs.values())).picture
    found: dict[str, list[Found]] = {}
    with ProgressBar(len(rules) * len(configs), "audit") as bar:
        for name, config in configs.items():
            one, found[name] = Audit(config), []
            for rule, truncation in rules:
                found[name].append(one.rule(rule, truncation))
                bar.update(sum(map(len, found.values())))
    ends = ranges(next(iter(configs.values())).length)
    write_files(found, labels(ends), workdir, kind)
    for name, results in found.items():
        print_table([bias_row(f) for f in results], title=f"\n{name}: estimates beside the exact gradient")
        print_table([noise_row(f) for f in results if f.groups], title=f"\n{name}: bias by group of parameters")
        print_table([lag_row(f, ends) for f in results if f.lags], title=f"\n{name}: share of each lag that arrives")
    print(f"\npicture: {workdir.file(f'audit.{kind}')}")
    print(f"numbers: {workdir.file('audit.csv')}, {workdir.file('lags.csv')}")
    return app.Findings({name: [bias_row(f) for f in results] for name, results in found.items()})


def bias_row(f: Found) -> dict[str, object]:
    """Returns a row of the first table."""
    if not f.groups or f.update is None:
        return {"rule": f.name, "not admitted": f.refused}
    q = f.groups["total"]
    chance = {"+-": q.error, "variance": q.variance} if f.draws > 1 else {"+-": None, "variance": None}
    return {
        "rule": f.name, "bias": q.bias, **chance, "cosine": q.cosine, "norm ratio": q.ratio, "steps": f.update.steps,
        "state kB": f.update.state / 1e3, "temp kB": f.update.temporary / 1e3, "kFLOP": f.update.flops / 1e3,
        "ms": f.seconds * 1e3,
    }  # fmt: skip


def noise_row(f: Found) -> dict[str, object]:
    """Returns a row of the second table."""
    return {"rule": f.name} | {name: q.bias for name, q in f.groups.items() if name != "total"}


def lag_row(f: Found, ends: list[int]) -> dict[str, str]:
    """Returns a row of the third table."""

    def text(lag: Lag) -> str:
        return f"{lag.delivered:.2f}" + (f" +- {lag.error:.2f}" if f.draws > 1 else "")

    return {"rule": f.name} | {name: text(lag) for name, lag in zip(labels(ends), f.lags)}


def write_files(found: dict[str, list[Found]], lags: list[str], workdir: Workdir, kind: str) -> None:
    """Writes the files."""
    rows = [
        {"cell": c, "rule": f.rule, "truncation": f.truncation, "group": g, "draws": f.draws, **q._asdict()}
        for c, results in found.items()
        for f in results
        for g, q in f.groups.items()
    ]
    rows += [
        {"cell": c, "rule": f.rule, "truncation": f.truncation, "not_admitted": f.refused}
        for c, results in found.items()
        for f in results
        if f.refused
    ]
    by_lag = [
        {"cell": c, "rule": f.rule, "truncation": f.truncation, "lags": name, **lag._asdict()}
        for c, results in found.items()
        for f in results
        for name, lag in zip(lags, f.lags)
    ]
    atomic_write(workdir.file("audit.csv"), as_csv(rows))
    atomic_write(workdir.file("lags.csv"), as_csv(by_lag))
    plotting.save(
        workdir.file(f"audit.{kind}"),
        plotting.draw_audits({name: panel(results, lags) for name, results in found.items()}),
    )
    lines = errors_by_truncation(found)
    if lines:
        plotting.save(
            workdir.file(f"truncations.{kind}"), plotting.draw_against_truncation(lines, "error of the gradient")
        )


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Formats rows as a CSV file, with every heading that occurs in a row."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def panel(results: list[Found], lags: list[str]) -> plotting.AuditPanel:
    """Returns the data of the panel of one network."""
    lines = {}
    for f in results:
        if f.groups:
            q = f.groups["total"]
            share, errors = ([lag[i] for lag in f.lags] for i in (1, 2))
            lines[f.name] = plotting.Line(q.bias, q.error, q.variance**0.5, share, errors)
    first = next((f for f in results if f.lags), None)
    return plotting.AuditPanel(lines, lags, [lag.norm for lag in first.lags] if first else [0.0] * len(lags))


def errors_by_truncation(found: dict[str, list[Found]]) -> dict[str, tuple[list[int], list[float]]]:
    """Returns errors against the truncation, for deterministic rules with at least three."""
    lines: dict[str, tuple[list[int], list[float]]] = {}
    for cell, results in found.items():
        for rule in dict.fromkeys(f.rule for f in results):
            some = [f for f in results if f.rule == rule and f.draws == 1]
            if len(some) > 2:
                lines[f"{cell}, {rule}"] = [f.truncation for f in some], [f.groups["total"].bias for f in some]
    return lines


def check(configs: dict[str, app.Config]) -> None:
    """Refuses flags that describe no network, rule or window."""
    for config in configs.values():
        pair_rules(config)
        setup, key = build_setup(build, config), jax.random.key(0)
        batch, _ = jax.eval_shape(setup.train.next, (), (), key)
        jax.eval_shape(partial(first_params, config, setup), key, batch)


def described(configs: dict[str, app.Config]) -> dict[str, tuple[Cell, Any]]:
    """Returns the networks with the shape of their input, for `--describe`."""
    found = {name: build_setup(build, config) for name, config in configs.items()}
    return {name: (setup.cell, first_input(setup.train)) for name, setup in found.items()}


EXPERIMENT = app.Study(audit, FLAGS, description=__doc__, check=check, networks=described)

if __name__ == "__main__":
    app.main(EXPERIMENT)

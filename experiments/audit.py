"""Compares the gradient of each learning rule with exact backpropagation, without training.

It estimates the gradient of an untrained network on one small batch with every rule in `--rules`. The tables and the
picture show bias, variance and cost of each estimate, and how much of the gradient arrives from each lag.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from absl import flags

import rnnjax
from experiments._shared.audit_tables import (
    FREE_OF_TRUNCATION,
    Found,
    bias_row,
    labels,
    lag_row,
    noise_row,
    ranges,
    write_files,
)
from experiments._shared.small_runs import first_input
from rnnjax import app, losses, tasks
from rnnjax.app import build_setup, resolve
from rnnjax.base import Cell, PyTree, UserError
from rnnjax.credit import NotAdmitted
from rnnjax.data import Batch
from rnnjax.estimators import (
    RULES,
    Estimator,
    Update,
    by_lag,
    compare_leaves,
    compile_update,
    credit_delivered,
    estimates,
    median_seconds,
)
from rnnjax.runs import ProgressBar, Workdir, print_table
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
        some = [0] if rule in WITHOUT_TRUNCATION else truncations[:1] if rule in FREE_OF_TRUNCATION else truncations
        pairs += [(rule, truncation) for truncation in some]
    return pairs


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

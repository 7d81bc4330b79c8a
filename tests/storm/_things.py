"""What the storm strikes: commands on tiny networks, by name."""

from __future__ import annotations

TOY = ["--cell=vanilla", "--hidden_size=3", "--length=4", "--batch_size=4", "--eval_batches=1", "--num_steps=12"]
ONE = ["--devices=1"]
SHARED = [*TOY, "--log_every=2", "--eval_every=4", "--checkpoint_every=2"]  # two processes use a device each
RUN = [*SHARED, *ONE]
STUDY = ["--experiment=adding", *(f"--set={flag[2:]}" for flag in TOY + ONE), "--set=eval_every=4"]
GRID = [*STUDY, "--grid=learning_rate=1e-3,1e-2", "--grid=seed=0,1", "--member_batch=2"]
DRAWN = [*STUDY, "--space=learning_rate=log:1e-3:1e-1", "--trials=4"]
THINGS = {
    "run": [["adding", *RUN]],
    "run of two cells": [["adding", *RUN, "--cell=vanilla,irnn"]],
    "study, map": [["sweep", *GRID, "--strategy=map"]],
    "study, vmap": [["sweep", *GRID, "--strategy=vmap"]],
    "study, halving": [["sweep", *GRID, "--strategy=map", "--halving=2", "--rung=4"]],
    "study, pbt": [["sweep", *DRAWN, "--strategy=vmap", "--pbt=4", "--sampler=random"]],
    "study, tpe": [["sweep", *DRAWN, "--strategy=map", "--ask=2"]],
    "study, four workers": [
        ["sweep", *GRID, "--strategy=map", "--member_batch=1", "--workers=4", "--engine=none"],
        *[["sweep", "--worker"]] * 4,
    ],
    "queue, four workers": [["queue"], *[["queue", "--worker"]] * 4],
    "two processes": [["adding", *SHARED, "--lost_after=20", f"--process_id={i}"] for i in range(2)],
}

"""One network on twenty tasks: what is minimised, and what is reported."""

import jax.numpy as jnp
import numpy as np
import pytest
from _launching import launch, summary

from experiments._shared import twenty
from rnnjax import tasks
from rnnjax.data import Batch


def test_the_last_step_that_counts_decides_and_weights_are_of_squared_errors():
    go, keep = [0.05, 0.85, 0.05, 0.05, 0.05], [0.8, 0.05, 0.05, 0.05, 0.05]
    output, weight = jnp.array([keep, go, keep]), jnp.array([[2.0] + [1.0] * 4, [10.0] + [5.0] * 4, [0.0] * 5])
    batch = Batch(None, tasks.Reply(output, weight), jnp.array([True, True, False]))
    logits = jnp.log(output / (1 - output))
    metrics = {name: float(value.value()) for name, value in twenty.objective(logits, batch).items()}
    assert metrics["accuracy"] == 1 and metrics["loss"] < 1e-12
    kept = jnp.stack([logits[0]] * 3)
    metrics = {name: float(value.value()) for name, value in twenty.objective(kept, batch).items()}
    np.testing.assert_allclose(metrics["loss"], (10 * 0.75**2 + 5 * 0.8**2) / 10, rtol=1e-5)
    assert metrics["accuracy"] == 0


@pytest.mark.slow
def test_each_of_twenty_tasks_has_an_accuracy(tmp_path):
    flags = ["--task=twenty_tasks", "--cell=vanilla", "--hidden_size=4", "--num_steps=2", "--batch_size=3"]
    assert launch("cognition", *flags, "--eval_batches=2", "--trials=25", f"--workdir={tmp_path}") == 0
    found = summary(tmp_path)
    assert [row["task"] for row in found["tasks"]] == list(tasks.TWENTY_TASKS)
    assert all(0 <= row["accuracy"] <= 1 for row in found["tasks"]) and found["learned"] <= 20
    assert found["lowest"] == min(row["accuracy"] for row in found["tasks"])
    assert (tmp_path / "tasks.png").stat().st_size > 1000

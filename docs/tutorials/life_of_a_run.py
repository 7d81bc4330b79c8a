# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # The life of a run
#
# From arrays to a network that another program runs: train, inspect, use, continue and export. The command line can
# do each step too.
#
# ## Three lines from arrays to a run
#
# A hundred and fifty sums of two sine waves, of different lengths. At each step the network predicts the next value.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np

import rnnjax
from rnnjax import app, data, interop

folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)


def wave(steps):
    """The sum of two sine waves of random phase."""
    time = np.arange(steps)
    return np.sin(0.6 * time + rng.uniform(0, 6)) + 0.5 * np.sin(0.23 * time + rng.uniform(0, 6))


waves = [wave(steps)[:, None] for steps in rng.integers(20, 40, 150)]

examples = data.from_arrays([w[:-1] for w in waves], [w[1:] for w in waves])
EXPERIMENT = app.on_arrays(examples, cell="lstm", hidden_size="16", batch_size=16, learning_rate=1e-2)
run = app.train(EXPERIMENT, folder / "waves", num_steps=120, eval_every=20, ema=0.9)
print(run)

# %% [markdown]
# In a notebook progress is one line that is overwritten, and the stop button saves a checkpoint: the same call resumes.
# A second call does not train, since the run is finished; `num_steps=240` continues it.
#
# ## Load and look
#
# Any other session finds the run in its folder. Code of a notebook has no module to import, so the
# experiment is passed too.

# %%
run = rnnjax.load_run(folder / "waves", experiment=EXPERIMENT)
print({name: round(value, 4) for name, value in run.summary["test"].items()}, "of the best", run.step, "steps")
assert run.evaluate("test") == run.summary["test"]
assert run.summary["test"]["loss"] < 0.2 * run.summary["baseline"]["loss"]

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for name in ("loss", "valid_loss"):
    left.semilogy(*run.curve(name), label=name)
left.set_xlabel("step")
left.legend()
right.plot(waves[0][1:], label="to come")
right.plot(run.apply(waves[0][:-1].astype(np.float32)), "--", label="predicted")
right.legend()
figure.savefig(folder / "waves.png")

# %% [markdown]
# ## Start another from it
#
# Slower waves: start from these parameters, and keep the recurrent matrix as it is: `lr_scale` with the factor 0
# freezes what its pattern names.

# %%
slow = [np.repeat(w, 2, axis=0) for w in waves]
others = app.on_arrays(
    data.from_arrays([w[:-1] for w in slow], [w[1:] for w in slow]), cell="lstm", hidden_size="16", batch_size=16
)
moved = app.train(others, folder / "slow", num_steps=20, start_from=run.path, lr_scale=["u$=0"], learning_rate=1e-3)
before, after = run.arrays(), moved.at("last").arrays()
assert all(np.array_equal(before[name], after[name]) == name.endswith("u") for name in before)

# %% [markdown]
# ## Hand it on
#
# As a program: a folder with the network in StableHLO for CPU, CUDA and TPU, and `load.py`, which needs only JAX.
# Another process runs it, at any batch size and any length. The examples were padded; the program needs no marks.

# %%
run.export(folder / "program", padding=False)
np.save(folder / "xs.npy", np.stack([w[:15] for w in waves[:3]]).astype(np.float32))
CODE = """
import sys
import load, numpy as np

xs = np.load("../xs.npy")
ys = np.asarray(load.window(xs))
carry = load.start()
for x, y in zip(xs[0], ys[0]):
    carry, one = load.step(carry, x)
    np.testing.assert_allclose(one, y, rtol=1e-4, atol=1e-5)
assert "rnnjax" not in sys.modules
np.save("../ys.npy", ys)
"""
subprocess.run([sys.executable, "-c", CODE], check=True, cwd=folder / "program")
xs, ys = np.load(folder / "xs.npy"), np.load(folder / "ys.npy")
np.testing.assert_allclose(ys, jax.vmap(run.apply)(xs), rtol=1e-4, atol=1e-5)
print("the other process computed", ys.shape)

# %% [markdown]
# As arrays: `.safetensors`, which most libraries read, here with the names of a PyTorch LSTM.

# %%
state = interop.to_torch(run.params[0][0])
interop.save_params(folder / "lstm.safetensors", state)
print({name: array.shape for name, array in interop.load_arrays(folder / "lstm.safetensors").items()})

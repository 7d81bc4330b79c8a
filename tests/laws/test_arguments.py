"""Law: a public function refuses an argument of another kind by one line, raised by the library, not from inside JAX.

Each call below is right. The law puts what is of another kind in the place of each argument, one at a time.
"""

from __future__ import annotations

import functools
import inspect
import traceback

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rnnjax
from rnnjax import credit, data, decoding, dynamics, estimators, losses, plotting, tasks, training
from rnnjax.base import UserError
from rnnjax.data import Batch

FOLDERS = {"credit": credit, "data": data, "decoding": decoding, "dynamics": dynamics, "losses": losses}
FOLDERS |= {"plotting": plotting, "tasks": tasks, "training": training}
KEY = jax.random.key(0)
CELL, XS = rnnjax.vanilla(4), np.ones((6, 3), np.float32)
PARAMS = CELL.init(KEY, XS[0])
Z, LABELS, ONE = np.eye(4, 3, dtype=np.float32), np.array([1, 2]), np.ones(2, np.float32)
JS = np.eye(3, dtype=np.float32)[None].repeat(5, 0)
WRITER = rnnjax.stack(rnnjax.one_hot(5), rnnjax.vanilla(5))
TEXT = {"cell": WRITER, "params": WRITER.init(KEY, jnp.int32(0)), "logits": np.arange(5.0, dtype=np.float32)}
TEXT |= {"carry": WRITER.initial_carry(TEXT["params"], jnp.int32(0))}
IMAGES = data.Images(np.zeros((6, 4), np.uint8), np.arange(6, dtype=np.int32))
EXAMPLES = Batch(np.ones((4, 6, 3), np.float32), np.zeros(4, int))
OF_CELL = {"cell": CELL, "params": PARAMS, "xs": XS, "carry": None}
RUN = plotting.Run([1, 2], [1.0, 0.5])
STREAM = data.in_order("x", 2, 4)
PARTS = [np.ones((3, 2)), np.ones((2, 2))]


def total(hs, ys):
    return jnp.sum(ys)


def objective(outputs, batch):
    return {"loss": losses.mean(outputs)}


TRAINER = training.Trainer(CELL, estimators.backprop(CELL, objective), optax.sgd(0.1), STREAM)
CALLS = {
    "losses.binary_cross_entropy": {"logits": ONE, "labels": ONE},
    "losses.check_lengths": {"frames": [9], "labels": [LABELS], "names": ["a"], "symbols": 3},
    "losses.classify": {"outputs": Z, "batch": Batch(None, np.zeros(4, int))},
    "losses.confusion_matrix": {"predicted": LABELS, "labels": LABELS, "classes": 3, "mask": LABELS > 1},
    "losses.counted_mask": {"batch": Batch(None, LABELS)},
    "losses.criterion": {"text": "loss"},
    "losses.cross_entropy": {"logits": Z, "labels": np.zeros(4, int)},
    "losses.ctc": {"logits": Z, "labels": LABELS, "valid": np.ones(4, bool)},
    "losses.edit_distance": {"a": LABELS, "b": LABELS, "n": 2, "m": 2},
    "losses.frames_needed": {"labels": LABELS},
    "losses.label_ctc": {"outputs": Z, "batch": Batch(None, LABELS)},
    "losses.macro_f1": {"confusion": np.eye(2)},
    "losses.mean": {"values": ONE, "mask": LABELS > 1},
    "losses.regress": {"outputs": Z, "batch": Batch(None, Z)},
    "losses.span_f1": {"predicted": [["O"]], "labels": [["O"]]},
    "losses.spans": {"tags": ["O"]},
    "losses.squared_error": {"y": Z, "target": Z},
    "decoding.beam_search": {**TEXT, "n": 3, "width": 2, "end": 0, "length_penalty": 0.5, "forced": LABELS},
    "decoding.best_path": {"logits": Z, "valid": np.ones(4, bool)},
    "decoding.decode": {**TEXT, "n": 3, "pick": decoding.greedy, "key": KEY, "end": 0, "forced": LABELS},
    "decoding.generate": {**TEXT, "n": 3, "pick": decoding.greedy, "key": KEY},
    "decoding.greedy": {"logits": ONE},
    "decoding.log_probabilities": {**TEXT, "symbols": LABELS},
    "decoding.nucleus": {"p": 0.5, "t": 1.0},
    "decoding.prefix_beam_search": {"logits": Z, "width": 2, "n": 2, "valid": np.ones(4, bool)},
    "decoding.temperature": {"t": 1.0},
    "decoding.top_k": {"k": 2, "t": 1.0},
    "dynamics.activation_bound": {"activation": jnp.tanh, "u": np.eye(2, dtype=np.float32), "a": np.ones((5, 2))},
    "dynamics.analysis": {"cell": rnnjax.unroll(CELL), "params": PARAMS, "xs": XS},
    "dynamics.as_map": {"cell": CELL, "params": PARAMS, "x": XS[0], "carry": None},
    "dynamics.bifurcation": {
        "family": dynamics.logistic, "values": ONE, "starts": np.ones((2, 1)), "steps": 2, "discard": 1, "see": total,
    },
    "dynamics.cell_lyapunov": {**OF_CELL, "discard": 1, "count": 2},
    "dynamics.fixed_points": {"f": jnp.tanh, "starts": np.ones((2, 2)), "steps": 9, "tolerance": 0.1, "distance": 0.1},
    "dynamics.free_run": {"cell": rnnjax.linear(3), "params": rnnjax.linear(3).init(KEY, XS[0]), "xs": XS, "steps": 3},
    "dynamics.gingerbread": {"h": ONE},
    "dynamics.gradient_flow": {**OF_CELL, "part": jnp.tanh},
    "dynamics.henon": {"h": ONE},
    "dynamics.jacobian_bound": {"js": JS},
    "dynamics.jacobians": OF_CELL,
    "dynamics.left_alone": {"cell": CELL, "params": PARAMS, "xs": XS},
    "dynamics.logistic": {"r": 2.0},
    "dynamics.lorenz": {"h": np.ones(3)},
    "dynamics.lorenz96": {"h": np.ones(5)},
    "dynamics.loss_flow": {"loss": total, **OF_CELL},
    "dynamics.lyapunov": {"f": jnp.tanh, "h": ONE, "steps": 5, "discard": 1, "dt": 1.0, "every": 1, "count": 1},
    "dynamics.mackey_glass": {"delay": 17.0, "dt": 0.1},
    "dynamics.memory_capacity": {"r2": ONE},
    "dynamics.memory_curve": {"states": np.ones((2, 9, 3)), "xs": np.ones((2, 9)), "lags": 3, "ridge": 0.1},
    "dynamics.orbit": {"f": dynamics.henon, "h": ONE, "steps": 4, "discard": 1, "see": total},
    "dynamics.powers": {"a": np.eye(2, dtype=np.float32), "h": ONE, "steps": 3, "activation": jnp.tanh},
    "dynamics.rk4": {"field": dynamics.lorenz, "dt": 0.1},
    "dynamics.spectra": {"js": JS, "sweeps": 5, "at": np.array([2])},
    "dynamics.trajectory": OF_CELL,
    "dynamics.unfold": {"cell": CELL, "params": PARAMS, "xs": XS, "loss": total},
    "dynamics.valid_time": {"ys": Z, "truth": Z, "limit": 0.4},
    "training.average_params": {"optimizer": optax.sgd(0.1), "decay": 0.9},
    "training.bootstrap": {"scores": ONE, "level": 0.9, "draws": 20, "seed": 0},
    "training.decayed": {"value": 0.1, "kind": "cosine", "steps": 10, "warmup": 2, "final": 0.1},
    "training.evaluate": {"cell": CELL, "objective": objective, "stream": STREAM},
    "training.exploit": {"key": KEY, "scores": np.ones(8), "part": 0.25},
    "training.find_learning_rate": {
        "trainer_of": lambda rate: TRAINER, "key": KEY, "low": 1e-6, "high": 1.0, "steps": 9,
    },
    "training.helpful_devices": {"examples": 8, "units": 64, "cores": 2},
    "training.host_devices": {"n": 1},
    "training.init": {"trainer": TRAINER, "key": KEY},
    "training.interquartile_mean": {"scores": ONE},
    "training.loop": {"trainer": TRAINER, "progress": training.Progress(None, None, None), "n": 2},
    "training.optimizer": {
        "direction": optax.scale_by_adam, "schedule": jnp.tanh, "clip_norm": 1.0, "weight_decay": 0.1, "no_decay": "b",
        "scales": {"w": 0.1},
    },
    "training.parallel_grad": {"loss": total},
    "training.population": {"f": jnp.tanh, "strategy": "auto", "member_batch": 0},
    "training.scale_by_name": {"factors": {"w": 0.1}},
    "data.bucketed_batches": {"lengths": [3, 4], "batch_size": 2, "seed": 0, "epoch": 0},
    "data.class_folder": {"folder": "/"},
    "data.contiguous_rows": {"symbols": np.arange(20), "rows": 2, "window": 3},
    "data.detokenise": {"words": ["a"]},
    "data.drop_duplicates": {"keys": ["a"], "parts": [np.array([0])]},
    "data.embedding_table": {"vectors": data.Vectors(("a",), np.eye(1)), "vocabulary": data.Vocabulary(("a",))},
    "data.find": {"path": "a", "data_dir": ""},
    "data.find_folder": {"path": "/", "data_dir": ""},
    "data.frames": {"rate": 8000, "window": 0.1, "hop": 0.1},
    "data.gather_examples": {"at": np.array([0]), "examples": EXAMPLES},
    "data.images_in_order": {"batch_size": 2, "n": 4},
    "data.in_order": {"batch_size": 2, "n": 4},
    "data.join_spelled": {"text": "a"},
    "data.label_last_step": {"batch": EXAMPLES},
    "data.labels_of": {"name": "0_1"},
    "data.lengths_of": {"batch": EXAMPLES},
    "data.log_mel": {"samples": np.ones(800), "rate": 8000, "mels": 20, "cut": data.frames(8000)},
    "data.map_batches": {"stream": STREAM, "f": jnp.tanh},
    "data.mel_bank": {"bins": 9, "rate": 8000, "mels": 2},
    "data.packed": {"xs": PARTS, "ys": PARTS, "steps": 4},
    "data.padded": {"xs": PARTS, "steps": 4},
    "data.permuted": {"images": IMAGES, "seed": 0},
    "data.pixels": {"images": IMAGES, "at": np.array([0])},
    "data.read": {"path": __file__, "encoding": "utf-8"},
    "data.read_bytes": {"path": __file__, "limit": 10**6},
    "data.read_frames": {"path": __file__, "encoding": "utf-8"},
    "data.read_idx": {"path": __file__},
    "data.read_labelled": {"path": __file__, "encoding": "utf-8"},
    "data.read_lines": {"path": __file__, "encoding": "utf-8"},
    "data.read_rolls": {"path": __file__},
    "data.read_sentences": {"path": __file__, "encoding": "utf-8"},
    "data.read_series": {"path": __file__, "encoding": "utf-8"},
    "data.read_tagged": {"path": __file__, "word": 0, "tag": 1, "encoding": "utf-8", "tags": ("N",)},
    "data.read_ts": {"path": __file__, "classes": ("a",), "encoding": "utf-8"},
    "data.read_vectors": {"path": __file__, "encoding": "utf-8"},
    "data.read_words": {"path": __file__, "end": "", "encoding": "utf-8"},
    "data.reading_stream": {"window": 3, "length": 2},
    "data.recordings": {"path": __file__},
    "data.shuffled": {"batch_size": 2},
    "data.shuffled_images": {"batch_size": 2},
    "data.split": {"images": IMAGES, "part": 0.5, "seed": 0},
    "data.split_long": {"xs": PARTS, "steps": 2},
    "data.tokenise": {"text": "a"},
    "data.unpermuted": {"images": IMAGES, "seed": 0},
    "data.within_length": {"lengths": [3], "steps": 3},
    "data.write_vectors": {"path": "a", "words": ["a"], "table": np.eye(1)},
    "tasks.encode_words": {"text": "small"},
    "tasks.ideal_accuracy": {"coherence": 0.1, "length": 10, "noise": 1.0},
    "tasks.right_response": {"output": np.ones(4), "wanted": np.ones(4)},
    "tasks.task_stream": {"task": tasks.adding(5), "batch_size": 2, "length": 0},
    "plotting.draw_against_truncation": {"lines": {"a": ([1], [0.1])}},
    "plotting.draw_alignment": {"weights": np.ones((1, 2)), "source": ["a", "b"], "target": ["c"]},
    "plotting.draw_audits": {"panels": {}},
    "plotting.draw_bifurcations": {"values": ONE, "points": np.ones((2, 3)), "exponents": ONE},
    "plotting.draw_clouds": {"rows": {"a": {}}},
    "plotting.draw_curves": {"runs": {"a": RUN}},
    "plotting.draw_flows": {"panels": {}},
    "plotting.draw_gallery": {"images": np.ones((2, 4, 4)), "labels": [0, 1], "predicted": [0, 1]},
    "plotting.draw_grid": {"rows": {"loss": {"steps": {"a": RUN}}}},
    "plotting.draw_maps": {"maps": {"a": ONE[None]}, "x": ["1", "2"], "y": ["1"]},
    "plotting.draw_panels": {"panels": [plotting.CurvePanel("a", {"a": RUN})]},
    "plotting.draw_portrait": {"points": np.ones((3, 2)), "orbits": {}},
    "plotting.draw_projection": {"trajectories": np.ones((2, 5, 3)), "points": np.ones((1, 3)), "unstable": LABELS[:1]},
    "plotting.draw_rates": {"curves": {}},
    "plotting.draw_sentence": {"words": ["a"], "lines": {"l": [1.0]}},
    "plotting.draw_singular_values": {"panels": {}},
    "plotting.draw_unfolded": {"graph": dynamics.Graph([], [], {})},
    "plotting.save": {"path": "a", "figure": None},
}  # fmt: skip
# Arguments that take what the law calls of another kind.
FREE = {
    "losses.mean": {"values": ("complex", "rank"), "mask": ("rank",)},
    "dynamics.gingerbread": {"h": ("rank",)},
    "decoding.greedy": {"logits": ("rank",)},
    "data.gather_examples": {"at": ("rank",)},
    "data.pixels": {"at": ("rank",)},
    "data.read_words": {"end": ("None", "a number")},
    "plotting.save": {"figure": ("None",)},
}  # fmt: skip
# What is named here has no argument of a kind that the law knows, or is in test_sizes.py.
ELSEWHERE = {
    "credit": set(credit.__all__),
    "data": {"decode_wav", "digits", "fetch", "from_arrays", "from_columns", "from_rows", "idx_folder", "python_topics"}
    | {"random_split", "unpack", "vowels"},
    "dynamics": {"matrices"},
    "plotting": set(),
    "tasks": {n for n in tasks.__all__ if inspect.isfunction(getattr(tasks, n))}
    - {"encode_words", "ideal_accuracy", "right_response", "task_stream"},
    "training": {"averaged", "spread"},
}


def of_another_kind(value) -> dict[str, object]:
    """What may not stand where a value stands, by what it is."""
    bad: dict[str, object] = {"None": None}
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return bad | {"a seed": 0, "floats": jnp.ones(2), "a text": "k", "several keys": jax.random.split(value, 3)}
    if isinstance(value, np.ndarray):
        texts = np.full(value.shape, "a")
        if value.dtype.kind in "iu":
            bad["33 bits"] = value.astype(np.int64) + 2**32
        bad["masked values"] = np.ma.masked_array(value, np.ones(value.shape, bool))
        return bad | {"a text": "x", "texts": texts, "complex": value.astype(complex), "rank": value[None, None]}
    if isinstance(value, bool | int):
        return bad | {"a text": "3", "below": -7, "half": 2.5, "nan": np.nan, "True": True, "two": np.array([1, 2])}
    if isinstance(value, float):
        return bad | {"a text": "3", "nan": np.nan, "complex": 1j, "two": np.ones(2)}
    return bad | {"a number": 3}


def given(name: str):
    """The cases of one call: which argument, what it is of another kind, the arguments."""
    right, f = CALLS[name], functools.reduce(getattr, name.split("."), rnnjax)
    parameters = inspect.signature(f).parameters
    others = {
        n: {"str": "a", "key": None}.get(str(p.annotation), "a")
        for n, p in parameters.items()
        if p.default is p.empty and n not in right and p.kind is not p.VAR_POSITIONAL
    }
    for argument, value in right.items():
        for kind, bad in of_another_kind(value).items():
            optional = kind == "None" and (parameters[argument].default is None or value is None)
            if not optional and kind not in FREE.get(name, {}).get(argument, ()):
                yield argument, kind, others | right | {argument: bad}


@pytest.mark.parametrize("name", CALLS)
def test_an_argument_of_another_kind_is_refused_in_one_line(name):
    f = functools.reduce(getattr, name.split("."), rnnjax)
    for argument, kind, arguments in given(name):
        with pytest.raises((ValueError, UserError)) as caught:
            f(**arguments)
            pytest.fail(f"{argument}: {kind} is taken")
        said, last = str(caught.value), traceback.extract_tb(caught.tb)[-1].filename
        assert "\n" not in said and len(said) < 300, (argument, kind, said)
        assert "/rnnjax/" in last, (argument, kind, last, said)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_public_function_is_in_the_law_or_in_another(folder):
    public = {n for n in FOLDERS[folder].__all__ if inspect.isfunction(getattr(FOLDERS[folder], n))}
    here = {name.split(".")[1] for name in CALLS if name.startswith(folder)}
    assert public - here == ELSEWHERE.get(folder, set()) & public

"""The experiment on sentiment: bad input, the tree spelt out, five classes scored as two."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from _helpers import close
from _launching import launch

import rnnjax
from rnnjax import trees


def test_the_experiment_refuses_what_it_cannot_use(tmp_path, capsys):
    good = "(3 (2 so) (3 good))\n(1 bad)\n"
    for name, text in (("train", good), ("dev", good), ("test", "(7 (2 so) (3 good))")):
        (tmp_path / f"{name}.txt").write_text(text)
    neutral = tmp_path / "neutral"
    neutral.mkdir()
    for name in ("train", "dev", "test"):
        (neutral / f"{name}.txt").write_text("(2 so)")
    for i, (flags, complaint) in enumerate(
        (
            (f"--data={tmp_path}", "the label '7' in the test part is none of 0 to 4"),
            (f"--data={neutral} --task=binary", "a part has no tree with a label at its root"),
            (f"--data={neutral}", "all 1 examples to learn from are of the class '2'"),
            ("--data=nowhere", "--data=nowhere: there is no such folder"),
            ("--batch_size=10 --packed=4", "--batch_size=10 is not a multiple of --packed=4"),
            ("--num_layers=2 --sentences=20", "--cell=recnn is one layer: it takes no --num_layers"),
            ("--brackets --sentences=20", "--cell=recnn reads the trees: --brackets is for recurrent cells"),
            ("--cell=tree_lstn --sentences=20", "unknown --cell=tree_lstn"),
        )
    ):
        assert launch("sentiment", "--cell=recnn", *flags.split(), f"--workdir={tmp_path / str(i)}") == 1
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert complaint in said, said


def test_a_tree_spelt_out_is_its_brackets_under_one_root():
    from experiments.sentiment import spelt_out

    rng, words = np.random.default_rng(0), "abcdefg"
    for size in range(1, 8):
        tree = trees.shaped(words[:size], trees.at_random(rng, 3), lambda: ["", "0", "1"][rng.integers(3)])
        flat = spelt_out(tree)
        assert flat.sentence() == trees.bracketed(tree) and flat.labels[-1] == tree.labels[-1]
        forest = trees.pack([[flat, tree]], {word: i for i, word in enumerate("()" + words, 1)}, {}).x
        assert forest.ends[0, 0] == len(flat.sentence()) - 1


def test_five_classes_are_scored_as_two():
    from experiments.sentiment import in_two

    logits = jnp.log(jnp.array([[0.3, 0.1, 0.35, 0.15, 0.1], [0.0001, 0.3, 0.1, 0.28, 0.3199], [0.2] * 5]))
    batch = rnnjax.data.Batch(None, np.array([1, 3, 2]), np.array([True, True, True]))
    sides, two = in_two(logits, batch)
    close(jnp.exp(sides), jnp.array([[0.4, 0.25], [0.3001, 0.5999], [0.4, 0.4]]), 1e-5, 1e-5)
    assert two.y[:2].tolist() == [0, 1] and two.mask.tolist() == [True, True, False]

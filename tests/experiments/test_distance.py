"""Laws of the sentences whose answer hangs on a word that stands far before."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _launching import launch

from experiments.distance import ANSWERS, ASK, FAR, NEAR, WORDS, far_sentences, near_sentences, sentences, throws


def read(sentence):
    """Words and answer as text."""
    return [WORDS[i] for i in np.asarray(sentence.words)], ANSWERS[int(sentence.answer)]


def test_the_country_stands_a_lag_before_the_language_and_nowhere_else():
    make = jax.jit(lambda key, lag: far_sentences(throws(key, 1, 20)[0], lag))
    for lag in (4, 9, 16):
        words, answer = read(make(jax.random.key(lag), lag))
        country = words[20 - lag]
        assert FAR[country] == answer and words[16 - lag : 20 - lag] == ["i", "grew", "up", "in"]
        assert words[-3:] == ASK and sum(word in FAR for word in words) == 1 and not set(words) & set(NEAR)


def test_a_near_answer_hangs_on_the_word_four_back_and_batches_ask_at_the_end_alone():
    words, answer = read(near_sentences(throws(jax.random.key(1), 1, 12)[0]))
    assert NEAR[words[-4]] == answer and [words[-5], *words[-3:]] == ["the", "are", "in", "the"]
    batch, _ = sentences(14, 300, 0.7).next(jnp.array(6), (), jax.random.key(0))
    assert abs(float((batch.y[:, -1] >= len(NEAR)).mean()) - 0.7) < 0.1
    np.testing.assert_array_equal(batch.mask.sum(1), 1)
    assert batch.mask[:, -1].all()


def test_lags_that_leave_no_room_are_refused(tmp_path, capsys):
    for i, lags in enumerate(("3,8", "four")):
        assert launch("distance", f"--lags={lags}", f"--workdir={tmp_path / str(i)}") == 1
        assert "--lags=" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_an_lstm_learns_what_stands_near(tmp_path):
    toy = ["--lags=4,6", "--cell=lstm", "--hidden_size=16", "--num_steps=800", "--batch_size=16", "--tested=200"]
    assert launch("distance", *toy, f"--workdir={tmp_path}") == 0
    rows = json.loads((tmp_path / "summary.json").read_text())["rows"]
    assert all(row["far"] > 0.9 and row["near"] > 0.9 for row in rows)
    assert (tmp_path / "sentence.png").stat().st_size > 1000

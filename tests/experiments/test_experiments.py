"""Law: every experiment trains at toy size through its main; interrupted and started again, it is the same run."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from _launching import launch, records, summary

from rnnjax.app import _session as session
from rnnjax.app._session import Session

TOY = ["--num_steps=7", "--log_every=2", "--eval_every=3", "--checkpoint_every=4", "--eval_batches=2", "--batch_size=3"]
EXPERIMENTS = {
    "copying": ["--cell=urnn", "--hidden_size=4", "--delay=6", "--length=2"],
    "cognition": ["--cell=vanilla", "--hidden_size=4", "--length=3", "--trials=5"],
    "recall": ["--cell=deltanet", "--hidden_size=4", "--length=6", "--items=2", "--symbols=3"],
    "adding": ["--cell=gru", "--hidden_size=4", "--length=9", "--dropout=0.3", "--num_layers=2"],
    "pixels": ["--cell=vanilla", "--hidden_size=4", "--batch_size=500"],
    "stochastic": ["--hidden_size=3", "--units=8", "--sweeps=3"],
    "forecast": ["--cell=vanilla", "--hidden_size=4", "--length=5", "--free=3"],
    "flipflop": ["--cell=vanilla", "--hidden_size=4", "--length=5", "--starts=10"],
    "memory": ["--cell=vanilla", "--hidden_size=4", "--length=9", "--delay=2", "--lags=5", "--probed=6"],
    "sentiment": ["--cell=tree_lstm", "--hidden_size=4", "--batch_size=4", "--packed=2", "--sentences=20"],
    "listops": ["--cell=child_sum", "--hidden_size=4", "--batch_size=4", "--packed=2", "--examples=20", "--tested=4"],
    "jets": ["--cell=recnn", "--hidden_size=4", "--batch_size=4", "--packed=2", "--jets=20", "--tested=20"],
    "music": ["--cell=vanilla", "--hidden_size=4", "--tunes=6", "--longest=20"],
    "series": ["--cell=vanilla", "--hidden_size=4", "--length=5", "--warm=2", "--free=3"],
    "classification": ["--cell=vanilla", "--hidden_size=4", "--sentences=20", "--embedding_size=3"],
    "tagging": ["--cell=vanilla", "--hidden_size=4", "--sentences=30", "--embedding_size=3"],
    "word_lm": [
        "--cell=gru",
        "--hidden_size=4",
        "--truncation=5",
        "--sentences=100",
        "--embedding_size=3",
        "--sample=3",
    ],
    "transduction": ["--hidden_size=4", "--longest=1", "--tested=3", "--beam=2", "--sampling=linear"],
    "translation": ["--hidden_size=4", "--sentences=20", "--buckets=9", "--beam=2", "--cell=gru"],
    "speech": ["--cell=vanilla", "--hidden_size=4", "--tested=3", "--longest=2", "--beam=2"],
    "captioning": ["--cell=gru", "--hidden_size=4", "--channels=2", "--tested=3", "--shown=2"],
    "video": ["--cell=vanilla", "--hidden_size=4", "--channels=2", "--features=3", "--frames=3", "--tested=8"],
    "char_lm": ["--hidden_size=4", "--truncation=5", "--sample=4", "--num_layers=1"],
}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A text of eleven windows."""
    path = tmp_path / "text.txt"
    path.write_text("to be or not to be, that is the question\n" * 8)
    return path


def flags_of(name: str, text: Path) -> list[str]:
    """Toy flags."""
    return [*TOY, *EXPERIMENTS[name], *([f"--data={text}"] if name == "char_lm" else [])]


SLOW = (
    "cognition",
    "char_lm",
    "recall",
    "copying",
    "pixels",
    "listops",
    "jets",
    "tagging",
    "word_lm",
    "music",
    "series",
    "classification",
    "stochastic",
    "flipflop",
    "memory",
    "forecast",
    "sentiment",
    "transduction",
    "translation",
    "speech",
    "captioning",
    "video",
)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in EXPERIMENTS])
def test_interrupted_and_resumed_equals_never_stopped(name, text, tmp_path, monkeypatch):
    flags = [*flags_of(name, text), f"--compilation_cache={tmp_path / 'cache'}"]
    assert launch(name, *flags, f"--workdir={tmp_path / 'whole'}") == 0

    advance = Session.advance

    def interrupted(self, saved, writer, bar):
        saved = advance(self, saved, writer, bar)
        if int(saved.progress.state.step) in (1, 5):
            os.kill(os.getpid(), signal.SIGTERM)
        return saved

    monkeypatch.setattr(Session, "advance", interrupted)
    monkeypatch.setattr(session, "_CALL_SECONDS", 0.0)  # one step a call: cut otherwise than the whole run
    statuses = [launch(name, *flags, f"--workdir={tmp_path / 'cut'}") for _ in range(3)]
    assert statuses == [143, 143, 0]
    assert records(tmp_path / "cut") == records(tmp_path / "whole")
    a, b = (summary(tmp_path / run) for run in ("cut", "whole"))
    for key in ("final", "best", "test", "parameters", "steps"):
        assert a[key] == b[key]
    assert (tmp_path / "cut" / "curves.png").stat().st_size > 1000


def test_flags_cfg_repeats_the_run_elsewhere(tmp_path):
    flags = [*TOY, *EXPERIMENTS["adding"], "--lr_scale=u$=0.5"]
    assert launch("adding", *flags, f"--workdir={tmp_path / 'a'}") == 0
    assert launch("adding", f"--flagfile={tmp_path / 'a' / 'flags.cfg'}", f"--workdir={tmp_path / 'b'}") == 0
    assert records(tmp_path / "a") == records(tmp_path / "b")


@pytest.mark.slow
def test_several_cells_have_a_run_each_that_repeats_alone(tmp_path):
    flags = [*TOY, "--delay=4", "--length=2", "--hidden_size=3,4", "--lr_scale=gru:u$=0.1"]
    assert launch("copying", *flags, "--cell=vanilla,gru", f"--workdir={tmp_path / 'both'}") == 0
    assert (
        launch("copying", f"--flagfile={tmp_path / 'both' / 'gru' / 'flags.cfg'}", f"--workdir={tmp_path / 'gru'}") == 0
    )
    assert records(tmp_path / "both" / "gru") == records(tmp_path / "gru")
    together = json.loads((tmp_path / "both" / "summary.json").read_text())["runs"]
    assert {name: s["hidden_size"] for name, s in together.items()} == {"vanilla": 3, "gru": 4}


@pytest.mark.slow
def test_a_trained_network_writes_again_without_training(text, tmp_path, capsys):
    flags = [*flags_of("char_lm", text), f"--workdir={tmp_path / 'run'}"]
    assert launch("char_lm", *flags) == 0
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    capsys.readouterr()
    again = ["--prime=to ", "--text=to be", "--temperature=0", "--analyse", "--picture=svg"]
    assert launch("char_lm", *flags, *again) == 0
    out = capsys.readouterr().out
    assert "--- sample at temperature 0.0 ---\nto " in out and "log p('to be') = -" in out
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
    told = summary(tmp_path / "run")["analysis"]
    assert list(told) == ["before training", "step 4", "trained"]
    for row in told.values():
        assert row["log10 norm at it"] <= row["log10 bound"] + 1e-4 and row["numbers of h"] == 8 and row["lag"] == 5
    assert told["trained"] != told["before training"]
    for name in ("flow", "spectra", "eigenvalues"):
        assert (tmp_path / "run" / f"{name}.svg").read_text().startswith("<?xml")

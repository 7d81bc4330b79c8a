"""The pages of results say what the recorded runs say."""

import importlib.util
import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def script(name):
    spec = importlib.util.spec_from_file_location(name, RESULTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLES, RECORD = script("tables"), script("record")
RUN = {
    "experiment": "experiments.copying",
    "cell": "lstm",
    "hidden_size": 8,
    "parameters": 1000,
    "flags": {},
    "seed": 0,
    "test": {"loss": 0.25},
    "device": "cpu",
    "versions": {"jax": "1"},
    "commit": "abcdefgh",
    "date": "2026-01-01",
    "baseline": {"name": "guessing", "loss": 0.5},
    "published": [{"model": "other", "value": 0.1, "source": "a paper", "verified": False}],
}


@pytest.mark.parametrize("page", sorted(RESULTS.glob("*.md")), ids=lambda path: path.name)
def test_the_tables_of_a_page_are_those_of_the_data(page):
    text = page.read_text(encoding="utf-8")
    assert TABLES.filled(text) == text, "run python docs/results/tables.py"


@pytest.mark.parametrize("path", sorted((RESULTS / "data").glob("*.json")), ids=lambda path: path.name)
def test_every_recorded_run_is_on_a_page_and_of_committed_code(path):
    pages = "".join(page.read_text(encoding="utf-8") for page in RESULTS.glob("*.md"))
    assert path.stem in pages
    runs = json.loads(path.read_text(encoding="utf-8"))
    assert len({RECORD.identity(run) for run in runs}) == len(runs)
    assert all(run["commit"] != "unknown" and (run.get("test") or run["found"]) for run in runs)


def test_a_row_is_the_mean_and_range_over_seeds(tmp_path, monkeypatch):
    runs = [RUN, RUN | {"seed": 1, "test": {"loss": 0.75}}, RUN | {"cell": "gru"}]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.json").write_text(json.dumps(runs), encoding="utf-8")
    monkeypatch.setattr(TABLES, "HERE", tmp_path)
    lines = TABLES.table("one", "loss = test.loss .2f | parameters = parameters ,d").splitlines()
    assert lines[3:7] == [
        "| lstm, 8 units | 0.50 (0.25 to 0.75) | 1,000 |",
        "| gru, 8 units | 0.25 | 1,000 |",
        "| guessing | 0.5 |  |",
        "| other (a paper, unverified) | 0.1 |  |",
    ]
    assert lines[8] == "Seeds 0, 1; cpu; JAX 1; commit abcdefg; 2026-01-01."

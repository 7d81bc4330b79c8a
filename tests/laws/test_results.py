"""The pages of results say what the recorded runs say."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def script(name):
    spec = importlib.util.spec_from_file_location(name, RESULTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLES, RECORD, QUICK = script("tables"), script("record"), script("quick")
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


def data_of(tmp_path, monkeypatch, runs):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.json").write_text(json.dumps(runs), encoding="utf-8")
    monkeypatch.setattr(TABLES, "HERE", tmp_path)


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


def test_the_quick_form_of_a_flag_file_reached_its_point():
    for run in (run for path in (RESULTS / "data").glob("quick.json") for run in json.loads(path.read_text())):
        [row] = run["found"]["rows"]
        assert QUICK.script_of(run["flags"]["file"]) == run["experiment"]
        assert row["what"] == QUICK.point_of(run["flags"]["file"])[0]
        assert QUICK.reached(row["value"], *QUICK.point_of(run["flags"]["file"])[1:]) and row["cpu"] < 3, row


def test_a_row_is_the_mean_and_range_over_seeds(tmp_path, monkeypatch):
    runs = [RUN, RUN | {"seed": 1, "test": {"loss": 0.75}}, RUN | {"cell": "gru"}]
    data_of(tmp_path, monkeypatch, runs)
    lines = TABLES.table("one", "loss = test.loss .2f | parameters = parameters ,d").splitlines()
    assert lines[3:7] == [
        "| lstm, 8 units | 0.50 (0.25, 0.75) | 1,000 |",
        "| gru, 8 units | 0.25 | 1,000 |",
        "| guessing | 0.5 |  |",
        "| other (a paper, unverified) | 0.1 |  |",
    ]
    assert lines[8] == "Seeds 0, 1; cpu; JAX 1; commit abcdefg; 2026-01-01."


def test_a_table_of_entries_has_a_row_for_each_and_none_for_published_results(tmp_path, monkeypatch):
    about = {name: RUN[name] for name in ("experiment", "flags", "seed", "device", "versions", "commit", "date")}
    found = [{"rule": "rtrl 1", "at, end": 2e-3}, {"rule": "uoro", "at, end": None}]
    data_of(tmp_path, monkeypatch, [about | {"found": {"rows": found, "nets": {"a": {"error": 1.5}}}}])
    lines = TABLES.table("one; found.rows", "which = rule | at, end .4f").splitlines()
    assert lines[1:] == [
        "| which | at, end |",
        "| --- | --- |",
        "| rtrl 1 | 0.0020 |",
        "| uoro |  |",
        "",
        "One launch, seed 0; cpu; JAX 1; commit abcdefg; 2026-01-01.",
        "",
    ]
    assert "| a | 1.50 | 0 |" in TABLES.table("one; found.nets", "name | error .2f | seed = run.seed d")


def test_a_map_has_a_number_for_each_setting_of_a_cell():
    settings = [
        {"cell": c, "rate": r, "scale": "1", "score": len(c) * float(r)} for c in ("gru", "a") for r in ("10", "2")
    ]
    maps, across, up = TABLES.maps_of(
        [*settings, {"cell": "a", "rate": "2", "scale": "3", "score": 7}], "rate", "scale"
    )
    assert (across, up) == (["2", "10"], ["1", "3"])
    np.testing.assert_array_equal(maps["gru"], [[6, 30], [np.nan, np.nan]])
    np.testing.assert_array_equal(maps["a"], [[2, 10], [7, np.nan]])


def test_a_pivot_has_a_column_for_each_value(tmp_path, monkeypatch):
    runs = [
        RUN | {"flags": {"delay": d}, "cell": c, "test": {"loss": len(c) * int(d)}} for c in ("ab", "c") for d in "12"
    ]
    data_of(tmp_path, monkeypatch, runs[:3])
    lines = TABLES.pivot("one", "network = cell | flags.delay | test.loss .1f").splitlines()
    assert lines[1:5] == ["| network | 1 | 2 |", "| --- | --- | --- |", "| ab | 2.0 | 4.0 |", "| c | 1.0 |  |"]


def test_what_is_not_finished_or_not_committed_is_not_recorded(tmp_path):
    with pytest.raises(ValueError, match="not finished"):
        RECORD.origin(tmp_path, {})
    edited = {"code": {"dirty": True}, "rnnjax": {"dirty": False, "commit": "abcdefgh"}}
    with pytest.raises(ValueError, match="edited after the commit abcdefg"):
        RECORD.origin(tmp_path, edited)


def test_findings_are_what_is_not_of_every_summary():
    assert RECORD.findings({"cell": "gru", "seconds": 1, "nmse": 0.5, "text": "a" * 30_000}) == {"nmse": 0.5}

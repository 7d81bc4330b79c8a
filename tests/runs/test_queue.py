"""Laws of units shared out over processes: each comes to one end, whoever disappears."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rnnjax.base import UserError
from rnnjax.runs import Pool, Queue, run_worker
from rnnjax.runs._workers import Alive

ROOT = Path(__file__).parents[2]
needs_submitit = pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="needs submitit")


def units(n: int, **more) -> dict[str, dict]:
    """n units, each with a number."""
    return {f"{i:03}": {"x": i, **more} for i in range(n)}


def aged(queue: Queue, name: str, k: int, seconds: float):
    """Makes a claim as old as if its owner had been gone for so long."""
    path = queue.folder / "claims" / f"{name}.{k}"
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))


def test_a_unit_is_claimed_once_by_any_number_of_processes(tmp_path):
    Queue(tmp_path).put(units(40))
    claimed: list[list[str]] = [[] for _ in range(8)]

    def claim_all(mine: list[str], owner: str):
        queue = Queue(tmp_path)
        while claim := queue.claim(owner):
            mine.append(claim.name)

    threads = [threading.Thread(target=claim_all, args=(mine, f"w{i}")) for i, mine in enumerate(claimed)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert sorted(name for mine in claimed for name in mine) == sorted(units(40))


def test_what_nobody_touches_for_a_lease_goes_to_another_and_fails_in_the_end(tmp_path):
    queue = Queue(tmp_path, lease=60, tries=2)
    queue.put(units(1))
    first = queue.claim("a")
    aged(queue, "000", 1, 59)
    assert queue.claim("b") is None
    assert queue.holds(first)
    aged(queue, "000", 1, 61)
    second = queue.claim("b")
    assert second.name == "000" and not queue.holds(first) and queue.holds(second)
    queue.give_up("a")
    assert queue.claim("c") is None and queue.left() == ["000"]  # it is b's by now
    queue.give_up("b")
    assert queue.claim("c") is None and queue.left() == []
    assert "each of the 2 processes" in queue.ends()["000"]["failed"]


def test_results_stay_and_are_not_made_again(tmp_path):
    queue = Queue(tmp_path)
    queue.put(units(2))
    queue.open()
    closing = threading.Thread(target=lambda: (wait(lambda: not queue.left()), queue.close()))
    closing.start()
    assert run_worker(str(tmp_path), "_units:squared", "w") == 2
    closing.join()
    again = Queue(tmp_path)
    again.put(units(3))
    assert again.left() == ["002"] and again.ends()["001"] == {"result": 1}


def wait(condition, seconds: float = 300.0):
    """Until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_worker_leaves_when_its_coordinator_is_gone(tmp_path):
    queue = Queue(tmp_path, lease=0.1)
    queue.open()
    assert run_worker(str(tmp_path), "_units:squared", "w", lease=0.1) == 0


def test_a_process_that_was_given_up_does_not_write_any_more(tmp_path, monkeypatch):
    gone = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda status: gone.set())
    queue = Queue(tmp_path, lease=0.06)
    queue.put(units(1))
    queue.open()
    claim = queue.claim("frozen")
    (tmp_path / "claims" / "000.2").touch()
    with Alive(queue, claim):
        assert gone.wait(5)


def test_a_unit_is_given_back_when_the_coordinator_was_stopped(tmp_path, monkeypatch):
    gone = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda status: gone.set())
    queue = Queue(tmp_path, lease=0.6)
    queue.put(units(1))
    with Alive(queue, queue.claim("a")):
        assert gone.wait(5)
    assert queue.claim("b").path.name == "000.2"


@pytest.fixture
def paths(monkeypatch):
    """Workers find the tasks of the tests."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(Path(__file__).parents[1])]))


@pytest.mark.slow
@needs_submitit
def test_a_killed_worker_costs_no_unit(tmp_path, paths):
    trace, found = tmp_path / "trace", {}
    wanted = units(2, trace=str(trace))
    wanted["000"] |= {"wait": 3}
    with Pool(Queue(tmp_path / "queue"), "_units:squared", workers=1) as pool:
        killer = threading.Thread(target=lambda: (wait(trace.exists), os.kill(workers(trace)[0], signal.SIGKILL)))
        killer.start()
        found = dict(pool.run(wanted))
        killer.join()
    assert found == {"000": {"result": 0}, "001": {"result": 1}}
    first, second, third = workers(trace)
    assert first != second == third


def workers(trace: Path) -> list[int]:
    """The processes that took units, in order."""
    return [int(line.split()[1]) for line in trace.read_text().splitlines()]


@pytest.mark.slow
@needs_submitit
def test_what_always_fails_costs_itself_alone(tmp_path, paths):
    wanted = units(3) | {"100": {"x": 9, "die": True}, "101": {"x": 5, "refuse": True}}
    with Pool(Queue(tmp_path / "queue", tries=2), "_units:squared", workers=2) as pool:
        found = dict(pool.run(wanted))
    assert {name: found[name] for name in units(3)} == {f"{i:03}": {"result": i**2} for i in range(3)}
    assert found["101"] == {"failed": "not this one"} and "each of the 2 processes" in found["100"]["failed"]


@pytest.mark.slow
@needs_submitit
def test_a_killed_coordinator_is_taken_up_again(tmp_path, paths):
    program = (
        "import sys; from pathlib import Path; from rnnjax.runs import Pool, Queue\n"
        f"units = {{f'{{i:03}}': {{'x': i, 'wait': 0.3, 'trace': {str(tmp_path / 'trace')!r}}} for i in range(20)}}\n"
        f"with Pool(Queue(Path({str(tmp_path / 'queue')!r}), lease=2), '_units:squared', workers=2) as pool:\n"
        "    print(sum(end['result'] for _, end in pool.run(units)))\n"
    )

    def start() -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT)

    first = start()
    wait(lambda: len(Queue(tmp_path / "queue").ends()) >= 5)
    first.kill()
    first.communicate()
    assert start().communicate(timeout=120)[0].split() == [str(sum(i**2 for i in range(20)))]
    done = [line.split()[0] for line in (tmp_path / "trace").read_text().splitlines()]
    assert set(done) == {str(i) for i in range(20)} and len(done) == 20  # the workers themselves were not killed


@pytest.mark.slow
@needs_submitit
def test_workers_that_cannot_begin_are_one_line(tmp_path, paths):
    with pytest.raises(UserError, match="No module named 'nowhere'"):  # noqa: SIM117
        with Pool(Queue(tmp_path / "queue"), "nowhere:squared", workers=1) as pool:
            list(pool.run(units(1)))


def test_units_are_json(tmp_path):
    queue = Queue(tmp_path)
    queue.put({"a": {"path": Path("x")}})
    assert json.loads((tmp_path / "units" / "a.json").read_text())["unit"] == {"path": "x"}

"""Processes that run one program together: how they start, agree, and stop together.

JAX's distributed runtime connects them. Process 0 leads: only it writes and prints. A process that fails publishes the
reason; a thread in every other process reads it and exits, so no process waits for one that is gone.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from rnnjax.distributed._lost import instead_of_abort

_T = TypeVar("_T")
_FAILURE = "rnnjax/failure"
_ONE_IS_LOST = (
    "a process of this run is lost; the same command, given to all of them, continues from the last checkpoint"
)
_LOST = re.compile("gloo|nccl|coordination|unavailable|deadline|connection|socket|heartbeat|barrier", re.IGNORECASE)

_SETTINGS = ("jax_enable_x64", "jax_default_prng_impl", "jax_threefry_partitionable", "jax_random_seed_offset",
             "jax_default_matmul_precision", "jax_numpy_dtype_promotion", "jax_disable_jit")  # fmt: skip

_ended = threading.Event()
_speaking = threading.Lock()
_watching: list[threading.Thread] = []
_patience = [100]  # seconds, see `start`


def start(
    coordinator: str, num_processes: int = 0, process_id: int = -1, lost_after: int = 100, name: str = ""
) -> None:
    """Connects this process to the others. Call it before JAX is first used.

    Args:
      coordinator: HOST:PORT of process 0, or how JAX finds it in the environment: auto, slurm, ompi, ...
      num_processes: the number of processes; needed with HOST:PORT only.
      process_id: the number of this process, from 0.
      lost_after: seconds without contact after which a process counts as lost.
      name: the name of the program, for error messages.

    Raises:
      ValueError: the other processes did not connect, or the arguments do not describe a group of processes.

    Example:
      >>> start("127.0.0.1:1234", num_processes=2, process_id=2)
      Traceback (most recent call last):
      ValueError: process_id 2: the 2 processes are numbered from 0
    """
    arguments: dict[str, Any] = {"cluster_detection_method": None if coordinator == "auto" else coordinator}
    if ":" in coordinator:
        _assert_numbered(coordinator, num_processes, process_id)
        arguments = {"coordinator_address": coordinator, "num_processes": num_processes, "process_id": process_id}
    jax.config.update("jax_enable_preemption_service", False)  # it would intercept SIGTERM
    _patience.append(lost_after)
    impatient = threading.Timer(lost_after, _give_up, (lost_after, name))
    impatient.daemon = True
    impatient.start()
    undo = instead_of_abort(lambda: _aborted(name))
    try:
        jax.distributed.initialize(
            **arguments,
            initialization_timeout=lost_after + 60,  # JAX then ends the process; `_give_up` prints why before that
            heartbeat_timeout_seconds=lost_after,
            shutdown_timeout_seconds=lost_after,
        )
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        undo()
        reason = f"there is no variable {error.args[0]}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise ValueError(f"the processes did not come together: {reason}") from error
    finally:
        impatient.cancel()
    if not is_leader():
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    thread = threading.Thread(target=_exit_when_others_fail, args=(name,), daemon=True)
    _watching.append(thread)
    thread.start()
    agree("settings", _settings())


def _give_up(seconds: int, name: str) -> None:
    """Exits because the other processes have not connected; otherwise JAX would abort without a reason."""
    print(f"{name}: the processes did not come together in {seconds} seconds", file=sys.stderr, flush=True)
    os._exit(1)


def _assert_numbered(coordinator: str, num_processes: int, process_id: int) -> None:
    port = coordinator.rpartition(":")[2]
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 2**16):
        raise ValueError(f"coordinator {coordinator}: write HOST:PORT with a port from 1 to 65535, or auto")
    if num_processes < 1 or process_id < 0:
        raise ValueError(f"coordinator {coordinator} needs num_processes, and process_id from 0")
    if process_id >= num_processes:
        raise ValueError(f"process_id {process_id}: the {num_processes} processes are numbered from 0")


def running() -> bool:
    """Returns whether this process is one of several."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_leader() -> bool:
    """Returns whether this is process 0, which writes and prints; always true for a single process."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def from_leader(value: int) -> int:
    """Returns the value of process 0.

    Example: a single process returns its own value.
      >>> from_leader(3)
      3
    """
    return int(multihost_utils.broadcast_one_to_all(np.int32(value))) if running() else value


def max_over_processes(value: int) -> int:
    """Returns the largest value over all processes; 0 if none has one.

    Example:
      >>> max_over_processes(15)
      15
    """
    return int(multihost_utils.process_allgather(np.int32(value)).max()) if running() else value


def share(members: Sequence[_T], process_id: int | None = None, num_processes: int | None = None) -> list[_T]:
    """Returns the members that a process is responsible for: every n-th.

    Costs that rise along the list are therefore shared evenly.

    Args:
      members: the members of a study, in the same order in all processes.
      process_id: None: this process.
      num_processes: None: the actual number.

    Example:
      >>> [share("abcde", i, 2) for i in (0, 1)]
      [['a', 'c', 'e'], ['b', 'd']]
    """
    i = jax.process_index() if process_id is None else process_id
    return list(members[i :: jax.process_count() if num_processes is None else num_processes])


def agree(what: str, mine: Mapping[str, str]) -> None:
    """Waits for all processes, and rejects one that was started with other settings than process 0.

    Args:
      what: the name of what is compared, unique for each call.
      mine: the settings of this process, by name.

    Raises:
      ValueError: a setting differs from that of process 0.
    """
    if not running():
        return
    client, patience = _client(), 1000 * _patience[-1]
    if is_leader():
        client.key_value_set(f"rnnjax/{what}", json.dumps(mine))
    first = json.loads(client.blocking_key_value_get(f"rnnjax/{what}", patience))
    for name in {**first, **mine}:
        one, other = (f"{told.get(name) or 'none'}"[:80] for told in (first, mine))
        if one != other:
            raise ValueError(f"all processes need the same {what}; for {name} process 0 has {one}, this one {other}")
    client.wait_at_barrier(f"rnnjax/{what}/all", patience)


def _settings() -> dict[str, str]:
    """Returns what the environment decides and would change the result: versions, and settings of JAX."""
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy")}
    return versions | {name: str(getattr(jax.config, name, None)) for name in _SETTINGS}


def stop() -> None:
    """Waits until all processes have arrived, then disconnects."""
    if jax.distributed.is_initialized():
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("stop")
        _ended.set()
        for thread in _watching:  # a pending request would delay the shutdown
            thread.join()
        jax.distributed.shutdown()


def fail(line: str, name: str = "") -> None:
    """Exits with status 1 and makes all other processes exit; process 0 prints the line."""
    _speaking.acquire()  # never released: a second failure has nothing to add
    message = line if is_leader() else f"process {jax.process_index()}: {line}"
    try:
        _client().key_value_set(_FAILURE, message)
    except Exception:  # another process reported first, or none is left to notify
        message = _told(1000) or message
    _end(message, name)


def what_happened(error: BaseException) -> str | None:
    """Returns the message for an exception caused by the loss of another process; None for any other exception."""
    if not _LOST.search(str(error)):
        return None
    return _told(300) or _ONE_IS_LOST  # a failing process reports before its connections break


def _client() -> Any:
    """Returns the connection to the coordinator. JAX has no public name for it; orbax accesses it the same way."""
    from jax._src import distributed

    return distributed.global_state.client


def _told(milliseconds: int) -> str | None:
    try:
        return str(_client().blocking_key_value_get(_FAILURE, milliseconds))
    except Exception:
        return None


def _exit_when_others_fail(name: str) -> None:
    """Exits this process when another one reports a failure or the coordinator is gone."""
    while not _ended.is_set():
        try:
            message = _client().blocking_key_value_get(_FAILURE, 1000)
        except Exception as error:
            if "DEADLINE" in str(error):
                continue
            message = ""
        if not _ended.is_set():
            _speaking.acquire()
            _end(message, name)


def _aborted(name: str) -> None:
    """Says what JAX's runtime met, unless another thread is saying something."""
    if _speaking.acquire(blocking=False):
        if not _watching:
            _end("the processes did not come together: two have one number, or the port is in use", name)
        _end(_ONE_IS_LOST if is_leader() else "", name)
    time.sleep(3.0)
    os._exit(1)


def _end(message: str, name: str) -> None:
    """Prints the final message: process 0 prints for all; if it is gone without a report, each process prints."""
    if is_leader() or not message:
        print(f"{name}: {message or 'process 0, the leader, is lost'}", file=sys.stderr, flush=True)
        time.sleep(1.0 if message else 0.0)  # the other processes read it here
    os._exit(1)

"""Numerics of every test: no silent promotion of dtypes or ranks; double precision where a test asks for it."""

import contextlib
import ctypes
import gc
import os
import pathlib
import zlib

from _xla import quick_flags

os.environ["XLA_FLAGS"] = quick_flags()

import jax
import pytest
from hypothesis import HealthCheck, settings

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Properties are tried on the same few examples everywhere; how long one takes says nothing of it on a busy machine.
settings.register_profile(
    "fixed",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)
settings.load_profile("fixed")


def pytest_addoption(parser):
    parser.addoption("--part", default="0/1", metavar="K/N", help="Run one of N parts of what is chosen, K from 0.")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Leaves one part of the tests. A test's part hangs on its name alone, so other tests that come or go move none."""
    which, _, parts = config.getoption("--part").partition("/")
    if not (which.isdecimal() and parts.isdecimal() and int(which) < int(parts)):
        raise pytest.UsageError(f"--part={config.getoption('--part')}: wanted K/N with K from 0 to N - 1, such as 0/4")
    kept = [item for item in items if zlib.crc32(item.nodeid.encode()) % int(parts) == int(which)]
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept


MAPS, MEMORY = pathlib.Path("/proc/self/maps"), pathlib.Path("/proc/self/statm")
MOST_BYTES = 5 << 28


@pytest.fixture(autouse=True, scope="module")
def forget_compiled():
    """Drops compiled programs when there are many: Linux lets a process map 65,530 pieces of memory, then it dies."""
    yield
    if MAPS.exists() and len(MAPS.read_bytes().splitlines()) > 15_000:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def forget_memory():
    """Drops compiled programs, and gives their memory back, when the process has more than 1.25 GiB."""
    yield
    if MEMORY.exists() and int(MEMORY.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE") > MOST_BYTES:
        jax.clear_caches()
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # where the C library is glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture(scope="module")
def shared_programs():
    """Launches of a module share their compiled programs, where what is compiled is not what is tested."""
    from _launching import shared

    with shared():
        yield


@pytest.fixture
def x64():
    """Double precision for the length of one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["bfloat16", "float16"])
def half(request):
    """A dtype of half precision. Without the instructions of F16C, XLA cannot convert float16 on a CPU."""
    try:
        jax.jit(lambda a: a.astype("float32"))(jax.numpy.ones(1, request.param))
    except jax.errors.JaxRuntimeError as error:
        assert request.param == "float16" and "Failed to materialize symbols" in str(error)
        pytest.skip("XLA has no float16 under this instruction set")
    return request.param


@pytest.fixture(autouse=True)
def quick(request):
    """Compiles without XLA's optimisations, which are not ours to test and take a third of the time of the suite."""
    jax.config.update("jax_disable_most_optimizations", "optimized" not in request.fixturenames)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def optimized():
    """Compiles as users do, where the compiled program is what is tested."""

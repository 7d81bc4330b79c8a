"""Unitary and orthogonal recurrences: time, memory and rounding of each family, beside a plain RNN and PyTorch.

    python -m benchmarks.unitary --sizes=64,256,1024 --steps=100
    taskset -c 0 python -m benchmarks.unitary --clock=cpu --reports=time,map,choice     # on a machine with other work
    python -m benchmarks.unitary --reports=memory --sizes=128 --steps=100,1000,10000
    python -m benchmarks.unitary --reports=rounding --sizes=64

n are complex units in urnn, eunn and full_capacity, real ones elsewhere. Whoever is timed takes turns in one process;
printed are medians. Reports:

- time: milliseconds of the gradient of sum(ys ** 2) (or forward) for each n and T, the time of PyTorch's expRNN over
  it, and the exponent of n from one size to the next.
- map: the matrix of a window and its gradient alone, in milliseconds: what a window pays once.
- choice: windows of urnn and eunn by a dense matrix and by factors.
- memory: temporary memory of the compiled gradient, everything kept and with `remat(every="sqrt")`.
- rounding: after 10,000 steps with b = 0 and no input the change of the state's norm; after 10,000 updates by Adam the
  drift of the matrix from a unitary one (of the basis where the matrix is not meant to be one).
"""

from __future__ import annotations

import functools
import importlib
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

import rnnjax
from benchmarks._turns import in_turn, write_json
from rnnjax import Cell, run, stack, unitary, unroll
from rnnjax.runs import usable_cores
from rnnjax.unitary import AS_FACTORS, AS_MATRIX, halves_matrix, halves_window

D = 10  # input features, as in the copying task

CORES: dict[str, Callable[[int], Cell]] = {
    "urnn": rnnjax.urnn_core,
    "eunn": lambda n: rnnjax.urnn_core(n, unitary.tunable(2)),
    "full_capacity": lambda n: rnnjax.urnn_core(n, unitary.full_capacity()),
    "exprnn": lambda n: unitary.modrelu_core(n, unitary.exponential()),
    "scornn": lambda n: unitary.modrelu_core(n, unitary.cayley(negative=n // 2)),
    "householder": lambda n: unitary.modrelu_core(n, unitary.householder(16)),
    "nnrnn": lambda n: unitary.modrelu_core(n, unitary.schur()),
    "goru": unitary.goru_core,
    "vanilla": rnnjax.vanilla_core,
}
COMPLEX = ("urnn", "eunn", "full_capacity")
PEERS = ("torch", "geotorch")
REPORTS = ("time", "map", "choice", "memory", "rounding")

FLAGS = flags.FLAGS
flags.DEFINE_list("families", [*CORES, *PEERS], "Who takes part; peers that are not installed are named and left out.")
flags.DEFINE_list("sizes", ["64", "128", "256", "512"], "Units, n.")
flags.DEFINE_list("steps", ["100"], "Time steps, T.")
flags.DEFINE_integer("batch", 20, "Examples.", lower_bound=1)
flags.DEFINE_integer("repeats", 5, "Rounds; in each, everybody has one turn.", lower_bound=1)
flags.DEFINE_integer("largest", 30_000_000, "Combinations of more than this many T * B * n are left out.")
flags.DEFINE_integer("updates", 10_000, "Steps and updates of the rounding report.", lower_bound=1)
flags.DEFINE_enum("mode", "gradient", ["gradient", "forward"], "What is timed.")
flags.DEFINE_multi_enum("reports", ["time"], REPORTS, "What to report; may be repeated.")


def width(name: str, n: int) -> int:
    """Pre-activations of a core."""
    return {"goru": 3 * n, **dict.fromkeys(COMPLEX, 2 * n)}.get(name, n)


def layer(name: str, n: int, core: Cell | None = None) -> Cell:
    """The layer of a family, on windows."""
    return unroll(stack(rnnjax.linear(width(name, n)), CORES[name](n) if core is None else core))


def loss(cell: Cell) -> Callable[[Any, jax.Array], jax.Array]:
    """sum(ys ** 2) of a batch."""
    return lambda params, xs: (jax.vmap(lambda x: run(cell, params, x)[1])(xs) ** 2).sum()


def inputs(t: int) -> jax.Array:
    """The same normal numbers for everybody, `[B, T, D]`."""
    return jnp.asarray(np.random.default_rng(0).standard_normal((FLAGS.batch, t, D), np.float32))


def in_jax(cell: Cell, t: int) -> Callable[[], Any]:
    """What is timed of a cell of ours."""
    xs = inputs(t)
    params = cell.init(jax.random.key(0), xs[0])
    call = jax.jit(jax.grad(loss(cell)) if FLAGS.mode == "gradient" else loss(cell))
    return blocking(call, params, xs)


def in_torch(name: str, n: int, t: int) -> Callable[[], Any]:
    """expRNN as its users write it in PyTorch: a loop over time, the matrix by a parametrisation, modReLU."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(usable_cores())
    recurrent, read = torch.nn.Linear(n, n, bias=False), torch.nn.Linear(D, n)
    if name == "geotorch":
        importlib.import_module("geotorch").orthogonal(recurrent, "weight")
    else:
        torch.nn.utils.parametrizations.orthogonal(recurrent, orthogonal_map="matrix_exp")
    b = torch.nn.Parameter(torch.zeros(n))
    params = [*recurrent.parameters(), *read.parameters(), b]
    xs = torch.from_numpy(np.array(inputs(t).swapaxes(0, 1)))

    def value() -> Any:
        u, h, total = recurrent.weight.t(), xs.new_zeros(len(xs[0]), n), 0.0
        for z in read(xs).unbind(0):
            a = torch.addmm(z, h, u)
            h = torch.sign(a) * torch.relu(torch.abs(a) + b)
            total = total + (h * h).sum()
        return total

    def forward() -> Any:
        with torch.no_grad():
            return value()

    return forward if FLAGS.mode == "forward" else lambda: torch.autograd.grad(value(), params)


@functools.cache
def say(line: str) -> None:
    """Prints a line once."""
    print(line)


def calls(n: int, t: int) -> dict[str, Callable[[], Any]]:
    """What each family runs."""
    made: dict[str, Callable[[], Any]] = {}
    for name in FLAGS.families:
        try:
            made[name] = in_torch(name, n, t) if name in PEERS else in_jax(layer(name, n), t)
        except ImportError as error:
            say(f"{name} is left out: {error}")
    return made


def timed(made: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Medians, in milliseconds, of calls that take turns."""
    median = in_turn(made, FLAGS.repeats)
    jax.clear_caches()
    return {name: 1e3 * s for name, s in median.items()}


def show(title: str, rows: dict[str, dict[str, Any]], form: str = "{:.4g}") -> None:
    """A table of rows by columns."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    print(f"\n{title}\n{'':<14}" + "".join(f"{name:>15}" for name in names))
    for label, row in rows.items():
        print(f"{label:<14}" + "".join(f"{form.format(row[k]) if k in row else '-':>15}" for k in names), flush=True)


def numbers(values: Sequence[str]) -> list[int]:
    """A list flag as numbers."""
    return [int(v) for v in values]


def combinations() -> list[tuple[int, int]]:
    """(T, n), but not those that would take too long."""
    every = itertools.product(numbers(FLAGS.steps), numbers(FLAGS.sizes))
    return [(t, n) for t, n in every if t * n * FLAGS.batch <= FLAGS.largest]


def time_report() -> dict[str, Any]:
    """Milliseconds; the torch expRNN's over them; exponents in n."""
    times = {(t, n): timed(calls(n, t)) for t, n in combinations()}
    rows = {f"{t},{n}": row for (t, n), row in times.items()}
    show(f"T,n: milliseconds ({FLAGS.mode}, B = {FLAGS.batch})", rows)
    if any("torch" in row for row in rows.values()):
        show("time of torch over it", {k: {f: row["torch"] / ms for f, ms in row.items()} for k, row in rows.items()})
    growth = {
        f"{t}: {m} to {n}": {f: math.log(times[t, n][f] / ms) / math.log(n / m) for f, ms in times[t, m].items()}
        for (t, m), (s, n) in itertools.pairwise(times)
        if s == t
    }
    show("exponent of n (n log n has 1.1 to 1.2)", growth, "{:.2f}")
    return {"milliseconds": rows, "exponents": growth}


def map_report() -> dict[str, Any]:
    """Milliseconds of the weights map and its gradient, alone."""
    rows = {}
    for n in numbers(FLAGS.sizes):
        made: dict[str, Callable[[], Any]] = {}
        for name in [f for f in FLAGS.families if f in CORES and f not in ("urnn", "eunn", "vanilla")]:
            core = CORES[name](n)
            params = core.init(jax.random.key(0), jnp.zeros(width(name, n)))["u"]
            out = jax.eval_shape(functools.partial(matrix_of, core), params)
            weight = jax.random.normal(jax.random.key(1), out.shape)

            def value(p: Any, weight: jax.Array = weight, core: Cell = core) -> jax.Array:
                return jnp.vdot(weight, matrix_of(core, p))

            made[name] = blocking(jax.jit(value), params)
            made[name + " grad"] = blocking(jax.jit(jax.grad(value)), params)
        rows[str(n)] = timed(made)
    show("n: milliseconds of the map, and of its gradient", rows)
    return rows


def blocking(call: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    """A call that returns when its result is there."""
    return lambda: jax.block_until_ready(call(*args))


def matrix_of(core: Cell, u: Any) -> jax.Array:
    """The real matrix that a core makes of its params u."""
    zero = {"b": jnp.zeros(()), "h0": (), "v": jnp.zeros(())}
    w = core.weights({**zero, "u": u})["u"]
    return halves_matrix(w.matrix()) if isinstance(w, unitary.BoundFactor) else w


def always(plan: Any, steps: int) -> Any:
    """One plan for windows of every length."""
    return plan


def choice_report() -> dict[str, Any]:
    """Milliseconds of windows by a dense matrix and by factors."""
    rows = {}
    for t, n in combinations():
        made = {}
        for name in ("urnn", "eunn"):
            for way, plan in (("matrix", AS_MATRIX), ("factors", AS_FACTORS)):
                core = CORES[name](n)
                fixed = core.replace(window=halves_window(core, functools.partial(always, plan)))
                made[f"{name} {way}"] = in_jax(layer(name, n, fixed), t)
        rows[f"{t},{n}"] = timed(made)
    show(f"T,n: milliseconds ({FLAGS.mode}, B = {FLAGS.batch})", rows)
    return rows


def memory_report() -> dict[str, Any]:
    """Bytes of temporary memory that the compiled gradient takes."""
    rows: dict[str, dict[str, Any]] = {}
    for t, n in combinations():
        for name in [f for f in FLAGS.families if f in CORES]:
            kept = layer(name, n)
            for policy, cell in (("kept", kept), ("sqrt", rnnjax.remat(kept, every="sqrt"))):
                rows.setdefault(f"{t},{n} {policy}", {})[name] = temporary(cell, t) / 2**20
    show(f"T,n: temporary memory of the gradient, MiB (B = {FLAGS.batch})", rows)
    return rows


def temporary(cell: Cell, t: int) -> float:
    """Bytes that the compiled gradient of the last state takes for itself."""
    xs = inputs(t)
    params = cell.init(jax.random.key(0), xs[0])

    def last(params: Any, xs: jax.Array) -> jax.Array:
        return sum((h**2).sum() for h in jax.tree.leaves(jax.vmap(lambda x: run(cell, params, x)[0])(xs)))

    analysis: Any = jax.jit(jax.grad(last)).lower(params, xs).compile().memory_analysis()
    return analysis.temp_size_in_bytes


def rounding_report() -> dict[str, Any]:
    """Errors in float32 after many steps and after many updates."""
    rows: dict[str, dict[str, Any]] = {}
    for n in numbers(FLAGS.sizes):
        for name in [f for f in FLAGS.families if f in CORES and f != "vanilla"]:
            core = CORES[name](n)
            params = core.init(jax.random.key(0), jnp.zeros(width(name, n)))
            if name != "goru":  # its gates are not there to keep norms
                rows.setdefault(f"{n} norm", {})[name] = norm_change(core, params, width(name, n))
            rows.setdefault(f"{n} drift", {})[name] = drift_after(core, params["u"])
    show(f"n: change of the norm after {FLAGS.updates} steps, drift after {FLAGS.updates} updates", rows, "{:.1e}")
    return rows


def norm_change(core: Cell, params: Any, wide: int) -> float:
    """How far the norm of a state strays, relative, with b = 0 and no input."""
    zs, n = jnp.zeros((FLAGS.updates, wide)), params["b"].size
    h = jax.random.normal(jax.random.key(2), (n,))
    start = unitary.ComplexPair(h, h[::-1]) if "h0" in params else h
    ys = jax.jit(lambda p: run(unroll(core), p, zs, start)[1])(params | {"b": jnp.zeros(n)})
    norms = np.linalg.norm(np.asarray(ys, np.float64), axis=1)
    return float(abs(norms / np.linalg.norm(np.concatenate(jax.tree.leaves(start)).astype(np.float64)) - 1).max())


def drift_after(core: Cell, u: Any) -> float:
    """The drift of the matrix after updates by Adam towards targets that change with every update."""
    optimizer = optax.adam(1e-2)
    constrained = (lambda p: unitary.expm(unitary.skew(p.p))) if isinstance(u, unitary.Schur) else None
    matrix = functools.partial(matrix_of, core) if constrained is None else constrained

    def update(i: jax.Array, state: Any) -> Any:
        u, moments = state
        target = jax.random.normal(jax.random.key(i), jax.eval_shape(matrix, u).shape)
        updates, moments = optimizer.update(jax.grad(lambda u: jnp.vdot(target, matrix(u)))(u), moments, u)
        return optax.apply_updates(u, updates), moments

    u, _ = jax.jit(lambda s: jax.lax.fori_loop(0, FLAGS.updates, update, s))((u, optimizer.init(u)))
    return float(unitary.orthogonality_error(matrix(u)))


def main(argv: Sequence[str]) -> None:
    """Measures, prints, writes."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]}")
    unknown = set(FLAGS.families) - set(CORES) - set(PEERS)
    if unknown:
        raise app.UsageError(f"--families: {sorted(unknown)} are not among {[*CORES, *PEERS]}")
    made = {name: globals()[f"{name}_report"] for name in REPORTS}
    results = {name: made[name]() for name in FLAGS.reports}
    write_json({"B": FLAGS.batch} | results)


if __name__ == "__main__":
    app.run(main)

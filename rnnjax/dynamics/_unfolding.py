"""The unfolded computational graph of a cell, derived from its jaxpr."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree
from rnnjax.base._arguments import check_function
from rnnjax.base._cell import check_cell
from rnnjax.base._pytrees import path_name
from rnnjax.dynamics._checks import first_of, start_of

_Kind = Literal["input", "state", "output", "target", "loss"]


class Node(NamedTuple):
    """A value in the unfolded program.

    Attributes:
      kind: input, state, output, target or loss.
      name: the name of the value, the same at every step.
      t: the step: 0 for the initial states, T + 1 for the total loss.
    """

    kind: _Kind
    name: str
    t: int


class Edge(NamedTuple):
    """A direct dependence of one value on another, with the names of the parameters involved."""

    source: Node
    target: Node
    params: tuple[str, ...]


class Graph(NamedTuple):
    """An unfolded computational graph.

    Attributes:
      nodes: in the order of computation, inputs first.
      edges: the edges between them.
      loose: for each node, the parameters that enter it independently of any other node.
    """

    nodes: list[Node]
    edges: list[Edge]
    loose: dict[Node, tuple[str, ...]]


class _Reach(NamedTuple):
    """The nodes a variable depends on, each with the parameters on the way, and parameters not yet tied to a node."""

    nodes: dict[Node, frozenset[str]] = {}  # noqa: RUF012
    loose: frozenset[str] = frozenset()


def unfold(
    cell: Cell,
    params: PyTree,
    xs: PyTree,
    loss: Callable[[Any, jax.Array], jax.Array] = lambda y, target: ((y - target) ** 2).sum(),
) -> Graph:
    """Returns the computational graph of a cell over T steps and of the sum of its losses, read from the jaxpr.

        h_t, o_t = step(h_{t-1}, x_t),  L_t = loss(o_t, y_t),  L = sum_t L_t

    A node is an input, a leaf of the carry, an output, a target or a loss. An edge from one node to another means that
    the program uses the first to compute the second. It lists the parameters that act on the first node, such as u in h
    u.

    Args:
      cell: a single-step cell.
      params: the cell's params.
      xs: inputs `[T, ...]`; only their shapes matter.
      loss: (output, target of the same shape) -> L_t.

    Example: in a vanilla network, u connects the previous state to the new one; w and b connect the input.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell, xs = rnnjax.vanilla(4), jnp.ones((2, 3))
      >>> for source, target, by in unfold(cell, cell.init(jax.random.key(0), xs[0]), xs).edges[:3]:
      ...     print(source.name, source.t, "->", target.name, target.t, by)
      x 1 -> h 1 ('b', 'w')
      h 0 -> h 1 ('u',)
      h 1 -> o 1 ()

    Reference: Goodfellow, Bengio, Courville, Deep learning, 2016, chapter 10.
    """
    check_cell("unfold", cell)
    check_function("unfold: loss", loss)
    _, start = start_of("unfold", cell, params, first_of("unfold", xs), None)
    tau = len(jax.tree.leaves(xs)[0])
    y = jax.eval_shape(lambda p: cell.step(cell.weights(p), start, jax.tree.map(lambda a: a[0], xs), None)[1], params)
    targets = [jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), y)] * tau

    def program(params: PyTree, carry: PyTree, xs: PyTree, targets: PyTree) -> list[Any]:
        weights, out, total = cell.weights(params), [], None
        for x, target in zip(xs, targets):
            carry, y = cell.step(weights, carry, x, None)
            step_loss = sum(jax.tree.leaves(jax.tree.map(loss, y, target)))
            total = step_loss if total is None else total + step_loss
            out.append((carry, y, step_loss))
        return [*out, total]

    steps = [jax.tree.map(lambda a, t=t: a[t], xs) for t in range(tau)]
    traced = jax.make_jaxpr(program)(params, start, steps, targets).jaxpr
    states = _distinct([_ending(p, "h") for p in _paths(start)])
    initial = [(Node("state", n, 0)) for n in states]
    inputs = [Node("input", n, t + 1) for t in range(tau) for n in _names("x", steps[0])]
    goals = [Node("target", n, t + 1) for t in range(tau) for n in _names("y", y)]
    groups: list[tuple[_Kind, list[str]]] = [("state", states), ("output", _names("o", y)), ("loss", ["L"])]
    results = [Node(kind, name, t + 1) for t in range(tau) for kind, some in groups for name in some]
    weights = _distinct([_ending(p, "w") for p in _paths(params)])
    reach = [
        *(_Reach(loose=frozenset([w])) for w in weights),
        *(_Reach({n: frozenset()}) for n in initial + inputs + goals),
    ]
    return _followed(traced, reach, initial + inputs + goals, [*results, Node("loss", "L", tau + 1)])


def _paths(tree: PyTree) -> list[Any]:
    """Returns the paths of the leaves."""
    return [path for path, _ in jax.tree.leaves_with_path(tree)]


def _ending(path: Any, otherwise: str) -> str:
    """Returns the last part of a path that is a name."""
    parts = [part for part in path_name(path).split("/") if part and not part.isdecimal()]
    return parts[-1] if parts else otherwise


def _names(letter: str, tree: PyTree) -> list[str]:
    """Returns a name for each leaf."""
    return _distinct([letter for _ in jax.tree.leaves(tree)])


def _distinct(names: list[str]) -> list[str]:
    """Returns the names, numbering those that occur more than once."""
    counts, seen = Counter(names), Counter[str]()
    out = []
    for name in names:
        seen[name] += 1
        out.append(f"{name}{seen[name]}" if counts[name] > 1 else name)
    return out


def _followed(jaxpr: Any, reach: list[_Reach], given: list[Node], results: list[Node]) -> Graph:
    """Returns the graph of a program, given what its inputs depend on and which nodes its outputs are."""
    known = dict(zip(jaxpr.invars, reach))
    wanted: dict[Any, list[Node]] = {}
    for var, node in zip(jaxpr.outvars, results):
        wanted.setdefault(id(var), []).append(node)
    graph = Graph(list(given), [], {})

    def mark(var: Any, found: _Reach) -> _Reach:
        for node in wanted.get(id(var), ()):
            graph.nodes.append(node)
            graph.edges.extend(Edge(source, node, tuple(sorted(by))) for source, by in found.nodes.items())
            if found.loose:
                graph.loose[node] = tuple(sorted(found.loose))
            found = _Reach({node: frozenset()})
        return found

    for var in {id(v): v for v in jaxpr.outvars if v in known}.values():  # outputs that are unchanged inputs
        known[var] = mark(var, known[var])
    _walk(jaxpr, known, mark)
    return graph


def _walk(jaxpr: Any, known: dict[Any, _Reach], mark: Callable[[Any, _Reach], _Reach]) -> None:
    """Computes what each variable depends on, descending into called programs."""
    for eqn in jaxpr.eqns:
        operands = [_Reach() if hasattr(v, "val") else known.get(v, _Reach()) for v in eqn.invars]
        called = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr")) if eqn.primitive.name in _CALLS else None
        called = getattr(called, "jaxpr", called)
        if called is not None and len(called.invars) == len(operands):
            inside = dict(zip(called.invars, operands))
            _walk(called, inside, lambda var, reach: reach)
            results = [_Reach() if hasattr(v, "val") else inside.get(v, _Reach()) for v in called.outvars]
        else:
            results = [_joined(operands)] * len(eqn.outvars)
        for var, reach in zip(eqn.outvars, results):
            known[var] = mark(var, reach)


_CALLS = ("pjit", "jit", "custom_jvp_call", "custom_vjp_call", "closed_call", "core_call")


def _joined(operands: Iterable[_Reach]) -> _Reach:
    """Combines the dependences of the operands; parameters not yet tied to a node join the nodes of the others."""
    nodes: dict[Node, frozenset[str]] = {}
    loose = frozenset[str]().union(*(r.loose for r in operands))
    for r in operands:
        for node, by in r.nodes.items():
            nodes[node] = nodes.get(node, frozenset()) | by | loose
    return _Reach(nodes, frozenset() if nodes else loose)

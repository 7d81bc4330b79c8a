"""Laws of the unfolded graph: it has the edges that the program has, and those alone."""

import jax
import jax.numpy as jnp
import numpy as np
from _helpers import draw

import rnnjax
from rnnjax.dynamics import Graph, unfold
from rnnjax.plotting import draw_unfolded
from rnnjax.plotting._graph import layout, symbol


def unfolded(cell, steps=3):
    """The graph of a cell on three numbers a step."""
    xs = draw((steps, 3))
    return unfold(cell, cell.init(jax.random.key(0), xs[0]), xs)


def said(graph: Graph):
    """Edges as text."""
    return {(f"{a.name}{a.t}", f"{b.name}{b.t}", by) for a, b, by in graph.edges}


def test_the_graph_of_a_vanilla_network_is_that_of_the_lectures():
    graph = unfolded(rnnjax.stack(rnnjax.vanilla(4), rnnjax.linear(2)))
    want = {(f"L{t}", "L4", ()) for t in (1, 2, 3)}
    for t in (1, 2, 3):
        want |= {
            (f"x{t}", f"h{t}", ("b1", "w1")),
            (f"h{t - 1}", f"h{t}", ("u",)),
            (f"h{t}", f"o{t}", ("b2", "w2")),
            (f"o{t}", f"L{t}", ()),
            (f"y{t}", f"L{t}", ()),
        }
    assert said(graph) == want and not graph.loose


def test_there_is_a_way_wherever_a_derivative_is_not_zero_and_nowhere_else():
    cell, x = rnnjax.stack(rnnjax.lstm(3), rnnjax.gru(2)), draw((2,))
    params = cell.init(jax.random.key(0), x)
    carry = jax.tree.map(lambda a: a + 0.5, cell.initial_carry(params, x))
    flat, back = jax.flatten_util.ravel_pytree(carry)
    step = jax.jit(jax.jacrev(lambda h: jax.flatten_util.ravel_pytree(cell.step(params, back(h), x)[0])[0]))
    parts = {"c": slice(0, 3), "h1": slice(3, 6), "h2": slice(6, 8)}
    jacobian, ways = np.asarray(step(flat)), {(a, b) for a, b, _ in said(unfold(cell, params, x[None]))}
    for _ in range(4):
        ways |= {(a, d) for a, b in ways for c, d in ways if b == c}
    for a, at in parts.items():
        for b, to in parts.items():
            assert (abs(jacobian[to, at]).max() > 1e-6) == ((f"{a}0", f"{b}1") in ways), (a, b)


def test_what_is_handed_on_as_it_came_and_what_no_input_made():
    def step(w, h, x, key=None):
        return x, (h, jnp.tanh(w["b"]))

    cell = rnnjax.Cell(lambda key, x: {"b": jnp.ones(2)}, lambda w, x: jnp.zeros(3), step)
    graph = unfolded(cell, 2)
    assert {("x1", "h1", ()), ("h0", "o11", ()), ("h1", "o12", ())} <= said(graph)
    assert {(n.name, by) for n, by in graph.loose.items()} == {("o2", ("b",))}


def test_a_program_that_a_step_calls_is_followed_into():
    def step(w, h, x, key=None):
        return jax.jit(lambda h, x: (2 * x, jax.nn.relu(h)))(h, x)

    graph = unfolded(rnnjax.Cell(lambda key, x: (), lambda w, x: jnp.zeros(3), step), 1)
    assert {e for e in said(graph) if e[1] in ("h1", "o1")} == {("x1", "h1", ()), ("h0", "o1", ())}


def test_nodes_of_a_picture_do_not_overlap_and_time_runs_to_the_right():
    for cell in (rnnjax.vanilla(2), rnnjax.stack(rnnjax.lstm(2), rnnjax.urnn(2)), rnnjax.lstm(2)):
        graph = unfolded(rnnjax.stack(cell, rnnjax.linear(1)))
        places = layout(graph)
        spots = np.array(list(places.values()))
        gaps = np.linalg.norm(spots[:, None] - spots[None], axis=-1) + 9 * np.eye(len(spots))
        assert gaps.min() > 1 and len(spots) == len(graph.nodes)
        for a, b, _ in graph.edges:
            (ax, ay), (bx, by) = places[a], places[b]
            assert ax < bx or a.t == b.t or b.t == 4
            assert ay < by or ax != bx
        arrows = sum(p.__class__.__name__ == "FancyArrowPatch" for p in draw_unfolded(graph).axes[0].patches)
        assert arrows == len(graph.edges)


def test_a_name_becomes_a_letter_with_its_layer_above_and_its_step_below():
    assert symbol("h2", "3") == "$h^{(2)}_{3}$" and symbol("theta") == r"$\mathrm{theta}$"

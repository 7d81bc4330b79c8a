"""Law: a forest in one program is its trees by recursion by hand."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import KEY, close, draw, loss, moved

import rnnjax
from rnnjax import trees
from rnnjax.trees._packing import registers, schedule

H, D = 3, 2


def sigmoid(x):
    return 1 / (1 + jnp.exp(-x))


def recnn_by_hand(p, tree, xs, node):
    """The state of a node, by recursion."""
    if not tree.children[node]:
        return xs[tree.words[node]] @ p["w"]
    a, b = (recnn_by_hand(p, tree, xs, child) for child in tree.children[node])
    return jnp.tanh(a @ p["u"][0] + b @ p["u"][1] + p["b"])


def rntn_by_hand(p, tree, xs, node):
    if not tree.children[node]:
        return xs[tree.words[node]] @ p["w"]
    a, b = (rntn_by_hand(p, tree, xs, child) for child in tree.children[node])
    g = jnp.concatenate([a, b])
    products = jnp.stack([(jnp.outer(g, g) * t).sum() for t in p["t"]]) / (2 * H)
    return jnp.tanh(products + g @ jnp.concatenate([*p["u"]]) + p["b"])


def gates(z, names):
    return {name: z[i * H : (i + 1) * H] for i, name in enumerate(names)}


def leaf_by_hand(p, x, b):
    z = gates(x @ p["w"], "igo")
    c = sigmoid(z["i"] + b["i"]) * jnp.tanh(z["g"] + b["g"])
    return c, sigmoid(z["o"] + b["o"]) * jnp.tanh(c)


def tree_lstm_by_hand(p, tree, xs, node):
    if not tree.children[node]:
        return leaf_by_hand(p, xs[tree.words[node]], gates(p["b"], "ilrgo"))
    (c0, h0), (c1, h1) = (tree_lstm_by_hand(p, tree, xs, child) for child in tree.children[node])
    z = gates(h0 @ p["u"][0] + h1 @ p["u"][1] + p["b"], "ilrgo")
    c = sigmoid(z["l"] + 0.5) * c0 + sigmoid(z["r"] + 0.5) * c1 + sigmoid(z["i"]) * jnp.tanh(z["g"])
    return c, sigmoid(z["o"]) * jnp.tanh(c)


def child_sum_by_hand(p, tree, xs, node):
    if not tree.children[node]:
        return leaf_by_hand(p, xs[tree.words[node]], gates(p["b"], "ifgo"))
    below = [child_sum_by_hand(p, tree, xs, child) for child in tree.children[node]]
    z = gates(sum(h for _, h in below) @ p["u"] + p["b"], "ifgo")
    forget = [sigmoid(gates(h @ p["u"] + p["b"], "ifgo")["f"] + 0.5) for _, h in below]
    c = sum(f * c for f, (c, _) in zip(forget, below)) + sigmoid(z["i"]) * jnp.tanh(z["g"])
    return c, sigmoid(z["o"]) * jnp.tanh(c)


CELLS = {
    "recnn": (trees.recnn(H), recnn_by_hand, 2),
    "rntn": (trees.rntn(H), rntn_by_hand, 2),
    "tree_lstm": (trees.tree_lstm(H, 0.5), tree_lstm_by_hand, 2),
    "child_sum": (trees.child_sum(H, 0.5), child_sum_by_hand, 4),
}
WORDS = "abcdefg"


def wood(arity, n=5, seed=0):
    """Random trees of up to 7 leaves with random labels, one of a single leaf among them."""
    rng = np.random.default_rng(seed)
    some = [1, *rng.integers(2, 8, n - 1)]
    return [
        trees.shaped(WORDS[:size], trees.at_random(rng, arity), lambda: ["", "0", "1", "2"][rng.integers(4)])
        for size in some
    ]


def features(dtype=jnp.float32):
    return dict(zip(WORDS, draw((len(WORDS), D), dtype)))


def packed(groups, xs, **options):
    """Forests with features at their leaves, nan where there is no leaf."""
    words = {word: i for i, word in enumerate(WORDS, 1)}
    batch = trees.pack(groups, words, {"0": 0, "1": 1, "2": 2}, **options)
    table = jnp.stack([jnp.full(D, jnp.nan, xs["a"].dtype), *xs.values()])
    return batch._replace(x=batch.x._replace(leaves=table[batch.x.leaves]))


def at(forest, i=0):
    return jax.tree.map(lambda a: jnp.asarray(a)[i], forest)


@pytest.mark.parametrize(
    "name", ["tree_lstm", "child_sum", *(pytest.param(n, marks=pytest.mark.slow) for n in ("recnn", "rntn"))]
)
def test_a_forest_equals_recursion_by_hand(name, x64):
    tree_cell, by_hand, arity = CELLS[name]
    wanted, xs = wood(arity, 3), features(jnp.float64)
    forest = at(packed([wanted], xs, size=trees.Size(24, 16, 3, arity, 5, 9)).x)  # with room left, where x is nan
    cell = trees.fold_forest(tree_cell)
    params = moved(cell.init(KEY, forest))

    def in_one(params):
        ys = rnnjax.run(cell, params, forest)[1]
        return loss([ys[root] for root in forest.roots[: len(wanted)]])

    def recursively(params):
        states = [by_hand(params, tree, xs, len(tree.words) - 1) for tree in wanted]
        return loss([state[1] if isinstance(state, tuple) else state for state in states])

    got, want = (jax.jit(jax.value_and_grad(f))(params) for f in (in_one, recursively))
    close(got, want, 1e-10, 1e-10)

    direction = moved(params, 1.0, seed=5)
    slope = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(got[1]), jax.tree.leaves(direction)))
    ends = [jax.jit(in_one)(jax.tree.map(lambda p, d, e=e: p + e * d, params, direction)) for e in (1e-5, -1e-5)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-6)


def states(cell, params, batch):
    return jax.jit(jax.vmap(lambda forest: rnnjax.run(cell, params, forest)[1]))(batch.x)


@pytest.mark.parametrize("name", ["child_sum", pytest.param("recnn", marks=pytest.mark.slow)])
def test_trees_together_equal_one_at_a_time(name):
    tree_cell, _, arity = CELLS[name]
    all_trees, xs = wood(arity, 12), features()
    cell = trees.fold_forest(tree_cell)
    singles = packed([[tree] for tree in all_trees], xs)
    params = moved(cell.init(KEY, at(singles.x)))
    ys = states(cell, params, singles)
    want = jnp.stack([y[root] for y, root in zip(ys, singles.x.roots[:, 0])])
    for groups, width in (([all_trees], None), ([all_trees[:5], all_trees[5:]], 2)):
        batch = packed(groups, xs, width=width)
        ys = states(cell, params, batch)
        assert (ys != 0).any(-1).sum() == sum(len(tree.words) for tree in all_trees)  # zero where there is no node
        got = jnp.concatenate([y[roots[roots >= 0]] for y, roots in zip(ys, batch.x.roots)])
        close(got, want, atol=1e-5)


def test_a_pass_over_trees_of_one_size_compiles_once():
    cell = trees.fold_forest(trees.recnn(H))
    batches = [packed([wood(2, 6, seed)], features(), size=trees.Size(48, 24, 4, 2, 6, 12)) for seed in range(3)]
    assert len({batch.x.children.tobytes() for batch in batches}) == 3
    params = cell.init(KEY, at(batches[0].x))

    @jax.jit
    @chex.assert_max_traces(1)
    def total(forest):
        return rnnjax.run(cell, params, forest)[1].sum()

    assert len({float(total(at(batch.x))) for batch in batches}) == 3
    with pytest.raises(ValueError, match="do not fit"):
        packed([wood(2, 6)], features(), size=trees.Size(48, 2, 4, 2, 6, 12))


def test_rows_are_as_few_as_levels_allow_and_hold_no_parent_beside_its_child():
    several = wood(3, 9)
    for width in (100, 1, 3):
        rows = schedule(several, width)
        row_of = {node: r for r, row in enumerate(rows) for node in row}
        inner = [(t, i) for t, tree in enumerate(several) for i, below in enumerate(tree.children) if below]
        assert sorted(row_of) == inner and max(map(len, rows)) <= width
        for t, i in inner:
            below = [row_of[t, child] for child in several[t].children[i] if (t, child) in row_of]
            assert all(row < row_of[t, i] for row in below)
        fewest = {100: max(map(height, several)), 1: len(inner)}.get(width, -(-len(inner) // 3))
        assert len(rows) == fewest


def height(tree):
    heights = []
    for below in tree.children:
        heights.append(1 + max(heights[c] for c in below) if below else 0)
    return heights[-1]


def test_no_register_is_given_away_before_the_parent_has_read_it():
    several = wood(4, 12)
    for width in (1, 3, 100):
        rows = schedule(several, width)
        kept = registers(several, rows)
        holds: dict[int, tuple[int, int]] = {}
        for row, taken in zip(rows, kept):
            for t, i in row:
                inner = [(t, child) for child in several[t].children[i] if several[t].children[child]]
                assert set(inner) <= set(holds.values())
                holds = {register: node for register, node in holds.items() if node not in inner}
            for register, j in enumerate(taken):
                assert j < 0 or register not in holds
                if j >= 0:
                    holds[register] = tuple(row[j])
        assert not holds


def test_labels_are_where_their_nodes_are():
    several = wood(3, 6)
    batch = trees.pack([several[:2], several[2:]], {}, {"0": 0, "1": 1, "2": 2})
    labels = [label for tree in several for label in tree.labels if label]
    assert sorted(batch.y[batch.mask]) == sorted(map(int, labels))
    roots = [trees.at_roots(draw((*batch.y.shape[1:], 3)), at(batch, i))[1] for i in range(2)]
    got = [str(y) if ok else "" for part in roots for y, ok in zip(part.y, part.mask)]
    assert [g for g in got if g] == [tree.labels[-1] for tree in several if tree.labels[-1]]
    only = trees.pack([several], {}, {"1": 0})
    assert only.mask.sum() == labels.count("1")


def test_a_sequence_reads_each_sentence_anew_and_answers_at_its_root():
    several, xs = wood(2, 4), features()
    batch = packed([several], xs)
    gru = rnnjax.gru(H)
    cell = trees.in_reading_order(gru)
    params = moved(cell.init(KEY, at(batch.x)))
    ys = states(cell, params, batch)[0]
    alone = [jnp.stack([xs[word] for word in tree.sentence()]) for tree in several]
    want = jnp.stack([rnnjax.run(rnnjax.unroll(gru), params, x)[1][-1] for x in alone])
    close(ys[batch.x.roots[0]], want)
    assert (np.delete(ys, batch.x.roots[0], axis=0) == 0).all()


def test_wrappers_of_weights_take_a_tree_cell():
    forest = at(packed([wood(2)], features()).x)
    plain = trees.fold_forest(trees.recnn(H))
    params = moved(plain.init(KEY, forest))
    tied = trees.fold_forest(rnnjax.parametrize(trees.recnn(H), u=lambda u: (u + u[::-1]) / 2))
    same = {**params, "u": (params["u"] + params["u"][::-1]) / 2}
    close(rnnjax.run(tied, params, forest), rnnjax.run(plain, same, forest))
    noisy = trees.fold_forest(rnnjax.dropconnect(trees.recnn(H), 0.5))
    assert (rnnjax.run(noisy, params, forest, key=KEY)[1] != rnnjax.run(noisy, params, forest)[1]).any()


def test_a_cell_at_the_nodes_acts_on_what_each_shows(x64):
    tree, xs = wood(2, 5)[3], features(jnp.float64)
    forest = at(packed([[tree]], xs).x)
    normed = trees.at_nodes(trees.tree_lstm(H, 0.5), rnnjax.layer_norm())
    params = moved(trees.fold_forest(normed).init(KEY, forest))

    def norm(h):
        return (h - h.mean()) / jnp.sqrt(h.var() + 1e-5) * params["cell"]["gain"] + params["cell"]["bias"]

    def by_hand(node):
        if not tree.children[node]:
            x, b = xs[tree.words[node]], gates(params["tree"]["b"], "ilrgo")
            c, h = leaf_by_hand(params["tree"], x, b)
            return c, norm(h)
        (c0, h0), (c1, h1) = (by_hand(child) for child in tree.children[node])
        z = gates(jnp.concatenate([h0, h1]) @ params["tree"]["u"].reshape(2 * H, -1) + params["tree"]["b"], "ilrgo")
        c = sigmoid(z["l"] + 0.5) * c0 + sigmoid(z["r"] + 0.5) * c1 + sigmoid(z["i"]) * jnp.tanh(z["g"])
        return c, norm(sigmoid(z["o"]) * jnp.tanh(c))

    got = jax.jit(lambda p: rnnjax.run(trees.fold_forest(normed), p, forest)[1])(params)[forest.roots[0]]
    close(got, by_hand(len(tree.words) - 1)[1], 1e-12, 1e-12)
    with pytest.raises(ValueError, match="without memory"):
        trees.at_nodes(trees.recnn(H), rnnjax.gru(H)).init(KEY, jnp.ones(D))
    with pytest.raises(ValueError, match="to the same"):
        trees.at_nodes(trees.recnn(H), rnnjax.linear(H + 1)).init(KEY, jnp.ones(D))


def test_dropout_at_the_nodes_is_another_at_each_and_off_without_a_key():
    forest = at(packed([wood(2)], features()).x)
    plain = trees.fold_forest(trees.tree_lstm(H))
    params = moved(plain.init(KEY, forest))
    dropped = trees.fold_forest(trees.at_nodes(trees.tree_lstm(H), rnnjax.dropout(0.5)))
    both = {"tree": params, "cell": ()}
    run = jax.jit(lambda p, key: rnnjax.run(dropped, p, forest, key=key)[1])
    ys, want = run(both, None), rnnjax.run(plain, params, forest)[1]
    close(ys, want)
    there = (want != 0).all(-1)
    masks = np.stack([np.asarray(run(both, key) != 0)[there] for key in jax.random.split(KEY, 20)])
    assert abs(masks.mean() - 0.5) < 4 * 0.5 / np.sqrt(masks.size)
    assert len({mask.tobytes() for mask in masks[0]}) > 2 and (masks.mean(0) < 1).all() and (masks.mean(0) > 0).all()


def test_nodes_of_three_children_are_refused_by_cells_for_two():
    forest = at(packed([trees.parse_trees("((a) (b) (c))")], features()).x)
    for tree_cell in (trees.recnn(H), trees.rntn(H), trees.tree_lstm(H)):
        cell = trees.fold_forest(tree_cell)
        with pytest.raises(ValueError, match="joins two children"):
            jax.eval_shape(lambda f, c=cell: rnnjax.run(c, c.init(KEY, f), f), forest)

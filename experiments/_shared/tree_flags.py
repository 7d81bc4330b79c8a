"""Flags and cells for the experiments on trees."""

from collections.abc import Callable, Mapping

from absl import flags

from rnnjax import app, trees
from rnnjax.app import make_from
from rnnjax.base import UserError

TREE_CELLS: Mapping[str, Callable[[int], trees.TreeCell]] = {
    "tree_lstm": trees.tree_lstm,
    "recnn": trees.recnn,
    "rntn": trees.rntn,
    "child_sum": trees.child_sum,
}


def packed_flag(flag_values: flags.FlagValues) -> None:
    """Defines `--packed`."""
    flags.DEFINE_integer(
        "packed", 8, "Trees per forest; a batch has batch_size / packed forests.", 1, flag_values=flag_values
    )


def forests_a_batch(config: app.Config) -> int:
    """Returns the number of forests per batch."""
    if config.batch_size % config.packed:
        raise UserError(f"--batch_size={config.batch_size} is not a multiple of --packed={config.packed}")
    return int(config.batch_size // config.packed)


def at_node(config: app.Config, cells: Mapping[str, Callable[[int], trees.TreeCell]]) -> trees.TreeCell:
    """Returns the tree cell that `--cell` names."""
    if config.num_layers > 1:
        raise UserError(f"--cell={config.cell} is one layer: it takes no --num_layers")
    if config.block != "plain":
        raise UserError(f"--cell={config.cell} is a cell of trees: it takes no --block")
    return make_from(cells, trees.TreeCell, config.cell, config.hidden_size, config.cell_arguments())


def noisy(config: app.Config, tree: trees.TreeCell) -> trees.TreeCell:
    """Applies `--dropout` to the visible states of the nodes."""
    for drop in config.noise():
        tree = trees.at_nodes(tree, drop)
    return tree

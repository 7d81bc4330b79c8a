"""Recursive networks: trees in and out of brackets, cells that act on nodes, and the fold that runs forests of them."""

from rnnjax.data.streams import in_order, shuffled
from rnnjax.trees.brackets import Tree, at_random, balanced, chain, delinearise, linearise, parse, read, shaped, write
from rnnjax.trees.cells import TreeCell, child_sum, recnn, rntn, tree_lstm
from rnnjax.trees.expressions import ARITHMETIC, LISTOPS, binarised, bracketed, expression, valued
from rnnjax.trees.forests import at_leaves, at_roots, in_reading_order, upward
from rnnjax.trees.jets import Jet, jet
from rnnjax.trees.packing import Forest, Size, pack, rounded, vocabulary
from rnnjax.trees.streams import dealt
from rnnjax.trees.transforms import at_nodes

__all__ = [
    "ARITHMETIC",
    "LISTOPS",
    "Forest",
    "Jet",
    "Size",
    "Tree",
    "TreeCell",
    "at_leaves",
    "at_nodes",
    "at_random",
    "at_roots",
    "balanced",
    "binarised",
    "bracketed",
    "chain",
    "child_sum",
    "dealt",
    "delinearise",
    "expression",
    "in_order",
    "in_reading_order",
    "jet",
    "linearise",
    "pack",
    "parse",
    "read",
    "recnn",
    "rntn",
    "rounded",
    "shaped",
    "shuffled",
    "tree_lstm",
    "upward",
    "valued",
    "vocabulary",
    "write",
]

"""Recursive networks: tree cells, packed forests and tree generators.

Belongs here: networks and data with the structure of a tree. Does not belong here: sequences.
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.trees._brackets import (
    Tree,
    at_random,
    balanced,
    chain,
    delinearise,
    linearise,
    parse_trees,
    read_trees,
    shaped,
    to_brackets,
)
from rnnjax.trees._cells import TreeCell, child_sum, recnn, rntn, tree_lstm
from rnnjax.trees._expressions import ARITHMETIC, LISTOPS, binarised, bracketed, expression, with_values
from rnnjax.trees._forests import at_leaves, at_roots, fold_forest, in_reading_order
from rnnjax.trees._jets import Jet, jet
from rnnjax.trees._packing import Forest, Size, pack, rounded, vocabulary
from rnnjax.trees._streams import balanced_groups
from rnnjax.trees._transforms import at_nodes

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
    "balanced_groups",
    "binarised",
    "bracketed",
    "chain",
    "child_sum",
    "delinearise",
    "expression",
    "fold_forest",
    "in_reading_order",
    "jet",
    "linearise",
    "pack",
    "parse_trees",
    "read_trees",
    "recnn",
    "rntn",
    "rounded",
    "shaped",
    "to_brackets",
    "tree_lstm",
    "vocabulary",
    "with_values",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)

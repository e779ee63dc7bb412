"""A forest whose leaf lost its training items."""

import numpy as np

from musicbert.evaluation.baselines.committee import Forest


def test_a_tree_whose_leaf_is_empty_is_left_out():
    forest = Forest(
        starts=np.array([0, 3], np.int32),
        feature=np.array([0, -1, -1, 0, -1, -1], np.int16),
        threshold=np.array([0.5, 0, 0, 0.5, 0, 0], np.float32),
        right=np.array([2, 0, 0, 2, 0, 0], np.uint16),
        leaf_of=np.array([[1, 2], [1, 1]], np.uint16),  # no item is in the right leaf of the second tree
        weight=np.ones(2, np.float32),
        values=np.array([[1.0], [3.0]], np.float32),
    )
    assert forest.predict(np.array([[0.0], [1.0]])).ravel().tolist() == [1.5, 3.0]

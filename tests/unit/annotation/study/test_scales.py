"""Dimensions on scales of their own, and scales that are mixed without a word."""

import numpy as np
import pytest

from musicbert.annotation.labels import make_labels
from musicbert.annotation.selection import LabelOptions
from tests.unit.annotation.study.test_read import COLUMNS, refused


def scales(top, number=40, share=0.2):
    """Rows of two dimensions: one over 1..9, one that ends at ``top``, a ``share`` of its ratings."""
    often = round(number * share)
    rows = [[f"r{k}", "x", 1 + k % 9, top if k < often else 1 + k % (top - 1)] for k in range(number)]
    return [["rater", "file", "q1", "q2"], *rows]


@pytest.mark.parametrize(("top", "scale"), [(7, (1, 9)), (5, (1, 9)), (3, (0, 9))])
def test_a_dimension_on_another_scale_is_refused(study, top, scale):
    read = lambda **options: study(scales(top), **COLUMNS, scale=scale, **options)  # noqa: E731
    refused(read, "mixed-scales", "'q2'", f"1 to {top}", "--dimensions")
    stated = f"- {{column: q1}}\n- {{column: q2, lowest: 1, highest: {top}, reversed: yes}}\n"
    table = read(dimensions=stated)
    assert f"q2: its scale, 1 to {top}, is put on {scale[0]} to {scale[1]}" in table.notes
    labels, _ = make_labels(table, LabelOptions(label="mean", zeros="cell"))
    given = np.array([row[3] for row in scales(top)[1:]])
    np.testing.assert_allclose(labels.values[0, 1], np.mean((top - given) / (top - 1)))


def test_a_dimension_that_rarely_reaches_the_end_is_not_refused(study):
    assert study(scales(8), **COLUMNS).ratings.max() == 9
    assert study(scales(7, share=0.02), **COLUMNS).ratings.max() == 9
    assert study(scales(7, number=20), **COLUMNS).ratings.max() == 9
    unchanged = "- {column: q1}\n- {column: q2, lowest: 1, highest: 9}\n"
    np.testing.assert_array_equal(study(scales(7), **COLUMNS, dimensions=unchanged).ratings[:, 1].max(), 7)


def test_each_dimension_has_its_own_bounds(study):
    own = "- {column: q1}\n- {column: q2, lowest: 0, highest: 100}\n"
    rows = [["rater", "file", "q1", "q2"], ["a", "x", 9, 50], ["b", "x", 1, 100]]
    assert study(rows, **COLUMNS, dimensions=own).ratings[:, 1].tolist() == [5, 9]
    refused(
        lambda: study([*rows, ["c", "x", 50, 9]], **COLUMNS, dimensions=own), "out-of-range", "q1", "1..9"
    )
    refused(
        lambda: study([*rows, ["c", "x", 5, 101]], **COLUMNS, dimensions=own), "out-of-range", "q2", "0..100"
    )
    words = {"much": 9.0}
    assert study([*rows, ["c", "x", 5, "much"]], **COLUMNS, dimensions=own, answers=words).ratings[2, 1] < 2

"""Files of dimensions: names, poles, reversed items."""

import pytest

from musicbert.annotation.study.items import read_items
from musicbert.errors import MusicBertError


@pytest.mark.parametrize(
    "text",
    [
        "dimensions:\n- column: 1_1\n  name: no\n  low: off\n  high: on\n",
        "- {column: 1_1, name: no, low: off, high: on}",
    ],
)
def test_yaml_words_stay_words(tmp_path, text):
    path = tmp_path / "d.yaml"
    path.write_text(text)
    (only,) = read_items(path)
    assert (only.column, only.dimension.name, only.dimension.poles) == ("1_1", "no", "off – on")


def test_dimensions_as_a_table(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("column;name;low;high;reversed\nq1; Expressive ;stiff;expressive;x\nq2;;;fast;\n")
    first, second = read_items(path)
    assert (first.dimension.name, first.reversed, second.reversed) == ("Expressive", True, False)
    assert second.dimension.poles == "not fast – fast"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- {column: a, colour: b}", "bad-dimensions"),
        ("- {low: b}", "bad-dimensions"),
        ("a: b", "bad-dimensions"),
        ("- {column: a}\n- {column: a}", "duplicate-column"),
        ("- {column: a, reversed: perhaps}", "bad-dimensions"),
        ("- {column: a, lowest: 1}", "bad-dimensions"),
        ("- {column: a, lowest: 7, highest: 1}", "bad-dimensions"),
        ("- {column: a, lowest: one, highest: 7}", "bad-dimensions"),
        ("- {column: a, lowest: 1, highest: inf}", "bad-dimensions"),
        ("[[[", "bad-dimensions"),
        ("dimensions: [{column: a}]\nscale: [1, 9]", "bad-dimensions"),
        ("- {column: [a]}", "bad-dimensions"),
        ("- a", "bad-dimensions"),
        ("- {column: a, name: n}\n- {column: b, name: n}", "duplicate-column"),
    ],
)
def test_bad_files_of_dimensions(tmp_path, text, reason):
    path = tmp_path / "d.yaml"
    path.write_text(text)
    with pytest.raises(MusicBertError, match=f"d.yaml.*{reason}"):
        read_items(path)

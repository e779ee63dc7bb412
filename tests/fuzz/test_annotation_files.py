"""Whatever the bytes are, tables and label maps are read or refused with a reason."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musicbert.annotation.label_map import LabelMap
from musicbert.annotation.labels import LabelOptions, make_labels
from musicbert.annotation.table import read_ratings
from musicbert.errors import RatingError

HEADER = "user,dataID,filename,Question_2_1_1,Question_5_2_1,message\n"
NAME = "Schubert_D960_mv2_8bars_4_01.wav"
cells = st.sampled_from(
    ["1", "7", "0", "", "4.0", "8", "x", "-1", "nan", NAME, '"a\nb"', '"', "\x00", "1e999", " "]
)
lines = st.lists(st.lists(cells, min_size=5, max_size=7).map(",".join), max_size=6).map("\n".join)
values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
quick = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_or_refuse(read, path):
    """What was read, or ``None`` where it was refused with a reason."""
    try:
        return read(path)
    except RatingError as error:
        if not error.reason or not error.path:
            raise
        return None


def table_is_read_or_refused(path):
    options = LabelOptions(columns="Long,Soft", zeros="cell")
    made = read_or_refuse(lambda path: make_labels(read_ratings(path), options)[0], path)
    assert made is None or made.values.shape == (len(made), 2)


@quick
@given(lines)
def test_tables_of_odd_cells(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(HEADER + text, newline="")
    table_is_read_or_refused(path)


@quick
@given(st.binary(max_size=200))
def test_tables_of_odd_bytes(tmp_path, data):
    path = tmp_path / "t.csv"
    path.write_bytes(HEADER.encode() + data)
    table_is_read_or_refused(path)


@quick
@given(st.dictionaries(st.text(max_size=8) | st.just(NAME), values, max_size=4))
def test_label_maps_of_odd_json(tmp_path, content):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    made = read_or_refuse(LabelMap.load, path)
    assert made is None or len(made) == len(content)


@quick
@given(st.binary(max_size=200), st.sampled_from(["json", "csv", "parquet"]))
def test_label_maps_of_odd_bytes(tmp_path, data, suffix):
    path = tmp_path / f"labels.{suffix}"
    path.write_bytes(data)
    with pytest.raises(RatingError):
        LabelMap.load(path)


@quick
@given(st.binary(max_size=60), st.integers(0, 300))
def test_side_files_of_odd_bytes(tmp_path, data, at):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({NAME: [0.5, 0]}))
    side = json.dumps({"dimensions": [{"name": "a", "low": "b", "high": "c"}], "classes": ["4"]}).encode()
    (tmp_path / "labels.meta.json").write_bytes(side[:at] + data + side[at + len(data) :])
    made = read_or_refuse(LabelMap.load, path)
    assert made is None or made.classes

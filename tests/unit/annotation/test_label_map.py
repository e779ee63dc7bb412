import json

import numpy as np
import pytest

from musicbert.annotation.dimensions import PERCEPIANO, XAI, unnamed
from musicbert.annotation.files import meta_path
from musicbert.annotation.label_map import LabelMap
from musicbert.errors import RatingError

IDS = ("Schubert_D960_mv2_8bars_4_01", "Schubert_D960_mv2_8bars_Score_01", "Schubert_D960_mv2_8bars_4_02")


@pytest.fixture
def label_map():
    return LabelMap(
        ids=IDS,
        values=np.array([[1 / 7, 0.3, 1.0], [np.nan, 2 / 7, 0.1 + 0.2], [0.5, 1 / 3, np.nan]]),
        dimensions=XAI[:3],
        classes=("4", "Score"),
        class_of=np.array([0, 1, 0]),
        kind="mean",
        source={"file": "total.csv"},
    )


@pytest.mark.parametrize("suffix", ["json", "csv", "parquet"])
def test_round_trip_is_exact(label_map, tmp_path, suffix):
    path = tmp_path / f"labels.{suffix}"
    label_map.save(path)
    back = LabelMap.load(path)
    assert (back.ids, back.dimensions, back.classes, back.kind) == (
        label_map.ids, label_map.dimensions, label_map.classes, label_map.kind,
    )  # fmt: skip
    np.testing.assert_array_equal(back.values, label_map.values)
    np.testing.assert_array_equal(back.class_of, label_map.class_of)
    assert back.source == {"file": "total.csv"}
    assert {p.name for p in tmp_path.iterdir()} == {f"labels.{suffix}", "labels.meta.json"}
    assert back.class_of.dtype == np.int64


def test_a_side_file_is_of_this_map(label_map, tmp_path):
    label_map.save(tmp_path / "labels.json")
    rows = json.loads((tmp_path / "labels.json").read_text())
    rows.pop(IDS[2])
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    with pytest.raises(RatingError, match=r"the map has 2 segments, its side file is of one of 3"):
        LabelMap.load(tmp_path / "labels.json")
    label_map.save(tmp_path / "other.json")
    meta = json.loads(meta_path(tmp_path / "other.json").read_text())
    meta_path(tmp_path / "other.json").write_text(json.dumps(meta | {"classes": ["Score", "4"]}))
    with pytest.raises(RatingError, match=r"4_01 is of performer 4, the side file names its class Score"):
        LabelMap.load(tmp_path / "other.json")


def test_json_is_the_published_form(label_map, tmp_path):
    label_map.save(tmp_path / "labels.json")
    text = (tmp_path / "labels.json").read_text()
    assert text == json.dumps(
        {IDS[0]: [1 / 7, 0.3, 1.0, 0], IDS[1]: [None, 2 / 7, 0.1 + 0.2, 1], IDS[2]: [0.5, 1 / 3, None, 0]}
    )
    assert "NaN" not in text


def test_the_side_file_names_both_poles(label_map, tmp_path):
    label_map.save(tmp_path / "labels.json")
    meta = json.loads(meta_path(tmp_path / "labels.json").read_text())
    assert meta["dimensions"][0]["low"] == "stable beat"
    assert meta["dimensions"][0]["high"] == "unstable beat"
    assert meta["classes"] == ["4", "Score"]


def test_a_format_overrules_the_suffix_and_unknown_ones_are_refused(label_map, tmp_path):
    label_map.save(tmp_path / "labels.txt", format="json")
    assert json.loads((tmp_path / "labels.txt").read_text())
    with pytest.raises(RatingError, match="unknown-format"):
        label_map.save(tmp_path / "labels.txt")
    with pytest.raises(RatingError, match="cannot-write"):
        label_map.save(tmp_path / "none" / "labels.json")


def test_a_write_that_fails_leaves_the_old_file(label_map, tmp_path, monkeypatch):
    path = tmp_path / "labels.json"
    path.write_text("old")
    monkeypatch.setattr(
        "musicbert.annotation.files.os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(RatingError, match="cannot-write"):
        label_map.save(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["labels.json"]


def test_rows_and_subsets(label_map):
    assert label_map.row(IDS[1]) == [None, 2 / 7, 0.1 + 0.2, 1]
    assert IDS[0] in label_map
    part = label_map.subset([IDS[2], IDS[0]])
    assert part.ids == (IDS[2], IDS[0])
    assert part.row(IDS[0]) == label_map.row(IDS[0])
    assert part.classes == label_map.classes
    assert len(label_map.subset([])) == 0
    assert label_map.performers == ["4", "Score", "4"]
    with pytest.raises(KeyError):
        label_map.row("nobody")


def test_shapes_must_fit():
    with pytest.raises(ValueError, match="dimensions"):
        LabelMap(("a",), np.zeros((1, 2)), unnamed(3), ("x",), np.zeros(1, dtype=np.int64))
    with pytest.raises(ValueError, match="no name"):
        LabelMap(("a",), np.zeros((1, 2)), unnamed(2), ("x",), np.ones(1, dtype=np.int64))
    with pytest.raises(ValueError, match="twice"):
        LabelMap(("a", "a"), np.zeros((2, 2)), unnamed(2), ("x",), np.zeros(2, dtype=np.int64))


A, B = "Schubert_D960_mv2_8bars_4_01", "Schubert_D960_mv2_8bars_5_01"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty-file"),
        ("{}", "empty-map"),
        ("[1, 2]", "damaged"),
        ('{"' + A + '": [0.5, 0.5, 0', "damaged"),
        ('{"' + A + '": 3}', "damaged"),
        ('{"' + A + '": [[0.5], [0.5]]}', "damaged"),
        ("\x00\xff", "damaged"),
        ('{"' + A + '": [0.5, 0.5, 0], "' + B + '": [0.5, 1]}', "wrong-length"),
        ('{"' + A + '": [0]}', "wrong-length"),
        ('{"' + A + '": [0.5, NaN, 0]}', "not-a-number"),
        ('{"' + A + '": [0.5, "0.5", 0]}', "not-a-number"),
        ('{"' + A + '": [0.5, true, 0]}', "not-a-number"),
        ('{"' + A + '": [0.5, 1.5, 0]}', "out-of-range"),
        ('{"' + A + '": [0.5, -0.1, 0]}', "out-of-range"),
        ('{"' + A + '": [0.5, Infinity, 0]}', "out-of-range"),
        ('{"' + A + '": [0.5, 0.5, 0.5]}', "bad-class"),
        ('{"' + A + '": [0.5, 0.5, -1]}', "bad-class"),
        ('{"' + A + '": [0.5, 0.5, null]}', "bad-class"),
        ('{"' + A + '": [0.5, 0.5, 1' + 40 * "0" + "]}", "bad-class"),
        ('{"' + A + '": [1' + 400 * "0" + ", 0.5, 0]}", "out-of-range"),
        ("[" * 100_000, "damaged"),
        ('{"' + A + '": [0.5, 0], "' + A + '": [0.5, 0]}', "duplicate-id"),
        ('{"' + A + '": [0.5, 0], "' + B + '": [0.5, 0]}', "class-mismatch"),
        ('{"' + A + '": [0.5, 0], "' + A[:-1] + '2": [0.5, 1]}', "class-mismatch"),
    ],
)
def test_bad_maps(tmp_path, text, reason):
    path = tmp_path / "labels.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(RatingError) as caught:
        LabelMap.load(path)
    assert caught.value.reason == reason
    assert caught.value.path == str(path)


def test_missing_file(tmp_path):
    with pytest.raises(RatingError, match="not-found"):
        LabelMap.load(tmp_path / "labels.json")


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ("{", "damaged"),
        ('{"classes": ["4"]}', "damaged"),
        ('{"dimensions": [{"name": "a"}], "classes": ["4"]}', "damaged"),
        ('{"dimensions": [{"name": "a", "low": "l", "high": "h"}], "classes": ["4"]}', "wrong-length"),
        ('{"dimensions": [{"name": "a", "low": "l", "high": "h"}], "classes": []}', "bad-class"),
    ],
)
def test_side_files_that_do_not_fit(tmp_path, meta, reason):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({A: [0.5, 0.5, 0]}))
    meta_path(path).write_text(meta)
    with pytest.raises(RatingError) as caught:
        LabelMap.load(path)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,2\n",
        "id,performer,class,x\na,4,0,high\n",
        "id,performer,class,x\na,4,,0.5\n",
        "id,performer,class,x\na,4,0,0_1\n",
    ],
)
def test_bad_tables(tmp_path, content):
    path = tmp_path / "labels.csv"
    path.write_text(content)
    with pytest.raises(RatingError) as caught:
        LabelMap.load(path)
    assert caught.value.reason in ("damaged", "not-a-number", "bad-class")
    path = tmp_path / "labels.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(RatingError, match="damaged"):
        LabelMap.load(path)


def test_dimensions_of_maps_without_a_side_file(tmp_path):
    path = tmp_path / "labels.json"

    def load(first, width, **options):
        path.write_text(json.dumps({f"Schubert_D960_mv2_8bars_{first}_01": [0.5] * width + [0]}))
        return LabelMap.load(path, **options)

    assert load("Score", 25).dimensions[0].name == "Regular beat change"
    assert load("1", 25).dimensions[0].name == "Stable beat"
    assert load("1", 25, columns="published").dimensions[0].name == "Regular beat change"
    assert load("1", 28).dimensions == XAI
    assert load("1", 19).dimensions == PERCEPIANO
    assert load("1", 7).dimensions == unnamed(7)
    assert load("1", 7).classes == ("1",)
    with pytest.raises(RatingError, match="wrong-length"):
        load("1", 24, columns="mnskim")


def test_names_that_say_no_performer_get_numbered_classes(tmp_path):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"take one": [0.5, 0], "take two": [0.5, 2]}))
    assert LabelMap.load(path).classes == ("class 0", "class 1", "class 2")


def test_names_that_look_like_numbers_stay_as_they_are(label_map, tmp_path):
    path = tmp_path / "labels.csv"
    LabelMap(
        ids=("007", "1e3", "nan"), values=label_map.values, dimensions=label_map.dimensions,
        classes=label_map.classes, class_of=label_map.class_of,
    ).save(path)  # fmt: skip
    assert LabelMap.load(path).ids == ("007", "1e3", "nan")

"""Folds from a file."""

import json

import pytest

from musicbert.corpus.splits.fold_files import ARRAYS, read_databin_folds, read_databin_groups, read_folds
from musicbert.errors import DatasetError

IDS = [f"P_m_8bars_{performer}_{number}" for performer in (1, 2) for number in range(1, 7)]


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_lists_keep_the_order_of_the_ids(tmp_path):
    fold = {"train": IDS[5:1:-1], "valid": [IDS[1]], "test": [IDS[0], "unknown"]}
    folds = read_folds(write(tmp_path / "f.json", {"0": fold}), IDS)
    assert folds == {"0": {"train": IDS[2:6], "valid": [IDS[1]], "test": [IDS[0]]}}


def test_one_fold_and_names(tmp_path):
    one = {"train": IDS[1:], "test": IDS[:1]}
    path = write(
        tmp_path / "f.json", {"mine": one, "both": {"0": one, "1": {"train": IDS[:1], "test": IDS[1:]}}}
    )
    assert read_folds(f"{path}:mine", IDS, valid="none")["0"]["test"] == IDS[:1]
    assert read_folds(f"{path}:both", IDS, valid="none")["1"]["test"] == IDS[1:]
    assert read_folds(write(tmp_path / "g.json", one), IDS, valid="none")["0"]["train"] == IDS[1:]


def test_validation_is_carved_out_of_training_by_groups(tmp_path):
    path = write(tmp_path / "f.json", {"train": IDS[1:6] + IDS[7:], "test": [IDS[0], IDS[6]]})
    (fold,) = read_folds(path, IDS).values()
    assert fold["valid"]
    assert sorted(fold["train"] + fold["valid"]) == sorted(IDS[1:6] + IDS[7:])
    numbers = {part: {name.rpartition("_")[2] for name in names} for part, names in fold.items()}
    assert not numbers["valid"] & (numbers["train"] | numbers["test"])


def test_validation_where_training_and_test_share_every_group(tmp_path):
    (fold,) = read_folds(write(tmp_path / "f.json", {"train": IDS[:6], "test": IDS[6:]}), IDS).values()
    assert len(fold["valid"]) == 1
    assert len(fold["train"]) == 5


def test_without_validation_a_named_part_goes_back_to_training(tmp_path):
    path = write(tmp_path / "f.json", {"train": IDS[2:], "valid": [IDS[1]], "test": [IDS[0]]})
    assert read_folds(path, IDS, valid="none") == {"0": {"train": IDS[1:], "valid": [], "test": [IDS[0]]}}


def test_text_file_is_the_test_set(tmp_path):
    path = write(tmp_path / "f.test.id", f"{IDS[3]}\r\n{IDS[2]}\n")
    assert read_folds(path, IDS, valid="none")["0"]["test"] == IDS[2:4]


def test_meaning_of_the_arrays(tmp_path):
    stems = IDS[:6]
    arrays = {
        "stems": stems,
        "performer_published": [9, 0, 1, -1, -1, 9],
        "composition_strict4": [0, 1, 0, 1, 0, 1],
        "performer_cv": [0, 1, -1, -1, -1, -1],
        "segment_811": [0, 1, 2, 0, 0, 0],
        "own": [9, 0, 0, 1, 1, 1],
        "unclear": [0, 1, 0, 1, 0, 1],
        "region": [0, 1, 2, 3, 4, 5],
        "performer_id": [0, 1, 2, 3, 4, 5],
    }
    path = write(tmp_path / "f.json", arrays)
    fixed = read_folds(f"{path}:performer_published", stems)
    assert fixed["0"] == {"train": stems[2:5], "valid": [stems[1]], "test": [stems[0], stems[5]]}
    assert fixed["1"]["valid"] == [stems[2]]
    assert sorted(fixed) == ["0", "1"]
    strict = read_folds(f"{path}:composition_strict4", stems, valid="none")
    assert [strict[k]["test"] for k in ("0", "1")] == [stems[::2], stems[1::2]]
    cv = read_folds(f"{path}:performer_cv", stems, valid="none")
    assert cv == {
        "0": {"train": stems[1:], "valid": [], "test": stems[:1]},
        "1": {"train": [stems[0], *stems[2:]], "valid": [], "test": [stems[1]]},
    }
    parts = read_folds(f"{path}:segment_811", stems)
    assert parts == {"0": {"train": [stems[0], *stems[3:]], "valid": [stems[1]], "test": [stems[2]]}}
    assert read_folds(f"{path}:own", stems)["1"]["valid"] == stems[3:]
    for name in ("unclear", "none", ""):
        with pytest.raises(DatasetError) as caught:
            read_folds(f"{path}:{name}" if name else path, stems)
        assert caught.value.reason == "bad-folds"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "bad-folds"),
        ([], "bad-folds"),
        ({}, "empty-split"),
        ({"a": {"train": []}}, "bad-folds"),
        ({"0": {"train": IDS, "exam": []}}, "bad-folds"),
        ({"0": {"train": IDS, "test": "x"}}, "bad-folds"),
        ({"0": {"train": [1], "test": [2]}}, "bad-folds"),
        ({"train": IDS, "test": IDS[:1]}, "leak"),
        ({"train": ["x"], "test": ["y"]}, "empty-split"),
        ({"train": IDS, "test": []}, "empty-split"),
    ],
)
def test_bad_files(tmp_path, content, reason):
    with pytest.raises(DatasetError) as caught:
        read_folds(write(tmp_path / "f.json", content), IDS)
    assert caught.value.reason == reason


def test_missing_file(tmp_path):
    with pytest.raises(DatasetError) as caught:
        read_folds(f"{tmp_path / 'none.json'}:x", IDS)
    assert caught.value.reason == "not-found"


@pytest.mark.shared
def test_published_folds(shared):
    path = shared / "data" / "percepiano" / "folds.json"
    stems = json.loads(path.read_text())["stems"]
    sizes = {}
    for name in ARRAYS:
        folds = read_folds(f"{path}:{name}", stems)
        for fold in folds.values():
            names = [each for part in fold.values() for each in part]
            assert len(names) == len(set(names)) == 1202
            assert all(fold.values())
        sizes[name] = [len(fold["test"]) for fold in folds.values()]
    assert sizes == {
        "performer_published": [193] * 4,
        "composition_published_style": [187] * 4,
        "composition_strict4": [303, 307, 297, 295],
        "performer_cv": [193, 175, 175, 162, 175],
        "segment_811": [121],
    }
    published = read_folds(f"{path}:performer_published", stems)
    assert [len(fold["valid"]) for fold in published.values()] == [175, 175, 162, 175]


@pytest.mark.shared
def test_published_lists_of_ids(shared):
    splits = shared / "data" / "xai" / "splits"
    train = (splits / "random80_kyhs.train.id").read_text().split()
    test = (splits / "random80_kyhs.test.id").read_text().split()
    (fold,) = read_folds(splits / "random80_kyhs.test.id", train + test).values()
    assert fold["test"] == test
    assert sorted(fold["train"] + fold["valid"]) == sorted(train)


def test_folds_of_a_databin(tmp_path):
    for fold, parts in {"0": ("ab", "c", "d"), "1": ("cd", "b", "b")}.items():
        labels = tmp_path / fold / "label"
        labels.mkdir(parents=True)
        for part, ids in zip(("train", "valid", "test"), parts, strict=True):
            (labels / f"{part}.id").write_text("".join(f"{name}\n" for name in ids))
            groups = "".join(f"étude {name}\n" for name in ids)
            (labels / f"{part}.group").write_text(groups, encoding="utf-8")
    folds = read_databin_folds(tmp_path)
    assert folds["0"] == {"train": ["a", "b"], "valid": ["c"], "test": ["d"]}
    assert folds["1"] == {"train": ["c", "d"], "valid": [], "test": ["b"]}  # test served as valid
    assert read_databin_folds(tmp_path / "0") == {"0": folds["0"]}
    assert read_databin_groups(tmp_path) == {name: f"étude {name}" for name in "abcd"}
    assert set(read_databin_groups(tmp_path / "1")) == set("bcd")


def test_no_databin_is_a_clear_error(tmp_path):
    with pytest.raises(DatasetError, match="not-found"):
        read_databin_folds(tmp_path)


def test_a_list_of_misspelt_names_is_an_error(tmp_path):
    names = tmp_path / "test.id"
    names.write_text("a\nb.wav\nc.wav\n")
    with pytest.raises(DatasetError, match=r"2 of its 3 names .* b\.wav"):
        read_folds(names, ["a", "b", "c", "d"])
    names.write_text("a\nb\nx\n\n")  # a list for a larger set
    assert read_folds(names, ["a", "b", "c", "d"], valid="none")["0"]["test"] == ["a", "b"]

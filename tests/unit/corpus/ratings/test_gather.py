"""Putting labels and files together: every file has one outcome."""

import zipfile

import pytest

from musicbert.corpus.files.archive import MidiSource
from musicbert.corpus.ratings.gather import encode_members, match
from musicbert.corpus.ratings.piece import EncodeOptions
from musicbert.errors import DatasetError


def source_of(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return MidiSource(path)


def test_every_file_and_every_label_is_accounted_for(tmp_path):
    files = {
        "top/P_8bars_1_01.mid": b"1",
        "top/ P_8bars_1_02.mid": b"2",
        "top/P_8bars_score_03.MID": b"3",
        "top/P_no.3_8bars_1_04.mid": b"4",
        "top/P_8bars_1_05.mid": b"5",
        "top/P_8bars_1_05(1).mid": b"5",
        "top/P_8bars_1_05(2).mid": b"other",
        "top/other.mid": b"6",
        "again/P_8bars_1_01.mid": b"1",
        "inner.zip": b"",
    }
    ids = ["P_8bars_Score_03", "P_8bars_1_01", "P_8bars_1_02", "P_no.3_8bars_1_04", "P_8bars_1_99"]
    with source_of(tmp_path / "x.zip", files) as source:
        result = match(ids, source)
    assert [(name, member.path) for name, member in result.members] == [
        ("P_8bars_Score_03", "top/P_8bars_score_03.MID"),
        ("P_8bars_1_01", "again/P_8bars_1_01.mid"),
        ("P_8bars_1_02", "top/ P_8bars_1_02.mid"),
        ("P_no.3_8bars_1_04", "top/P_no.3_8bars_1_04.mid"),
    ]
    assert [(each.name, each.outcome, each.copy_of) for each in result.outcomes] == [
        ("P_8bars_1_99", "no-midi", None),
        ("P_8bars_1_01", "duplicate-name", "again/P_8bars_1_01.mid"),
        ("P_8bars_1_05", "no-label", None),
        ("P_8bars_1_05(1)", "no-label", "P_8bars_1_05"),
        ("P_8bars_1_05(2)", "no-label", None),
        ("other", "no-label", None),
        ("inner.zip", "nested-archive", None),
    ]
    assert len(result.members) + sum(each.path is not None for each in result.outcomes) == len(files)


def test_two_different_files_of_one_name(tmp_path):
    with source_of(tmp_path / "x.zip", {"a/x.mid": b"1", "b/x.mid": b"2", "y.mid": b""}) as source:
        with pytest.raises(DatasetError, match=r"a/x\.mid and b/x\.mid") as caught:
            match(["x", "y"], source)
        assert caught.value.reason == "ambiguous-name"
        assert len(match(["y"], source).outcomes) == 2, "nobody asks for x: both are without label"


def test_names_that_match_nothing(tmp_path):
    with source_of(tmp_path / "x.zip", {"b.mid": b""}) as source, pytest.raises(DatasetError) as caught:
        match(["a"], source)
    assert caught.value.reason == "no-match"
    assert "'a'" in str(caught.value)
    assert "'b'" in str(caught.value)


def test_a_damaged_file_is_an_outcome_and_the_others_go_on(tmp_path):
    source_of(tmp_path / "x.zip", {"a.mid": b"AAAA", "b.mid": b"no midi"}).close()
    (tmp_path / "x.zip").write_bytes((tmp_path / "x.zip").read_bytes().replace(b"AAAA", b"AAAB"))
    with MidiSource(tmp_path / "x.zip") as source:
        members = match(["b", "a"], source).members
        for workers in (1, 2):
            encoded = encode_members(source, members, EncodeOptions(), workers=workers)
            assert [(outcome.name, outcome.outcome) for outcome, _ in encoded] == [
                ("b", "unreadable"),
                ("a", "bad-checksum"),
            ]

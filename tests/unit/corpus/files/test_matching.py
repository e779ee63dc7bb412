"""Putting labels and files together: every file and every label has one outcome."""

import re
import unicodedata
import zipfile

import pytest

from musicbert.corpus.files.archive import MidiSource
from musicbert.corpus.files.matching import match
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
    assert "'b.mid'" in str(caught.value)


@pytest.mark.parametrize(
    ("names", "files", "expected"),
    [
        (["a.mid", "a"], ["a.mid"], {"a.mid": "a.mid", "a": "duplicate-name"}),
        (["a.wav", "b.KAR"], ["a.mid", "b.kar"], {"a.wav": "a.mid", "b.KAR": "b.kar"}),
        (["c"], ["c.smf"], {"c": "c.smf"}),
        (["a.kar"], ["a.mid", "a.kar"], {"a.kar": "a.kar"}),
        (["a", "z"], ["a.mid", "a.kar", "z.mid"], {"a": "ambiguous-name", "z": "z.mid"}),
        (["a", "old/a"], ["a.mid", "old/a.mid"], {"a": "a.mid", "old/a": "old/a.mid"}),
        (["sub/a"], ["top/sub/a.mid", "top/a.mid"], {"sub/a": "top/sub/a.mid"}),
        (["sub\\a", "./b", " c "], ["sub/a.mid", "b.mid", "x/ c.mid"],
         {"sub\\a": "sub/a.mid", "./b": "b.mid", " c ": "x/ c.mid"}),
        (["elsewhere/a"], ["sub/a.mid"], {"elsewhere/a": "sub/a.mid"}),
        (["x/a", "y/a", "b"], ["a.mid", "b.mid"], {"x/a": "no-midi", "y/a": "no-midi", "b": "b.mid"}),
        (["a", "sub/a"], ["sub/a.mid"], {"a": "no-midi", "sub/a": "sub/a.mid"}),
        (["a.wav"], ["a.wav.mid", "a.mid"], {"a.wav": "a.wav.mid"}),
        (["https://here/x/a.wav"], ["a.mid"], {"https://here/x/a.wav": "a.mid"}),
        (["D935_no.3", "D935_no"], ["D935_no.3.mid"], {"D935_no.3": "D935_no.3.mid", "D935_no": "no-midi"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_one_set_of_rules(tmp_path, names, files, expected, form):
    def spelt(text):
        return re.sub(r"\ba\b", "\u00e4", text)

    content = {unicodedata.normalize(form, spelt(file)): file.encode() for file in files}
    with source_of(tmp_path / "x.zip", content) as source:
        result = match(map(spelt, names), source, strict=False)
    taken = {name: unicodedata.normalize("NFC", member.path) for name, member in result.members}
    left = {each.name: each.outcome for each in result.outcomes if each.outcome != "no-label"}
    asked = {spelt(name): spelt(what) for name, what in expected.items()}
    assert {name: {**left, **taken}[name] for name in asked} == asked


def test_files_of_one_name_with_the_same_bytes_are_one(tmp_path):
    with source_of(tmp_path / "x.zip", {"p/x.mid": b"1", "q/x.mid": b"1"}) as source:
        result = match(["x"], source, strict=False)
    assert [member.path for _, member in result.members] == ["p/x.mid"]
    assert [(each.outcome, each.path, each.copy_of) for each in result.outcomes] == [
        ("duplicate-name", "q/x.mid", "p/x.mid")
    ]

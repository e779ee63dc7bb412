"""Versions of one song under other names."""

from dataclasses import replace

import numpy as np
import pytest

from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.splits.song_groups import content_groups, leaks, regroup
from musicbert.encoding.beat_notes import BeatNotes


def tune(seed, notes=120):
    rng = np.random.default_rng(seed)
    onset = np.arange(notes) / 2
    return BeatNotes(onset, onset + 0.5, rng.integers(50, 80, notes), np.full(notes, 64))


def piece(name, notes, part, label=0):
    return LabelledPiece(name, notes, name, {"class": label}, {"clean": part})


@pytest.fixture
def pieces():
    song = tune(0)
    version = replace(song, pitch=song.pitch + 3, onset=song.onset + 16, offset=song.offset + 16)
    parts = ["train"] * 4 + ["valid", "test"]
    others = [piece(f"other{n}", tune(n + 1), part) for n, part in enumerate(parts)]
    return [piece("song", song, "train"), *others, piece("version", version, "test")]


def test_a_transposed_version_is_found(pieces):
    groups = content_groups(pieces)
    assert groups[0] == groups[-1] == "song"
    assert len(set(groups)) == len(pieces) - 1
    assert leaks(pieces, groups, "clean") == {"groups": 1, "tested": 1, "pieces": 8}


def test_a_leaking_group_goes_to_one_part(pieces):
    clean = regroup(pieces)
    parts = {each.name: each.splits["clean"] for each in clean}
    assert parts["song"] == parts["version"] == "test"  # as many in train: training loses
    assert all(parts[each.name] == each.splits["clean"] for each in pieces[1:-1])
    assert leaks(clean, content_groups(clean), "clean")["groups"] == 0


def test_folds_are_dealt_anew(pieces):
    folded = [replace(each, splits={"clean": str(n % 3)}) for n, each in enumerate(pieces)]
    clean = regroup(folded, label="class")
    folds = {each.name: each.splits["clean"] for each in clean}
    assert folds["song"] == folds["version"]
    assert set(folds.values()) == {"0", "1", "2"}
    unchanged = regroup(folded[:-1], label="class")  # without the version nothing leaks
    assert [each.splits for each in unchanged] == [each.splits for each in folded[:-1]]


def test_short_pieces_have_no_versions():
    pieces = [piece("a", tune(0, 20), "train"), piece("b", tune(0, 20), "test")]
    assert len(set(content_groups(pieces))) == 2
    assert content_groups([]) == []

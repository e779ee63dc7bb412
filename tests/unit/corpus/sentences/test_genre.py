"""Genre and style: labels, folds of whole songs, windows, text and data-bin, ledger."""

import json
from dataclasses import replace

import numpy as np
import pytest

from musicbert.annotation.folds import leaks
from musicbert.corpus.bins.databin import read_index
from musicbert.corpus.files.ledger import read_ledger
from musicbert.corpus.labelled.binarize import binarize
from musicbert.corpus.labelled.sentence_bin import SentenceBin
from musicbert.corpus.sentences.genre import GenreOptions, build_genre, read_genres
from musicbert.corpus.splits.task_folds import genre_folds
from musicbert.encoding import encode, line_to_rows
from musicbert.errors import DatasetError
from musicbert.midi import Score, midi_bytes

LABELS = ("Pop Rock", "Jazz", "Blues")
PIECES = 18


def tune(seed, *, notes=60, shift=0):
    rng = np.random.default_rng(seed)
    onset = np.cumsum(rng.integers(1, 4, notes)) * 240
    zeros = np.zeros(notes, np.int64)
    return Score(
        ticks_per_beat=480,
        onset=onset,
        offset=onset + 200,
        pitch=rng.integers(45, 75, notes) + shift,
        velocity=zeros + 64,
        program=zeros + int(rng.integers(0, 90)),
        drum=zeros.astype(bool),
        track=zeros,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Eighteen labelled pieces, a transposed copy, one broken, one without label, one label without file."""
    folder = tmp_path_factory.mktemp("lmd")
    genres = {}
    for number in range(PIECES):
        name = f"{number:032x}"
        path = folder / "lmd_full" / "0" / f"{name}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(midi_bytes(tune(number)))
        genres[name] = [LABELS[number % 3], *([" Jazz "] if number % 5 == 0 else []), LABELS[number % 3]]
    for name, content in (
        ("a" * 32, midi_bytes(tune(0, shift=5))),
        ("b" * 32, b"MThd"),
        ("c" * 32, midi_bytes(tune(99))),
    ):
        (folder / "lmd_full" / "0" / f"{name}.mid").write_bytes(content)
        if name[0] != "c":
            genres[name] = ["Pop Rock"]
    genres["d" * 32] = ["Jazz"]
    genres["e" * 32] = [" "]
    (folder / "map.json").write_text(json.dumps({"topmagd": genres, "masd": {}}))
    return folder


OPTIONS = GenreOptions("topmagd", length=40, windows=3, n_folds=3)


def build(source, output, **changes):
    return build_genre(source / "map.json", source / "lmd_full", output, replace(OPTIONS, **changes))


def lines(path):
    return path.read_text().splitlines()


def test_labels_are_cleaned_as_published(source):
    genres = read_genres(source / "map.json", "topmagd")
    assert genres[f"{0:032x}"] == ("Jazz", "Pop-Rock")
    assert genres[f"{1:032x}"] == ("Jazz",)
    assert "e" * 32 not in genres  # nothing but a blank
    with pytest.raises(DatasetError, match="no set 'genre'"):
        read_genres(source / "map.json", "genre")
    with pytest.raises(DatasetError, match="not-found"):
        read_genres(source / "none.json", "masd")


def test_grouped_folds_keep_songs_whole_and_labels_even():
    rng = np.random.default_rng(0)
    names = [f"p{number}" for number in range(300)]
    groups = {name: f"s{int(rng.integers(180))}" for name in names}
    labels = {
        name: tuple(sorted({"abcd"[min(int(rng.geometric(0.5)), 4) - 1], *("e" * (rng.random() < 0.1))}))
        for name in names
    }
    folds = genre_folds(labels, groups)
    tested = [name for fold in folds.values() for name in fold["test"]]
    assert sorted(tested) == sorted(names)
    for fold in folds.values():
        assert leaks(fold, groups) == {"test": 0, "valid": 0}
        assert sorted(fold["train"] + fold["valid"] + fold["test"]) == sorted(names)
        assert 50 <= len(fold["test"]) <= 70
        for label in "abcde":
            expected = sum(label in each for each in labels.values()) / 5
            assert abs(sum(label in labels[name] for name in fold["test"]) - expected) <= max(
                2, 0.15 * expected
            )
    assert folds == genre_folds(dict(reversed(labels.items())), groups)  # no order of files counts
    assert folds != genre_folds(labels, groups, seed=8)


def test_published_folds_leak_and_say_so(source, tmp_path):
    labels = {f"p{number}": ("a",) for number in range(40)}
    groups = {name: f"s{number // 2}" for number, name in enumerate(labels)}
    folds = genre_folds(labels, groups, rule="published", valid="none")
    assert sum(leaks(fold, groups)["test"] for fold in folds.values()) > 0
    assert all(fold["valid"] == [] for fold in folds.values())
    build(source, tmp_path / "raw", rule="published")
    assert "leak" in json.loads((tmp_path / "raw" / "about.json").read_text())["caution"]
    with pytest.raises(DatasetError, match="empty-split"):
        genre_folds({"a": ("x",), "b": ("x",)}, {"a": "1", "b": "1"})


def test_every_piece_is_tested_once_and_every_file_accounted_for(source, tmp_path):
    report = build(source, tmp_path / "raw")
    assert report.left_out == {"unreadable": 1, "no-label": 1, "no-midi": 1}
    assert report.songs == PIECES  # the transposed copy is no song of its own
    tested = []
    for fold in "012":
        folder = tmp_path / "raw" / fold
        parts = {part: lines(folder / f"{part}.id") for part in ("train", "valid", "test")}
        tested += parts["test"]
        assert len(parts["train"]) == 3 * len(set(parts["train"]))  # windows
        assert len(parts["test"]) == len(set(parts["test"]))
        assert not set(parts["train"]) & set(parts["test"])
        copies = {f"{0:032x}", "a" * 32}
        assert any(copies <= set(names) for names in parts.values())
        for part, names in parts.items():
            labels = [line.split() for line in lines(folder / f"{part}.label")]
            assert [read_genres(source / "map.json", "topmagd")[name] for name in names] == [
                tuple(x) for x in labels
            ]
        assert lines(folder / "label.dict.txt")[0].startswith("Jazz ")
    assert sorted(tested) == sorted([f"{number:032x}" for number in range(PIECES)] + ["a" * 32])
    outcomes = {each.name: each.outcome for each in read_ledger(tmp_path / "raw" / "ledger.jsonl")}
    assert len(outcomes) == PIECES + 4
    assert outcomes["c" * 32] == "no-label"
    assert outcomes["d" * 32] == "no-midi"


def test_windows_are_the_largest_of_a_piece(source, tmp_path):
    build(source, tmp_path / "raw")
    folder = tmp_path / "raw" / "0"
    for name, line in zip(lines(folder / "train.id"), lines(folder / "train.txt"), strict=True):
        window, whole = line_to_rows(line), encode(source / "lmd_full" / "0" / f"{name}.mid")
        assert len(window) == 40
        starts = [at for at in range(len(whole) - 39) if np.array_equal(whole[at : at + 40, 3], window[:, 3])]
        assert any(
            np.array_equal(whole[at : at + 40, 1:], window[:, 1:])
            and len(set(window[:, 0] - whole[at : at + 40, 0])) == 1
            for at in starts
        )


def test_the_data_bin_is_that_of_the_text(source, tmp_path):
    build(source, tmp_path / "raw")
    build(source, tmp_path / "bin", layout="bin")
    binarize(tmp_path / "raw", tmp_path / "other", "sentences", direct=True)
    files = {path.relative_to(tmp_path / "bin") for path in (tmp_path / "bin").rglob("*") if path.is_file()}
    others = {
        path.relative_to(tmp_path / "other") for path in (tmp_path / "other").rglob("*") if path.is_file()
    }
    assert files - others == {next(path for path in files if path.name == "ledger.jsonl")}
    assert others <= files
    for path in others:
        assert (tmp_path / "bin" / path).read_bytes() == (tmp_path / "other" / path).read_bytes(), path


def test_reading_a_part_gives_labels_and_notes_back(source, tmp_path):
    build(source, tmp_path / "bin", layout="bin")
    folder = tmp_path / "bin" / "1"
    about = SentenceBin(folder, parts=["train"])
    genres = read_genres(source / "map.json", "topmagd")
    for name, hot in zip(about.ids, about.hot, strict=True):
        assert tuple(sorted(about.classes[c] for c in np.flatnonzero(hot))) == genres[name]
    sizes = read_index(folder / "input0" / "train") // 8 - 2
    blocks = list(about.blocks(7))
    assert [len(each) for each in blocks[:-1]] == [7] * (len(blocks) - 1)
    counts = np.concatenate([np.bincount(each.owner, minlength=len(each)) for each in blocks])
    assert counts.tolist() == sizes.tolist()


def test_without_validation_the_test_is_validated_on(source, tmp_path):
    build(source, tmp_path / "raw", valid="none")
    build(source, tmp_path / "bin", valid="none", layout="bin")
    assert not (tmp_path / "raw" / "0" / "valid.txt").exists()
    for name in ("input0/{}.bin", "label/{}.label"):
        valid, test = (tmp_path / "bin" / "0" / name.format(part) for part in ("valid", "test"))
        assert valid.read_bytes() == test.read_bytes()


def test_workers_and_the_order_of_an_archive_change_nothing(source, tmp_path):
    import zipfile

    paths = sorted((source / "lmd_full").rglob("*.mid"), reverse=True)
    with zipfile.ZipFile(tmp_path / "lmd.zip", "w") as archive:
        for path in paths:
            archive.write(path, f"lmd_full/{path.relative_to(source / 'lmd_full')}")
    build(source, tmp_path / "one")
    build_genre(source / "map.json", tmp_path / "lmd.zip", tmp_path / "two", replace(OPTIONS, workers=2))
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file() and path.name != "ledger.jsonl":  # paths inside differ
            other = tmp_path / "two" / path.relative_to(tmp_path / "one")
            assert path.read_bytes() == other.read_bytes(), path.name


def test_a_folder_without_labelled_files_is_an_error(source, tmp_path):
    (tmp_path / "midi").mkdir()
    (tmp_path / "midi" / "song.mid").write_bytes(midi_bytes(tune(1)))
    with pytest.raises(DatasetError, match="no-match"):
        build_genre(source / "map.json", tmp_path / "midi", tmp_path / "raw", OPTIONS)
    assert not (tmp_path / "raw").exists()

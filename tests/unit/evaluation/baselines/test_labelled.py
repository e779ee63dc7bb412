"""Ranks in chords and numbers of notes, on chords written by hand, and baselines that use them."""

import numpy as np
import pytest
from few_trees import few_trees  # noqa: F401

from musicbert.corpus.labelled.pieces import LabelledPiece, Task
from musicbert.corpus.labelled.shard_writer import write_shards
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.encoding.note_columns import NoteColumns, note_columns
from musicbert.evaluation.baselines.labelled import (
    NOTE_FEATURES,
    baseline_names,
    baseline_predictions,
    chord_rank,
    note_features,
)
from musicbert.evaluation.rows import metrics_of


def columns(onset, pitch):
    onset, pitch = np.asarray(onset), np.asarray(pitch)
    zeros = np.zeros_like(onset)
    return NoteColumns(onset // 16, onset % 16, onset, zeros + 4, pitch, zeros)


def test_ranks_in_chords():
    rank, size = chord_rank(columns([0, 0, 0, 4, 8, 8], [60, 72, 64, 50, 40, 40]))
    assert rank.tolist() == [2, 0, 1, 0, 0, 0]  # equal pitches share a rank
    assert size.tolist() == [3, 3, 3, 1, 2, 2]


def test_the_order_of_rows_says_nothing():
    rng = np.random.default_rng(0)
    onset, pitch = np.sort(rng.integers(0, 20, 40)), rng.permutation(40) + 40
    order = rng.permutation(40)
    one, two = note_features(columns(onset, pitch)), note_features(columns(onset[order], pitch[order]))
    np.testing.assert_array_equal(one[order], two)


def test_features_of_a_note():
    found = note_features(columns([0, 0, 4, 10], [60, 67, 72, 71]))
    table = {name: found[:, k].tolist() for k, name in enumerate(NOTE_FEATURES)}
    assert table["rank from the top"] == [1, 0, 0, 0]
    assert table["rank from below"] == [0, 1, 0, 0]
    assert table["above the note below"] == [0, 7, 0, 0]
    assert table["below the note above"] == [-7, 0, 0, 0]
    assert table["top moves by"] == [0, 0, 5, -1]
    assert table["next top moves by"] == [5, 5, -1, 0]
    assert table["since the chord before"] == [0, 0, 4, 6]
    assert table["until the next chord"] == [4, 4, 6, 0]


def test_columns_of_both_encodings_agree(tmp_path):
    rng = np.random.default_rng(0)
    onset = np.sort(rng.integers(0, 64, 30)) / 4
    notes = BeatNotes(onset, onset + 0.5, rng.permutation(30) + 40, np.full(30, 64))
    task = Task("x", "x", "note", "classes", ("a", "b"), "accuracy")
    found = {}
    for codec in ("octuple", "cp"):
        piece = LabelledPiece("p", notes, "p", {"x": np.zeros(30, int)})
        shards = write_shards([piece], codec, tmp_path / codec, [task]).shards
        read = note_columns(shards.rows(0), codec)
        index = shards.note_index(0)
        np.testing.assert_array_equal(read.pitch, notes.pitch[index])
        rank, size = chord_rank(read)
        back = np.empty(30, int)
        back[index] = rank * 100 + size
        found[codec] = back
    np.testing.assert_array_equal(found["octuple"], found["cp"])


@pytest.fixture(scope="module")
def melody(tmp_path_factory):
    """Chords whose highest note is the melody, rows in pitch order."""
    task = Task("melody", "melody", "note", "classes", ("other", "melody"), "accuracy")

    def pieces():
        for k in range(6):
            rng = np.random.default_rng(k)
            onset = np.repeat(np.arange(30), 3) / 2
            pitch = np.concatenate(
                [np.sort(rng.choice(np.arange(40, 90), 3, replace=False)) for _ in range(30)]
            )
            notes = BeatNotes(onset, onset + 0.5, pitch, np.full(90, 64))
            yield LabelledPiece(f"p{k}", notes, f"p{k}", {"melody": np.tile([0, 0, 1], 30)})

    return write_shards(pieces(), "cp", tmp_path_factory.mktemp("melody") / "s", [task]).shards, task


def test_the_skyline_is_found_by_the_table_and_by_trees(melody):
    shards, task = melody
    names = baseline_names(shards, task)
    assert names == ["majority", "skyline table", "note rules: extra trees"]
    scores = {
        name: metrics_of(baseline_predictions(shards, task, name, [0, 1, 2, 3], [4, 5]))["accuracy"]
        for name in names
    }
    assert scores["majority"] == pytest.approx(2 / 3)
    assert scores["skyline table"] == 1
    assert scores["note rules: extra trees"] > 0.98


def test_baselines_of_pieces_of_every_kind(tmp_path):
    kinds = {
        "classes": Task("c", "c", "sequence", "classes", ("a", "b"), "accuracy"),
        "multilabel": Task("m", "m", "sequence", "multilabel", ("a", "b"), "micro_f1"),
        "regression": Task("r", "r", "sequence", "regression", ("pitch",), "r2"),
    }

    def pieces():
        for k in range(20):
            rng = np.random.default_rng(k)
            onset = np.arange(30) / 2
            high = 20.0 * (k % 2)
            pitch = (45 + high + rng.integers(0, 5, 30)).astype(int)
            notes = BeatNotes(onset, onset + 0.5, pitch, np.full(30, 64))
            labels = {"c": k % 2, "m": [k % 2, np.nan if k < 3 else 1.0], "r": float(pitch.mean())}
            yield LabelledPiece(f"p{k}", notes, f"p{k}", labels)

    shards = write_shards(
        pieces(), "octuple", tmp_path / "s", list(kinds.values()), with_features=True
    ).shards
    for kind, task in kinds.items():
        constant, *others = baseline_names(shards, task)
        assert len(others) == 4
        train, test = list(range(14)), list(range(14, 20))
        scores = {
            name: metrics_of(baseline_predictions(shards, task, name, train, test))[task.metric]
            for name in (constant, *others)
        }
        assert all(scores[name] > scores[constant] for name in others), (kind, scores)

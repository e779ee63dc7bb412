"""Simple baselines of the benchmark, and how predictions of whole pieces are scored."""

import numpy as np
import pytest
from baselines_smc import markdown, measure
from few_trees import few_trees  # noqa: F401

from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.labelled.shard_writer import write_shards
from musicbert.corpus.readers import BENCHMARK, get_task, read
from musicbert.corpus.readers.benchmark import load_data_set, tasks_of
from musicbert.corpus.readers.contract import Outcome
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.benchmark import (
    PIECE_MODELS,
    baselines_of,
    features_of,
    note_order,
    piece_features,
)
from musicbert.evaluation.benchmark_scores import pieces_of, rounds, score_pieces
from musicbert.features import FEATURES


def piece(onset, pitch, labels, name="p", duration=1.0):
    onset = np.asarray(onset, float)
    notes = BeatNotes(onset, onset + duration, np.asarray(pitch), np.full(len(onset), 64))
    return LabelledPiece(name, notes, name, labels)


def predict(task, name, train, test):
    return baselines_of(get_task(task).task)[name](train, [test], get_task(task).task)[0]


def test_majority_leaves_ignored_and_missing_classes_out():
    train = [piece(range(6), [60] * 6, {"texture": np.array([0, 0, 0, 3, 3, -1])})]
    assert set(predict("OTC", "majority", train, train[0]).tolist()) == {3}


def test_always_the_class_of_the_f1():
    test = piece(range(3), [60] * 3, {"mnid": np.array([1, 2, 1])})
    assert predict("MNID", "always", [], test).tolist() == [2, 2, 2]


def test_tables_fall_back_on_the_first_column_and_on_the_majority():
    train = [piece([0, 0.5, 4, 1], [60, 60, 60, 70], {"melody": np.array([1, 2, 1, 3])})]
    test = piece([0, 0.5, 2, 0], [60, 60, 60, 99], {})
    assert predict("ME", "pitch+position", train, test).tolist() == [1, 2, 1, 1]


def test_previous_is_the_truth_of_the_note_before():
    train = [piece(range(3), [60] * 3, {"beat": np.array([1, 1, 2])})]
    test = piece([2, 0, 1], [60, 60, 60], {"beat": np.array([1, 2, 1])})
    assert predict("BP", "previous", train, test).tolist() == [1, 1, 2]


def test_skyline_takes_the_highest_of_a_chord():
    test = piece([0, 0, 0, 1], [60, 72, 67, 50], {})
    assert predict("ME", "skyline", [], test).tolist() == [3, 1, 3, 1]


def test_the_order_of_published_notes_gives_the_melody_away(make_source, tmp_path):
    """Each track has its own register here, the vocal one the highest, as in most songs."""
    folder = make_source("pop909_processed", tmp_path)
    row = get_task("ME")
    scores = {}
    for compatible in (True, False):
        pieces = [p for p in read("pop909", folder, compatible=compatible) if not isinstance(p, Outcome)]
        rule = note_order(pieces, row.task)
        right = [(rule(p) == p.labels["melody"]) for p in pieces]
        scores[compatible] = np.concatenate(right).mean()
        majority = np.bincount(np.concatenate([p.labels["melody"] for p in pieces])).max()
    assert scores[True] > scores[False]
    assert scores[False] <= majority / sum(len(p.notes) for p in pieces) + 0.01


def test_key_profiles_find_a_scale():
    scale = np.tile([0, 2, 4, 5, 7, 9, 11, 12, 7, 4, 0, 0], 12)
    task = get_task("LK").task
    c_major, b_flat = task.classes.index("C"), task.classes.index("B-")
    onset = np.arange(len(scale)) / 2
    train = [
        piece(onset, 60 + scale, {"localkey": np.full(len(scale), c_major)}),
        piece(onset, 58 + scale, {"localkey": np.full(len(scale), b_flat)}),
    ]
    for each in train:
        assert (predict("LK", "key", train, each) == each.labels["localkey"]).all()


def test_the_bass_says_the_root():
    classes = get_task("CR").task.classes
    roots = np.array([classes.index("C")] * 2 + [classes.index("G")] * 2)
    train = [piece([0, 0, 1, 1], [48, 64, 43, 62], {"chordroot": roots})]
    assert predict("CR", "bass", train, train[0]).tolist() == roots.tolist()


def test_centroids_of_registers(make_source, tmp_path):
    data = load_data_set("pianist8", make_source("pianist8", tmp_path))
    row = get_task("PS")
    parts = rounds(row, data.pieces, "clean")
    assert len(parts) == 5
    for each in parts:
        names = [p.name for part in each.values() for p in part]
        assert len(set(names)) == len(names) == len(data.pieces)
    fits = baselines_of(row.task)
    found, chance = (
        [score_pieces(row, p["test"], fits[name](p["train"], p["test"], row.task))["pieces"] for p in parts]
        for name in ("centroid", "majority")
    )
    assert np.mean(found) > np.mean(chance)


def test_models_on_features_of_whole_pieces(make_source, tmp_path):
    """Shards hold the features that the pieces themselves have; kept predictions give the same scores."""
    data = load_data_set("pianist8", make_source("pianist8", tmp_path / "set"))
    row, kept = get_task("PS"), {}
    records = measure(data, kept=kept)
    clean = {record["baseline"]: record for record in records if record["split"] == "clean"}
    assert set(clean) == {"majority", "centroid", *PIECE_MODELS}
    assert all(len(record["folds"]) == 5 for record in clean.values())
    assert all(record["low"] <= record["score"] <= record["high"] for record in clean.values())
    assert len(kept["PS/clean/ids"]) == len(kept["PS/clean/svm"]) == len(data.pieces)
    assert measure(data, kept=kept, fit=False) == records
    with pytest.raises(DatasetError, match="no-match"):
        measure(data, kept={**kept, "PS/clean/ids": kept["PS/clean/ids"][::-1]}, fit=False)
    shards = write_shards(data.pieces, "cp", tmp_path / "s", [row.task], with_features=True).shards
    table, stored = piece_features(data.pieces), features_of(shards)
    assert set(stored) == set(table)
    assert all(np.allclose(stored[name], table[name], rtol=1e-5) for name in table)


def test_instruments_are_seen_where_pieces_have_several(make_source, tmp_path):
    data = load_data_set("tagtraum", make_source("tagtraum", tmp_path))
    widths = {len(values) for values in piece_features(data.pieces).values()}
    assert widths == {len(FEATURES) + 258}


@pytest.mark.parametrize("source", ["tnua", "augmentednet", "orchestra", "pm2s"])
def test_true_labels_score_one(make_source, tmp_path, source):
    data = load_data_set(source, make_source(source, tmp_path))
    for row in tasks_of(source):
        truth = [p.labels[row.task.label] for p in data.pieces]
        scores = score_pieces(row, data.pieces, truth)
        assert {value for key, value in scores.items() if key != "n"} == {1.0}


@pytest.mark.parametrize("codec", ["cp", "octuple"])
def test_rows_of_shards_are_the_same_music(make_source, tmp_path, codec):
    data = load_data_set("augmentednet", make_source("augmentednet", tmp_path / "set"))
    row = get_task("CR")
    shards = write_shards(data.pieces, codec, tmp_path / codec, [row.task]).shards
    own = {p.name: p for p in pieces_of(shards)}
    for each in data.pieces:
        rows = own[each.name]
        assert sorted(zip(np.rint(rows.notes.onset * 4), rows.notes.pitch, strict=True)) == sorted(
            zip(np.rint(each.notes.onset * 4), each.notes.pitch, strict=True)
        )
        wrong = [np.where(p.labels["chordroot"] == 1, 2, p.labels["chordroot"]) for p in (each, rows)]
        one, other = (score_pieces(row, [p], [w])["score"] for p, w in zip((each, rows), wrong, strict=True))
        assert one == pytest.approx(other, abs=0.02)


def test_a_table_of_all_baselines(make_source, tmp_path):
    data = load_data_set("bps_motif", make_source("bps_motif", tmp_path))
    records = measure(data)
    assert {record["split"] for record in records} == {"published", "clean"}
    assert {record["baseline"] for record in records} == set(baselines_of(get_task("MNID").task))
    text = markdown(records, {row.abbreviation: row.published for row in BENCHMARK.values()})
    assert "| always | " in text
    assert "M2BERT, published: RC 0.719" in text


def test_a_split_without_pieces_is_an_error():
    with pytest.raises(ValueError, match="nowhere"):
        rounds(get_task("ME"), [piece([0], [60], {})], "nowhere")

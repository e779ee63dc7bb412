"""Frozen probes of notes on seen and unseen pieces: every row, at tiny size, and the kept counts."""

import json

import numpy as np
import pytest
from probe_notes import probe_pieces, probe_text, score_probe

import musicbert
from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.readers.benchmark import tasks_of
from musicbert.corpus.readers.tasks import get_task
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.evaluation.predictions import load_predictions
from musicbert.evaluation.reports.seen import read_seen
from musicbert.evaluation.tables import dump


def piece(name, seed, part, notes=40):
    rng = np.random.default_rng(seed)
    onset = np.cumsum(rng.integers(1, 5, notes)) / 4
    pitch = rng.integers(50, 70, notes)
    labels = {"beat": 1 + (onset % 1 == 0), "downbeat": 1 + (onset % 4 == 0), "chordroot": pitch % 3}
    music = BeatNotes(onset, onset + 0.2, pitch, np.full(notes, 64))
    return LabelledPiece(name, music, name, labels, {"clean": part}, name)


@pytest.fixture(scope="module")
def pieces():
    return [piece(f"t{seed}", seed, "train") for seed in range(4)] + [
        piece(f"p{seed}", 10 + seed, "test") for seed in range(6)
    ]


@pytest.fixture(scope="module")
def counts(pieces):
    tasks = [*tasks_of("pm2s"), get_task("CR")]
    return probe_pieces(musicbert.from_pretrained("m2bert-tiny", device="cpu"), tasks, pieces, 3)


def test_every_row_is_scored_on_both_parts(counts, pieces):
    assert [list(found)[2:] for found in counts.values()] == [
        ["always", "random weights", "pre-trained"],
        ["always", "random weights", "pre-trained"],
        ["majority", "random weights", "pre-trained"],
    ]
    tested = pieces[4:]
    for found, one in zip(counts["beat"]["always"], tested, strict=True):
        assert found == [on := int((one.labels["beat"] == 2).sum()), len(one.notes), on]
    assert counts["beat"]["pre-trained"] != counts["beat"]["random weights"]
    rows = score_probe(counts, {"p0", "p1"}, n_resamples=20)
    value = {(row["label"], row["row"], row["part"]): row["value"] for row in rows}
    share = np.mean([one.labels["beat"] == 2 for one in tested[:2]])
    assert value["beat", "always", "seen"] == pytest.approx(2 * share / (1 + share))
    right, notes, _ = np.sum(counts["chordroot"]["pre-trained"][2:], axis=0)
    assert notes == 160
    assert value["chordroot", "pre-trained", "unseen"] == pytest.approx(right / notes)
    assert "| chordroot | gain |" in probe_text(rows, "about")


def test_the_figures_come_from_the_kept_counts(root):
    found = [
        json.loads(path.read_text()) | {"at": path.parent} for path in (root / "results").rglob("probe.json")
    ]
    found = [record for record in found if "counts" in record]
    assert found
    for record in found:
        seen = read_seen(f"{root / 'results' / 'overlaps.json'}:{record['model']}")
        rows = score_probe(record["counts"], seen)
        assert json.loads(dump(rows)) == record["rows"]
        table = (record["at"] / "probe.md").read_text()
        assert probe_text(rows, "").partition("| label")[2] == table.partition("| label")[2]


def test_the_counts_of_beats_are_those_of_the_kept_predictions(root):
    place = root / "results" / "probes" / "beats"
    counts = json.loads((place / "probe.json").read_text())["counts"]
    for name, one in load_predictions(place / "predictions.npz").items():
        label, _, row = name.partition(", ")
        assert counts[label]["pieces"] == one.ids.tolist()
        for number, found in enumerate(counts[label][row]):
            at = slice(one.offsets[number], one.offsets[number + 1])
            called, so = (values[at] == 2 for values in (one.predicted, one.target))
            assert found == [(called & so).sum(), called.sum(), so.sum()]

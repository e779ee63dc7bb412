"""Frozen probes of beats on seen and unseen pieces: every row, at tiny size, and the kept predictions."""

import json

import numpy as np
import pytest
from probe_beats import LABELS, ROWS, probe_pieces, probe_text, score_probe

import musicbert
from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.evaluation.predictions import load_predictions, save_predictions
from musicbert.evaluation.reports.seen import read_seen


def piece(name, seed, notes=40):
    rng = np.random.default_rng(seed)
    onset = np.cumsum(rng.integers(1, 5, notes)) / 4
    labels = {"beat": 1 + (onset % 1 == 0), "downbeat": 1 + (onset % 4 == 0)}
    music = BeatNotes(onset, onset + 0.2, rng.integers(50, 70, notes), np.full(notes, 64))
    return LabelledPiece(name, music, name, labels, {"clean": "train"}, name)


@pytest.fixture(scope="module")
def found():
    train = [piece(f"t{seed}", seed) for seed in range(4)]
    test = [piece(f"p{seed}", 10 + seed) for seed in range(6)]
    return probe_pieces(musicbert.from_pretrained("m2bert-tiny"), train, test)


def test_every_row_is_scored_on_both_parts(found, tmp_path):
    assert set(found) == {f"{label}, {row}" for label in LABELS for row in ROWS}
    always = found["beat, always"]
    assert (always.predicted == 2).all()
    assert not np.array_equal(found["beat, pre-trained"].outputs, found["beat, random weights"].outputs)
    rows = score_probe(found, {"p0", "p1"}, n_resamples=20)
    share = (always.target[always.piece_of < 2] == 2).mean()
    expected = next(
        row for row in rows if (row["label"], row["row"], row["part"]) == ("beat", "always", "seen")
    )
    assert expected["value"] == pytest.approx(2 * share / (1 + share))
    assert expected["pieces"] == 2
    assert "| beat | gain |" in probe_text(rows, "about")
    save_predictions(tmp_path / "kept.npz", found)
    assert score_probe(load_predictions(tmp_path / "kept.npz"), {"p0", "p1"}, n_resamples=20) == rows


def test_the_figures_come_from_the_kept_predictions(root):
    place = root / "results" / "downstream" / "beats_seen"
    record = json.loads((place / "probe.json").read_text())
    seen = read_seen(f"{root / 'results' / 'overlaps.json'}:{record['model']}")
    rows = score_probe(load_predictions(place / "predictions.npz"), seen)
    assert rows == record["rows"]
    table = (place / "probe.md").read_text()
    assert probe_text(rows, "").splitlines()[-9:] == table.splitlines()[-9:]

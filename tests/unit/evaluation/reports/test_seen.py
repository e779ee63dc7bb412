"""Seen and unseen pieces are scored apart: labels of notes and of pieces, reports, the benchmark's table."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from musicbert.cli.main import main
from musicbert.corpus.labelled.pieces import Task
from musicbert.errors import DatasetError
from musicbert.evaluation.predictions import Predictions, save_predictions
from musicbert.evaluation.reports.benchmark import benchmark_table, summary_of_runs
from musicbert.evaluation.reports.seen import parts_of, read_seen

OVERLAPS = {
    "networks": {"m2bert-mini": "m2bert", "musicbert-mini": "musicbert"},
    "overlaps": [
        {
            "task": "pm2s",
            "part": "test",
            "piece": "R_17",
            "files": {"a": {"corpora": ["m2bert", "musicbert"]}},
        },
        {"task": "genre", "part": "test", "piece": "1/abc.mid", "files": {"b": {"corpora": ["musicbert"]}}},
    ],
}


@pytest.fixture
def overlaps(tmp_path):
    path = tmp_path / "overlaps.json"
    path.write_text(json.dumps(OVERLAPS))
    return path


def test_names_of_seen_pieces(overlaps, tmp_path):
    assert read_seen(f"{overlaps}:m2bert-mini") == {"R_17"}
    assert read_seen(f"{overlaps}:musicbert-mini") == {"R_17", "1/abc.mid", "abc.mid", "abc"}
    (tmp_path / "names.txt").write_text("one piece\n\ntwo\n")
    assert read_seen(str(tmp_path / "names.txt")) == {"one piece", "two"}
    (tmp_path / "names.txt").write_text("one piece\n", encoding="utf-8-sig")  # as Notepad writes it
    assert read_seen(str(tmp_path / "names.txt")) == {"one piece"}


def test_bad_lists_are_refused(overlaps, tmp_path):
    for given, reason in (
        (f"{overlaps}:m2bert-mimi", "unknown-network"),
        (str(overlaps), "unknown-network"),
        (str(tmp_path / "missing.txt"), "not-found"),
    ):
        with pytest.raises(DatasetError, match=reason):
            read_seen(given)
    for content in ("[]", "nonsense", '{"networks": {"a": "b"}}'):
        overlaps.write_text(content)
        with pytest.raises(DatasetError, match="bad-overlaps"):
            read_seen(f"{overlaps}:a")


def test_parts_of_notes_and_of_segments():
    notes = Predictions(
        "beat", "note", "classes", ("a", "b"), np.array(["x", "y", "z"]), np.array(["x", "y", "z"]),
        np.arange(6) % 2, np.arange(12.0).reshape(6, 2), offsets=np.array([0, 1, 4, 6]),
        note_index=np.array([0, 0, 1, 2, 0, 1]),
    )  # fmt: skip
    parts = parts_of(notes, {"x", "z", "not here"})
    assert parts["seen"].ids.tolist() == ["x", "z"]
    assert parts["seen"].offsets.tolist() == [0, 1, 3]
    assert parts["seen"].outputs[:, 0].tolist() == [0, 8, 10]
    assert parts["unseen"].note_index.tolist() == [0, 1, 2]
    assert list(parts_of(notes, ())) == ["unseen"]
    pieces = Predictions(
        "mood", "sequence", "classes", ("a", "b"), np.array(["x", "y", "z"]), np.array(["x", "y", "z"]),
        np.array([0, 1, 0]), np.zeros((3, 2)), segment_piece=np.array([0, 1, 1, 2]),
        segment_start=np.array([0, 0, 5, 0]), segment_outputs=np.arange(8.0).reshape(4, 2),
    )  # fmt: skip
    seen = parts_of(pieces, {"y", "z"})["seen"]
    assert seen.segment_piece.tolist() == [0, 0, 1]
    assert seen.segments().target.tolist() == [1, 1, 0]
    assert seen.segment_outputs[:, 0].tolist() == [2, 4, 6]


@pytest.fixture
def experiment(tmp_path):
    """Two folds: seen pieces are right, of the others every second."""
    task = Task("mood", "mood", "sequence", "classes", ("a", "b"), "accuracy", splits={"x": ""}, seeds=(1,))
    out = tmp_path / "runs"
    for fold in "01":
        folder = out / f"fold{fold}" / "seed1"
        folder.mkdir(parents=True)
        ids = np.array([f"{'seen' if n < 10 else 'new'}{fold}_{n}" for n in range(30)])
        target = np.arange(30) % 2
        wrong = (np.arange(30) >= 10) & (np.arange(30) % 4 > 1)
        outputs = np.eye(2)[np.where(wrong, 1 - target, target)]
        made = Predictions("mood", "sequence", "classes", ("a", "b"), ids, ids, target, outputs)
        save_predictions(folder / "test.npz", {"mood": made})
        (folder / "run.json").write_text("{}")
    record = {"task": asdict(task), "seeds": [1], "leaks": {"0": {"test": 0}, "1": {"test": 0}}}
    record |= {"model": "a model", "data": {"path": "data", "sha256": "", "codec": "cp"}}
    (out / "task.json").write_text(json.dumps(record))
    (tmp_path / "names.txt").write_text("".join(f"seen{fold}_{n}\n" for fold in "01" for n in range(10)))
    return out


def test_a_report_of_both(experiment, tmp_path, capsys):
    words = ["evaluate", str(experiment), "--no-baselines", "--resamples", "20"]
    assert main([*words, "--seen", str(tmp_path / "names.txt")]) == 0
    said = capsys.readouterr().out
    assert "accuracy 1.000  network, seen pieces" in said
    assert "accuracy 0.500  network, unseen pieces" in said
    report = json.loads((experiment / "report" / "report.json").read_text())
    values = {part: rows[0]["scores"]["pooled"]["accuracy"] for part, rows in report["apart"].items()}
    assert {part: value["value"] for part, value in values.items()} == {"seen": 1.0, "unseen": 0.5}
    assert values["unseen"]["low"] < 0.5 < values["unseen"]["high"]
    assert "names.txt" in json.dumps(report["provenance"])
    text = (experiment / "report" / "report.md").read_text()
    assert "Test pieces that are seen by the list of seen music: 20." in text
    assert "unseen by the list of seen music: 40." in text
    assert main(words) == 0
    assert "apart" not in json.loads((experiment / "report" / "report.json").read_text())
    (tmp_path / "names.txt").write_text("another\n")
    assert main([*words, "--seen", str(tmp_path / "names.txt")]) == 0
    assert (
        "that are seen by the list of seen music: none." in (experiment / "report" / "report.md").read_text()
    )


def test_folds_without_a_seen_piece_do_not_count():
    runs = [
        {"seed": 1, "fold": "0", "score": 0.5, "score, seen": 0.9, "score, unseen": 0.4, "n": 3},
        {"seed": 1, "fold": "1", "score": 0.7, "score, unseen": 0.6, "n": 3},
    ]
    found = summary_of_runs(runs)
    assert found["score, seen"]["mean"] == 0.9
    assert found["score, unseen"]["mean"] == pytest.approx(0.5)
    assert "n" not in found
    table = benchmark_table([{"task": "MNID", "split": "clean", "network": found}], "mine")
    assert "| MNID | clean | f1, seen | 0.900 |" in table
    assert "| MNID | clean | f1, unseen | 0.500" in table

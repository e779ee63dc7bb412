"""The benchmark's table from folders of runs."""

import json

import numpy as np
import pytest

from musicbert.corpus.labelled.shard_writer import write_shards
from musicbert.corpus.labelled.shards import Shards
from musicbert.corpus.readers import get_task
from musicbert.corpus.readers.benchmark import load_data_set
from musicbert.evaluation.benchmark_scores import pieces_of
from musicbert.evaluation.predictions import Predictions, save_predictions
from musicbert.evaluation.reports.benchmark import baseline_scores, benchmark_table, network_scores
from musicbert.fairseq_plugin.runs import benchmark
from musicbert.fairseq_plugin.runs.engine import RunOutcome


def note_predictions(row, shards, part, right):
    """Predictions of the test pieces; a share of the notes is right."""
    rng = np.random.default_rng(int(1000 * right))
    numbers = [n for n, piece in enumerate(shards.pieces) if piece.splits.get("published") == part]
    lengths = [int(shards.lengths[n]) for n in numbers]
    truth = np.concatenate([shards.note_labels(row.task.label, n) for n in numbers])
    hit = rng.random(len(truth)) < right
    outputs = np.zeros((len(truth), len(row.task.classes)), np.float32)
    outputs[np.arange(len(truth)), np.where(hit, truth, (truth + 1) % len(row.task.classes))] = 1
    return Predictions(
        label=row.task.label, level="note", kind="classes", classes=row.task.classes,
        ids=np.array([shards.names[n] for n in numbers]),
        groups=np.array([shards.pieces[n].group for n in numbers]),
        target=truth, outputs=outputs, offsets=np.concatenate([[0], np.cumsum(lengths)]),
        note_index=np.concatenate([shards.note_index(n) for n in numbers]),
    ), hit.mean()  # fmt: skip


@pytest.fixture
def notes(make_source, tmp_path):
    row = get_task("VF")
    data = load_data_set("tnua", make_source("tnua", tmp_path / "set"))
    return row, write_shards(data.pieces, "cp", tmp_path / "shards", [row.task]).shards


def test_mean_and_deviation_over_seeds(notes, tmp_path):
    row, shards = notes
    own = {piece.name: piece for piece in pieces_of(shards)}
    expected = []
    for seed, right in ((1, 0.5), (2, 0.9)):
        folder = tmp_path / "runs" / "fold0" / f"seed{seed}"
        folder.mkdir(parents=True)
        predictions, share = note_predictions(row, shards, "test", right)
        save_predictions(folder / "test.npz", {row.task.label: predictions})
        (folder / "run.json").write_text("{}")
        expected.append(share)
    begun = tmp_path / "runs" / "fold0" / "seed3"
    begun.mkdir()
    save_predictions(begun / "test.npz", {row.task.label: predictions})  # it was cut off before run.json
    found = network_scores(row, shards, own, tmp_path / "runs")
    assert found["score"]["mean"] == pytest.approx(np.mean(expected))
    assert found["score"]["sd"] == pytest.approx(np.std(expected, ddof=1))
    assert [run["seed"] for run in found["runs"]] == [1, 2]
    assert network_scores(row, shards, own, tmp_path / "none") is None
    one = tmp_path / "runs" / "fold0" / "seed1"  # those of another call do not count
    assert [
        run["seed"] for run in network_scores(row, shards, own, tmp_path / "runs", only={one})["runs"]
    ] == [1]


def test_a_call_that_is_stopped_has_the_runs_that_it_did(notes, tmp_path, monkeypatch):
    """The second of three runs fails, Ctrl-C comes within the third; the next call does what is left."""
    row, shards = notes
    (tmp_path / "data").mkdir()
    shards.path.rename(tmp_path / "data" / "tnua")
    shards = Shards(tmp_path / "data" / "tnua")
    ways = iter(["done", "failed", "stopped", "done", "done"])

    def start_runs(runs, *, after, **_):
        for run in (run for run in runs if not run.done):
            way = next(ways)
            run.out.mkdir(parents=True, exist_ok=True)
            if way != "failed":
                found = note_predictions(row, shards, "test", 0.5)[0]
                save_predictions(run.out / "test.npz", {row.task.label: found})
            if way == "stopped":
                raise KeyboardInterrupt
            if way == "done":
                (run.out / "run.json").write_text(json.dumps({"made_from": run.made_from()}))
            after(RunOutcome(run.out, 1.0, "boom" if way == "failed" else None))

    monkeypatch.setattr(benchmark, "start_runs", start_runs)
    options = {"splits": ["published"], "seeds": [1, 2, 3], "baselines": False}
    arguments = ("scratch:m2bert_tiny", tmp_path / "data", None, tmp_path / "out", [row])
    with pytest.raises(KeyboardInterrupt):
        benchmark.run_benchmark(*arguments, **options)
    (found,) = json.loads((tmp_path / "out" / "scores.json").read_text())["rows"]
    assert [run["seed"] for run in found["network"]["runs"]] == [1]
    assert "1 of 3 runs are done" in found["note"]
    assert "1 of 3 runs failed: boom" in found["note"]
    assert found["note"] in (tmp_path / "out" / "table.md").read_text()
    said = []
    (record,) = benchmark.run_benchmark(*arguments, **options, say=said.append)
    score = record["network"]["score"]
    assert said == [f"VF, published: accuracy {score['mean']:.3f} (sd {score['sd']:.3f})"]
    assert [run["seed"] for run in record["network"]["runs"]] == [1, 2, 3]
    assert "note" not in record
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["rows"] == [record]


def test_segments_and_votes_of_pieces(make_source, tmp_path):
    row = get_task("PS")
    data = load_data_set("pianist8", make_source("pianist8", tmp_path / "set"))
    shards = write_shards(data.pieces, "cp", tmp_path / "shards", [row.task]).shards
    target = np.asarray(shards.label("composer"))[:4]
    outputs = np.eye(8, dtype=np.float32)[target]
    outputs[3] = np.eye(8)[(target[3] + 1) % 8]
    folder = tmp_path / "runs" / "fold0" / "seed1"
    folder.mkdir(parents=True)
    found = Predictions(
        label="composer", level="sequence", kind="classes", classes=row.task.classes,
        ids=np.array(shards.names[:4]), groups=np.array(shards.names[:4]), target=target, outputs=outputs,
        segment_piece=np.array([0, 1, 2, 3, 3, 3]), segment_start=np.array([0, 0, 0, 0, 512, 1024]),
        segment_outputs=outputs[[0, 1, 2, 3, 3, 3]],
    )  # fmt: skip
    save_predictions(folder / "test.npz", {"composer": found})
    (folder / "run.json").write_text("{}")
    found = network_scores(row, shards, {p.name: p for p in pieces_of(shards)}, tmp_path / "runs")
    assert found["score"]["mean"] == 0.5
    assert found["pieces"]["mean"] == 0.75


def test_the_table_says_everything_of_a_task(notes):
    row, shards = notes
    baselines = baseline_scores(row, pieces_of(shards), "published")
    network = {"runs": [], "score": {"mean": 0.5, "sd": 0.01}}
    records = [
        {"task": "VF", "split": "published", "network": network, "baselines": baselines},
        {"task": "VF", "split": "clean", "network": network, "baselines": baselines},
        {"task": "MNID", "split": "–", "note": "there is no data"},
    ]
    text = benchmark_table(records, "mine")
    lines = [line for line in text.splitlines() if line.startswith("| VF")]
    assert len(lines) == 2
    assert "0.500 ± 0.010" in lines[0]
    assert "0.511" in lines[0]
    assert "0.511" not in lines[1]  # published scores are of the published split
    assert "- MNID, –: there is no data" in text


def test_baselines_of_a_share_are_fitted_on_the_same_pieces(notes):
    row, shards = notes
    own = pieces_of(shards)
    whole = [piece.name for piece in own if piece.splits.get("published") == "train"]
    everything = baseline_scores(row, own, "published")
    assert baseline_scores(row, own, "published", trained={"0": whole}) == everything
    less = baseline_scores(row, own, "published", trained={"0": whole[:1]})
    assert less != everything
    apart = [piece for piece in own if piece.name not in whole[1:]]
    assert less == baseline_scores(row, apart, "published")
    records = [{"task": "VF", "split": "published", "baselines": less, "train_share": 0.1}]
    assert "learned from 10 % of the training part" in benchmark_table(records, "mine")

"""Predictions on disk, pooling, logs, and a whole report from made runs."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from musicbert.annotation.dimensions import Dimension
from musicbert.annotation.label_map import LabelMap
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.baseline_run import baseline_folds, load_examples, run_baselines
from musicbert.evaluation.baselines.hybrid import hybrid
from musicbert.evaluation.metrics.regression_and_classes import mean, regression
from musicbert.evaluation.rating_predictions import Predictions, log_softmax, pool
from musicbert.evaluation.rating_runs import read_runs, with_labels
from musicbert.evaluation.rating_scores import score
from musicbert.evaluation.reports.rating_report import build_report
from musicbert.evaluation.reports.rating_report_files import dimension_table, report_set, write_report
from musicbert.evaluation.training_log import read_curves
from musicbert.provenance import provenance

DIMENSIONS = (Dimension("Fast paced", "fast paced", "slow paced"), Dimension("Soft", "soft", "loud"))


def made(n=12, seed=0, noise=0.05, start=0):
    rng = np.random.default_rng(seed)
    labels = np.random.default_rng(99).random((200, 2))[start : start + n]
    classes = np.arange(start, start + n) % 3
    logits = rng.normal(0, 1, (n, 3)) + 3 * np.eye(3)[classes]
    guess = labels + rng.normal(0, noise, (n, 2))
    return Predictions(
        ids=np.array([f"x{i}" for i in range(start, start + n)]),
        labels=labels,
        class_of=classes,
        regression=guess,
        class_logits=logits,
        embedding=np.concatenate([guess, rng.normal(size=(n, 6))], axis=1),
    )


def test_predictions_round_trip(tmp_path):
    path = tmp_path / "a/b/test.npz"
    first = made()
    first.save(path)
    again = Predictions.load(path)
    for name in ("ids", "labels", "class_of", "regression", "class_logits", "embedding"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    np.testing.assert_array_equal(again.predicted_class, first.class_logits.argmax(1))


def test_predictions_that_cannot_be_read(tmp_path):
    with pytest.raises(DatasetError) as caught:
        Predictions.load(tmp_path / "none.npz")
    assert caught.value.reason == "not-found"
    bad = {
        "text": b"not an archive",
        "empty": b"",
    }
    for name, content in bad.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(DatasetError) as caught:
            Predictions.load(path)
        assert caught.value.reason == "bad-predictions"
    np.savez(
        tmp_path / "short.npz", ids=np.array(["a", "b"]), labels=np.zeros((1, 2)), class_of=np.zeros(2, int)
    )
    np.savez(tmp_path / "missing.npz", ids=np.array(["a"]))
    np.savez(tmp_path / "pickle.npz", ids=np.array([{"a": 1}], dtype=object))
    for name in ("short", "missing", "pickle"):
        with pytest.raises(DatasetError) as caught:
            Predictions.load(tmp_path / f"{name}.npz")
        assert caught.value.reason == "bad-predictions"


def test_wrong_shapes():
    with pytest.raises(ValueError, match="other shapes of regression"):
        Predictions(np.array(["a"]), np.zeros((1, 2)), np.zeros(1, int), np.zeros((1, 3)))


def test_pool_folds_and_seeds():
    folds = pool([made(5), made(5, start=5)])
    assert len(folds) == 10
    a, b = made(5, seed=1), made(5, seed=2)
    both = pool([a, b])
    np.testing.assert_allclose(both.regression, (a.regression + b.regression) / 2)
    chance = (np.exp(log_softmax(a.class_logits)) + np.exp(log_softmax(b.class_logits))) / 2
    np.testing.assert_allclose(np.exp(both.class_logits), chance, atol=1e-9)
    assert both.embedding is None
    with pytest.raises(ValueError, match="different labels"):
        pool([a, Predictions(a.ids, a.labels + 0.1, a.class_of, a.regression, a.class_logits)])
    with pytest.raises(ValueError, match="nothing to pool"):
        pool([])


def test_pooled_and_mean_of_folds_are_different_things():
    """Two folds, each constant but for noise: pooled R² is high, the mean over folds is not."""
    rng = np.random.default_rng(0)
    folds = []
    for k, level in enumerate((0.2, 0.8)):
        labels = level + rng.normal(0, 0.01, (20, 1))
        ids = np.array([f"{k}-{i}" for i in range(20)])
        folds.append(Predictions(ids, labels, np.zeros(20, int), np.full((20, 1), level)))
    got = score(folds, n_resamples=50)["regression"]
    assert got["pooled"]["r2"]["mean"]["value"] > 0.99
    assert got["mean_of_folds"]["r2"] < 0.05
    json.dumps(got, allow_nan=False)


def test_few_groups_are_not_resampled():
    got = made(40)
    few, many = ({n: str(i % k) for i, n in enumerate(got.ids.tolist())} for k in (3, 10))
    assert score([got], groups=few, n_resamples=20)["bootstrap"]["over"] == "items"
    assert score([got], groups=many, n_resamples=20)["bootstrap"]["over"] == "groups"
    assert score([got], n_resamples=20)["bootstrap"]["over"] == "items"


LOG_JSON = """2026-01-01 | INFO | fairseq.trainer | begin training epoch 1
2026-01-01 | INFO | train_inner | {"epoch": 1, "update": 0.5, "loss": "9"}
2026-01-01 | INFO | train | {"epoch": 1, "train_loss": "0.5", "train_r2": "nan"}
2026-01-01 | INFO | valid | {"epoch": 1, "valid_loss": "0.4", "valid_r2": "0.1"}
2026-01-01 | INFO | train | {"epoch": 2, "train_loss": "0.3"}
2026-01-01 | INFO | valid | {"epoch": 2, "valid_loss": "0.35", "valid_r2": "0.2"}
broken {"epoch":
"""
LOG_SIMPLE = """2026-01-01 | INFO | train_inner | epoch 001:      5 / 10 loss=9, ppl=1
2026-01-01 | INFO | train | epoch 001 | loss 0.5 | wps 12.5 | lr 1e-05
2026-01-01 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 0.4 | r2 -0.1
2026-01-01 | INFO | train | epoch 002 | loss 0.3 | wps 12.5 | lr 2e-05
2026-01-01 | INFO | valid | epoch 002 | valid on 'valid' subset | loss 0.35 | r2 0.2
"""


@pytest.mark.parametrize("text", [LOG_JSON, LOG_SIMPLE])
def test_curves_from_logs(text, tmp_path):
    path = tmp_path / "train.log"
    path.write_text(text)
    curves = read_curves(path)
    assert curves["loss"] == {"train": [(1, 0.5), (2, 0.3)], "valid": [(1, 0.4), (2, 0.35)]}
    assert curves["r2"]["valid"][-1] == (2, 0.2)
    resumed = tmp_path / "resumed.log"
    resumed.write_text(text + text)
    assert len(read_curves(resumed)["loss"]["train"]) == 2


def test_curves_of_a_log_in_pythons_own_format(tmp_path):
    path = tmp_path / "train.log"
    path.write_text(
        'INFO:train_inner:{"epoch": 1, "loss": "9"}\n'
        'INFO:train:{"epoch": 1, "train_loss": "0.5"}\nINFO:valid:{"epoch": 1, "valid_loss": "0.25"}\n'
    )
    assert read_curves(path)["loss"] == {"train": [(1.0, 0.5)], "valid": [(1.0, 0.25)]}
    (tmp_path / "empty.log").write_text("")
    assert read_curves(tmp_path / "empty.log") == {}


@pytest.fixture
def experiment(tmp_path):
    """Four folds by two seeds on 96 segments of 16 groups, with labels, baselines and a ceiling."""
    rng = np.random.default_rng(3)
    ids = [f"Work_op1_8bars_{p}_{s}" for s in range(1, 17) for p in range(6)]
    x = rng.normal(size=(96, 10))
    table = dict(zip(ids, x, strict=True))
    values = np.clip(0.5 + 0.1 * np.stack([x[:, 0] + x[:, 1], x[:, 2]], axis=1), 0, 1)
    values[5, 1] = np.nan
    class_of = np.tile(np.arange(6), 16)
    labels = LabelMap(tuple(ids), values, DIMENSIONS, tuple("012345"), class_of, kind="mean")
    examples = load_examples(labels, table)
    folds = baseline_folds("content_4fold", ids)
    runs = tmp_path / "runs/demo"
    index = {name: i for i, name in enumerate(ids)}
    for k, fold in folds.items():
        for s in (1, 2):
            noise = np.random.default_rng(s).normal(0, 0.05, values.shape)
            guess = np.nan_to_num(values, nan=0.5) + noise
            folder = runs / f"fold{k}/seed{s}"
            for part in ("train", "test"):
                at = [index[n] for n in fold[part]]
                Predictions(
                    np.array(ids)[at],
                    values[at].astype(np.float32),
                    class_of[at],
                    guess[at],
                    rng.normal(size=(len(at), 6)) + 2 * np.eye(6)[class_of[at]],
                    np.concatenate([guess[at], rng.normal(size=(len(at), 3))], axis=1),
                ).save(folder / f"{part}.npz")
            (folder / "log.jsonl").write_text(LOG_JSON)
    saved = tmp_path / "predictions/content_4fold/regression"
    baselines = run_baselines(examples, folds, names=("mean", "ridge"), n_resamples=50, save=saved)
    ceiling = pd.DataFrame({"ceiling_mean": [0.8, 0.6]}, index=["Fast paced", "Soft"])
    return runs, labels, baselines, saved, ceiling, table


def test_report(experiment, tmp_path):
    runs, labels, baselines, saved, ceiling, table = experiment
    report = build_report(
        runs,
        labels,
        baselines=baselines,
        baseline_predictions=saved,
        ceiling=ceiling,
        features=table,
        n_resamples=100,
    )
    assert report.networks == [
        "network, one seed",
        "network, ensemble of 2 seeds",
        "network + features, blend",
        "network + features, hybrid",
    ]
    r2 = {name: row["regression"]["pooled"]["r2"]["mean"] for name, row in report.rows.items()}
    assert set(r2) == {*report.networks, "mean", "features: ridge"}
    one, both = r2["network, one seed"], r2["network, ensemble of 2 seeds"]
    assert both["value"] > one["value"]  # averaging halves the noise
    assert one["low"] is None
    assert one["sd"] is not None
    assert len(report.rows["network, one seed"]["seeds"]["r2"]) == 2
    assert report.differences["network + features, hybrid"]["against"] == "features: ridge"
    whole = report.ensemble
    assert both["value"] == pytest.approx(mean(regression(whole.labels, whole.regression)["r2"]))

    out = tmp_path / "report"
    result = write_report(report, out, provenance={"seed": 1})
    assert sorted(p.name for p in out.iterdir()) == [
        "curves.png",
        "dimensions.csv",
        "dimensions.png",
        "report.json",
        "report.md",
        "scatter.png",
        "scores.png",
    ]
    assert json.loads((out / "report.json").read_text())["ceiling"] == [0.8, 0.6]
    assert result["dimensions"][0] == {"name": "Fast paced", "low": "fast paced", "high": "slow paced"}
    text = (out / "report.md").read_text()
    assert "| fast paced ↔ slow paced |" in text
    assert "**network, ensemble of 2 seeds**" in text
    frame = pd.read_csv(out / "dimensions.csv")
    assert list(frame["high_pole"]) == ["slow paced", "loud"]
    assert frame.equals(frame.dropna(axis=1, how="all"))
    assert dimension_table(report).shape[0] == 2


def test_class_report(experiment, tmp_path):
    runs, labels, *_ = experiment
    report = build_report(runs, labels, task="classes", n_resamples=50)
    matrix = np.array(report.rows["network, ensemble of 2 seeds"]["classes"]["confusion"])
    assert matrix.sum() == 96
    write_report(report, tmp_path / "classes")
    assert (tmp_path / "classes/confusion.png").is_file()
    assert "accuracy pooled" in (tmp_path / "classes/report.md").read_text()


def test_report_rejects_other_labels(experiment):
    runs, labels, *_ = experiment
    moved = LabelMap(labels.ids, labels.values * 0.9, DIMENSIONS, labels.classes, labels.class_of)
    with pytest.raises(DatasetError) as caught:
        build_report(runs, moved)
    assert caught.value.reason == "label-mismatch"
    with pytest.raises(DatasetError) as caught:
        with_labels(made(3), labels)
    assert caught.value.reason == "label-mismatch"


def test_report_needs_runs_and_their_task(experiment, tmp_path):
    _, labels, *_ = experiment
    with pytest.raises(DatasetError) as caught:
        read_runs(tmp_path)
    assert caught.value.reason == "no-runs"
    part = read_runs(experiment[0])[0].parts["test"]
    Predictions(part.ids, part.labels, part.class_of, part.regression).save(
        tmp_path / "r/fold0/seed0/test.npz"
    )
    with pytest.raises(DatasetError) as caught:
        build_report(tmp_path / "r", labels, task="classes")
    assert caught.value.reason == "no-predictions"


def test_hybrid_needs_embeddings_and_features(experiment):
    runs, _, _, _, _, table = experiment
    parts = read_runs(runs)[0].parts
    bare = Predictions(parts["test"].ids, parts["test"].labels, parts["test"].class_of)
    for arguments, reason in (
        ((parts["train"], bare, table), "no-embedding"),
        ((*parts.values(), {}), "no-match"),
    ):
        with pytest.raises(DatasetError) as caught:
            hybrid(*arguments)
        assert caught.value.reason == reason


def test_report_set_and_command_line(experiment, tmp_path, root):
    runs, labels, baselines, *_ = experiment
    labels.save(tmp_path / "labels.json")
    (tmp_path / "baselines.json").write_text(json.dumps({"splits": {"content_4fold": baselines}}))
    done = subprocess.run(
        [
            sys.executable,
            str(root / "scripts/report_xai.py"),
            *("--runs", str(runs), "--labels", str(tmp_path / "labels.json"), "--out", str(tmp_path / "out")),
            *(
                "--baselines",
                str(tmp_path / "baselines.json"),
                "--split",
                "content_4fold",
                "--resamples",
                "20",
            ),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["features: ridge"] > 0.5
    written = (tmp_path / "out/report.json").read_text()
    assert str(tmp_path) not in written
    with pytest.raises(DatasetError) as caught:
        report_set(
            runs=runs,
            labels=tmp_path / "labels.json",
            out=tmp_path / "o",
            baselines=tmp_path / "baselines.json",
            split="other",
        )
    assert caught.value.reason == "bad-baselines"


def test_provenance_says_whether_the_code_differs_from_its_commit(tmp_path, monkeypatch):
    code = tmp_path / "musicbert" / "provenance.py"
    code.parent.mkdir()
    code.write_text("one\n")
    git = ("git", "-c", "user.name=x", "-c", "user.email=x@example.org")
    for command in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "x")):
        subprocess.run((*git, *command), cwd=tmp_path, check=True)
    monkeypatch.setattr("musicbert.provenance.__file__", str(code))
    assert provenance([], inputs={}, seed=1)["changed"] is False
    code.write_text("two\n")
    assert provenance([], inputs={}, seed=1)["changed"] is True


def test_provenance_names_no_folder(tmp_path):
    path = tmp_path / "labels.json"
    path.write_text("{}")
    got = provenance(["python", "x.py", str(path), f"--labels={path}"], inputs={"labels": path}, seed=3)
    assert got["command"] == "python x.py labels.json --labels=labels.json"
    assert got["data"]["labels"]["name"] == "labels.json"
    assert got["data"]["labels"]["sha256"].startswith("44136fa355b3678a")
    assert str(tmp_path) not in json.dumps(got)
    assert got["versions"]["numpy"] == np.__version__

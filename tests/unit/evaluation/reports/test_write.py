"""Predictions on disk, pooling, logs, and a whole report from made runs."""

import json
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from by_output import regression
from warm_python import python

from musicbert.annotation.dimensions import Dimension
from musicbert.annotation.label_map import LabelMap
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.models import hybrid
from musicbert.evaluation.baselines.rated_examples import load_examples
from musicbert.evaluation.baselines.rating_baselines import baseline_folds, run_baselines
from musicbert.evaluation.metrics.bootstrap import mean
from musicbert.evaluation.predictions import Predictions, load_predictions, pool, save_predictions
from musicbert.evaluation.reports.ratings import partner_of, rating_report, report_set, with_labels
from musicbert.evaluation.reports.write import output_table, report_markdown, write_report
from musicbert.evaluation.rows import Row, drawn_over, fair_groups, read_rows, score_row, shown_name
from musicbert.evaluation.run_files import read_runs
from musicbert.evaluation.training_log import read_curves
from musicbert.provenance import provenance

DIMENSIONS = (Dimension("Fast paced", "fast paced", "slow paced"), Dimension("Soft", "soft", "loud"))


def ratings(ids, labels, guess, **more):
    return Predictions(
        "ratings", "sequence", "regression", ("0", "1"), np.array(ids), np.array(ids), labels, guess, **more
    )


def performers(ids, class_of, logits, **more):
    names = tuple(map(str, range(logits.shape[1])))
    return Predictions(
        "performer", "sequence", "classes", names, np.array(ids), np.array(ids), class_of, logits, **more
    )


def test_predictions_that_cannot_be_read(tmp_path):
    bad = {"text": b"not an archive", "empty": b""}
    for name, content in bad.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
    ids = np.array(["a", "b"])
    np.savez(tmp_path / "short.npz", ids=ids, labels=np.zeros((1, 2)), class_of=np.zeros(2, int))
    np.savez(tmp_path / "missing.npz", ids=np.array(["a"]))
    np.savez(tmp_path / "pickle.npz", ids=np.array([{"a": 1}], dtype=object))
    for name in (*bad, "short", "missing", "pickle"):
        with pytest.raises(DatasetError) as caught:
            load_predictions(tmp_path / f"{name}.npz")
        assert caught.value.reason == "bad-predictions"


def test_pooled_and_mean_of_folds_are_different_things():
    """Two folds, each constant but for noise: pooled R² is high, the mean over folds is not."""
    rng = np.random.default_rng(0)
    folds = {}
    for k, level in enumerate((0.2, 0.8)):
        labels = level + rng.normal(0, 0.01, (20, 2))
        folds[str(k)] = ratings([f"{k}-{i}" for i in range(20)], labels, np.full((20, 2), level))
    got = score_row("network", [folds], n_resamples=50)
    assert got.value("r2") > 0.99
    assert got.scores["mean_of_folds"]["r2"]["value"] < 0.05
    assert got.value("mse:1") < got.value("r2:1")
    json.dumps(got.as_dict(), allow_nan=False)


def test_groups_are_drawn_and_few_of_them_are_named():
    values = np.random.default_rng(0).random((40, 2))
    for count, over in ((1, "pieces"), (3, "groups"), (10, "groups"), (40, "pieces")):
        got = ratings([f"x{i}" for i in range(40)], values, values)
        got = replace(got, groups=np.array([str(i % count) for i in range(40)]))
        row = score_row("network", fair_groups([{"0": got}]), n_resamples=20)
        assert row.over == over
        assert ("only 3: intervals are rough" in drawn_over(row)) == (count == 3)


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
    examples = load_examples(labels, table)["ratings"]
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
                names = np.array(ids)[at]
                logits = rng.normal(size=(len(at), 6)) + 2 * np.eye(6)[class_of[at]]
                more = {"embedding": np.concatenate([guess[at], rng.normal(size=(len(at), 3))], axis=1)}
                found = {
                    "ratings": ratings(names, values[at].astype(np.float32), guess[at], **more),
                    "performer": performers(names, class_of[at], logits, **more),
                }
                save_predictions(folder / f"{part}.npz", found)
            (folder / "log.jsonl").write_text(LOG_JSON)
    saved = tmp_path / "predictions/content_4fold/regression"
    baselines = run_baselines(examples, folds, names=("mean", "ridge"), n_resamples=50, save=saved)
    ceiling = pd.DataFrame({"ceiling_mean": [0.8, 0.6]}, index=["Fast paced", "Soft"])
    return runs, labels, baselines, saved, ceiling, table


def test_report(experiment, tmp_path):
    runs, labels, baselines, saved, ceiling, table = experiment
    report = rating_report(
        runs,
        labels,
        baselines=read_rows(baselines["rows"]),
        baseline_predictions=saved,
        ceiling=ceiling,
        features=table,
        n_resamples=100,
    )
    rows = {shown_name(row): row for row in report.rows}
    assert [(row.kind, row.seeds) for row in report.rows] == [
        ("network", "one"),
        ("network", "ensemble"),
        ("blend", None),
        ("hybrid", None),
        ("baseline", None),
        ("baseline", None),
        ("ceiling", None),
    ]
    assert {"mean", "features: ridge", "noise ceiling"} < set(rows)
    one, both = (rows[f"network, {which} of 2 seeds"] for which in ("mean", "ensemble"))
    assert both.value("r2") > one.value("r2")  # averaging halves the noise
    interval = one.entry("r2")
    assert interval["low"] < interval["value"] < interval["high"]
    assert interval["seeds_sd"] > 0
    assert {each["against"] for each in report.differences} == {"features: ridge"}
    assert [each["kind"] for each in report.differences] == ["network", "blend", "hybrid"]
    whole = both.predictions
    assert both.value("r2") == pytest.approx(mean(regression(whole.target, whole.outputs)["r2"]))
    assert report.main is both

    out = tmp_path / "report"
    written = write_report(report, out, provenance={"seed": 1})
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in written)
    assert {p.name for p in written} == {
        "curves.png", "dimensions.csv", "dimensions.png", "predictions.npz", "report.json", "report.md",
        "scatter.png", "scores.csv", "scores.png",
    }  # fmt: skip
    content = json.loads((out / "report.json").read_text())
    assert read_rows(content["rows"])[-1].value("r2:Fast paced") == 0.8
    assert content["poles"][0] == {"name": "Fast paced", "low": "fast paced", "high": "slow paced"}
    text = (out / "report.md").read_text()
    assert "| fast paced ↔ slow paced |" in text
    assert "**network, ensemble of 2 seeds**" in text
    assert "Noise ceiling of these labels, mean over outputs: 0.700." in text
    frame = pd.read_csv(out / "dimensions.csv")
    assert list(frame["high_pole"]) == ["slow paced", "loud"]
    assert frame.equals(frame.dropna(axis=1, how="all"))
    assert output_table(report).shape[0] == 2
    assert "Missing row: random weights" in text
    # the predictions that it kept, without labels, give the same report again
    assert np.isnan(load_predictions(out / "predictions.npz")["fold0/seed1"].target).all()
    again = rating_report(
        out, labels, baselines=read_rows(baselines["rows"]), ceiling=ceiling, n_resamples=100
    )
    assert [row.as_dict() for row in again.rows] == [row.as_dict() for row in report.rows]
    assert again.differences == report.differences


def test_ends_of_a_ceiling_mark_dimensions(experiment, tmp_path):
    runs, labels, *_ = experiment
    ends = {"ceiling_mean_low": [0.1, 0.5], "ceiling_mean_high": [0.2, 0.6]}
    ceiling = pd.DataFrame(ends, index=["Fast paced", "Soft"])
    report = rating_report(runs, labels, ceiling=ceiling, n_resamples=20)
    write_report(report, tmp_path / "r")
    text = (tmp_path / "r/report.md").read_text()
    assert "Noise ceiling of these labels, mean over outputs: 0.300–0.400." in text
    assert "Nothing to learn: Fast paced." in text
    assert "At its ceiling: Soft." in text
    assert "| soft ↔ loud (at its ceiling) |" in text
    table = pd.read_csv(tmp_path / "r/dimensions.csv")
    assert table["mark"].tolist() == ["nothing to learn", "at its ceiling"]
    assert table["ceiling high"].tolist() == [0.2, 0.6]


def test_the_partner_of_a_blend_is_not_chosen_by_its_score():
    def partner(*names, task="regression"):
        return partner_of([Row("baseline", {}, name=name) for name in names], task)

    every = (
        "mean",
        "lookup:bars",
        "ridge",
        "ensemble",
        "committee",
        "committee+score",
        "committee+score+peers",
    )
    assert partner(*every) == "committee+score"
    assert partner(*every[:5]) == "committee"
    assert partner(*every[:3]) == "ridge"
    assert partner(*every[:2]) == "lookup:bars"
    assert partner() is None
    assert partner("majority", "svm", "ensemble", "ensemble+score", task="classes") == "ensemble+score"


def test_report_of_one_dimension_names_its_poles(experiment, tmp_path):
    runs, labels, *_ = experiment
    report = rating_report(runs, labels, n_resamples=20)
    kept = {k: v for k, v in report.main.scores["pooled"].items() if ":" not in k}
    one = replace(
        report,
        task=replace(report.task, classes=("Fast paced",)),
        poles=report.poles[:1],
        rows=[replace(row, scores={**row.scores, "pooled": kept}) for row in report.rows],
        about={**report.about, "scale": "labels are (rating - 1) / 8"},
    )
    text = report_markdown(one, [])
    assert f"| fast paced ↔ slow paced | {report.main.value('r2'):.3f} |" in text
    assert "What is predicted: labels are (rating - 1) / 8." in text


def test_groups_are_those_that_the_data_set_was_split_by(experiment):
    runs, labels, *_ = experiment
    by_score = rating_report(runs, labels, n_resamples=20).main.predictions
    columns = {"work": dict.fromkeys(labels.ids, "one"), "file": {name: name for name in labels.ids}}
    main = rating_report(runs, replace(labels, groups=columns), n_resamples=20).main
    assert len(set(by_score.groups.tolist())) == 16
    assert sorted(main.predictions.groups.tolist()) == sorted(labels.ids)


def test_class_report(experiment, tmp_path):
    runs, labels, *_ = experiment
    report = rating_report(runs, labels, task="classes", n_resamples=50)
    assert np.sum(report.main.confusion) == 96
    write_report(report, tmp_path / "classes")
    assert (tmp_path / "classes/confusion.png").is_file()
    assert "| row | accuracy | macro_f1 |" in (tmp_path / "classes/report.md").read_text()


def test_report_rejects_other_labels(experiment):
    runs, labels, *_ = experiment
    moved = LabelMap(labels.ids, labels.values * 0.9, DIMENSIONS, labels.classes, labels.class_of)
    with pytest.raises(DatasetError) as caught:
        rating_report(runs, moved)
    assert caught.value.reason == "label-mismatch"
    with pytest.raises(DatasetError) as caught:
        with_labels(ratings(["x"], np.zeros((1, 2)), np.zeros((1, 2))), labels)
    assert caught.value.reason == "label-mismatch"


def test_report_needs_runs_and_their_task(experiment, tmp_path):
    _, labels, *_ = experiment
    with pytest.raises(DatasetError) as caught:
        read_runs(tmp_path)
    assert caught.value.reason == "no-runs"
    part = read_runs(experiment[0])[0].parts["test"]["ratings"]
    save_predictions(tmp_path / "r/fold0/seed0/test.npz", {"ratings": part})
    with pytest.raises(DatasetError) as caught:
        rating_report(tmp_path / "r", labels, task="classes")
    assert caught.value.reason == "no-predictions"


def test_pieces_without_a_name_are_those_of_their_fold(tmp_path):
    for fold in (0, 1):
        part = ratings(["test-0", "test-1"], np.full((2, 2), float(fold)), np.zeros((2, 2)))
        save_predictions(tmp_path / f"fold{fold}/seed0/test.npz", {"ratings": part})
    found = pool([run.parts["test"]["ratings"] for run in read_runs(tmp_path)])
    assert found.ids.tolist() == ["fold0/test-0", "fold0/test-1", "fold1/test-0", "fold1/test-1"]


def test_hybrid_needs_embeddings_and_features(experiment):
    runs, _, _, _, _, table = experiment
    parts = {k: v["ratings"] for k, v in read_runs(runs, ("train", "test"))[0].parts.items()}
    bare = replace(parts["test"], embedding=None)
    for arguments, reason in (
        ((parts["train"], bare, table), "no-embedding"),
        ((*parts.values(), {}), "no-match"),
    ):
        with pytest.raises(DatasetError) as caught:
            hybrid(*arguments)
        assert caught.value.reason == reason


def test_what_a_report_leaves_out_is_said(experiment, tmp_path, caplog):
    runs, labels, baselines, saved, ceiling, table = experiment
    labels.save(tmp_path / "labels.json")
    files = {"runs": runs, "labels": tmp_path / "labels.json", "out": tmp_path / "o", "resamples": 20}
    for kind, other in (("median", ceiling), (None, ceiling.rename(index=str.upper))):
        other.to_csv(tmp_path / "ceiling.csv")
        with pytest.raises(DatasetError) as caught:
            report_set(**files, ceiling=tmp_path / "ceiling.csv", kind=kind)
        assert caught.value.reason == "bad-ceiling"
    for path in runs.glob("*/*/train.npz"):
        path.unlink()
    for folder in list(saved.glob("*/fold0")):
        folder.rename(folder.parent / "other")
    rows = read_rows(baselines["rows"])
    report = rating_report(
        runs, labels, baselines=rows, baseline_predictions=saved, features=table, n_resamples=20
    )
    assert not {"blend", "hybrid"} & {row.kind for row in report.rows}
    assert "no blend" in caplog.text
    assert "no hybrid" in caplog.text


def test_report_set_and_command_line(experiment, tmp_path, root):
    runs, labels, baselines, *_ = experiment
    labels.save(tmp_path / "labels.json")
    (tmp_path / "baselines.json").write_text(json.dumps({"splits": {"content_4fold": baselines}}))
    done = subprocess.run(
        [
            python(),
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

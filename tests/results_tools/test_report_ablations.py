"""Report of ablations on made scores: tables, curves, pictures, and what is missing."""

import json

import numpy as np
import pytest
from report_ablations import ablation_report

OPTIONS = "0 | INFO | fairseq_cli.train | {'_name': None, 'task': {'_name': 'music_pretrain', 'crop': 16}}\n"
STATS = {"epoch": 1, "train_wpb": "50000", "train_bsz": "4", "train_wall": "10"}


@pytest.fixture
def made(tmp_path):
    """Folder of variants; ``add(name, {task: gain})``, over 0.5 with noise that the seeds share."""

    def add(name, tasks, *, codec="octuple", start=None, rows=()):
        place = tmp_path / "runs" / "finetune" / name
        place.mkdir(parents=True)
        listed = list(rows)
        for task, gain in tasks.items():
            noise = np.random.default_rng(7).normal(0, 0.05, 3)
            own = np.random.default_rng(len(name)).normal(0, 0.001, 3)
            runs = [
                {"seed": seed, "fold": "0", "score": 0.5 + gain + noise[seed] + own[seed]}
                for seed in range(3)
            ]
            listed.append(
                {"task": task, "split": "clean", "data": {"codec": codec}, "network": {"runs": runs}}
            )
        (place / "scores.json").write_text(json.dumps({"rows": listed, "made_by": {"commit": "0123456789"}}))
        if start:
            (place / "pretraining").write_text(start)
            log = tmp_path / "runs" / "pretrain" / start / "train.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            stats = {**STATS, "train_num_updates": start.partition("@")[2]}
            log.write_text(f"{OPTIONS}0 | INFO | train | {json.dumps(stats)}\n")

    return add


def report_of(tmp_path):
    report = ablation_report(tmp_path / "runs", tmp_path / "out", hardware="one CPU", made_by={"seed": 0})
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["hardware"] == "one CPU"
    return report, (tmp_path / "out" / "table.md").read_text()


def section(text, name):
    return text.partition(f"## {name}\n")[2].partition("\n## ")[0]


def test_report(made, tmp_path):
    made("scratch-octuple", {"ME": 0, "VE": 0})
    made("scratch-cp", {"ME": 0.1}, codec="cp")
    made("bar", {"ME": 0.1, "VE": -0.05}, start="bar@2000")
    made("element", {"ME": 0.0002}, start="element@2000")
    (tmp_path / "runs" / "pretrain" / "element@2000" / "done").touch()
    broken = {"task": "ME", "split": "clean", "data": {"codec": "cp"}, "note": "3 of 3 runs failed: boom"}
    made("cp-mask", {}, codec="cp", start="cp-mask@2000", rows=[{**broken, "network": None}])
    report, text = report_of(tmp_path)
    assert "on one CPU, commit 0123456." in text
    assert "intervals over 3 seeds" in text
    gains = section(text, "Gain over no pre-training")
    assert "| bar | **+0." in gains
    assert "**-0." in gains  # worse on VE
    assert "- ME: above: bar; undecided: element" in gains
    assert "- VE: below: bar" in gains
    assert "bar masking or element masking (bar − element) | **+0." in section(text, "The papers' questions")
    assert (
        "4 differences with intervals, of which 3 exclude zero; without any effect about 0.2 would." in text
    )
    assert "- bar@2000: this pre-training did not come to its end" in section(text, "What went wrong")
    assert "- element@2000" not in section(text, "What went wrong")
    assert "- cp-mask: ME, clean: 3 of 3 runs failed: boom" in section(text, "What went wrong")
    assert "| cp-mask@2000 | 2,000 | 4 | 100,000,000 | 10 | 10,000,000 | – | – |" in text
    assert "| scratch-cp | 0." in section(text, "Scores")
    assert section(text, "Scores over labels") == ""
    assert (tmp_path / "out" / "gains.png").stat().st_size > 1000
    assert not (tmp_path / "out" / "notes.png").exists()
    assert {each["task"] for each in report["gains"]["bar"]} == {"ME", "VE"}
    assert len(report["variants"]["bar"]["runs"]) == 6


def test_curves(made, tmp_path):
    for share, loss in (("", 0), ("%30", 0.1), ("%10", 0.2)):
        made(f"scratch-octuple{share}", {"ME": -loss})
        # of VE nothing but all labels and all notes: no curve
        more = {} if share else {"VE": 0.1}
        made(f"bar{share}", {"ME": 0.1 - loss / 2, **more}, start="bar@2000")
    made("bar@500", {"ME": 0.05}, start="bar@500")
    made("element", {"ME": 0.05}, start="element@2000")
    report, text = report_of(tmp_path)
    assert report["curves"]["notes"] == {"bar": [[0.0, "scratch-octuple"], [25.0, "bar@500"], [100.0, "bar"]]}
    assert report["curves"]["labels"]["bar"] == [[10.0, "bar%10"], [30.0, "bar%30"], [100.0, "bar"]]
    assert set(report["curves"]["labels"]) == {"scratch-octuple", "bar"}
    assert section(text, "Scores over notes of pre-training").count("| bar |") == 3
    assert section(text, "Scores over labels").count("| scratch-octuple |") == 3
    for heading in ("Scores over notes of pre-training", "Scores over labels"):
        assert "ME" in section(text, heading)
        assert "VE" not in section(text, heading)
    gains = {name: row[0]["value"] for name, row in report["gains"].items()}
    assert gains["bar%10"] == pytest.approx(0.2, abs=0.01)  # beside no pre-training on as few labels
    for name in ("gains.png", "notes.png", "labels.png"):
        assert (tmp_path / "out" / name).stat().st_size > 1000


def test_nothing_but_scratch(made, tmp_path):
    made("scratch-octuple", {"ME": 0})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "gains.png").write_bytes(b"of another report")
    report, text = report_of(tmp_path)
    assert report["gains"] == {}
    assert "Gain" not in text
    assert not (tmp_path / "out" / "gains.png").exists()

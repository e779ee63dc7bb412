"""Figures of the tables follow from the predictions, or the scores of runs, that are kept beside them."""

import json
from collections import defaultdict

import ablation_scores
import numpy as np
import pretraining_report
import profile_model
import pytest
from ablation_runs import Variant

from musicbert.corpus.files.folders import read_npz
from musicbert.corpus.readers import get_task
from musicbert.evaluation.baselines.benchmark import PIECE_MODELS

#: files of predictions in results/ -> the test that computes figures from them again
COMPUTED_BY = {
    "baselines_*_*.npz": "test_kept_committees.py",
    "baselines_smc.predictions.npz": "test_kept_predictions.py",
    "downstream/beats_seen/predictions.npz": "test_probe_notes.py",
    "levers/*.npz": "test_compare_predictions.py",
}
#: names of the files of Pianist8 that are misspelled
TYPING = {"Hisaisi": "Hisaishi", "Ryuici": "Ryuichi"}


@pytest.mark.parametrize("task", ["PS", "ER"])
def test_scores_of_pieces_follow_from_the_kept_classes(root, task):
    """Pianist8's files begin with the pianist, VGMIDI's with the quadrant."""
    rows = json.loads((root / "results/baselines_smc.json").read_text())["rows"]
    kept, classes = read_npz(root / "results/baselines_smc.predictions.npz"), get_task(task).task.classes
    for row in (row for row in rows if row["task"] == task):
        key = f"{task}/{row['split']}"
        spelled = [TYPING.get(name.partition("_")[0], name) for name in kept[f"{key}/ids"].tolist()]
        truth = np.array([next(k for k, c in enumerate(classes) if name.startswith(c)) for name in spelled])
        right = kept[f"{key}/{row['baseline']}"] == truth
        by_round = [float(right[kept[f"{key}/round"] == k].mean()) for k in range(len(row["folds"]))]
        assert by_round == pytest.approx([fold["pieces"] for fold in row["folds"]])
        assert np.mean(by_round) == pytest.approx(row["pieces"])
    assert {row["baseline"] for row in rows if row["task"] == task} >= set(PIECE_MODELS)


def test_no_file_of_predictions_is_without_a_test(root):
    results = root / "results"
    computed = {pattern: set(results.glob(pattern)) for pattern in COMPUTED_BY}
    assert all(computed.values())
    assert set(results.rglob("*.npz")) == set.union(*computed.values())
    for pattern, test in COMPUTED_BY.items():
        words = (root / "tests" / "results_tools" / test).read_text()
        *folders, name = pattern.split("/")
        assert all(f'"{folder}"' in words for folder in folders)
        assert name.partition("*")[0] in words


def test_ablations_follow_from_the_scores_of_their_runs(root):
    """Means, gains over no pre-training, and the papers' questions, with their intervals."""
    stored = json.loads((root / "results" / "ablations" / "scores.json").read_text())
    variants = []
    for name, record in stored["variants"].items():
        tasks = defaultdict(dict)
        for run in record["runs"]:
            tasks[run["task"], run["split"]][run["seed"], run["fold"]] = run["score"]
        base = name.partition("%")[0]
        variants.append(Variant(name, base.partition("@")[0], record["share"], record["codec"], tasks=tasks))
    for kind, compute in (("scores", "scores"), ("gains", "gains"), ("questions", "answers")):
        found = getattr(ablation_scores, compute)(variants)
        assert found.keys() == stored[kind].keys()
        for name, entries in stored[kind].items():
            for entry in entries:
                got = found[name][entry["task"], entry["split"]].as_dict()
                assert got == pytest.approx({key: entry[key] for key in got}, abs=3e-5), name


@pytest.mark.parametrize("network", ["m2bert-base", "m2bert-mini", "musicbert-mini-performance"])
def test_pages_on_pre_training_follow_from_their_reports(root, network):
    folder = root / "results" / "pretraining" / network
    report = json.loads((folder / "report.json").read_text())
    assert pretraining_report.about_text(report) == (folder / "about.md").read_text()


def test_the_page_on_the_profile_follows_from_its_file(root):
    folder = root / "results" / "profile"
    assert (
        profile_model.page(json.loads((folder / "profile.json").read_text()))
        == (folder / "profile.md").read_text()
    )

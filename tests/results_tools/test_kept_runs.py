"""Each file of predictions has its test; figures and pages follow from the scores of runs that are kept."""

import json
from collections import defaultdict

import ablation_scores
import pretraining_report
import profile_model
import pytest
from ablation_runs import Variant

#: files of predictions in results/ -> the test that computes figures from them again
COMPUTED_BY = {
    "baselines_*_*.npz": "test_kept_committees.py",
    "baselines_smc.predictions.npz": "test_kept_predictions.py",
    "probes/*/predictions.npz": "test_probe_notes.py",
    "levers/*.npz": "test_compare_predictions.py",
}


def test_no_file_of_predictions_is_without_a_test(root):
    results = root / "results"
    computed = {pattern: set(results.glob(pattern)) for pattern in COMPUTED_BY}
    assert all(computed.values())
    assert set(results.rglob("*.npz")) == set.union(*computed.values())
    for pattern, test in COMPUTED_BY.items():
        words = (root / "tests" / "results_tools" / test).read_text()
        assert pattern.split("/")[0].partition("*")[0] in words


@pytest.fixture(scope="module")
def ablations(root):
    """The file of the ablations, and the scores of its runs: variant -> task and split -> seed and fold."""
    stored, runs = json.loads((root / "results" / "ablations" / "scores.json").read_text()), {}
    for name, record in stored["variants"].items():
        runs[name] = defaultdict(dict)
        for run in record["runs"]:
            runs[name][run["task"], run["split"]][run["seed"], run["fold"]] = run["score"]
    return stored, runs


def test_ablations_follow_from_the_scores_of_their_runs(ablations):
    """Means, gains over no pre-training, and the papers' questions, with their intervals."""
    stored, runs = ablations
    variants = [
        Variant(
            name, name.partition("%")[0].partition("@")[0], each["share"], each["codec"], tasks=runs[name]
        )
        for name, each in stored["variants"].items()
    ]
    for kind, compute in (("scores", "scores"), ("gains", "gains"), ("questions", "answers")):
        found = getattr(ablation_scores, compute)(variants)
        assert found.keys() == stored[kind].keys()
        for name, entries in stored[kind].items():
            for entry in entries:
                got = found[name][entry["task"], entry["split"]].as_dict()
                assert got == pytest.approx({key: entry[key] for key in got}, abs=3e-5), name


@pytest.mark.parametrize(
    ("one", "other", "task"),
    [
        ("scratch-octuple", "scratch-cp", "CR"),
        ("scratch-octuple", "scratch-cp", "OTC"),
        ("cp-denoise-roll@6000", "cp-denoise-roll", "ME"),
        ("cp-denoise-roll@6000", "cp-denoise-roll", "CR"),
        ("cp-denoise-roll@6000%10", "scratch-cp%30", "VE"),
        ("cp-denoise-roll@6000%10", "scratch-cp", "VE"),
        ("bar", "scratch-octuple", "LK"),
        ("bar", "compound", "OTC"),
        ("cp-denoise", "cp-mask", "ME"),
    ],
)
def test_differences_that_the_notes_name(ablations, root, one, other, task):
    _, runs = ablations
    found = ablation_scores.difference(runs[one][task, "clean"], runs[other][task, "clean"])
    notes = (root / "results" / "notes.md").read_text()
    assert f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]" in notes


def test_no_network_alone_is_above_the_features_and_no_blend_on_ratings(root):
    """What both pages say of all reports of ratings and performers."""
    found = defaultdict(list)
    for path in (root / "results").glob("*/*/*/*/report.json"):
        split, task = path.parts[-4], path.parts[-2]
        for entry in json.loads(path.read_text())["differences"]:
            if entry["kind"] == "network" or (task == "regression" and not split.startswith("segment")):
                found[entry["kind"]].append(round(entry["low"], 3))
    assert len(found["network"]) > 60
    assert len(found["blend"]) > 20
    assert max(map(max, found.values())) <= 0


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

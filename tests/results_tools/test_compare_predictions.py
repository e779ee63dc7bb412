"""Networks beside each other on one split: what is kept, and the figures that follow from it."""

import json

import compare_predictions
import numpy as np
import pytest

from musicbert.annotation.label_map import LabelMap
from musicbert.corpus.files.folders import read_npz
from musicbert.evaluation.predictions import Predictions, save_predictions

IDS = [f"Schubert_D960_mv3_8bars_{player}_{bars}" for bars in (1, 9, 18) for player in (1, 2, 3)]


def save_run(folder, names, outputs):
    blank = np.full(outputs.shape, np.nan)
    groups = np.array(["its region"] * len(names))
    part = Predictions(
        "ratings", "sequence", "regression", ("a", "b"), np.array(names), groups, blank, outputs
    )
    save_predictions(folder / "seed1" / "test.npz", {"ratings": part})


def test_folds_that_are_not_done_are_left_out_of_a_comparison(tmp_path):
    rng, kept = np.random.default_rng(0), tmp_path / "kept.npz"
    target = rng.uniform(0, 1, (9, 2))
    save_run(tmp_path / "one" / "fold0", IDS[:6], target[:6])
    save_run(tmp_path / "one" / "fold1", IDS[6:], target[6:])
    save_run(tmp_path / "two" / "fold1", IDS[6:], target[6:] + 0.1)
    compare_predictions.add_runs(kept, "two", tmp_path / "two")
    compare_predictions.add_runs(kept, "one", tmp_path / "one")
    table = read_npz(kept)
    assert set(table) == {"ids", "groups", "row:one", "row:two"}  # and no labels
    at = [IDS.index(name) for name in table["ids"].tolist()]
    labels = type("Labels", (), {"ids": IDS, "values": target})
    ids, rows = compare_predictions.predictions_of(kept, f"{kept}:one")
    np.testing.assert_allclose(rows["one"], target[at], atol=1e-4)
    found = compare_predictions.scores(ids, rows, labels, ["one - two"], resamples=5)
    assert (found["r2"]["one"]["segments"], found["difference"]["one - two"]["segments"]) == (9, 3)
    assert found["r2"]["one"]["groups"] == 2  # the music of bars 9 comes again as 18
    assert found["r2"]["one"]["value"] == pytest.approx(1, abs=1e-4)
    mean = found["r2"]["two, average with one"]["value"]
    assert found["r2"]["two"]["value"] < mean < found["r2"]["one"]["value"]
    with pytest.raises(SystemExit):
        compare_predictions.scores(ids, rows, labels, ["one - three"])


@pytest.mark.shared
def test_the_figures_of_the_levers_follow_from_their_predictions(root, label_map):
    folder = root / "results" / "levers"
    kept = folder / "percepiano_content_4fold.npz"
    stored = json.loads((folder / "scores.json").read_text())
    assert {name for name in read_npz(kept) if not name.startswith("row:")} == {"ids", "groups"}
    features = root / "results" / "baselines_percepiano_content_4fold.npz:committee+score"
    ids, rows = compare_predictions.predictions_of(kept, str(features))
    assert rows.keys() == stored["r2"].keys()
    # a sample: the intervals of all rows take minutes
    pair = "performance-mlm, layers 1-2 frozen - random weights, layers 1-2 frozen"
    sample = {name: rows[name] for name in (*pair.split(" - "), "committee+score")}
    found = compare_predictions.scores(ids, sample, LabelMap.load(label_map("percepiano")), [pair])
    assert found["difference"].keys() == {pair}
    for kind in ("r2", "difference"):
        for name, values in found[kind].items():
            assert values == pytest.approx(stored[kind][name], abs=1e-6), name


def test_the_pages_say_what_the_file_says(root):
    stored = json.loads((root / "results" / "levers" / "scores.json").read_text())
    notes, page = ((root / "results" / name).read_text() for name in ("notes.md", "README.md"))
    for pair, entry in stored["difference"].items():
        words = f"{entry['value']:+.3f} [{entry['low']:+.3f}, {entry['high']:+.3f}]"
        in_table = pair.endswith("- committee+score")
        assert words in (page if in_table else " ".join(notes.split())), pair

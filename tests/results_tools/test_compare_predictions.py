import json

import compare_predictions
import pytest


def test_the_figures_of_the_levers_follow_from_their_predictions(root):
    folder = root / "results" / "levers"
    found = compare_predictions.scores([folder / "frozen.npz", folder / "free.npz"])
    stored = json.loads((folder / "scores.json").read_text())
    assert (found["pieces"], found["groups"]) == (stored["pieces"], stored["groups"])
    for kind in ("r2", "difference"):
        for name, values in stored[kind].items():
            assert found[kind][name] == pytest.approx(values, abs=1e-6), name
    shown = (root / "results" / "notes.md").read_text()
    assert f"{found['r2']['frozen']['value']:.3f}" in shown
    difference = found["difference"]["frozen - free"]
    assert f"{difference['value']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]" in shown

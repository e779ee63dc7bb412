"""Noise ceilings by split, and the marks of dimensions in the tables made from them."""

import json
import shutil

from ceilings import into_report, marks, page, table


def _row(name, **values):
    pooled = {f"r2:{dimension}": {"value": value} for dimension, value in values.items()}
    return {"kind": "baseline", "name": name, "scores": {"pooled": pooled}}


def test_marks_say_what_is_left_to_win(tmp_path):
    ends = {"Soft": (0.5, 0.6), "Long": (0.4, 0.5), "Swing": (0.1, 0.2)}
    content = {
        "segments": 64, "low": 1 / 3, "high": 0.43,
        "dimensions": {name: {"low": low, "high": high} for name, (low, high) in ends.items()},
    }  # fmt: skip
    scored = {"rows": [_row("ridge", Soft=0.3, Long=0.41, Swing=0.15), _row("mean", Soft=None, Long=0)]}
    assert marks(content, scored) == {"ceiling": ["Long"], "nothing": ["Swing"]}
    (tmp_path / "baselines_xai.json").write_text(json.dumps({"splits": {"content_8fold": scored}}))
    lines = table({"xai": {"content_8fold": content, "segment": content}}, tmp_path)
    assert lines[2] == "| xai | content_8fold | 64 | 0.33–0.43 | Swing | Long |"
    assert lines[3] == "| xai | segment | 64 | 0.33–0.43 | – | – |"


def test_the_page_is_in_step(root):
    assert (root / "results/ceilings.md").read_text() == page(root / "results")


def test_stored_reports_take_the_ceiling_of_their_split(root, tmp_path):
    """Nothing else of a report changes, and a second time nothing at all."""
    source = root / "results/xai/segment_clean/performance-mlm/regression"
    folder = tmp_path / "report"
    shutil.copytree(source, folder)
    names = json.loads((source / "report.json").read_text())["task"]["classes"]
    ends = {name: {"low": 0.3, "high": 0.9} for name in names} | {"Long": {"low": 0.1, "high": 0.2}}
    for _ in range(2):
        into_report(folder, {"low": 0.25, "high": 0.8, "dimensions": ends})
        text = (folder / "report.md").read_text()
        assert "mean over dimensions: 0.250–0.800." in text
        assert text.count("(nothing to learn)") == 1
        assert "| long ↔ short (nothing to learn) |" in text
    before, after = (json.loads((f / "report.json").read_text()) for f in (source, folder))
    long = after["rows"][-1]["scores"]["pooled"]["r2:Long"]
    assert long == {"value": 0.15, "low": 0.1, "high": 0.2, "sd": None}
    assert after["rows"][:-1] == before["rows"][:-1]

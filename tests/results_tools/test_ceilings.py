"""Noise ceilings by split, and the marks of dimensions in the tables made from them."""

import json

from ceilings import marks, page, table


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

"""Pictures: written, not blank, labels inside the frame, both poles on the axes."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from musicbert import viz

POLES = [
    ("fast paced", "slow paced"),
    ("saturated (wet)", "sparse (dry)"),
    ("a rather long low pole", "high"),
]


@pytest.fixture
def figures(monkeypatch):
    """Every figure that is drawn."""
    made = []
    save = Figure.savefig

    def keep(self, *arguments, **options):
        made.append(self)
        return save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return made


def check(path, figure):
    """The picture has content, and an empty margin at each edge (so no label is cut)."""
    image = imread(path)[..., :3]
    assert image.shape[0] > 150
    assert image.shape[1] > 150
    assert image.std() > 0.02
    for edge in (image[:2], image[-2:], image[:, :2], image[:, -2:]):
        assert (edge > 0.98).all()
    return " ".join(t.get_text() for t in figure.findobj(match=lambda o: hasattr(o, "get_text")))


def test_scatter_grid(figures, tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.random((50, 3))
    labels[4, 1] = np.nan
    viz.scatter_grid(labels, labels * 0.5 + 0.2, POLES, tmp_path / "a/s.png", columns=2, notes=["R² 0.1"] * 3)
    text = check(tmp_path / "a/s.png", figures[0])
    for low, high in POLES:
        assert f"{low}\n↔ {high}" in text


def test_score_bars(figures, tmp_path):
    rows = {"network": (0.3, 0.2, 0.35), "mean": (-0.05, -0.1, 0.0), "one seed": (0.25, np.nan, np.nan)}
    rows["undefined"] = (np.nan, np.nan, np.nan)
    viz.score_bars(rows, tmp_path / "b.png", ceiling=(0.5, 0.58), highlight=["network"], title="title")
    text = check(tmp_path / "b.png", figures[0])
    assert "noise ceiling 0.50–0.58" in text
    assert "-0.050" in text
    viz.score_bars(rows, tmp_path / "c.png", ceiling=None)
    assert "ceiling" not in check(tmp_path / "c.png", figures[1])


def test_dimension_plot(figures, tmp_path):
    rows = {"network": [0.1, 0.5, 0.2], "features: ridge": [0.2, np.nan, 0.1]}
    interval = [[0, 0.2], [0.4, 0.6], [np.nan, np.nan]]
    viz.dimension_plot(rows, POLES, tmp_path / "d.png", ceiling=[0.8, 0.9, np.nan], interval=interval)
    text = check(tmp_path / "d.png", figures[0])
    assert "saturated (wet) ↔ sparse (dry)" in text
    assert "noise ceiling" in text
    assert "nothing to learn" not in text
    marks = ["", "nothing to learn", ""]
    viz.dimension_plot(
        rows, POLES, tmp_path / "e.png", ceiling=[0.8] * 3, lowest=[0.7, 0.1, 0.5], marks=marks
    )
    assert "(nothing to learn)" in check(tmp_path / "e.png", figures[1])
    viz.dimension_plot(rows, POLES, tmp_path / "e.png")
    check(tmp_path / "e.png", figures[2])


def test_confusion_plot(figures, tmp_path):
    viz.confusion_plot([[5, 1], [0, 7]], ["12", "Score"], tmp_path / "f.png")
    text = check(tmp_path / "f.png", figures[0])
    assert "Score" in text
    assert "7" in text


def test_curves_plot(figures, tmp_path):
    curves = {
        "loss": {"train fold 0": [(1, 0.5), (2, 0.3)], "valid fold 0": [(2, 0.4), (1, 0.5)]},
        "r2": {"valid": []},
    }
    viz.curves_plot(curves, tmp_path / "g.png")
    check(tmp_path / "g.png", figures[0])
    with pytest.raises(ValueError, match="no curve"):
        viz.curves_plot({}, tmp_path / "h.png")


def test_interval_grid(figures, tmp_path):
    panels = {
        "ME": {"bar": (0.1, 0.05, 0.15), "element": (-0.1, -0.2, -0.02), "roll": (0.0, np.nan, np.nan)},
        "VE": {"bar": (0.02, -0.1, 0.14)},
    }
    viz.interval_grid(panels, tmp_path / "k.png", title="gain", unit="difference", columns=2)
    text = check(tmp_path / "k.png", figures[0])
    for word in ("ME", "VE", "bar", "element", "roll", "difference"):
        assert word in text
    colours = [line.get_color() for line in figures[0].axes[0].lines[:-1:2]]
    assert colours == [viz.BLUE, viz.ORANGE, viz.GREY]
    with pytest.raises(ValueError, match="no interval"):
        viz.interval_grid({"ME": {}}, tmp_path / "l.png")


def test_line_grid(figures, tmp_path):
    lines = {"bar": [(2, 0.5, 0.4, 0.6), (0, 0.3, np.nan, np.nan)], "element": [(1, 0.2, 0.1, 0.3)]}
    panels = {"ME": lines, "VE": {"bar": lines["bar"]}, "PS": lines}
    viz.line_grid(panels, tmp_path / "m.png", unit="million notes", columns=2)
    text = check(tmp_path / "m.png", figures[0])
    for word in ("ME", "VE", "PS", "bar", "element", "million notes"):
        assert word in text
    assert figures[0].axes[0].lines[0].get_xydata().tolist() == [[0, 0.3], [2, 0.5]]
    with pytest.raises(ValueError, match="no line"):
        viz.line_grid({}, tmp_path / "n.png")


def test_reliability_plot(figures, tmp_path):
    table = pd.DataFrame(
        {
            "low_pole": [p[0] for p in POLES],
            "high_pole": [p[1] for p in POLES],
            "n_segments": [10, 12, 11],
            "mean_raters": [8.0, 8.5, 7.0],
            "icc1": [0.2, 0.4, -0.01],
            "icck": [0.6, 0.9, np.nan],
            "ceiling_mean_low": [0.6, 0.85, 0.1],
            "ceiling_mean_high": [0.65, 0.9, 0.15],
            "ceiling_apex_low": [0.55, 0.8, 0.05],
            "ceiling_apex_high": [0.6, 0.85, 0.1],
        },
        index=["Fast paced", "Saturated (wet)", "Long"],
    )
    viz.reliability_plot(table, tmp_path / "i.png")
    text = check(tmp_path / "i.png", figures[0])
    assert "fast paced ↔ slow paced" in text
    assert "12 segments" in text
    with pytest.raises(KeyError):
        viz.reliability_plot(table.drop(columns="icc1"), tmp_path / "j.png")


def test_no_global_state(tmp_path):
    code = "import sys, musicbert.viz; assert 'matplotlib.pyplot' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

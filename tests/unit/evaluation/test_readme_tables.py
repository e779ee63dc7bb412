"""README tables come from result files, and the README in the checkout is in step with them."""

import json

import pytest

from musicbert.errors import DatasetError
from musicbert.evaluation.readme_tables import MARKS, readme_tables, replace_section


def _row(value, task="regression"):
    pooled = {"r2": {"mean": {"value": value}}} if task == "regression" else {"accuracy": {"value": value}}
    return {task: {"pooled": pooled}}


@pytest.fixture
def results(tmp_path):
    rows = {"mean": -0.1, "lookup:bars": 0.2, "lookup:performer": 0.1, "ridge": 0.3, "extra_trees": 0.25}
    classes = {"majority": 0.1, "svm": 0.7}
    content = {
        "splits": {
            "segment": {"rows": {name: _row(value) for name, value in rows.items()}},
            "segment_performer": {"rows": {name: _row(value, "classes") for name, value in classes.items()}},
        }
    }
    (tmp_path / "baselines_xai.json").write_text(json.dumps(content))
    report = {
        "runs": [{"fold": "0", "seed": 1}, {"fold": "0", "seed": 2}],
        "rows": {
            "network, one seed": _row(0.31),
            "network, ensemble of 2 seeds": _row(0.345),
            "network + features, hybrid": _row(0.4),
        },
    }
    folder = tmp_path / "xai" / "segment" / "performance-scratch" / "regression"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(report))
    return tmp_path


def test_rows_come_from_the_files(results):
    lines = readme_tables(results).splitlines()
    regression = next(line for line in lines if line.startswith("| published segments"))
    assert regression.endswith("| -0.100 | 0.200 | 0.300 (ridge) | 0.345 (2) | 0.400 |")
    classes = [line for line in lines if line.startswith("| published segments")][1]
    assert classes.endswith("| 0.100 | 0.700 (svm) |")


def test_no_results_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="not-found"):
        readme_tables(tmp_path)


def test_only_the_section_changes():
    text = f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n"
    new = replace_section(text, "new \\1")
    assert new == f"before\n{MARKS[0]}\n\nnew \\1\n{MARKS[1]}\nafter\n"
    assert replace_section(new, "new \\1") == new
    with pytest.raises(DatasetError, match="no-marks"):
        replace_section("nothing", "new")


def test_the_readme_is_in_step(root):
    text = (root / "README.md").read_text()
    assert replace_section(text, readme_tables(root / "results")) == text

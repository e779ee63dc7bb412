"""Tables of README and results come from result files, and the pages here are in step with them."""

import json

import pytest
from readme_ablations import ablation_table, size_table, with_and_without_table
from readme_short import short_table
from readme_tables import MARKS, readme_tables, replace_section

from musicbert.errors import DatasetError


def _row(value, metric="r2", kind="baseline", **more):
    return {"kind": kind, "scores": {"pooled": {metric: {"value": value}}}, **more}


@pytest.fixture
def results(tmp_path):
    rows = {"mean": -0.1, "lookup:bars": 0.2, "lookup:performer": 0.1, "ridge": 0.3, "extra_trees": 0.25}
    classes = {"majority": 0.1, "svm": 0.7}
    content = {
        "splits": {
            "segment": {"rows": [_row(value, name=name) for name, value in rows.items()]},
            "segment_performer": {
                "rows": [_row(value, "accuracy", name=name) for name, value in classes.items()]
            },
        }
    }
    (tmp_path / "baselines_xai.json").write_text(json.dumps(content))
    report = {
        "runs": [{"fold": "0", "seed": 1}, {"fold": "0", "seed": 2}],
        "rows": [
            _row(0.31, kind="network", seeds="one", n_seeds=2),
            _row(0.345, kind="network", seeds="ensemble", n_seeds=2),
            _row(0.4, kind="hybrid"),
        ],
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


def test_rows_of_further_inputs_are_columns_of_their_own(results):
    path = results / "baselines_xai.json"
    content = json.loads(path.read_text())
    more = {"committee": 0.32, "committee+score": 0.36, "committee+score+peers": 0.38}
    content["splits"]["segment"]["rows"] += [_row(value, name=name) for name, value in more.items()]
    path.write_text(json.dumps(content))
    lines = readme_tables(results).splitlines()
    head = next(line for line in lines if line.startswith("| split"))
    assert "| hand features, best | and features against the score | and against other performances |" in head
    regression = next(line for line in lines if line.startswith("| published segments"))
    assert "| 0.320 (committee) | 0.360 | 0.380 | 0.345 (2) |" in regression


def _cell(name, value, kind="baseline", sd=None, **more):
    entry = {"value": value, "low": value - 0.1, "high": value + 0.1, "seeds_sd": sd}
    return {"kind": kind, "name": name, "scores": {"pooled": {"map": entry}}, **more}


def test_downstream_tasks(results):
    folder = results / "downstream" / "next"
    folder.mkdir(parents=True)
    rows = [
        *(_cell("chance", 0.1), _cell("trees", 0.7), _cell("cosine", 0.4), _cell("second only", 0.9)),
        *(_cell("mini-init seed1", 0.8, "network"), _cell("mini-init seed2", 0.9, "network")),
        _cell("mini-init", 0.85, "network", 0.07, seeds="one", n_seeds=2),
        *(_cell("mini-scratch seed1", 0.3, "network"), _cell("probe of mini", 0.5)),
    ]
    (folder / "scores.json").write_text(json.dumps({"rows": rows}))
    lines = readme_tables(results).splitlines()
    assert (
        "| task | score | by chance | hand features, best | mini-init | mini-scratch | probe of mini |"
        in lines
    )
    row = "| MAP | 0.100 | 0.700 (trees) | 0.850 ± 0.070 (2) | 0.300 [0.200, 0.400] | 0.500 [0.400, 0.600] |"
    assert any(line.endswith(row) for line in lines)


def _estimate(task, value, half=0.01, split="clean"):
    more = {"low": None, "high": None, "sd": None} if half is None else {
        "low": value - half, "high": value + half, "sd": half / 2
    }  # fmt: skip
    return {"task": task, "split": split, "value": value, **more}


@pytest.fixture
def ablations(results):
    """Scores with and without pre-training on three tasks, and a simple baseline of one."""
    content = {
        "scores": {
            "scratch-cp": [
                _estimate("ME", 0.8),
                _estimate("VF", 0.4),
                _estimate("PS", 0.9, split="published"),
            ],
            "cp-denoise-roll@6000": [_estimate("ME", 0.9), _estimate("VF", 0.41)],
        },
        "gains": {
            "cp-denoise-roll@6000": [_estimate("ME", 0.1), _estimate("VF", 0.005)],
            "cp-mask": [_estimate("ME", -0.02), _estimate("VF", 0.03, half=None)],
            "bar": [_estimate("ME", 0.015, half=0.02)],
        },
    }
    (results / "ablations").mkdir()
    (results / "ablations" / "scores.json").write_text(json.dumps(content))
    rows = [
        {"task": "ME", "split": split, "baseline": name, "score": score, "folds": [{"score": score}]}
        for split, name, score in (
            ("clean", "majority", 0.6),
            ("clean", "previous", 0.99),
            ("clean", "pitch", 0.7),
            ("clean", "position", 0.65),
            ("published", "pitch", 0.75),
        )
    ]
    (results / "baselines_smc.json").write_text(json.dumps({"rows": rows}))
    runs = [{"seed": seed, "fold": "0", "score": 0.9 + seed / 100} for seed in (-1, 0, 1)]
    (results / "smc" / "m2bert-mini").mkdir(parents=True)
    rows = [{"task": "ME", "split": "clean", "network": {"runs": runs}}]
    (results / "smc" / "m2bert-mini" / "scores.json").write_text(json.dumps({"rows": rows}))
    return results


def test_with_and_without_pre_training(ablations):
    lines = with_and_without_table(ablations)
    assert lines[0].startswith(
        "| task | majority | baseline, best | M2BERT, scratch | m2bert-mini | gain | over the baseline |"
    )
    rest = "– | – | – | – |"  # MusicBERT has no scores
    assert lines[2:] == [
        "| ME | 0.600 | 0.700 (pitch) | 0.800 ± 0.005 | 0.900 ± 0.005 | **+0.100 [+0.090, +0.110]** "
        f"| **+0.200 [+0.175, +0.225]** | {rest}",
        f"| VF | – | – | 0.400 ± 0.005 | 0.410 ± 0.005 | +0.005 [-0.005, +0.015] | – | {rest}",
        "",
    ]
    assert set(lines) <= set(readme_tables(ablations).splitlines())


def test_baselines_are_those_of_the_folds_of_the_networks(ablations):
    path = ablations / "baselines_smc.json"
    content = json.loads(path.read_text())
    row = next(row for row in content["rows"] if row["baseline"] == "pitch")
    row["folds"] = [{"score": 0.66}, {"score": 0.74}]  # networks were trained on the first
    path.write_text(json.dumps(content))
    assert "| ME | 0.600 | 0.660 (pitch) |" in "\n".join(with_and_without_table(ablations))


def test_a_task_that_few_objectives_have_is_no_column(ablations):
    path = ablations / "ablations" / "scores.json"
    content = json.loads(path.read_text())
    assert ablation_table(ablations) == []
    for name in ("compound", "element", "octuple-bar", "cp-bar"):
        content["gains"][name] = [_estimate("ME", 0.0)]
    path.write_text(json.dumps(content))
    lines = ablation_table(ablations)
    assert lines[0] == "| pre-training | ME |"
    assert "| MusicBERT, bar masks | +0.015 [-0.005, +0.035] |" in lines
    assert "| M2BERT, MidiBERT's masks | **-0.020 [-0.030, -0.010]** |" in lines


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


def test_the_pages_are_in_step(root):
    results = root / "results"
    for path, tables in (
        (results / "README.md", readme_tables(results)),
        (root / "README.md", "\n".join(short_table(results))),
    ):
        text = path.read_text()
        assert replace_section(text, tables) == text


def test_the_short_table_has_a_line_a_task(results, ablations):
    assert short_table(results / "nowhere") == []
    text = "\n".join(short_table(ablations))
    assert "| melody, each note of a piece | accuracy | 0.600 | 0.700 | 0.800 ± 0.005 | 0.900" in text
    text = (results / "baselines_xai.json").read_text()
    text = text.replace('"segment', '"content_4fold').replace('"ridge', '"committee+score')
    (results / "baselines_percepiano.json").write_text(text)
    (results / "percepiano").mkdir()
    (results / "xai" / "segment").rename(results / "percepiano" / "content_4fold")
    line = "| 19 qualities of playing (PercePiano) | R² | -0.100 | 0.300 | 0.345 | – |"
    assert line in short_table(results)


def test_larger_networks_are_paired_by_seed_and_fold(tmp_path):
    assert size_table(tmp_path) == []
    for name, scores in (("m2bert-mini", [0.5, 0.6, 0.7]), ("m2bert-base", [0.61, 0.69, 0.8])):
        runs = [{"seed": seed, "fold": "0", "score": score} for seed, score in enumerate(scores)]
        rows = [
            {"task": "ME", "split": "clean", "network": {"runs": runs}},
            {"task": "VE", "split": "clean", "network": None, "note": "stopped"},
            {"task": "VF", "split": "published", "network": {"runs": runs}},
            {"task": "ME", "split": "clean", "network": {"runs": runs[:1]}, "train_share": 0.1},
            {"task": "BP", "split": "clean", "network": {"runs": runs if "mini" in name else runs[1:]}},
        ]
        (tmp_path / "smc" / name).mkdir(parents=True)
        (tmp_path / "smc" / name / "scores.json").write_text(json.dumps({"rows": rows}))
    heading, _, line, other, _ = size_table(tmp_path)
    assert heading.startswith("| task | m2bert-mini | m2bert-base | difference |")
    half = 4.302653 * 0.01 / 3**0.5
    shown = f"**+0.100 [{0.1 - half:+.3f}, {0.1 + half:+.3f}]**"
    assert line == f"| ME | 0.600 ± 0.100 | 0.700 ± 0.095 | {shown} | – | – | – |"
    assert other.startswith("| BP | 0.600 ± 0.100 | 0.745 ± 0.078 | – |")  # not of the same seeds

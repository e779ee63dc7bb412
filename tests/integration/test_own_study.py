"""The main job on a made study of one's own: 6 dimensions on 1..9, 20 raters, in three layouts."""

import importlib.util
import json
import os
import re
import shlex
import subprocess

import pandas as pd
import pytest
from few_trees import few_trees  # noqa: F401
from own_study import ITEMS, make_study
from warm_python import python

from musicbert.annotation.label_map import LabelMap

#: of the training alone: a tiny network for two updates
TINY = ("--from-scratch", "--arch", "musicbert_tiny", "--updates", "2", "--batch", "8", "--cpu")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Folder of the study; its tables lie under the names that the page uses."""
    folder = tmp_path_factory.mktemp("own") / "study"
    make_study(folder)
    for name, known_as in (("wide.csv", "ratings.csv"), ("survey.csv", "qualtrics.csv")):
        (folder / name).rename(folder / known_as)
    return folder


@pytest.fixture(scope="module")
def labels(root):
    """``main`` of the program ``map_midi_to_label.py``."""
    spec = importlib.util.spec_from_file_location("map_midi_to_label", root / "map_midi_to_label.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def commands(root, name="docs/own-study.md", heading=""):
    """Commands of a page from a heading on, a list of words each, in their order."""
    page = (root / name).read_text().partition(heading or "# ")[2]
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def run(root, folder, words):
    start = ["bash"] if words[0] == "bash" else [python()]
    if "--init" in words:
        at = words.index("--init")
        words = [*words[:at], *words[at + 2 :], *TINY]
    done = subprocess.run(
        [*start, str(root / words[1]), *words[2:]],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHON": python()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def rows(path):
    """Labels by piece, with the performer by name."""
    made = LabelMap.load(path)
    return {name: (*made.row(name)[:-1], player) for name, player in made.performer_of.items()}


@pytest.mark.slow
def test_the_page_runs_from_ratings_to_report(root, study):
    wide, *others, survey = commands(root)
    said = run(root, study, wide)
    first = rows(study / "labels.json")
    assert "20 raters, 32 pieces" in said
    assert "6 dimensions on a scale from 1 to 9: Speed (slow – fast; rated 1 to 9)" in said
    assert "left out: age" in said
    assert "turned round: Articulation" in said
    agreement = (study / "agreement/reliability.md").read_text()
    assert "| low pole (1) | high pole (9) |" in agreement
    for words in others:
        said = run(root, study, words)
    schema = json.loads((study / "own_data_bin_apex_reg_cls/0/label/classes.json").read_text())
    assert [(d["name"], d["low"], d["high"]) for d in schema["dimensions"]] == [i[1:4] for i in ITEMS]
    assert (schema["rating_scale"], schema["split"], schema["folds"]) == ([1.0, 9.0], "k-fold", 4)
    for part in ("train", "valid", "test"):
        names, groups = (
            (study / f"own_data_bin_apex_reg_cls/0/label/{part}.{suffix}").read_text().splitlines()
            for suffix in ("id", "group")
        )
        assert {name[6:8] for name in names} == {group[-2:] for group in groups}
        assert len(names) == 4 * len(set(groups))  # whole groups
    report = study / "checkpoints/own/eval/regression"
    text = (report / "report.md").read_text()
    assert "(rating - 1) / 8 on a scale from 1 (low pole) to 9 (high pole)" in text
    for _, _, low, high, *_ in ITEMS:
        assert f"| {low} ↔ {high} |" in text
    for foreign in ("Regular beat change", "Convincing", "stable beat"):
        assert foreign not in text
    table = pd.read_csv(report / "dimensions.csv")
    assert list(table["dimension"]) == [each[1] for each in ITEMS]
    assert table["ceiling"].between(0.5, 1).all()
    assert {"mean", "features: ridge", "lookup:performer"} <= {
        row["name"] for row in json.loads((report / "report.json").read_text())["rows"]
    }
    assert (report / "scatter.png").is_file()
    assert "Qualtrics" in run(root, study, survey)
    assert rows(study / "labels.json") == first


def test_the_short_form_of_the_readme_runs(root, study, tmp_path):
    for name in ("ratings.csv", "dimensions.yaml", "midi"):
        (tmp_path / name).symlink_to(study / name)
    for words in commands(root, "README.md", "On a study of your own")[:3]:
        run(root, tmp_path, words)
    assert len(list(tmp_path.glob("own_data_bin_apex_reg_cls/*/label/test.id"))) == 8


def test_three_layouts_give_equal_labels(labels, study, monkeypatch, capsys):
    monkeypatch.chdir(study)
    same = [
        "--scale",
        "1",
        "9",
        "--missing-values",
        "99",
        "--group-column",
        "work",
        "--performer-column",
        "player",
    ]
    tables = {
        "wide": [
            "--csv",
            "ratings.csv",
            "--rater-column",
            "rater",
            "--file-column",
            "stimulus",
            "--dimensions",
            "dimensions.yaml",
        ],
        "long": [
            "--csv",
            "long.csv",
            "--rater-column",
            "who",
            "--file-column",
            "piece",
            "--dimension-column",
            "question",
            "--value-column",
            "answer",
            "--dimensions",
            "dimensions.yaml",
            "--pieces",
            "pieces.csv",
        ],
        "survey": ["--csv", "qualtrics.csv", "--dimensions", "questions.yaml", "--pieces", "pieces.csv"],
    }
    for kind in ("apex", "mean", "median", "stdev"):
        for layout, words in tables.items():
            output = f"{layout}-{kind}.json"
            status = labels([*words, *same, "--label", kind, "--output", output])
            assert status == 0, capsys.readouterr().err
            assert f"layout '{layout}'" in capsys.readouterr().out
        first, *others = (rows(f"{layout}-{kind}.json") for layout in tables)
        assert len(first) == 32
        for other in others:  # raters come in another order, which a standard deviation sees in its last bit
            assert other.keys() == first.keys()
            for name, (*values, player) in first.items():
                assert other[name] == (*map(pytest.approx, values), player)
        groups = [LabelMap.load(f"{layout}-{kind}.json").groups for layout in tables]
        assert groups[0]["work"]["Étude 01, player 0"] == "etude 01"
        assert groups[1:] == groups[:1] * 2
    assert labels([*tables["long"], *same, "--label", "all", "--output", "all.json"]) == 0
    assert json.loads((study / "all.meta.json").read_text())["scale"].startswith("(rating - 1) / 8")


def test_splits_go_by_the_columns_of_the_study(labels, gen_xai, study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(study)
    words = [
        "--csv",
        "ratings.csv",
        "--rater-column",
        "rater",
        "--file-column",
        "stimulus",
        "--scale",
        "1",
        "9",
    ]
    words += ["--dimensions", "dimensions.yaml", "--missing-values", "99", "--performer-column", "player"]
    monkeypatch.setenv("COLUMNS", "200")
    assert labels([*words, "--group-column", "work", "player", "--output", f"{tmp_path}/l.json"]) == 0

    def tested(name, *options):
        base = ["--labels", f"{tmp_path}/l.json", "--midi", "midi", "--output", f"{tmp_path}/{name}"]
        assert gen_xai([*base, *options]) == 0, capsys.readouterr().err
        folds = sorted((tmp_path / name).glob("[0-9]*"))
        return [set((fold / "test.group").read_text().splitlines()) for fold in folds]

    works = {f"etude {k:02d}" for k in range(1, 9)}
    assert set.union(*tested("folds", "--folds", "4")) == works
    assert tested("pieces", "--split", "piece") == [{work} for work in sorted(works)]
    players = [{f"player {k}"} for k in range(4)]
    assert tested("players", "--split", "piece", "--group-column", "player") == players
    assert all(len(part) == 8 for part in tested("by", "--split", "performer"))
    base = ["--labels", f"{tmp_path}/l.json", "--midi", "midi", "--output", f"{tmp_path}/none"]
    for options, word in ((["--split", "segment"], "k-fold"), (["--group-column", "city"], "'city'")):
        assert gen_xai([*base, *options]) == 2
        assert word in capsys.readouterr().err


def test_one_row_a_piece_and_no_performers(labels, gen_xai, study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(study)
    frame = pd.read_csv("ratings.csv").groupby("stimulus")[["tempo", "expr"]].mean().reset_index()
    frame.to_excel(tmp_path / "means.xlsx", index=False)
    words = ["--csv", f"{tmp_path}/means.xlsx", "--file-column", "stimulus", "--scale", "1", "9"]
    output = ["--label", "mean", "--output", f"{tmp_path}/l.json"]
    assert labels([*words, *output, "--reliability", f"{tmp_path}/r"]) == 2
    assert "--rater-column" in capsys.readouterr().err
    assert labels([*words, *output]) == 0
    made = LabelMap.load(tmp_path / "l.json")
    assert ([d.name for d in made.dimensions], made.classes) == (["tempo", "expr"], ("all",))
    base = ["--labels", f"{tmp_path}/l.json", "--midi", "midi", "--output", f"{tmp_path}/raw"]
    assert gen_xai([*base, "--split", "random"]) == 0
    assert "32 written" in capsys.readouterr().out


def test_own_options_without_a_scale_and_published_names_are_not_guessed(labels, study, monkeypatch, capsys):
    monkeypatch.chdir(study)
    assert labels(["--csv", "ratings.csv"]) == 2
    assert "not one of the published formats" in capsys.readouterr().err
    assert labels(["--csv", "ratings.csv", "--rater-column", "rater"]) == 2
    assert "--scale 1 9" in capsys.readouterr().err
    assert labels(["--csv", "ratings.csv", "--scale", "1", "9", "--preset", "xai"]) == 2
    columns = ["--csv", "ratings.csv", "--scale", "1", "9", "--rater-column", "rater", "--file-column"]
    assert labels([*columns, "rater"]) == 2
    for answer in ("=3", "much=0_3", "much=99"):
        assert labels([*columns, "stimulus", "--answers", answer]) == 2
        assert "answer" in capsys.readouterr().err
    frame = pd.read_csv("ratings.csv")
    questions = {f"Question_{k}_1_1": frame[item[0]] for k, item in enumerate(ITEMS, 1)}
    forced = pd.DataFrame(
        {"user": frame["rater"], "dataID": frame.index, "filename": "x_8bars_1_1.wav", **questions}
    )
    forced.to_csv("forced.csv", index=False)
    capsys.readouterr()
    assert labels(["--csv", "forced.csv"]) == 2
    assert "not one of the published formats" in capsys.readouterr().err

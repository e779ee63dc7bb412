import importlib.util
import json
import subprocess
import sys

import pandas as pd
import pytest

from musicbert.annotation.label_map import LabelMap


@pytest.fixture(scope="module")
def command(root):
    spec = importlib.util.spec_from_file_location("map_midi_to_label", root / "map_midi_to_label.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def here(small_table, tmp_path, monkeypatch):
    """A working folder with ``data/total.csv``."""
    (tmp_path / "data").mkdir()
    small_table.rename(tmp_path / "data" / "total.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_arguments_as_a_program(here, root):
    done = subprocess.run(
        [sys.executable, root / "map_midi_to_label.py"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    made = LabelMap.load(here / "midi_label_map_apex_reg_cls.json")
    assert (len(made), len(made.dimensions), made.classes) == (2, 25, ("4", "Score"))
    last = done.stdout.splitlines()[-1]
    assert "2 of 3 segments labelled from 3 of 5 rows" in last
    assert "2 rows: a question without an answer" in last


@pytest.mark.parametrize(
    ("arguments", "name", "width"),
    [
        ([], "midi_label_map_apex_reg_cls.json", 25),
        (["--label", "mean", "--columns", "full", "--zeros", "cell"], "midi_label_map_mean_reg_cls.json", 28),
        (["--label", "median", "--format", "csv"], "midi_label_map_median_reg_cls.csv", 25),
        (["--label", "stdev", "--columns", "mnskim"], "midi_label_map_stdev.json", 25),
        (["--columns", "Soft,Long", "--output", "own.parquet"], "own.parquet", 2),
        (["--center-raters", "--min-raters", "2", "--drop-high-stdev", "--output", "x.json"], "x.json", 25),
        (["--classes", "sorted", "--duplicates", "drop", "--output", "y.json"], "y.json", 25),
    ],
)  # fmt: skip
def test_options(command, here, arguments, name, width):
    assert command.main(arguments) == 0
    assert len(LabelMap.load(here / name).dimensions) == width


def test_all(command, here):
    assert command.main(["--label", "all"]) == 0
    made = json.loads((here / "midi_label_map.json").read_text())
    assert [len(rows) for rows in made.values()] == [2, 2, 1]
    assert {len(row) for rows in made.values() for row in rows} == {28}


def test_percepiano(command, percepiano_table, tmp_path):
    output = tmp_path / "labels.json"
    assert command.main(["--csv", str(percepiano_table), "--label", "mean", "--output", str(output)]) == 0
    assert len(LabelMap.load(output).dimensions) == 19


def test_reliability(command, here, capsys):
    assert command.main(["--reliability", "reports", "--columns", "Soft,Long"]) == 0
    table = pd.read_csv(here / "reports" / "reliability.csv", index_col="dimension")
    assert list(table.index) == ["Soft", "Long"]
    assert list(table.columns) == [
        "low_pole", "high_pole", "n_segments", "mean_raters", "icc1", "icck",
        "ceiling_mean", "ceiling_median", "ceiling_apex",
        *(f"ceiling_{kind}_{end}" for kind in ("mean", "median", "apex") for end in ("low", "high")),
    ]  # fmt: skip
    assert (here / "reports" / "reliability.md").is_file()
    assert (here / "reports" / "reliability.png").is_file() or "no picture" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--csv", "none.csv"], "not-found"),
        (["--columns", "Loudness"], "unknown-column"),
        (["--min-raters", "99"], "nothing-left"),
        (["--min-raters", "0"], "bad-option"),
        (["--label", "all", "--center-raters"], "bad-option"),
        (["--output", "labels.txt"], "unknown-format"),
        (["--output", "no/such/folder/labels.json"], "cannot-write"),
        (["--reliability", "data/total.csv"], "cannot-write"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(command, here, capsys, arguments, reason):
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"[{reason}]" in error
    assert not [path for path in here.rglob("*") if path.name.startswith(".")]


def test_bad_usage_is_exit_code_2(command, here, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(["--label", "mode"])
    assert caught.value.code == 2
    assert "mode" in capsys.readouterr().err


def test_help_shows_examples(command, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(["--help"])
    assert caught.value.code == 0
    assert "examples:" in capsys.readouterr().out

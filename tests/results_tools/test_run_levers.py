"""The levers that need a GPU, at tiny size: every step runs, and says what it lacks."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import run_levers
import run_xai
from warm_python import python

from musicbert.cli.main import main as musicbert


@pytest.fixture
def calls(monkeypatch, tmp_path):
    found = []
    monkeypatch.setattr(run_levers, "run", lambda *words, **_: found.append([*map(str, words)]))
    monkeypatch.chdir(tmp_path)
    return found


def test_what_is_missing_is_said(calls, capsys):
    for step in ("pretrain", "finetune", "rates", "tasks", "nonsense"):
        with pytest.raises(SystemExit):
            run_levers.main(["--steps", step])
        assert {"pretrain": "--corpus", "tasks": "--note-data", "nonsense": "unknown step"}.get(
            step, "--ratings"
        ) in capsys.readouterr().err
    assert not calls


def test_the_twelve_tasks_are_run_with_and_without_the_weights(calls, tmp_path):
    (tmp_path / "w.pt").touch()
    words = ["--steps", "tasks", "--init-plain", "w.pt", "--note-data", "note", "--tasks", "VF ME"]
    assert run_levers.main(words) == 0
    first, second = calls
    assert first[:4] == ["scripts/finetune_m2bert.sh", "w.pt", "note", "-"]
    assert second[1] == "scratch:musicbert_mini"
    assert first[first.index("--tasks") + 1 :] == ["VF", "ME"]


def test_the_commands_of_the_notes(calls, root, tmp_path):
    notes = (root / "results" / "notes.md").read_text()
    commands = re.findall(r"`python results/tools/run_levers\.py ([^`]+)`", notes)
    assert [shlex.split(words)[1] for words in commands] == run_levers.STEPS.split()
    for name in ("CORPUS", "PREPARED/bin", "runs_levers/pretrain", "runs_levers/pretrain_plain"):
        (tmp_path / name).mkdir(parents=True)
    for start in ("pretrain", "pretrain_plain"):
        (tmp_path / "runs_levers" / start / "checkpoint_last.pt").touch()
    for words in commands:
        assert run_levers.main(shlex.split(words)) == 0
    assert len(calls) == 6  # two pre-trainings, two trainings on ratings, the benchmark twice
    whole = re.sub(r"\\\n *", "", notes)  # lines that go on
    prepared = re.findall(
        r"^(?:.*`)?bash scripts/run_xai\.sh (--data[^`\n]+|--stages plan[^`\n]+)", whole, re.M
    )
    assert len(prepared) == 3
    for words in (*map(shlex.split, prepared), *(call[1:] for call in calls[2:4])):
        run_xai._parser().parse_args(words)  # exits where it does not know an option


@pytest.fixture
def warm(monkeypatch):
    """Steps are run by a Python that starts at once."""
    monkeypatch.setattr(sys, "executable", python())
    monkeypatch.setenv("PYTHON", python())


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_all_steps_on_ratings_at_tiny_size(make_midi_folder, make_databin, tmp_path):
    midi = make_midi_folder(8)
    corpus = tmp_path / "corpus"
    words = ["build", str(midi), "-o", str(corpus), "--performance-input", "--shares", "60", "20", "20"]
    assert musicbert([*words, "--quiet"]) == 0
    fold = tmp_path / "prepared" / "bin" / "xai_content_8fold" / "0"
    fold.parent.mkdir(parents=True)
    shutil.copytree(make_databin({"train": 12, "test": 4}, performance=15), fold)
    for part in ("train", "test"):
        lines = (fold / "label" / f"{part}.label").read_text().splitlines()
        (fold / "label" / f"{part}.means").write_text("\n".join(lines) + "\n")
        (fold / "label" / f"{part}.raters").write_text("[1, 2, 3, 4]\n" * len(lines))
    out = tmp_path / "out"
    words = ["--tiny", "--output", str(out), "--corpus", str(corpus), "--ratings", str(tmp_path / "prepared")]
    words += ["--splits", "xai:content_8fold", "--steps"]
    assert run_levers.main([*words, "pretrain finetune"]) == 0
    assert run_levers.main([*words, "rates", "--search", ""]) == 0  # the search has run above
    trained = out / "finetune" / "trained" / "xai" / "content_8fold"
    search = json.loads((trained / "performance-mlm" / "fold0" / "search.json").read_text())
    assert [entry["options"] for entry in search["tried"]] == ["--lr 1e-4", "--lr 1e-3"]
    settings = json.loads((trained / "performance-mlm" / "fold0" / "seed1" / "run.json").read_text())
    settings = settings["made_from"]["settings"]
    assert settings["--lr"] == search["chosen"].split()[1]
    assert (settings["--freeze-layers"], settings["--pooling"], settings["--phases"]) == ("1", "mean+sd", "2")
    frozen = json.loads((trained / "performance-random" / "fold0" / "seed1" / "run.json").read_text())
    assert frozen["made_from"]["settings"]["--freeze-layers"] == "2"  # all of the tiny network
    assert "--init-from" not in frozen["made_from"]["settings"]
    starts = out / "rates" / "trained" / "xai" / "content_8fold"
    assert {path.name for path in starts.iterdir()} == {
        f"performance-{s}" for s in ("scratch", "random", "mlm")
    }


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_task_of_the_benchmark_at_tiny_size(make_source, root, tmp_path):
    shards, source = tmp_path / "smc", make_source("tnua", tmp_path / "tnua")
    words = ["-", str(shards), "--source", f"tnua={source}", "--codec", "octuple"]
    subprocess.run([python(), root / "scripts" / "prepare_benchmark.py", *words], check=True)
    words = ["--tiny", "--steps", "tasks", "--init-plain", str(root / "checkpoints" / "musicbert-mini")]
    words += ["--output", str(tmp_path / "out"), "--note-data", str(shards / "note"), "--tasks", "VF"]
    assert run_levers.main(words) == 0
    for name in ("mlm", "scratch"):
        assert "| VF | clean | accuracy |" in (tmp_path / "out" / "tasks" / name / "table.md").read_text()

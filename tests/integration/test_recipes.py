"""The main job through its scripts, from a directory that is not the checkout, at tiny sizes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from few_trees import few_trees  # noqa: F401
from warm_python import python

from musicbert.annotation.names import parse_segment
from musicbert.evaluation.predictions import load_predictions
from musicbert.evaluation.rows import read_rows, shown_name
from musicbert.synthesis import make_set, write_made_set

RECIPES = [
    "scripts/pretrain_mlm.sh",
    "scripts/pretrain/musicbert.sh",
    "scripts/classification/pretrain.sh",
    "scripts/classification/finetuning.sh",
    "scripts/classification/finetuning_only.sh",
    "scripts/classification/performer.sh",
    "scripts/regression/finetuning.sh",
    "scripts/reg_cls/finetuning.sh",
    "scripts/eval_xai.sh",
    "scripts/run_xai.sh",
    "scripts/report_xai.sh",
    "scripts/demo.sh",
]
TINY = ("--cpu", "--updates", "2", "--warmup", "1", "--batch", "8", "--lr", "1e-3")


def call(command, folder, *, code=0, cold=False):
    """Run a command; ``cold``: in a fresh interpreter, as users run it."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHON": sys.executable if cold else python(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


@pytest.fixture(scope="module")
def work(root, tmp_path_factory):
    """Folder with labels, raw and binarised data, and masked-LM weights, all made by the programs."""
    folder = tmp_path_factory.mktemp("work")
    made = make_set(3, performers=3, segments=6, movements=1)
    write_made_set(made, folder / "data")
    test = [name for name in made.scores if parse_segment(name).number == 6]
    (folder / "test.id").write_text("".join(f"{name}\n" for name in test))
    call([python(), root / "map_midi_to_label.py", "--reliability", "reliability"], folder)
    gen = [python(), root / "gen_xai.py", "--midi", "data/segment_midi.zip", "--folds-file", "test.id"]
    call([*gen, "--performance-input"], folder)
    call(["bash", root / "scripts/binarize_xai.sh", "xai", "--direct"], folder)
    mlm = ["--effective-batch", "8", "--break-mode", "eos", "--arch", "musicbert_tiny", "--save-every", "2"]
    data = ["--data", "xai_data_bin_apex_reg_cls/0/input0", "--save-dir", "mlm"]
    call(["bash", root / "scripts/pretrain_mlm.sh", *data, *mlm, *TINY], folder, cold=True)
    return folder


@pytest.mark.parametrize("recipe", RECIPES)
def test_help_names_every_option_with_its_default(root, tmp_path, recipe):
    done = call(["bash", root / recipe, "--help"], tmp_path)
    assert "usage:" in done.stdout
    assert "default:" in done.stdout


@pytest.mark.parametrize("recipe", [each for each in RECIPES if "finetuning" in each or "pretrain" in each])
def test_missing_input_is_one_clear_error(root, tmp_path, recipe):
    more = [] if "mlm" in recipe or recipe.endswith("musicbert.sh") else ["--from-scratch"]
    done = call(["bash", root / recipe, *more], tmp_path, code=2)
    assert done.stderr.startswith("error: ")
    assert "missing" in done.stderr
    done = call(["bash", root / recipe, "--no-such-option", "1"], tmp_path, code=2)
    assert "unknown option --no-such-option" in done.stderr


def test_the_demo_replaces_nothing_but_a_demo(root, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    done = call(["bash", root / "scripts/demo.sh", "--output", "mine"], tmp_path, code=2)
    assert "choose another --output" in done.stderr
    assert (tmp_path / "mine" / "thesis.txt").exists()


@pytest.mark.slow
def test_weights_that_are_missing_stop_a_recipe(root, work):
    done = call(["bash", root / "scripts/regression/finetuning.sh", *TINY, "--init", "none.pt"], work, code=2)
    assert "none.pt is missing" in done.stderr


@pytest.mark.slow
def test_contrastive_pretraining_then_fine_tuning(root, work):
    batch = ["--effective-batch", "8"]  # the architecture is that of the weights
    scripts = root / "scripts/classification"
    for loss in ("xai_pretrain_loss", "xai_pretrain_loss_unimodal_ntxent"):
        more = ["--loss", loss, "--init", "mlm/checkpoint_best.pt", "--save-dir", loss]
        call(["bash", scripts / "pretrain.sh", *batch, *TINY, *more], work)
    more = ["--init", "xai_pretrain_loss/checkpoint_best.pt", "--save-dir", "performers"]
    done = call(["bash", scripts / "finetuning.sh", *batch, *TINY, *more], work)
    assert "loaded" in done.stdout
    more = ["--init", "mlm/checkpoint_best.pt", "--save-dir", "performers_only"]
    call(["bash", scripts / "finetuning_only.sh", *batch, *TINY, *more], work)
    assert (work / "performers" / "checkpoint_best.pt").exists()
    again = call(["bash", scripts / "finetuning_only.sh", *batch, *TINY, *more], work, code=2)
    assert "already holds checkpoints" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ("classification/performer.sh", []),
        ("regression/finetuning.sh", ["--adversarial"]),
        (
            "reg_cls/finetuning.sh",
            ["--performance-input", "--pooling", "mean", "--augment", "transpose=2,bar"],
        ),
    ],
)
def test_fine_tuning(root, work, tmp_path, recipe, more):
    base = ["--arch", "musicbert_tiny", "--effective-batch", "8", "--init", "mlm/checkpoint_best.pt"]
    call(["bash", root / "scripts" / recipe, *base, *TINY, *more, "--save-dir", tmp_path / "run"], work)
    assert (tmp_path / "run" / "checkpoint_best.pt").exists()
    assert "valid" in (tmp_path / "run" / "train.log").read_text()
    assert list((tmp_path / "run" / "tensorboard").rglob("events*"))


@pytest.mark.slow
def test_evaluation_ends_in_a_table_and_pictures(root, work):
    base = ["--arch", "musicbert_tiny", "--effective-batch", "8", "--from-scratch", "--save-dir", "evaluated"]
    call(["bash", root / "scripts/reg_cls/finetuning.sh", *base, *TINY], work)
    arguments = ["--checkpoint", "evaluated/checkpoint_best.pt", "--midi", "data/segment_midi.zip"]
    arguments += ["--reliability", "reliability/reliability.csv"]
    call(["bash", root / "scripts/eval_xai.sh", *arguments], work)
    for task, headline in (("regression", "r2"), ("classes", "accuracy")):
        out = work / "evaluated" / "eval" / task
        report = json.loads((out / "report.json").read_text())
        rows = {shown_name(row): row for row in read_rows(report["rows"])}
        assert "network" in rows
        assert {"features: ridge", "features: svm"} & set(rows)
        assert np.isfinite(rows["network"].value(headline))
        assert (out / "scores.png").read_bytes().startswith(b"\x89PNG")
        assert "↔" in (out / "report.md").read_text() or task == "classes"
    predictions = load_predictions(work / "evaluated" / "eval" / "runs" / "fold0" / "seed0" / "test.npz")
    assert predictions["ratings"].outputs.shape == (3, 25)


@pytest.mark.slow
def test_resume_goes_on_where_it_was(root, work, tmp_path):
    recipe = root / "scripts/classification/performer.sh"
    base = [
        "--arch",
        "musicbert_tiny",
        "--effective-batch",
        "8",
        "--from-scratch",
        "--save-dir",
        tmp_path / "run",
    ]
    call(["bash", recipe, *base, *TINY], work)
    again = [word if word != "2" else "4" for word in TINY]
    done = call(["bash", recipe, *base, *again, "--resume"], work)
    assert "resumed after 2 updates" in done.stdout
    log = (tmp_path / "run" / "train.log").read_text()
    updates = [
        line for line in log[log.index("Loaded checkpoint") :].splitlines() if "train_num_updates" in line
    ]
    assert '"train_num_updates": "3"' in updates[0] or '"train_num_updates": "4"' in updates[0]
    before = {path: path.read_bytes() for path in (tmp_path / "run").glob("*.pt")}
    for more in ([], ["--num-workers", "1"]):  # the same command, and another one with the same end
        finished = call(["bash", recipe, *base, *again, "--resume", *more], work)
        assert "finished: 4 updates" in finished.stdout
        assert str(tmp_path / "run") in finished.stdout
        assert {path: path.read_bytes() for path in (tmp_path / "run").glob("*.pt")} == before
    other = call(["bash", recipe, *base, *again, "--lr", "1e-4", "--resume"], work, code=2)
    assert "-> 1e-4" in other.stderr
    assert "other-settings" in other.stderr
    longer = [word if word != "4" else "6" for word in again]
    small = [*base, *longer, "--resume", "--small-checkpoints"]
    refused = call(["bash", recipe, *small], work, code=2)
    assert "needs optimizer states" in refused.stderr

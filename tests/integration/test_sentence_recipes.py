"""next, acc, genre and style through their scripts, at tiny sizes: made, binarised, trained, scored."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from few_trees import few_trees  # noqa: F401
from warm_python import python

from musicbert.corpus.bins.databin import label_dictionary
from musicbert.corpus.labelled.sentence_bin import SentenceBin
from musicbert.evaluation.baselines.pair_features import PAIR_FEATURES, pair_features
from musicbert.evaluation.predictions import load_predictions
from musicbert.evaluation.rows import read_rows, shown_name
from musicbert.predict.sentences.databin import class_logits
from musicbert.weights import load_checkpoint, load_model, view_of

TINY = [
    "--arch",
    "musicbert_tiny",
    "--cpu",
    "--updates",
    "2",
    "--warmup",
    "1",
    "--batch",
    "8",
    "--effective-batch",
    "8",
]


def call(command, folder, *, code=0):
    """Run a command."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHON": python(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


@pytest.fixture(scope="module")
def work(root, make_source, tmp_path_factory):
    """Folder with songs, the raw sets and data-bins of all tasks."""
    folder = make_source("songs", tmp_path_factory.mktemp("sentences"))
    scripts = root / "scripts"
    for task in ("next", "acc"):
        more = ["--group", "5", "--shares", "0.6,0.2,0.2"]
        call([python(), scripts / "gen_nsp.py", task, "--midi", "songs", *more], folder)
        call(["bash", scripts / "binarize_nsp.sh", task, "--direct"], folder)
    call(
        [
            python(),
            scripts / "gen_genre.py",
            "topmagd",
            "--map",
            "map.json",
            "--midi",
            "songs",
            "--folds",
            "2",
        ],
        folder,
    )
    call(["bash", scripts / "binarize_genre.sh", "topmagd", "--direct"], folder)
    return folder


@pytest.mark.slow
def test_fairseq_preprocess_writes_the_same_bytes(root, work):
    call(["bash", root / "scripts/binarize_genre.sh", "topmagd", "--bin", "by_fairseq"], work)
    files = [path for path in (work / "topmagd_data_bin").rglob("*") if path.is_file()]
    assert len(files) > 30
    for path in files:
        other = work / "by_fairseq" / path.relative_to(work / "topmagd_data_bin")
        assert path.read_bytes() == other.read_bytes(), path


def test_the_label_dictionary_is_that_which_fairseq_makes_itself(work, tmp_path):
    labels = work / "acc_data_raw" / "train.label"
    command = [python(), "-m", "fairseq_cli.preprocess", "--only-source", "--trainpref", labels]
    call([*command, "--destdir", tmp_path / "label"], work)
    assert (tmp_path / "label" / "dict.txt").read_text() == label_dictionary(labels.read_text().splitlines())


@pytest.mark.slow
def test_weights_that_come_with_the_project_go_by_their_name(root, work, tmp_path):
    save = ["--data", "next_data_bin", "--save-dir", tmp_path / "out", "--init", "musicbert-mini"]
    short = ["--cpu", "--updates", 1, "--warmup", 0, "--lr", 0, "--batch", 4, "--effective-batch", 4]
    call(["bash", root / "scripts/train_nsp.sh", "next", *save, *short, "--small-checkpoints"], work)
    trained = load_checkpoint(tmp_path / "out" / "seed7" / "checkpoint_last.pt").weights
    shipped = load_checkpoint(root / "checkpoints" / "musicbert-mini").weights
    named = [name for name in shipped if "layers.0" in name or "embed_tokens" in name]
    assert len(named) > 8
    for name in named:  # a learning rate of 0 leaves them as they were
        torch.testing.assert_close(trained[name], shipped[name].float())


def test_small_checkpoints_resume_the_runs_that_are_not_begun(root, work, tmp_path):
    out = tmp_path / "out"
    for seed in (6, 7):  # one that is done, and one that was cut off
        (out / f"seed{seed}").mkdir(parents=True)
        for name in ("train.log", "checkpoint_last.pt"):
            (out / f"seed{seed}" / name).write_text("begun")
    (out / "seed6" / "done").touch()
    recipe = ["bash", root / "scripts/train_nsp.sh", "next", "--data", "next_data_bin", "--save-dir", out]
    recipe += [*TINY, "--from-scratch", "--small-checkpoints", "--resume", "--seeds", "6 7 8"]
    said = call(recipe, work, code=2)
    assert f"== finished: {out / 'seed6'}; nothing is changed" in said.stdout
    assert "seed7 is unfinished and cannot be resumed" in said.stdout
    assert f"not finished: {out / 'seed7'} [unfinished]" in said.stderr
    assert (out / "seed7" / "checkpoint_last.pt").read_text() == "begun"
    assert (out / "seed8" / "done").is_file()
    assert load_checkpoint(out / "seed8" / "checkpoint_last.pt").weights


def test_what_is_damaged_is_one_clear_error(root, work, tmp_path):
    binarise = [
        "bash",
        root / "scripts/binarize_nsp.sh",
        "next",
        "--direct",
        "--bin",
        tmp_path / "bin",
        "--raw",
    ]
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in (work / "next_data_raw").iterdir():
        (raw / path.name).write_bytes(path.read_bytes())
    (raw / "train.label").write_text("1\n")
    assert "wrong-length" in call([*binarise, raw], tmp_path, code=2).stderr
    (raw / "train.txt").unlink()
    assert "missing-split" in call([*binarise, raw], tmp_path, code=2).stderr
    (raw / "dict.txt").write_text("a 0\n")
    assert "wrong-dictionary" in call([*binarise, raw], tmp_path, code=2).stderr
    assert "not-found" in call([*binarise, tmp_path / "none"], tmp_path, code=2).stderr
    assert not (tmp_path / "bin").exists()
    for script in ("train_nsp.sh", "train_genre.sh"):
        assert call(["bash", root / "scripts" / script], tmp_path, code=2).stderr.startswith(
            "error: say which"
        )
        assert "default:" in call(["bash", root / "scripts" / script, "--help"], tmp_path).stdout


def test_hand_features_of_pairs_are_those_of_their_phrases(work):
    for task in ("next", "acc"):
        about = SentenceBin(work / f"{task}_data_bin", parts=["train"])
        table = pair_features(about)
        column = {name: table[:, at] for at, name in enumerate(PAIR_FEATURES)}
        assert np.isfinite(table).all()
        assert np.allclose(np.expm1(column["first: notes"]), 32)  # four bars of eighths
        assert np.allclose(np.expm1(column["second: notes"]), 32 if task == "next" else 12)
        true = about.hot[:, about.classes.index("1")]
        same_key = column["pitch classes: cosine"]
        assert same_key[true].mean() > same_key[~true].mean() + 0.1
        assert (column["pitch classes: cosine of the best transposition"] >= same_key - 1e-12).all()


@pytest.mark.slow
def test_pairs_are_trained_and_scored(root, work):
    data, runs = work / "next_data_bin", work / "nsp"
    train = [
        "bash",
        root / "scripts/finetune_next.sh",
        "--from-scratch",
        *TINY,
        "--seeds",
        "1 2",
        "--save-dir",
        runs,
    ]
    call(train, work)
    assert "already" in call(train, work, code=2).stderr
    call([*train, "--resume"], work)  # both are done
    done = call([python(), root / "scripts/eval_nsp.py", runs, data, "--device", "cpu"], work)
    scores = json.loads((work / "next_data_bin_scores" / "scores.json").read_text())
    names = [
        "chance",
        "pitch classes",
        "velocity",
        "register",
        "logistic",
        "boosting",
        "second only",
        "nsp seed1",
        "nsp seed2",
    ]
    rows = {shown_name(row): row for row in read_rows(scores["rows"])}
    assert list(rows) == [*names, "nsp, mean of 2 seeds"]
    assert rows["chance"].value("hits@1") == pytest.approx(0.2)
    assert rows["logistic"].value("map") > rows["chance"].value("map")
    assert "| nsp seed1 |" in done.stdout
    found = load_predictions(work / "next_data_bin_scores" / "nsp seed1.npz")["label"]
    assert len(found) == scores["pairs"]
    # the weights that were fine-tuned are the start of another task, and of another number of outputs
    start = ["bash", root / "scripts/train_nsp.sh", "acc", runs / "seed1" / "checkpoint_best.pt", *TINY]
    assert "loaded" in call([*start, "--save-dir", "acc_run"], work).stdout


@pytest.mark.slow
def test_scores_without_fairseq_are_those_of_the_model_in_fairseq(root, work):
    from fairseq import checkpoint_utils

    import musicbert.fairseq_plugin  # noqa: F401 - registers tasks and models

    run = ["bash", root / "scripts/train_nsp.sh", "acc", "--from-scratch", *TINY, "--save-dir", "same"]
    call(run, work)
    path = work / "same" / "seed7" / "checkpoint_best.pt"
    models, _, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(path)], {"data": str(work / "acc_data_bin")}
    )
    dataset = task.load_dataset("test")
    found = class_logits(path, work / "acc_data_bin", "test", device="cpu")
    for index in (0, 7, len(dataset) - 1):
        batch = dataset.collater([dataset[index]])
        with torch.inference_mode():
            logits, _ = models[0].eval()(
                **batch["net_input"], features_only=True, classification_head_name="acc_head"
            )
        assert np.allclose(logits[0].numpy(), found[index], atol=1e-5)


@pytest.mark.slow
def test_genres_are_trained_and_scored_on_every_fold(root, work):
    train = [
        "bash",
        root / "scripts/train_genre.sh",
        "topmagd",
        "--from-scratch",
        *TINY,
        "--save-dir",
        "genre",
    ]
    call(train, work)
    assert sorted(
        path.parent.parent.name for path in (work / "genre").glob("fold*/seed7/checkpoint_best.pt")
    ) == [
        "fold0",
        "fold1",
    ]
    log = (work / "genre" / "fold0" / "seed7" / "train.log").read_text()
    assert "valid_roc_auc_score_macro" in log
    score = [python(), root / "scripts/eval_genre.py"]
    call([*score, "genre", "topmagd_data_bin", "--device", "cpu"], work)
    scores = json.loads((work / "topmagd_data_bin_scores" / "scores.json").read_text())
    genre = read_rows(scores["rows"])
    baselines = ["majority", "frequency", "logistic", "extra trees", "svm", "ensemble"]
    assert [row.name for row in genre] == [*baselines, "genre seed7"]
    assert sum(scores["classes"].values()) == 7 + 7 + 2 * 6
    found = load_predictions(work / "topmagd_data_bin_scores" / "genre seed7.npz")["label"]
    assert len(set(found.ids.tolist())) == 20
    assert found.outputs.shape == (20, 3)
    # upstream's way to name the folds, and files anywhere
    for fold in (0, 1):
        os.link(
            work / "genre" / f"fold{fold}" / "seed7" / "checkpoint_best.pt", work / f"best_{fold}_tiny.pt"
        )
    for name in ("best_x_tiny.pt", "best_{fold}_tiny.pt"):
        more = ["--no-baselines", "--output", "again", "--device", "cpu"]
        call([*score, name, Path("topmagd_data_bin/x"), *more], work)
        rows = json.loads((work / "again" / "scores.json").read_text())["rows"]
        (row,) = read_rows(rows)
        assert row.entry("micro_f1") == genre[-1].entry("micro_f1")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp", "remi"])
def test_other_encodings_from_pretraining_to_scores(root, work, encoding):
    data, runs = work / "next_data_bin", work / f"nsp_{encoding}"
    chosen, weights = ["--encoding", encoding, "--max-positions", "4096"], work / f"mlm_{encoding}"
    first = [data / "input0", "tiny", "--encoding", encoding, "--save-dir", weights, "--cpu"]
    few = ["--updates", 1, "--warmup", 0, "--effective-batch", 4, "--num-workers", 0]
    call(["bash", root / "scripts/pretrain/musicbert.sh", *first, *few, "--break-mode", "eos"], work)
    start = ["bash", root / "scripts/train_nsp.sh", "next", weights / "checkpoint_last.pt", *TINY]
    call([*start, *chosen, "--save-dir", runs], work)
    trained = load_checkpoint(runs / "seed7" / "checkpoint_best.pt")
    assert view_of(trained) == encoding
    assert ("encoder.sentence_encoder.downsampling.0.weight" in trained.weights) == (encoding == "cp")
    score = [python(), root / "scripts/eval_nsp.py", runs, data, "--device", "cpu", "--no-baselines"]
    call([*score, "--output", work / f"scores_{encoding}"], work)
    rows = json.loads((work / f"scores_{encoding}" / "scores.json").read_text())["rows"]
    assert 0 < read_rows(rows)[-1].value("map") <= 1
    if encoding == "cp":  # the shapes are those of octuples, but the checkpoint says what it is
        refused = call([*start, "--save-dir", work / "refused"], work, code=2)
        assert "other-encoding" in refused.stdout + refused.stderr


@pytest.mark.slow
def test_genres_in_another_encoding(root, work):
    train = ["bash", root / "scripts/train_genre.sh", "topmagd", "--from-scratch", *TINY, "--fold", "0"]
    call([*train, "--encoding", "remi", "--max-positions", "300", "--save-dir", "genre_remi"], work)
    path = work / "genre_remi" / "fold0" / "seed7" / "checkpoint_best.pt"
    assert load_model(path).config.max_positions == 300
    logits = class_logits(path, work / "topmagd_data_bin" / "0", "test", device="cpu")
    assert np.isfinite(logits).all()


def test_scoring_what_is_not_there_is_one_error(root, work):
    for script, data in (("eval_nsp.py", "next_data_bin"), ("eval_genre.py", "topmagd_data_bin")):
        done = call([python(), root / "scripts" / script, "nothing", data], work, code=2)
        assert done.stderr.startswith("error: nothing")
        assert "not-found" in done.stderr


@pytest.mark.slow
def test_all_tasks_in_one_go_pass_over_what_is_done_or_has_no_source(root, work):
    (work / "sources").mkdir()
    (work / "sources" / "lmd_full").symlink_to(work / "songs")
    (work / "sources" / "midi_genre_map.json").symlink_to(work / "map.json")
    run = [
        "bash",
        root / "scripts/run_downstream.sh",
        "--sources",
        "sources",
        "--tasks",
        "next topmagd",
        "--cpu",
        "--autocast-bf16",
    ]
    run += ["--starts", "scratch", "--arch", "musicbert_tiny", "--genre-updates", "5", "--folds", "0 3"]
    run += ["--effective-batch", "8", "--genre-batch", "8", "--output", "all", "--results", "all_scores"]
    both = call([*run, "--bf16"], work, code=2)
    assert "choose one" in both.stderr
    first = call(run, work)
    assert "next is passed over" in first.stdout
    (log,) = (work / "all").glob("topmagd/tiny-scratch/fold0/seed7/train.log")
    assert "'autocast_bf16': True" in log.read_text()
    again = call(run, work)
    assert again.stdout.count("== finished: ") == 2
    assert "data of" not in again.stdout
    rows = json.loads((work / "all_scores" / "topmagd" / "scores.json").read_text())["rows"]
    assert "tiny-scratch seed7" in {row["name"] for row in rows}


def test_one_go_needs_sources(root, tmp_path):
    run = ["bash", root / "scripts/run_downstream.sh"]
    assert "--sources is missing" in call(run, tmp_path, code=2).stderr
    assert "default:" in call([*run, "--help"], tmp_path).stdout

"""`musicbert finetune`, `evaluate` and `predict` on data-bins: ratings and performers, pairs, genres."""

import json
import shutil

import numpy as np
import pytest
from few_trees import few_trees  # noqa: F401

from musicbert.cli.main import main
from musicbert.corpus.bins.databin import (
    label_dictionary,
    read_dictionary,
    text_to_ids,
    write_indexed_dataset,
)
from musicbert.encoding import dictionary_text, rows_to_ids
from musicbert.evaluation.predictions import load_predictions

TINY = [
    *("--model", "scratch:musicbert_tiny", "--cpu", "--quiet", "--resamples", "20"),
    *("--epochs", "1", "--batch", "4", "--learning-rate", "1e-3"),
]


def finetune(data, out, *more):
    return main(list(map(str, ["finetune", "--data", data, "--output", out, *TINY, *more])))


@pytest.fixture(scope="module")
def rated(make_databin, tmp_path_factory):
    """A rating data-bin of two folds; only the first one has a validation part."""
    folder = tmp_path_factory.mktemp("rated") / "xai_data_bin"
    for fold, parts in (("0", {"train": 8, "valid": 4, "test": 5}), ("1", {"train": 8, "test": 5})):
        made = make_databin(parts, seed=int(fold))
        for part in ("train", "valid", "test"):  # names of a fold of their own
            path = made / "label" / f"{part}.id"
            if path.exists():
                path.write_text(path.read_text().replace(f"_{part}", f"_{part}{fold}"))
        shutil.copytree(made, folder / fold)
    return folder


def make_sentences(folder, labels):
    """A sentence data-bin with the labels (lines of text) of each part."""
    rng = np.random.default_rng(0)
    for name in ("input0", "label"):
        (folder / name).mkdir(parents=True)
    (folder / "input0" / "dict.txt").write_text(dictionary_text())
    (folder / "label" / "dict.txt").write_text(label_dictionary(["a b c", "a b", "a"]))
    ids = read_dictionary(folder / "label" / "dict.txt")
    for part, lines in labels.items():
        pieces = [np.sort(rng.integers(0, 30, (int(rng.integers(5, 20)), 8)), axis=0) for _ in lines]
        write_indexed_dataset([rows_to_ids(rows) for rows in pieces], folder / "input0" / part)
        write_indexed_dataset(text_to_ids(lines, ids), folder / "label" / part)
        names = "".join(f"{folder.name}{part}{number}\n" for number in range(len(lines)))
        (folder / "label" / f"{part}.id").write_text(names)
    return folder


def test_ratings_and_performers_with_one_model(rated, tmp_path, capsys):
    out = tmp_path / "runs"
    assert finetune(rated, out, "--label", "ratings", "performer") == 0
    record = json.loads((out / "task.json").read_text())
    assert [task["label"] for task in record["tasks"]] == ["ratings", "performer"]
    for fold in ("0", "1"):
        split = json.loads((out / f"fold{fold}" / "split.json").read_text())
        found = load_predictions(out / f"fold{fold}" / "seed1" / "test.npz")
        assert set(found) == {"ratings", "performer"}
        assert found["ratings"].ids.tolist() == split["test"]
        assert ((found["ratings"].outputs > 0) & (found["ratings"].outputs < 1)).all()
    log = (out / "fold1" / "seed1" / "train.log").read_text()
    assert "M2PFnP_xai" in log
    for label, metric in (("ratings", "r2"), ("performer", "accuracy")):
        report = json.loads((out / "report" / label / "report.json").read_text())
        assert (report["headline"], report["folds"], report["pieces"]) == (metric, 2, 10)
        assert len(report["poles"]) == (4 if label == "ratings" else 0)
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert finetune(rated, out, "--label", "ratings", "performer") == 0  # it changes nothing
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == files
    assert "finished before" in capsys.readouterr().out
    assert finetune(rated, out, "--label", "ratings", "performer", "--learning-rate", "1e-4") == 2
    assert "other-settings" in capsys.readouterr().err


@pytest.mark.parametrize("label", ["ratings", "performer"])
def test_one_label_of_one_fold_and_its_model(rated, make_midi_folder, tmp_path, capsys, label):
    out = tmp_path / "runs"
    assert finetune(rated / "0", out, "--label", label, "--head", "mean") == 0
    assert set(load_predictions(out / "fold0" / "seed1" / "test.npz")) == {label}
    capsys.readouterr()
    midi = make_midi_folder(2)
    assert main(["predict", str(midi), "--model", str(out / "model"), "--device", "cpu"]) == 0
    scores = [json.loads(line)[label] for line in capsys.readouterr().out.splitlines()]
    assert len(scores) == 2
    names = ["0", "1", "Score"] if label == "performer" else [f"d{k}" for k in range(4)]
    assert list(scores[0]) == names
    same_as_training(rated / "0", out, label, tmp_path)


def test_levers_and_a_search_inside_the_training_part(rated, tmp_path, capsys):
    data = tmp_path / "xai_data_bin"
    shutil.copytree(rated / "0", data)
    for part in ("train", "valid", "test"):
        lines = (data / "label" / f"{part}.label").read_text()
        (data / "label" / f"{part}.means").write_text(lines)
        (data / "label" / f"{part}.raters").write_text("[1, 2, 3, 4]\n" * lines.count("\n"))
    levers = ("--head", "mean+sd", "--freeze-layers", "1", "--means-weight", "0.5", "--rater-weights")
    more = ("--phases", "3", "--search", "--lr 1e-4", "--lr 1e-3")
    out = tmp_path / "runs"
    assert finetune(data, out, "--label", "ratings", "performer", *levers, *more) == 0
    search = json.loads((out / "fold0" / "search.json").read_text())
    assert [entry["options"] for entry in search["tried"]] == ["--lr 1e-4", "--lr 1e-3"]
    config = json.loads((out / "model" / "config.json").read_text())
    assert (config["pooling"], config["phases"]) == ("mean+sd", 3)
    assert {head["name"] for head in config["heads"]} == {"ratings", "performer", "means"}
    assert set(load_predictions(out / "fold0" / "seed1" / "test.npz")) == {"ratings", "performer", "means"}
    assert sorted(path.name for path in (out / "report").iterdir()) == ["performer", "ratings"]
    same_as_training(data, out, "ratings", tmp_path)
    capsys.readouterr()
    assert finetune(data, tmp_path / "table", "--label", "performer", "--means-weight", "1") == 1
    assert "--means-weight" in capsys.readouterr().err


def same_as_training(data, out, label, tmp_path):
    """`musicbert predict` on the data set gives what the run predicted."""
    target = tmp_path / "again.npz"
    words = ["predict", data, "--model", out / "model", "--output", target, "--device", "cpu"]
    assert main(list(map(str, words))) == 0
    again = load_predictions(target)[label]
    first = load_predictions(out / "fold0" / "seed1" / "test.npz")[label]
    assert again.ids.tolist() == first.ids.tolist()
    np.testing.assert_array_equal(again.target, first.target)
    np.testing.assert_allclose(again.outputs, first.outputs, atol=1e-4)


def test_pairs(tmp_path, capsys):
    data = make_sentences(
        tmp_path / "bin", {"train": ["a", "b"] * 4, "valid": ["a", "b"], "test": ["b", "a"]}
    )
    out = tmp_path / "runs"
    assert finetune(data, out, "--name", "next") == 0
    found = load_predictions(out / "fold0" / "seed1" / "test.npz")["label"]
    assert found.ids.tolist() == ["bintest0", "bintest1"]
    assert (found.kind, found.target.tolist()) == ("classes", [1, 0])
    same_as_training(data, out, "label", tmp_path)
    report = json.loads((out / "report" / "report.json").read_text())
    assert (report["headline"], report["task"]["name"]) == ("accuracy", "next")
    assert {row["kind"] for row in report["rows"]} == {"network", "baseline"}
    assert "octuple_sentence_prediction" in (out / "fold0" / "seed1" / "train.log").read_text()


def test_genres_of_every_fold(tmp_path, capsys):
    for fold in ("0", "1"):
        parts = {"train": ["a b", "b", "c a"] * 2, "valid": ["a", "b c"], "test": ["b", "a c"]}
        make_sentences(tmp_path / "bin" / fold, parts)
    out = tmp_path / "runs"
    assert finetune(tmp_path / "bin", out, "--metric", "macro_f1", "--keep-models") == 0
    report = json.loads((out / "report" / "report.json").read_text())
    assert (report["headline"], report["folds"]) == ("macro_f1", 2)
    settings = json.loads((out / "fold1" / "seed1" / "model" / "config.json").read_text())
    (head,) = settings["heads"]
    assert (head["activation"], head["names"]) == ("sigmoid", ["a", "b", "c"])


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--label", "nothing"], "unknown-label"),
        ([], "unknown-label"),
        (["--label", "ratings", "--window", "64"], "bad-option"),
        (["--label", "ratings", "--model", "scratch:m2bert_tiny"], "wrong-codec"),
        (["--label", "ratings", "--only-folds", "7"], "unknown-fold"),
        (["--label", "ratings", "--metric", "accuracy"], "unknown-metric"),
        (["--label", "ratings", "--split", "clean"], "its own split"),
    ],
)
def test_what_a_data_bin_does_not_have_is_refused(rated, tmp_path, capsys, more, reason):
    assert finetune(rated, tmp_path / "runs", *more) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_published_recipes():
    from musicbert.fairseq_plugin.runs.arguments import updates_of
    from musicbert.recipes.finetuning import published_for_databin

    recipe = published_for_databin(frozenset({"ratings"}), "regression")
    assert (updates_of(recipe, 100), recipe.learning_rate, recipe.batch * recipe.accumulate) == (
        7000,
        1e-5,
        32,
    )
    recipe = published_for_databin(frozenset({"label"}), "multilabel")
    assert (recipe.max_updates, recipe.warmup, recipe.weight_decay) == (20000, 0.2, 0.01)

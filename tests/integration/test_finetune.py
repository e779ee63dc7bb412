"""`musicbert finetune`, `evaluate` and `predict` on small made data: what is learned, resumed, refused."""

import contextlib
import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from few_trees import few_trees  # noqa: F401

from musicbert.cli.main import main, make_parser
from musicbert.corpus.labelled.pieces import LabelledPiece, Task
from musicbert.corpus.labelled.shard_writer import write_shards
from musicbert.corpus.labelled.shards import Shards
from musicbert.evaluation.predictions import load_predictions
from musicbert.evaluation.rows import read_rows, shown_name
from musicbert.midi import Score, midi_bytes, read_score

FAST = [
    *("--cpu", "--quiet", "--resamples", "50", "--epochs", "2", "--window", "64", "--batch", "4"),
    *("--folds", "2", "--learning-rate", "1e-3"),
]


def tune(rng, high, notes=24):
    """A tune in a high or a low register: what the labels are about."""
    zeros = np.zeros(notes, np.int64)
    onset = np.cumsum(rng.integers(1, 3, notes)) * 240
    return Score(
        ticks_per_beat=480,
        onset=onset,
        offset=onset + 200,
        pitch=rng.integers(30, 45, notes) + 45 * high,
        velocity=rng.integers(30, 100, notes),
        program=zeros,
        drum=zeros.astype(bool),
        track=zeros,
    )


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """Folder with ``midi/`` of 16 tunes and three tables."""
    folder = tmp_path_factory.mktemp("music")
    (folder / "midi").mkdir()
    rng = np.random.default_rng(0)
    pieces, tags, notes = [], [], []
    for k in range(16):
        score = tune(rng, k % 2)
        (folder / "midi" / f"t{k}.mid").write_bytes(midi_bytes(score))
        pieces.append([f"t{k}.mid", ("low", "high")[k % 2], f"g{k // 2}"])
        tags.append({"file": f"t{k}", "tags": ["high", "any"] if k % 2 else ["any"] if k % 3 else []})
        stored = read_score(folder / "midi" / f"t{k}.mid")
        notes += [[f"t{k}", n, "loud" if v > 64 else "soft"] for n, v in enumerate(stored.velocity)]
    for name, header, rows in (
        ("pieces", ["file", "register", "group"], [*pieces, ["gone.mid", "low", "g9"]]),
        ("notes", ["file", "note", "label"], notes),
    ):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
    (folder / "tags.jsonl").write_text("".join(json.dumps(line) + "\n" for line in tags))
    return folder


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def finetune(music, table, out, *more, model="scratch:musicbert_tiny"):
    words = ["finetune", "--labels", music / table, "--midi", music / "midi", "--model", model]
    return main([str(word) for word in [*words, "--output", out, *FAST, *more]])


@pytest.fixture(scope="module")
def classes(music, tmp_path_factory):
    """An experiment on classes of pieces, long enough to learn what is easy."""
    out = tmp_path_factory.mktemp("runs") / "classes"
    status = finetune(
        music, "pieces.csv", out, "--epochs", "12", "--head", "mean", "--seeds", "1", "2",
        "--max-failure-rate", "0.1",
    )  # fmt: skip
    return out, status


def test_classes_of_pieces_are_learned(classes):
    out, status = classes
    assert status == 0
    report = json.loads((out / "report" / "report.json").read_text())
    rows = {shown_name(row): row for row in read_rows(report["rows"])}
    best = rows["network, ensemble of 2 seeds"]
    assert best.value("accuracy") > 0.9
    assert rows["majority"].value("accuracy") <= 0.5
    assert {"network, mean of 2 seeds", "features: logistic", "features: extra trees"} <= set(rows)
    assert report["leaks"] == {"0": {"test": 0, "valid": 0}, "1": {"test": 0, "valid": 0}}
    assert np.sum(best.confusion) == report["pieces"] == 16
    assert report["task"]["name"] == "pieces"
    files = {path.name for path in (out / "report").iterdir()}
    assert files == {
        "report.json", "report.md", "scores.csv", "scores.png", "confusion.png", "curves.png"
    }  # fmt: skip
    table = read_csv(out / "report" / "scores.csv")
    assert {line["row"] for line in table} == set(rows)
    assert not list(out.glob("fold*/seed*/checkpoint*"))


def test_groups_stay_together(classes):
    out, _ = classes
    groups = {name: f"g{int(name[1:-4]) // 2}" for name in Shards(out / "data").names}
    tested = []
    for fold in ("0", "1"):
        split = json.loads((out / f"fold{fold}" / "split.json").read_text())
        sides = [{groups[name] for name in split[part]} for part in ("train", "valid", "test")]
        assert not (sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2])
        tested += split["test"]
    assert sorted(tested) == sorted(groups)


def test_what_has_no_file_is_in_the_ledger(classes):
    out, _ = classes
    lines = [json.loads(line) for line in (out / "data" / "ledger.jsonl").read_text().splitlines()]
    assert [(each["name"], each["outcome"]) for each in lines if each["outcome"] != "ok"] == [
        ("gone.mid", "no-midi")
    ]


def test_the_model_is_used_by_predict(classes, music, tmp_path, capsys):
    out, _ = classes
    files = [str(music / "midi" / f"t{k}.mid") for k in range(4)]
    assert main(["predict", *files, "--model", str(out / "model"), "--device", "cpu"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["best"] for line in lines] == ["low", "high", "low", "high"]
    assert all(sum(line["pieces"].values()) == pytest.approx(1, abs=1e-5) for line in lines)
    target = tmp_path / "scores.csv"
    assert main(["predict", *files, "--model", str(out / "model"), "--output", str(target)]) == 0
    table = read_csv(target)
    assert [row["pieces:best"] for row in table] == ["low", "high", "low", "high"]
    assert float(table[1]["pieces:high"]) == pytest.approx(lines[1]["pieces"]["high"], abs=1e-5)
    assert main(["predict", *files, "--model", str(out / "model"), "--heads", "other"]) == 2


def test_the_same_command_does_nothing_again_and_goes_on_where_a_run_is_missing(
    classes, music, tmp_path, capsys
):
    made, _ = classes
    out = tmp_path / "again"
    shutil.copytree(made, out)
    before = {path: path.stat().st_mtime_ns for path in out.glob("fold*/seed*/run.json")}
    lost = out / "fold1" / "seed2" / "run.json"
    first = next(iter(load_predictions(lost.with_name("test.npz")).values()))
    lost.unlink()
    more = ["--epochs", "12", "--head", "mean", "--seeds", "1", "2", "--max-failure-rate", "0.1"]
    assert main(["evaluate", str(out), "--quiet"]) == 2
    assert "incomplete-runs" in capsys.readouterr().err
    assert finetune(music, "pieces.csv", out, *more, "--no-report") == 0
    after = {path: path.stat().st_mtime_ns for path in out.glob("fold*/seed*/run.json")}
    assert {path for path in after if after[path] != before[path]} == {lost}
    second = next(iter(load_predictions(lost.with_name("test.npz")).values()))
    np.testing.assert_array_equal(second.outputs, first.outputs)  # the same numbers, bit for bit
    assert finetune(music, "pieces.csv", out, *more, "--learning-rate", "2e-3") == 2
    assert "other-settings" in capsys.readouterr().err
    assert finetune(music, "tags.jsonl", out, *more) == 2
    assert "table pieces.csv" in capsys.readouterr().err


def test_a_share_of_the_training_part(classes, music, tmp_path, capsys):
    """Learning curves: less to train on, the same test, and no mixing with what another share has made."""
    whole, _ = classes
    out = tmp_path / "share"
    more = ["--epochs", "1", "--max-failure-rate", "0.1", "--train-share"]
    assert finetune(music, "pieces.csv", out, *more, "0.5") == 0
    for fold in ("0", "1"):
        full, split = (json.loads((each / f"fold{fold}" / "split.json").read_text()) for each in (whole, out))
        assert split.pop("train_share") == 0.5
        assert "train_share" not in full
        assert {part: split[part] for part in ("valid", "test")} == {
            part: full[part] for part in ("valid", "test")
        }
        assert set(split["train"]) < set(full["train"])
        assert {int(name[1:-4]) % 2 for name in split["train"]} == {0, 1}  # both classes
    everything = json.loads((out / "foldall" / "split.json").read_text())
    assert everything["train_share"] == 0.5
    assert json.loads((out / "task.json").read_text())["train_share"] == 0.5
    report = json.loads((out / "report" / "report.json").read_text())
    assert report["train_share"] == 0.5
    assert report["train_pieces"] == {
        fold: len(json.loads((out / f"fold{fold}" / "split.json").read_text())["train"])
        for fold in ("0", "1")
    }
    text = (out / "report" / "report.md").read_text()
    assert "learned from 50 % of each training part" in text
    assert "learned from" not in (whole / "report" / "report.md").read_text()
    log = next(out.glob("fold0/seed1/train.log")).read_text()
    assert f"train: {report['train_pieces']['0']} pieces" in log
    capsys.readouterr()
    for other in ("0.3", "1"):
        assert finetune(music, "pieces.csv", out, *more, other) == 2
        assert "other-settings" in capsys.readouterr().err
    assert finetune(music, "pieces.csv", tmp_path / "none", *more, "0") == 2
    assert "bad-share" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("table", "model", "more", "metric"),
    [
        ("tags.jsonl", "scratch:m2bert_tiny", ["--mix-layers", "--layer-decay", "0.8"], "micro_f1"),
        ("notes.csv", "scratch:m2bert_tiny", ["--class-weights", "balanced", "--patience", "1"], "accuracy"),
        (
            "notes.csv",
            "micro_finetuned_topmagd_cfg.pt",  # a checkpoint with another head
            [
                "--only-folds",
                "1",
                "--performance-input",
                "--freeze-layers",
                "1",
                "--augment",
                "transpose=2",
                "--random-shift",
            ],
            "accuracy",
        ),
    ],
)
def test_other_labels_models_and_options(music, tmp_path, fixtures, table, model, more, metric):
    out = tmp_path / "runs"
    if model.endswith(".pt"):
        model = fixtures / "musicbert_model" / model
    assert finetune(music, table, out, *more, "--no-final", model=model) == 0
    report = json.loads((out / "report" / "report.json").read_text())
    assert report["headline"] == metric
    assert np.isfinite(read_rows(report["rows"])[0].value(metric))
    assert not (out / "model").exists()
    assert report["data"]["codec"] == ("cp" if "m2bert" in str(model) else "octuple")
    log = next(out.glob("fold*/seed1/train.log")).read_text()
    assert ("46 tensors loaded" in log) == str(model).endswith(".pt")


def test_a_model_of_notes_labels_every_note(music, tmp_path):
    out = tmp_path / "runs"
    assert finetune(music, "notes.csv", out, "--no-report", model="scratch:m2bert_tiny") == 0
    files = [str(music / "midi" / "t0.mid"), str(music / "midi" / "t1.mid")]
    target = tmp_path / "notes.csv"
    assert main(["predict", *files, "--model", str(out / "model"), "--output", str(target)]) == 0
    table = read_csv(target)
    assert len(table) == sum(len(read_score(file)) for file in files)
    assert {row["notes:best"] for row in table} <= {"loud", "soft", ""}


def test_a_data_set_of_a_reader_with_its_split(music, tmp_path):
    rng = np.random.default_rng(1)
    pieces = (
        LabelledPiece(
            f"p{k}", tune(rng, k % 2), f"g{k}", {"height": [float(k % 2), float(k)]},
            {"published": ("train", "train", "valid", "test")[k % 4]},
        )
        for k in range(12)
    )  # fmt: skip
    task = Task("height", "height", "sequence", "regression", ("high", "number"), "r2")
    write_shards(pieces, "octuple", tmp_path / "shards", [task], with_features=True)
    out = tmp_path / "runs"
    words = ["finetune", "--data", tmp_path / "shards", "--model", "scratch:musicbert_tiny", "--output", out]
    assert main([str(word) for word in [*words, *FAST, "--no-final"]]) == 0
    record = json.loads((out / "task.json").read_text())
    assert record["split"] == "published"
    found = next(iter(load_predictions(out / "fold0" / "seed1" / "test.npz").values()))
    assert found.ids.tolist() == ["p3", "p7", "p11"]
    report = json.loads((out / "report" / "report.json").read_text())
    assert {"network", "mean", "features: ridge"} <= {shown_name(row) for row in read_rows(report["rows"])}
    assert (report["headline"], report["folds"]) == ("r2", 1)


@pytest.mark.parametrize("model", ["scratch:musicbert_tiny", "scratch:m2bert_tiny"])
def test_a_model_predicts_shards(music, tmp_path, capsys, model):
    """`musicbert predict` on the data of a model gives what the run predicted."""
    out, target = tmp_path / "runs", tmp_path / "again.npz"
    assert finetune(music, "notes.csv", out, "--no-report", "--keep-models", model=model) == 0
    words = ["predict", out / "data", "--model", out / "fold0" / "seed1" / "model", "--output", target]
    assert main([str(word) for word in [*words, "--device", "cpu"]]) == 0
    assert "label: accuracy" in capsys.readouterr().out
    again = load_predictions(target)["label"]
    first = load_predictions(out / "fold0" / "seed1" / "test.npz")["label"]
    assert len(again) == 16
    at = again.ids.tolist().index(first.ids[0])
    mine, theirs = (p.predicted[p.piece_of == k] for p, k in ((again, at), (first, 0)))
    np.testing.assert_array_equal(mine, theirs)
    assert main([str(word) for word in [*words[:-1], tmp_path / "a.csv"]]) == 2


def test_several_labels_of_notes_are_learned_by_one_head(music, tmp_path, capsys):
    """Each piece has one of two labels; the model gives both for any music, as its run did."""
    rng = np.random.default_rng(2)
    tasks = [
        Task("height", "height", "note", "classes", ("low", "high"), "accuracy"),
        Task("colour", "colour", "note", "classes", ("white", "black", "grey"), "accuracy"),
    ]

    def made():
        for k in range(12):
            notes = tune(rng, k // 2 % 2)
            labels = ({"height": notes.pitch // 60}, {"colour": notes.pitch % 3})[k % 2]
            split = {"clean": ("train", "train", "train", "valid", "test", "test")[k // 2]}
            yield LabelledPiece(f"p{k}", notes, f"g{k}", labels, split)

    write_shards(made(), "cp", tmp_path / "shards", tasks)
    out, target = tmp_path / "runs", tmp_path / "again.npz"
    words = ["finetune", "--data", tmp_path / "shards", "--label", "height", "colour", "--output", out]
    words += ["--model", "scratch:m2bert_tiny", "--metric", "accuracy,macro_f1", "--dropout", "0"]
    assert main([str(word) for word in [*words, *FAST, "--no-final", "--keep-models"]]) == 0
    assert '"valid_colour"' in (out / "fold0" / "seed1" / "train.log").read_text()
    for label in ("height", "colour"):
        assert (out / "report" / label / "report.md").is_file()
    model = out / "fold0" / "seed1" / "model"
    words = ["predict", tmp_path / "shards", "--part", "test", "--model", model, "--output", target]
    assert main([str(word) for word in [*words, "--device", "cpu"]]) == 0
    first, again = (load_predictions(path) for path in (out / "fold0" / "seed1" / "test.npz", target))
    assert set(again) == {"height", "colour"}
    for label, one in again.items():
        np.testing.assert_array_equal(one.predicted, first[label].predicted)
    capsys.readouterr()
    piece = music / "midi" / "t0.mid"
    assert main(["predict", str(piece), "--model", str(model), "--device", "cpu"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {len(result["height"]["low"]), len(result["colour"]["grey"])} == {24}
    assert set(result["best"]) == {"height", "colour"}
    assert main(["embed", str(piece), "--model", str(model), "--output", str(tmp_path / "e.npz")]) == 2
    assert "other-model" in capsys.readouterr().err


def test_wrong_words_are_two(music, tmp_path, capsys):
    out = tmp_path / "runs"
    base = ["finetune", "--model", "scratch:musicbert_tiny", "--output", str(out)]
    assert main(base) == 2
    assert main([*base, "--labels", str(music / "pieces.csv")]) == 2
    assert finetune(music, "pieces.csv", out, model="scratch:gigantic") == 2
    assert "unknown-architecture" in capsys.readouterr().err
    assert finetune(music, "pieces.csv", out, "--split", "nonsense") == 2
    assert "unknown-split" in capsys.readouterr().err
    assert finetune(music, "nothing.csv", out) == 2
    assert finetune(music, "pieces.csv", out, "--metric", "r2") == 2
    assert "unknown-metric" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path)]) == 2


def test_the_commands_of_the_pages_are_understood(root):
    pages = (root / "docs" / name for name in ("finetuning.md", "finetuning-more.md"))
    text = "".join(page.read_text() for page in pages).replace("\\\n", "")
    text = re.sub(r"^bash .*\n", "", text, flags=re.M)  # recipes: test_documented_commands.py
    blocks = re.findall(r"```bash\n(.*?)```", text, re.S)
    commands = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert {words[1] for words in commands} >= {"finetune", "predict"}
    for words in commands:
        assert words[0] == "musicbert"
        make_parser(words[1]).parse_args(words[1:])
    known = {
        option
        for name in ("finetune", "evaluate", "predict", "data")
        for option in re.findall(r"--[a-z][\w-]+", help_of(name))
    } | set(re.findall(r"--[a-z][\w-]+", help_of("data", "get")))
    fairseq = {"--user-dir", "--task", "--criterion", "--arch", "--split-file"}
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text)) <= known | fairseq


def help_of(*words):
    """Text of ``--help`` of a command."""
    with contextlib.redirect_stdout(io.StringIO()) as told, contextlib.suppress(SystemExit):
        make_parser(words[0]).parse_args([*words, "--help"])
    return told.getvalue()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for the process below /proc")
def test_a_run_that_is_killed_does_not_stop_the_others(music, tmp_path, capsys):
    """The first run of two at a time is killed as it trains; the same command then does only that one."""
    out = tmp_path / "runs"
    lost = out / "fold0" / "seed1"
    training = threading.Event()

    def kill():
        while training.is_set():
            for status in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    pid = status.parent.name
                    if os.getpid() == _parent(_parent(pid)) and _log_of(pid) == str(lost / "train.log"):
                        os.kill(int(pid), signal.SIGKILL)
                        return
            time.sleep(0.02)

    thread = threading.Thread(target=kill)
    training.set()
    thread.start()
    status = finetune(music, "tags.jsonl", out, "--epochs", "6", "--no-final", "--no-report")
    training.clear()
    thread.join()
    assert status == 1
    assert "1 runs done, 1 failed" in capsys.readouterr().err
    assert [path.parent.parent.name for path in out.glob("fold*/seed1/run.json")] == ["fold1"]
    assert finetune(music, "tags.jsonl", out, "--epochs", "6", "--no-final", "--no-report") == 0
    assert "1 runs done, 0 failed" in capsys.readouterr().out


def _parent(pid):
    text = Path(f"/proc/{pid}/stat").read_text()
    return int(text.rpartition(")")[2].split()[1])


def _log_of(pid):
    """Where the standard output of a process goes."""
    return str(Path(f"/proc/{pid}/fd/1").readlink())

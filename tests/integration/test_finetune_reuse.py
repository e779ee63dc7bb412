"""An experiment is used again for what it was made from, and refused for anything else, by name."""

import csv
import json
import shutil

import numpy as np
import pytest
from few_trees import few_trees  # noqa: F401

from musicbert.cli.main import main
from musicbert.corpus.tables.reader import read_label_table
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.runs.data import prepare_table
from musicbert.midi import Score, midi_bytes
from musicbert.reuse import hold_folder

BASE = {
    "--model": "scratch:musicbert_tiny",
    "--group-column": "album",
    "--label-columns": "mood",
    "--folds": "2",
    "--epochs": "1",
    "--window": "64",
    "--seeds": "1",
}
QUIET = ("--cpu", "--quiet", "--no-report", "--no-final")


def tune(seed):
    rng = np.random.default_rng(seed)
    onset = np.cumsum(rng.integers(1, 3, 12)) * 240
    zeros = np.zeros(12, np.int64)
    pitch, velocity = rng.integers(40, 90, 12), rng.integers(30, 100, 12)
    return midi_bytes(Score(480, onset, onset + 200, pitch, velocity, zeros, zeros.astype(bool), zeros))


def finetune(folder, *more, **changes):
    options = {**BASE, **{f"--{name.replace('_', '-')}": value for name, value in changes.items()}}
    words = [word for pair in options.items() for word in pair]
    files = ("--labels", folder / "table.csv", "--midi", folder / "midi", "--output", folder / "out")
    return main([str(word) for word in ("finetune", *files, *words, *QUIET, *more)])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder with music, a table and an experiment."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "midi").mkdir()
    rows = [["name", "other", "mood", "mind", "album", "artist", "part", "w"]]
    for k in range(8):
        (folder / "midi" / f"t{k}.mid").write_bytes(tune(k))
        (folder / "midi" / f"u{k}.mid").write_bytes(tune(k + 100))
        part = ("train", "valid", "test", "train")[k // 2]
        mood, mind = ("calm", "wild")[k % 2], ("dull", "keen")[k % 2]
        rows.append([f"t{k}", f"u{k}", mood, mind, f"a{k // 2}", f"b{k % 4}", part, k % 3 + 1])
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert finetune(folder, file_column="name") == 0
    return folder


@pytest.fixture
def study(made, tmp_path):
    """A copy, to change something in it."""
    return shutil.copytree(made, tmp_path / "study")


def test_the_same_call_uses_it_again(made, capsys):
    before = {path: path.stat().st_mtime_ns for path in (made / "out").rglob("*") if path.is_file()}
    assert finetune(made, file_column="name") == 0
    said = capsys.readouterr().out
    assert "all runs were finished before" in said
    assert "8 ok" in said
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"group_column": "artist"}, "--group-column: album -> artist"),
        ({"weight_column": "w"}, "--weight-column: none -> w"),
        ({"file_column": "other"}, "--file-column: name -> other"),
        ({"label_columns": "mind"}, '--label-columns: ["mood"] -> ["mind"]'),
        ({"split_column": "part"}, "--split-column: none -> part"),
        ({"classes": "wild calm"}, "--classes"),
        ({"kind": "multilabel"}, "--kind: classes -> multilabel"),
        ({"channel_programs": "channel"}, "--channel-programs: track -> channel"),
        ({"separator": "/"}, "--separator: none -> /"),
        ({"codec": "cp", "model": "scratch:m2bert_tiny"}, "--codec: octuple -> cp"),
        ({"split_seed": "8"}, "--split-seed: 7 -> 8"),
        ({"folds": "3"}, "--folds: 2 -> 3"),
        ({"train_share": "0.5"}, "--train-share: 1 -> 0.5"),
        ({"epochs": "2"}, "--max-epoch"),
        ({"learning_rate": "1e-3"}, "--lr"),
        ({"window": "32"}, "--window: 64 -> 32"),
        ({"batch": "2"}, "--batch-size"),
        ({"head": "mean"}, "--tag-head: first -> mean"),
        ({"metric": "macro_f1"}, "--metric: accuracy -> macro_f1"),
        ({"ignore_classes": "wild"}, "--ignore-classes"),
        ({"model": "scratch:musicbert_mini"}, "--arch: musicbert_tiny -> musicbert_mini"),
        ({"name": "other"}, "name of the task: table -> other"),
    ],
)
def test_another_option_is_refused(made, capsys, changes, words):
    changes = {"file_column": "name", **changes}
    more = ["--classes", "wild", "calm"] if changes.pop("classes", None) else []
    assert finetune(made, *more, **changes) == 2
    said = capsys.readouterr()
    assert "other-settings" in said.err
    assert words in said.err
    assert "another --output" in said.err
    assert "8 ok" not in said.out


def test_overwrite_makes_an_experiment_anew_and_spares_what_is_not_its_own(study, capsys):
    out = study / "out"
    (out / "notes.txt").write_text("mine")
    (out / "folder").mkdir()
    first = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert finetune(study, "--overwrite", file_column="name") == 0
    assert {path: path.read_bytes() for path in first} == first, "the same experiment is kept"
    assert finetune(study, "--overwrite", file_column="name", group_column="artist", folds="9") == 2
    assert {path: path.read_bytes() for path in first} == first, "put back: it cannot be made"
    capsys.readouterr()
    assert finetune(study, "--overwrite", file_column="name", group_column="artist") == 0
    words = "is made anew: This was made from something else: --group-column: album -> artist"
    assert words in capsys.readouterr().out
    manifest = json.loads((out / "data" / "manifest.json").read_text())
    assert "b0" in json.dumps(manifest)
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "folder").is_dir()
    assert not (out / ".before").exists()
    assert finetune(study, file_column="name", group_column="artist") == 0


def test_how_notes_are_named_is_an_option_too(made, tmp_path):
    table = tmp_path / "notes.csv"
    table.write_text("file,note,label\n" + "".join(f"t0,{n},{'ab'[n % 2]}\n" for n in range(12)))
    notes = read_label_table(table)

    def prepare(**how):
        options = {"codec": "octuple", "progress": False, **how}
        return prepare_table(notes, notes.task(), made / "midi", table, tmp_path / "out", **options)

    first = prepare(order="file", unit="beats")
    assert prepare(order="file", unit="beats").data.sha256 == first.data.sha256
    with pytest.raises(DatasetError, match="--note-order: file -> sorted"):
        prepare(order="sorted", unit="beats")
    with pytest.raises(DatasetError, match="--onset-unit: beats -> ticks"):
        prepare(order="file", unit="ticks")


def test_flags_are_options_too(made, capsys):
    for flag, words in (
        ("--performance-input", "--performance-input: false -> true"),
        ("--random-shift", "--random-shift"),
        ("--keep-models", "complete without model"),
    ):
        assert finetune(made, flag, file_column="name") == 2
        assert words in capsys.readouterr().err


def _other_bytes(study):
    path = study / "midi" / "t3.mid"
    content = bytearray(path.read_bytes())
    content[content.index(0x90) + 2] ^= 1  # a velocity: the size stays
    path.write_bytes(content)


CHANGES = {
    "other bytes: t3.mid": _other_bytes,
    "added: new.mid": lambda study: (study / "midi" / "new.mid").write_bytes(tune(7)),
    "removed: u1.mid": lambda study: (study / "midi" / "u1.mid").unlink(),
    "removed: t1.mid": lambda study: (study / "midi" / "t1.mid").unlink(),
    "other bytes: table table.csv": lambda study: (study / "table.csv").write_text(
        (study / "table.csv").read_text().replace("calm", "wild", 1)
    ),
    "other bytes: data/label0.bin": lambda study: (study / "out" / "data" / "label0.bin").write_bytes(
        bytes((study / "out" / "data" / "label0.bin").stat().st_size)
    ),
    "other bytes: split": lambda study: (study / "out" / "fold0" / "split.json").unlink(),
    "no record": lambda study: (study / "out" / "data" / "made_from.json").unlink(),
}


@pytest.mark.parametrize("words", CHANGES)
def test_other_files_are_refused(study, capsys, words):
    CHANGES[words](study)
    split = {"split_seed": "8"} if words == "other bytes: split" else {}
    for fold in (study / "out").glob("fold1/split.json") if split else ():
        fold.unlink()
    assert finetune(study, "--max-failure-rate", "1", file_column="name", **split) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "other-settings" in said


def test_a_finished_run_of_other_weights_is_refused(study, fixtures, capsys):
    """The file of the weights keeps its name, and gets other bytes."""
    shutil.rmtree(study / "out")
    weights, kinds = study / "weights.pt", fixtures / "musicbert_model"
    shutil.copyfile(kinds / "micro_finetuned_topmagd_cfg.pt", weights)
    assert finetune(study, file_column="name", model=weights) == 0
    assert finetune(study, file_column="name", model=weights) == 0
    shutil.copyfile(kinds / "micro_pretrained_v1.0.0a0_cfg.pt", weights)
    assert finetune(study, file_column="name", model=weights) == 2
    assert "other bytes: weights of --init-from" in capsys.readouterr().err


def test_a_killed_experiment_goes_on_and_keeps_to_its_settings(study, capsys):
    (study / "out" / "fold1" / "seed1" / "run.json").unlink()  # killed within the second run
    kept = study / "out" / "fold0" / "seed1" / "run.json"
    before = kept.stat().st_mtime_ns
    assert finetune(study, file_column="name", epochs="2") == 2
    assert "--max-epoch" in capsys.readouterr().err
    assert finetune(study, file_column="name") == 0
    assert "1 runs done" in capsys.readouterr().out
    assert kept.stat().st_mtime_ns == before
    record = json.loads(kept.read_text())["made_from"]
    assert {"split", "data/rows.bin", "data/manifest.json"} <= set(record["files"])


def test_a_report_is_of_the_runs_and_options_asked_for(study, capsys):
    words = [word for word in QUIET if word != "--no-report"]
    files = ("--labels", study / "table.csv", "--midi", study / "midi", "--output", study / "out")
    base = [word for pair in {**BASE, "--file-column": "name"}.items() for word in pair]

    def call(*more):
        assert main([str(word) for word in ("finetune", *files, *base, *words, *more)]) == 0
        return capsys.readouterr().out

    assert "as before" not in call("--resamples", "20")
    assert "as before" in call("--resamples", "20")
    assert "as before" not in call("--resamples", "30")
    report = json.loads((study / "out" / "report" / "report.json").read_text())
    assert "--resamples 30" in report["provenance"]["command"]


def test_two_at_once_is_one_error(study, capsys):
    with hold_folder(study / "out"):
        assert finetune(study, file_column="name") == 2
    said = capsys.readouterr().err
    assert "output-busy" in said
    assert len(said.splitlines()) == 1
    with hold_folder(study / "out" / "report"):
        assert main(["evaluate", str(study / "out"), "--quiet"]) == 2
    assert "output-busy" in capsys.readouterr().err

"""``scripts/binarize_xai.sh``: the raw rating data set becomes the folders that fairseq trains on."""

import filecmp
import os
import subprocess
import sys

import numpy as np
import pytest
from warm_python import python

from musicbert.corpus.bins.databin import read_index, read_tokens
from musicbert.corpus.labelled import binarize as binarize_module
from musicbert.corpus.labelled.binarize import binarize, main, write_sequences
from musicbert.corpus.labelled.rating_rawset import read_part
from musicbert.corpus.ratings.build import SplitOptions, build
from musicbert.corpus.ratings.piece import EncodeOptions
from musicbert.encoding import line_to_rows, rows_to_ids
from musicbert.errors import DatasetError


@pytest.fixture
def raw(made_set):
    def make(name="xai_data_raw_apex_reg_cls", performance=True, **split):
        encoding = EncodeOptions(performance=performance)
        midi, labels = made_set / "midi", made_set / "labels.json"
        build(labels, midi, made_set / name, encoding=encoding, split=SplitOptions(**split))
        return made_set / name

    return make


@pytest.fixture
def script(root, made_set):
    def run(*arguments, directory=made_set):
        command = ["bash", str(root / "scripts" / "binarize_xai.sh"), *arguments]
        environment = {**os.environ, "PYTHON": python()}
        return subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, check=False
        )

    return run


def files(folder):
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())


def test_layout_of_every_fold(raw, tmp_path):
    source = raw(rule="k-fold", n_folds=2)
    counts = binarize(source, tmp_path / "bin", direct=True)
    assert sorted(counts) == ["0", "1"]
    parts = ("test", "train", "valid")
    for fold in ("0", "1"):
        assert files(tmp_path / "bin" / fold) == sorted(
            ["input0/dict.txt", "label/classes.json"]
            + [f"input0/{part}.{suffix}" for part in parts for suffix in ("bin", "idx")]
            + [f"label/{part}.{suffix}" for part in parts for suffix in ("id", "label")]
            + [f"performance/{part}.performance.npy" for part in parts]
        )
        for part in parts:
            for suffix in ("label", "id"):
                copied = tmp_path / "bin" / fold / "label" / f"{part}.{suffix}"
                assert filecmp.cmp(copied, source / fold / f"{part}.{suffix}", shallow=False)
            assert counts[fold][part] == len(read_index(tmp_path / "bin" / fold / "input0" / part))


def test_ids_are_those_of_the_text_and_notes_those_of_the_inputs(raw, tmp_path):
    source = raw()
    binarize(source, tmp_path / "bin", direct=True)
    tokens = read_tokens(tmp_path / "bin" / "0" / "input0" / "train")
    at = 0
    lengths = read_index(tmp_path / "bin" / "0" / "input0" / "train")
    lines = (source / "0" / "train.txt").read_text().split("\n")[:-1]
    for line, length in zip(lines, lengths, strict=True):
        ids = tokens[at : at + length].tolist()
        notes = [each for each in np.ravel(rows_to_ids(line_to_rows(line))).tolist() if each > 3]
        assert ids == [0] * 8 + notes + [2] * 8
        at += length
    inputs = np.load(tmp_path / "bin" / "0" / "performance" / "train.performance.npy")
    assert len(inputs) == (lengths // 8 - 2).sum()


def test_two_way_split_has_its_test_as_valid(raw, tmp_path):
    source = raw(valid="none", performance=False)
    counts = binarize(source, tmp_path / "bin", direct=True)
    assert counts["0"] == {"test": 8, "train": 28, "valid": 8}
    fold = tmp_path / "bin" / "0"
    for folder, suffix in (("input0", "bin"), ("input0", "idx"), ("label", "id"), ("label", "label")):
        assert filecmp.cmp(fold / folder / f"valid.{suffix}", fold / folder / f"test.{suffix}", shallow=False)
    assert not (fold / "performance").exists()


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_fairseq_preprocess_and_the_direct_way_give_the_same_bytes(raw, script, made_set, workers):
    raw()
    done = script("xai", "--workers", workers)
    assert done.returncode == 0, done.stderr
    assert "0: 8 test, 24 train, 4 valid" in done.stdout
    direct = script("xai", "--direct", "--bin", "direct")
    assert direct.returncode == 0, direct.stderr
    ours, theirs = made_set / "direct", made_set / "xai_data_bin_apex_reg_cls"
    assert set(files(theirs)) - set(files(ours)) == {"0/input0/preprocess.log"}
    for name in files(ours):
        assert filecmp.cmp(ours / name, theirs / name, shallow=False), name


def test_runs_from_any_directory(raw, script, made_set):
    raw("elsewhere")
    (made_set / "deep" / "er").mkdir(parents=True)
    done = script("--raw", "../../elsewhere", "--bin", "out", "--direct", directory=made_set / "deep" / "er")
    assert done.returncode == 0, done.stderr
    assert (made_set / "deep" / "er" / "out" / "0" / "input0" / "train.bin").is_file()


def test_missing_raw_set(script, made_set):
    done = script("nothing")
    assert done.returncode == 2
    assert done.stderr.startswith("error: nothing_data_raw_apex_reg_cls")
    assert "gen_xai.py" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (made_set / "nothing_data_bin_apex_reg_cls").exists()


def test_wrong_python_and_options(script):
    done = script("xai", "--python", "/nowhere/python")
    assert done.returncode == 2
    assert "/nowhere/python" in done.stderr
    assert script("xai", "--wrong").returncode == 2
    assert script("xai", "--python").returncode != 0
    assert script("xai", "--workers", "0").returncode == 2
    help_text = script("--help")
    assert help_text.returncode == 0
    assert "--direct" in help_text.stdout


def test_existing_output(raw, tmp_path, capsys):
    source = raw()
    command = ["--raw", str(source), "--bin", str(tmp_path / "bin"), "--direct"]
    assert main(command) == 0
    (tmp_path / "bin" / "0" / "mark").write_text("")
    assert main(command) == 2
    assert "[output-exists]" in capsys.readouterr().err
    assert (tmp_path / "bin" / "0" / "mark").exists()
    assert main([*command, "--overwrite"]) == 0
    assert not (tmp_path / "bin" / "0" / "mark").exists()


def test_a_folder_of_something_else_is_not_replaced(raw, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "thesis.tex").write_text("")
    with pytest.raises(DatasetError) as caught:
        binarize(raw(), tmp_path / "bin", direct=True, overwrite=True)
    assert caught.value.reason == "output-not-ours"


def test_line_counts_must_agree(raw, tmp_path):
    source = raw()
    with (source / "0" / "test.label").open("a") as file:
        file.write("[0.5, 0.5, 0.5, 0]\n")
    with pytest.raises(DatasetError) as caught:
        binarize(source, tmp_path / "bin", direct=True)
    assert caught.value.reason == "wrong-lines"
    assert not (tmp_path / "bin").exists()


def test_token_that_the_dictionary_lacks(raw, tmp_path):
    source = raw()
    text = (source / "0" / "train.txt").read_text()
    (source / "0" / "train.txt").write_text(text.replace("<2-0>", "<2-999>", 1))
    with pytest.raises(DatasetError) as caught:
        binarize(source, tmp_path / "bin", direct=True)
    assert caught.value.reason == "unknown-token"
    assert not list(tmp_path.glob("*bin*"))


def test_failing_preprocess_is_one_clear_error(raw, tmp_path, monkeypatch):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho first >&2\necho no module named fairseq_cli >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(binarize_module.sys, "executable", str(broken))
    with pytest.raises(DatasetError, match="status 3: no module named fairseq_cli") as caught:
        binarize(raw(), tmp_path / "bin")
    assert caught.value.reason == "preprocess-failed"
    assert "--direct" in caught.value.hint
    assert not (tmp_path / "bin").exists()


def test_preprocess_that_writes_something_else_is_noticed(raw, tmp_path, monkeypatch):
    other = raw("other", seed=11, rule="random")

    def preprocess(folder, target, sources, *, dictionary, workers):
        write_sequences(other / folder.name, target, sources, dictionary=dictionary)

    monkeypatch.setattr(binarize_module, "preprocess", preprocess)
    with pytest.raises(DatasetError) as caught:
        binarize(raw(), tmp_path / "bin")
    assert caught.value.reason == "preprocess-failed"


def test_module_runs_without_the_heavy_libraries(raw, root, tmp_path):
    source = raw()
    code = (
        "import sys; from musicbert.corpus.labelled.binarize import main; "
        f"main(['--raw', {str(source)!r}, '--bin', {str(tmp_path / 'bin')!r}, '--direct']); "
        "assert not {'torch', 'fairseq'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.shared
@pytest.mark.slow
def test_published_set_by_fairseq_preprocess(shared, script, made_set):
    labels = shared / "golden" / "xai" / "midi_label_map_apex_reg_cls.snu.json"
    split = SplitOptions(valid="none")
    build(
        labels,
        shared / "data" / "xai" / "segmented_midi.zip",
        made_set / "x_data_raw_apex_reg_cls",
        split=split,
    )
    done = script("x")
    assert done.returncode == 0, done.stderr
    fold = made_set / "x_data_bin_apex_reg_cls" / "0"
    assert (len(read_index(fold / "input0" / "train")), len(read_index(fold / "input0" / "valid"))) == (
        657,
        64,
    )
    part = read_part(made_set / "x_data_raw_apex_reg_cls" / "0", "train")
    assert read_index(fold / "input0" / "train").tolist() == (part.tokens + 1).tolist()

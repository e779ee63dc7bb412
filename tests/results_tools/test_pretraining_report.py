"""The report of a pre-training is read from its log."""

import json
import lzma

import pytest
from pretraining_report import about_text, pretraining_report, read_log

from musicbert.errors import DatasetError

STAMP = "2026-01-02 03:04:05 | INFO |"


def lines():
    options = "{'_name': None, 'model': Namespace(arch='musicbert_tiny', lr=[0.001], dropout=0.0), "
    options += "'optimizer': {'_name': 'fused_adamw', 'adam_betas': '(0.9, 0.98)'}}"
    yield f"{STAMP} fairseq_cli.train | {options}"
    for epoch in (1, 2):
        train = {"epoch": epoch, "train_loss": str(5 - epoch), "train_num_updates": str(10 * epoch)}
        yield f"{STAMP} train | {json.dumps({**train, 'train_wall': str(4 * epoch), 'train_bsz': '8'})}"
        valid = {"epoch": epoch, "valid_loss": str(6 - epoch), "valid_accuracy_pitch": "12.5"}
        valid["valid_num_updates"] = str(10 * epoch)
        yield f"{STAMP} valid | {json.dumps(valid)}"


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "train.log.xz"
    path.write_bytes(lzma.compress("\n".join(lines()).encode()))
    return path


def test_options_curves_and_the_end(log):
    run = read_log(log)
    assert run["options"]["arch"] == "musicbert_tiny"
    assert run["options"]["optimizer"] == "fused_adamw"
    assert run["options"]["lr"] == "[0.001]"
    assert run["curves"]["loss"] == {"train": [(10.0, 4.0), (20.0, 3.0)], "valid": [(10.0, 5.0), (20.0, 4.0)]}
    assert (run["part"], run["final"]["loss"], run["final"]["accuracy_pitch"]) == ("valid", 4.0, 12.5)
    assert (run["updates"], run["seconds"], run["epochs"]) == (20, 8.0, 2)


def test_files_and_speed(log, tmp_path):
    corpus = tmp_path / "build.json"
    corpus.write_text(json.dumps({"splits": {"train": {"files": 3, "sequences": 50, "notes": 5000}}}))
    report = pretraining_report(
        log, corpus, tmp_path / "out", hardware="a machine", notes="Sources.", made_by={"seed": 1}
    )
    assert report["notes_seen"] == 20 * 8 * 100
    assert report["notes_a_second"] == 2000
    text = (tmp_path / "out" / "about.md").read_text(encoding="utf-8")
    assert text == about_text(report)
    for word in ("a machine", "16,000", "| 12.5 |", "Sources.", "4.000 bits"):
        assert word in text
    assert (tmp_path / "out" / "curves.png").stat().st_size > 1000
    with pytest.raises(DatasetError, match="bad-corpus"):
        pretraining_report(log, log, tmp_path, hardware="", notes="", made_by={})


def test_a_run_of_crops_counts_notes(tmp_path):
    text = [line.replace("lr=[0.001]", "lr=[0.001], crop=512, objective='denoise'") for line in lines()]
    text = [line.replace('"train_bsz"', '"train_wpb": "4096", "train_bsz"') for line in text]
    text.insert(
        2, text[2].replace('"valid_num_updates": "10"', '"valid_num_updates": "5"')
    )  # within an epoch
    log, corpus = tmp_path / "train.log", tmp_path / "build.json"
    log.write_text("\n".join(text))
    corpus.write_text(json.dumps({"splits": {"train": {"files": 3, "sequences": 3, "notes": 5000}}}))
    out = tmp_path / "out"
    report = pretraining_report(log, corpus, out, hardware="x", notes="", made_by={"seed": 1})
    assert report["notes_seen"] == 20 * 4096
    assert [at for at, _ in report["run"]["curves"]["loss"]["valid"]] == [5, 10, 20]
    assert "disturbed tokens" in (out / "about.md").read_text(encoding="utf-8")


def test_a_resumed_run_counts_the_seconds_of_all_its_processes(tmp_path):
    """Two processes of 4 and 6 seconds: the clock of the second begins at 0."""
    first, valid, *_ = list(lines())[1:]
    words = '"train_wpb": "816", "train_num_updates"'
    first = first.replace('"train_num_updates"', words)
    second = first.replace('"train_wall": "4"', '"train_wall": "6"').replace('"10"', '"20"')
    text = [next(lines()), first, valid, next(lines())]
    text += [f"{STAMP} fairseq.trainer | Loaded checkpoint x.pt (epoch 2 @ 10 updates)", second]
    log, corpus = tmp_path / "train.log", tmp_path / "build.json"
    log.write_text("\n".join(text))
    corpus.write_text(json.dumps({"splits": {"train": {"files": 3, "sequences": 3, "notes": 5000}}}))
    report = pretraining_report(log, corpus, tmp_path / "out", hardware="x", notes="", made_by={"seed": 1})
    # 102 octuples an update, of which two stand at the ends of each of eight rows
    assert (report["run"]["seconds"], report["notes_seen"]) == (10, 20 * 86)
    assert report["notes_a_second"] == 172


def test_notes_of_a_form_whose_tokens_are_no_octuples_are_estimated(tmp_path):
    text = [line.replace("lr=[0.001]", "lr=[0.001], encoding='remi'") for line in lines()]
    text = [line.replace('"train_bsz"', '"train_wpb": "816", "train_bsz"') for line in text]
    (tmp_path / "train.log").write_text("\n".join(text))
    assert read_log(tmp_path / "train.log")["notes"] is None


def test_a_log_without_an_epoch(tmp_path):
    path = tmp_path / "train.log"
    path.write_text(f"{STAMP} nothing\n")
    with pytest.raises(DatasetError, match="bad-log"):
        read_log(path)

"""``gen_xai.py`` on the shared data: published counts, splits and encoded lines."""

import json
from hashlib import sha256

import numpy as np
import pytest

from musicbert.corpus.labelled.rating_rawset import check_fold, read_part
from musicbert.encoding import line_to_rows, rows_to_ids


@pytest.fixture(scope="module")
def published(gen_xai, shared, tmp_path_factory):
    """The published set, two-way and without bar offsets, with its report."""
    folder = tmp_path_factory.mktemp("published")
    labels = shared / "golden" / "xai" / "midi_label_map_apex_reg_cls.snu.json"
    archive = shared / "data" / "xai" / "segmented_midi.zip"

    def make(name, *arguments):
        command = [
            "--labels",
            str(labels),
            "--midi",
            str(archive),
            "--output",
            str(folder / name),
            *arguments,
        ]
        assert gen_xai(command) == 0
        return folder / name

    return make


@pytest.mark.shared
def test_published_counts_and_every_file(published, shared, capsys):
    raw = published("two", "--valid", "none")
    assert capsys.readouterr().out.strip().rpartition("\n")[2] == (
        "721 written (657 train, 64 test), 47 labelled without MIDI, "
        "297 MIDI without label (17 of them copies), 0 unreadable of 1018 MIDI files"
    )
    for part in ("train", "test"):
        listed = (shared / "data" / "xai" / "splits" / f"segment_upstream.{part}.id").read_text().split()
        assert sorted((raw / "0" / f"{part}.id").read_text().split()) == sorted(listed)
    assert read_part(raw / "0", "train").labels.shape == (657, 25)


@pytest.mark.shared
def test_other_published_label_map(gen_xai, shared, tmp_path, capsys):
    labels = shared / "golden" / "xai" / "midi_label_map_apex_reg_cls.mnskim.json"
    archive = shared / "data" / "xai" / "segmented_midi.zip"
    command = ["--labels", str(labels), "--midi", str(archive), "--output", str(tmp_path / "raw")]
    assert gen_xai([*command, "--valid", "none"]) == 0
    # 218 files were never rated, 17 of them copies; one rated file lost all its ratings to the rule for zeros
    assert capsys.readouterr().out.strip().rpartition("\n")[2] == (
        "799 written (723 train, 76 test), 47 labelled without MIDI, "
        "219 MIDI without label (17 of them copies), 0 unreadable of 1018 MIDI files"
    )
    classes = json.loads((tmp_path / "raw" / "0" / "classes.json").read_text())
    assert classes["classes"][:5] == ["1", "2", "4", "5", "Score"]


@pytest.mark.shared
def test_published_split_with_validation(published, shared):
    raw = published("three")
    pieces = {name: len(part.ids) for name, part in check_fold(raw / "0").items()}
    assert pieces["train"] + pieces["valid"] == 657
    assert pieces["test"] == 64
    clean = published("clean", "--split", "segment-clean", "--valid", "none")
    listed = (shared / "data" / "xai" / "splits" / "segment_clean.train.id").read_text().split()
    assert sorted((clean / "0" / "train.id").read_text().split()) == sorted(listed)


@pytest.mark.shared
def test_golden_lines(published, shared):
    raw = published("zero", "--bar-offset", "zero", "--valid", "none")
    lines = {}
    for part in ("train", "test"):
        ids = (raw / "0" / f"{part}.id").read_text().split()
        lines.update(zip(ids, (raw / "0" / f"{part}.txt").read_text().split("\n")[:-1], strict=True))
    golden = json.loads((shared / "golden" / "xai" / "octuple_labels_10_segments.json").read_text())[
        "segments"
    ]
    checked = 0
    for name, expected in golden.items():
        if name in lines:
            assert lines[name] == expected["text_offset0"]
            ids = rows_to_ids(line_to_rows(lines[name]))
            assert np.ravel(ids).tolist() == expected["fairseq_ids_offset0"]
            checked += 1
    assert checked >= 8
    encoded = json.loads((shared / "golden" / "xai" / "octuple_sha256_16_all1018.json").read_text())
    encoded = encoded.get("sha256_16", encoded)
    for name, line in lines.items():
        text = json.dumps(line_to_rows(line).tolist(), separators=(",", ":"))
        assert sha256(text.encode()).hexdigest()[:16] == encoded[name]


@pytest.mark.shared
def test_percepiano_has_all_its_files(gen_xai, shared, tmp_path, capsys):
    labels = shared / "golden" / "percepiano" / "label_2round_mean_reg_19_with0_rm_highstd0.json"
    data = shared / "data" / "percepiano"
    command = [
        "--labels",
        str(labels),
        "--midi",
        str(data / "segment_midi.zip"),
        "--output",
        str(tmp_path / "raw"),
    ]
    assert gen_xai([*command, "--folds-file", f"{data / 'folds.json'}:performer_published"]) == 0
    last = capsys.readouterr().out.strip().rpartition("\n")[2]
    assert last == (
        "1189 written (in 4 folds of 193 test), 0 labelled without MIDI, 13 MIDI without label, "
        "0 unreadable of 1202 MIDI files"
    )
    ids = (tmp_path / "raw" / "0" / "train.id").read_text().split("\n")
    assert "Schubert_D935_no.3_4bars_1_25" in ids + (tmp_path / "raw" / "0" / "test.id").read_text().split(
        "\n"
    )

"""Masked-LM data-bins: every note once where windows do not overlap, inputs aligned, files accounted for."""

import numpy as np
import pytest

from musicbert.corpus.databin import read_index, read_tokens
from musicbert.corpus.ledger import read_ledger
from musicbert.corpus.pretraining import PretrainingOptions, build_pretraining
from musicbert.encoding import PERFORMANCE_INPUTS, encode_notes, performance_inputs, rows_to_ids
from musicbert.errors import DatasetError
from musicbert.midi import midi_bytes, read_score
from musicbert.synthesis import make_set


@pytest.fixture(scope="module")
def made():
    return make_set(5, performers=3, segments=3, movements=1)


@pytest.fixture
def folder(tmp_path, made):
    source = tmp_path / "midi"
    source.mkdir()
    for name, score in made.scores.items():
        (source / f"{name}.mid").write_bytes(midi_bytes(score))
    (source / "broken.mid").write_bytes(b"MThd nonsense")
    (source / "left_out.mid").write_bytes(midi_bytes(next(iter(made.scores.values()))))
    return source


def test_notes_and_inputs_stay_together(tmp_path, made, folder):
    options = PretrainingOptions(window=40, overlap=1, valid_share=0.3, exclude="left_out", performance=True)
    summary = build_pretraining(folder, tmp_path / "bin", options, progress=False)
    ledger = read_ledger(tmp_path / "bin" / "ledger.jsonl")
    assert len(ledger) == sum(summary.values()) == 11
    assert summary["excluded"] == 1
    assert (
        summary["ok"] == len({len(s) and s.pitch.tobytes() for s in made.scores.values()})
        or summary["duplicate"]
    )
    total = 0
    for split in ("train", "valid"):
        sizes = read_index(tmp_path / "bin" / split)
        notes = int((sizes // 8 - 2).sum())
        inputs = np.load(tmp_path / "bin" / f"{split}.performance.npy")
        assert inputs.shape == (notes, len(PERFORMANCE_INPUTS))
        tokens = read_tokens(tmp_path / "bin" / split).reshape(-1, 8)
        assert (tokens[:, 0] < 4).sum() == 2 * len(sizes)
        total += notes
    assert total == sum(entry.notes_written or 0 for entry in ledger)


def test_one_piece_is_the_encoder_s_own(tmp_path, made):
    name, score = next(iter(made.scores.items()))
    source = tmp_path / "one"
    source.mkdir()
    (source / f"{name}.mid").write_bytes(midi_bytes(score))
    options = PretrainingOptions(window=1000, overlap=1, valid_share=0.0, performance=True)
    build_pretraining(source, tmp_path / "bin", options, progress=False)
    score = read_score(midi_bytes(score))
    rows, index = encode_notes(score)
    ids = rows_to_ids(rows).reshape(-1, 8)[1:-1]
    tokens = read_tokens(tmp_path / "bin" / "train").reshape(-1, 8)
    notes = tokens[tokens[:, 0] > 3].astype(int)
    assert np.array_equal(notes[:, 1:], ids[:, 1:])  # all but the bar, which is moved
    assert len(set(notes[:, 0] - ids[:, 0])) <= 2  # one offset for each of at most two windows
    stored = np.load(tmp_path / "bin" / "train.performance.npy")
    assert np.array_equal(stored, performance_inputs(score, index))


def test_the_same_music_in_two_sources_is_taken_once(tmp_path, made):
    content = midi_bytes(next(iter(made.scores.values())))
    for source in ("one", "two"):
        (tmp_path / source).mkdir()
        (tmp_path / source / "same.mid").write_bytes(content)
    sources = [tmp_path / "one", tmp_path / "two"]
    assert build_pretraining(sources, tmp_path / "bin", progress=False) == {"duplicate": 1, "ok": 1}


@pytest.mark.parametrize(
    "options", [{"window": 0}, {"overlap": 0}, {"valid_share": 1.0}, {"seed": -1}, {"exclude": "["}]
)
def test_bad_options(options):
    with pytest.raises(DatasetError, match="bad-options"):
        PretrainingOptions(**options)


def test_nothing_to_write_is_one_clear_error(tmp_path):
    source = tmp_path / "bad"
    source.mkdir()
    (source / "broken.mid").write_bytes(b"no music")
    with pytest.raises(DatasetError, match="nothing-to-write"):
        build_pretraining(source, tmp_path / "bin", progress=False)
    assert not (tmp_path / "bin").exists()

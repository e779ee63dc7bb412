"""PiRhDy's format: against a step-by-step reading; the table of chords, and pickles of it."""

import importlib.util
import json
import pickle
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from musicbert.corpus.sentences.pairs.chords import load_chords
from musicbert.corpus.sentences.pairs.pirhdy import (
    INTEGERS,
    check_block,
    pair_rows,
    parse_block,
    phrase_hashes,
    raw_blocks,
)
from musicbert.errors import DatasetError

_spec = importlib.util.spec_from_file_location("pirhdy_lines", Path(__file__).with_name("pirhdy_lines.py"))
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

TABLE = json.loads(files("musicbert.corpus.sentences.pairs").joinpath("chord_mapping.json").read_text())


def features(count, seed=0):
    rng = np.random.default_rng(seed)
    return np.array(
        [[made.made_phrase(rng, int(rng.integers(1, 129)), level=int(rng.integers(1, 11))) for _ in "ab"]
         for _ in range(count)]
    )  # fmt: skip


@pytest.mark.parametrize("task", ["next", "acc"])
def test_rows_are_those_of_a_reading_step_by_step(task):
    pairs = features(40)
    rows, firsts = pair_rows(pairs, task, load_chords())
    for pair, found, first in zip(pairs, rows, firsts, strict=True):
        expected, boundary = made.slow_rows(pair, task, TABLE)
        assert found.tolist() == [list(row) for row in expected]
        assert first == boundary
    assert sum(len(each) for each in rows) > 1000


def test_a_pair_without_notes_has_no_rows():
    pairs = np.concatenate([np.zeros((1, 2, 4, 128), int), features(1)])
    rows, _ = pair_rows(pairs, "next", load_chords())
    assert rows[0].shape == (0, 8)
    assert len(rows[1]) > 0


def test_lines_are_read_in_blocks_from_anywhere(tmp_path):
    path = made.made_file(tmp_path / "train", 13, candidates=50)
    lines = path.read_bytes().splitlines(keepends=True)
    blocks = list(raw_blocks(path, start=20, stop=630))
    assert [first for first, _ in blocks] == [20, 520]
    assert [line for _, block in blocks for line in block] == lines[20:630]
    block = parse_block(*blocks[0])
    assert block.features.shape == (500, 2, 4, 128)
    assert block.labels.tolist() == [int(number % 50 == 0) for number in range(20, 520)]
    hashes = phrase_hashes(block.features, 0)
    assert (hashes[1:] == hashes[:-1]).sum() == 500 - 1 - 10  # the query changes ten times


def test_damaged_lines_are_named_and_the_others_kept():
    good = made.line(*features(1)[0], 1).encode()
    short = b",".join(good.split(b",")[1:])
    bad_label = good.strip()[:-1] + b"7\n"
    words = good.replace(b",", b",x", 1)
    loud = features(1)[0].copy()
    loud[1, 2, :] = np.where(loud[1, 2] > 0, 11, 0)
    high = features(1)[0].copy()
    high[0, 1, :] = 0
    lines = [good, short, bad_label, words, made.line(*loud, 0).encode(), made.line(*high, 0).encode(), good]
    block = parse_block(0, lines)
    assert sorted(block.damage) == [1, 2, 3]
    assert f"not {INTEGERS}" in block.damage[1]
    reasons = check_block(block, load_chords())
    assert sorted(reasons) == [1, 2, 3, 4, 5]
    assert "velocity" in reasons[4]
    assert "octave" in reasons[5]


def test_a_missing_file_is_one_error(tmp_path):
    with pytest.raises(DatasetError, match="not-found"):
        list(raw_blocks(tmp_path / "none"))


def test_chords_from_json_and_from_a_plain_pickle_are_the_same(tmp_path):
    own = load_chords()
    assert own.sizes(np.array([0, 1, 13, 14, 15, 656, -3])).tolist() == [0, 1, 12, 12, 2, 0, 0]
    (tmp_path / "chords.pkl").write_bytes(pickle.dumps({int(k): v for k, v in TABLE.items()}))
    (tmp_path / "chords.json").write_text(json.dumps(TABLE))
    for name in ("chords.pkl", "chords.json"):
        other = load_chords(tmp_path / name)
        assert np.array_equal(own.starts, other.starts)
        assert np.array_equal(own.pitch_classes, other.pitch_classes)


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("harm-done"),)


def test_a_pickle_that_wants_objects_is_refused_unrun(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chords.pkl").write_bytes(pickle.dumps({1: Evil()}))
    with pytest.raises(DatasetError, match="unsafe-pickle"):
        load_chords(tmp_path / "chords.pkl")
    assert not (tmp_path / "harm-done").exists()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"{}", b'{"1": [12]}', b'{"1": "what"}', b"\x80\x04junk"]
)
def test_what_is_no_table_of_chords_is_one_error(tmp_path, content):
    (tmp_path / "chords").write_bytes(content)
    with pytest.raises(DatasetError, match="bad-chords"):
        load_chords(tmp_path / "chords")


@pytest.mark.shared
def test_the_table_is_the_golden_one(shared):
    golden = json.loads((shared / "golden/musicbert/chord_mapping.json").read_text())
    assert golden == TABLE

"""`musicbert build --encoding cp`: whole pieces of compound words, with everything the builder does."""

import json
from dataclasses import replace

import numpy as np
import pytest

from musicbert.cli.main import main
from musicbert.corpus.bins.rows_bin import RowsBin, read_meta, write_rows_bin
from musicbert.corpus.builder import BuildOptions, build_corpus
from musicbert.encoding.codecs import get_codec
from musicbert.errors import DatasetError
from musicbert.midi import midi_bytes, read_score


@pytest.fixture(scope="module")
def folder(make_midi_folder):
    return make_midi_folder(14, seed=4)


@pytest.mark.parametrize("encoding", ["cp", "cp-m2bert"])
def test_pieces_are_what_the_codec_says(folder, tmp_path, encoding):
    (folder / "a" / "copy.mid").write_bytes((folder / "a" / "00000.mid").read_bytes())
    (folder / "a" / "broken.mid").write_bytes(b"no music")
    options = BuildOptions(encoding=encoding, shares=(60, 20, 20), shard_tokens=0)
    report = build_corpus(folder, tmp_path / "out", options, progress=False)
    assert report.outcomes["ok"] == 14
    assert report.outcomes["duplicate"] == 1
    assert read_meta(tmp_path / "out")["codec"] == encoding
    assert not (tmp_path / "out" / "dict.txt").exists()
    found = []
    for split in ("train", "valid", "test"):
        pieces = RowsBin(tmp_path / "out", split)
        assert len(pieces) == report.splits[split]["files"]
        assert int(pieces.lengths.sum()) == report.splits[split]["notes"]
        found += [pieces.rows(number).tobytes() for number in range(len(pieces))]
    codec = get_codec(encoding)
    originals = list(folder.rglob("0*.mid"))
    wanted = [codec.encode(read_score(path))[0].tobytes() for path in originals]
    assert sorted(found) == sorted(wanted)


def test_same_bytes_whatever_the_workers_and_several_shards(folder, tmp_path):
    options = BuildOptions(encoding="cp", shard_tokens=600)
    for name, workers in (("one", 1), ("two", 2)):
        build_corpus(folder, tmp_path / name, options, workers=workers, progress=False)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("train.*"))
    assert len(files) > 2
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
        assert (tmp_path / "one" / file.parent / "meta.json").is_file()


def test_only_pieces_in_one_4_4(folder, tmp_path):
    other = tmp_path / "midi"
    other.mkdir()
    for number, path in enumerate(sorted(folder.rglob("0*.mid"))[:6]):
        score = read_score(path)
        metres = {0: [(0, 4, 4)], 1: [(0, 3, 4)], 2: [(0, 4, 4), (960, 4, 4)]}.get(number, [(0, 4, 4)])
        ticks, numerators, denominators = (np.array(column, np.int64) for column in zip(*metres, strict=True))
        score = replace(score, metre_tick=ticks, metre_numerator=numerators, metre_denominator=denominators)
        (other / path.name).write_bytes(midi_bytes(score))
    options = BuildOptions(encoding="cp", metres="one-4/4")
    report = build_corpus(other, tmp_path / "out", options, progress=False)
    assert report.outcomes["ok"] == 4
    assert report.outcomes["other-metre"] == 2


def test_command_line(folder, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["build", str(folder), "--encoding", "cp", "--output", str(out), "--quiet"]
    assert main([*command, "--max-failure-rate", "1"]) == 0
    assert "train:" in capsys.readouterr().out
    assert json.loads((out / "build.json").read_text())["options"]["encoding"] == "cp"


@pytest.mark.parametrize("wrong", [{"performance": True}, {"output": "text"}])
def test_what_compound_words_lack(wrong):
    with pytest.raises(DatasetError, match="bad-options"):
        BuildOptions(encoding="cp", **wrong)


class TestRowsBin:
    def test_round_trip(self, tmp_path):
        rng = np.random.default_rng(0)
        pieces = [rng.integers(0, (2, 16, 86, 64), (n, 4)) for n in (5, 0, 17)]
        assert write_rows_bin({"train": pieces}, tmp_path, "cp", source="made") == {"train": 3}
        found = RowsBin(tmp_path, "train")
        assert found.meta["source"] == "made"
        assert found.lengths.tolist() == [5, 0, 17]
        for number, rows in enumerate(pieces):
            assert np.array_equal(found.rows(number), rows)
        assert np.array_equal(found.rows(2, 3, 9), pieces[2][3:9])

    @pytest.mark.parametrize("rows", [np.full((3, 4), 90), np.zeros((3, 5), int), -np.ones((3, 4), int)])
    def test_rows_that_do_not_fit(self, tmp_path, rows):
        with pytest.raises(ValueError, match="piece 0"):
            write_rows_bin({"train": [rows]}, tmp_path, "cp")

    def test_damage(self, tmp_path):
        write_rows_bin({"train": [np.zeros((3, 4), int)]}, tmp_path, "cp")
        with pytest.raises(DatasetError, match="not-found"):
            RowsBin(tmp_path, "valid")
        (tmp_path / "train.bin").write_bytes(b"\0" * 10)
        with pytest.raises(DatasetError, match="bad-index"):
            RowsBin(tmp_path, "train")
        for text in ("{", "[]", '{"format": "other"}', '{"format": "musicbert-rows", "version": 9}'):
            (tmp_path / "meta.json").write_text(text)
            with pytest.raises(DatasetError, match="not-rows"):
                read_meta(tmp_path)

"""Upstream's pre-training files become a data folder that the loader reads."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from musicbert.corpus.bins.rows_bin import RowsBin, read_meta
from musicbert.corpus.bins.upstream import import_pretraining, pieces_of_segments
from musicbert.encoding.compound_word import PAD_ROW, chunk_rows
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.pretraining.note_crops import open_pieces
from musicbert.objectives.note_fields import CP


def made(count, seed=0):
    """Pieces of 1 to 40 notes."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, CP.values, (int(rng.integers(1, 40)), 4)) for _ in range(count)]


def save(path, pieces):
    """As upstream does: an object array of lists of lists."""
    array = np.empty(len(pieces), object)
    for number, piece in enumerate(pieces):
        array[number] = piece.tolist()
    np.save(path, array, allow_pickle=True)
    return path


def content(folder):
    return {
        split: [RowsBin(folder, split).rows(number) for number in range(len(RowsBin(folder, split)))]
        for split in ("train", "valid")
    }


def test_pieces_and_duplicates(tmp_path):
    one, two = made(60), made(30, seed=1)
    files = [save(tmp_path / "a.npy", one), save(tmp_path / "b.npy", [*two, one[3], np.zeros((0, 4), int)])]
    counts = import_pretraining(files, tmp_path / "data")
    assert counts["train"] + counts["valid"] == 90
    assert (counts["duplicates"], counts["empty"]) == (1, 1)
    assert 0 < counts["valid"] < 30
    found = content(tmp_path / "data")
    assert sorted(piece.tobytes() for part in found.values() for piece in part) == sorted(
        piece.tobytes() for piece in (*one, *two)
    )
    assert read_meta(tmp_path / "data")["origin"] == ["a.npy", "b.npy"]
    assert open_pieces(tmp_path / "data", "train", CP).lengths.sum() == sum(map(len, found["train"]))
    # whatever the files are called and whichever comes first
    import_pretraining(files[::-1], tmp_path / "other")
    other = content(tmp_path / "other")
    for split in found:
        assert {p.tobytes() for p in found[split]} == {p.tobytes() for p in other[split]}


def test_segments_are_pieces_again(tmp_path):
    pieces = [piece for piece in made(40, seed=2) if len(piece) % 8]
    segments = np.concatenate([chunk_rows(piece, 8) for piece in pieces])
    again = pieces_of_segments(segments)
    assert [piece.tolist() for piece in again] == [piece.tolist() for piece in pieces]
    np.save(tmp_path / "x.npy", segments)
    counts = import_pretraining([tmp_path / "x.npy"], tmp_path / "data")
    assert counts["train"] + counts["valid"] == len({piece.tobytes() for piece in pieces})


def test_what_cannot_be_read(tmp_path):
    bad = save(tmp_path / "bad.npy", [np.array([[0, 1, 2, 3], PAD_ROW])])
    with pytest.raises(DatasetError, match="PAD or MASK") as caught:
        import_pretraining([bad], tmp_path / "data")
    assert caught.value.reason == "bad-value"
    assert not (tmp_path / "data").exists()
    with pytest.raises(DatasetError, match="no-pieces"):
        import_pretraining([save(tmp_path / "none.npy", [])], tmp_path / "data")
    with pytest.raises(ValueError, match="share"):
        import_pretraining([bad], tmp_path / "data", valid=1.0)


class Hostile:
    def __reduce__(self):
        return (Path.write_text, (Path("ran"), "x"))


def test_script(tmp_path):
    script = Path(__file__).resolve().parents[4] / "scripts" / "import_pretrain_npy.py"
    save(tmp_path / "a.npy", made(20))

    def run(*arguments):
        return subprocess.run(
            [sys.executable, script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    done = run("a.npy", "--output", "data")
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout
    assert len(RowsBin(tmp_path / "data", "train")) > 10
    again = run("a.npy", "--output", "data")
    assert again.returncode == 2
    assert "error:" in again.stderr
    (tmp_path / "hostile.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:128] + pickle.dumps(Hostile()))
    refused = run("hostile.npy", "--output", "other")
    assert refused.returncode == 2
    assert not (tmp_path / "ran").exists()

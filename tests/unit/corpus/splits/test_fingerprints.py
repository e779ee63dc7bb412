"""Fingerprints: performances, transpositions, excerpts and arrangements are found, other music is not."""

import numpy as np
import pytest

from musicbert.corpus.splits.fingerprints import SHARED, Fingerprints, fingerprint
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.errors import DatasetError
from musicbert.midi.score import piano_score


def music(seed, chords=200):
    """Chords of one to four notes: beats, pitches."""
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 5, chords)
    beats = np.repeat(np.cumsum(rng.integers(1, 5, chords) / 2), size)
    return beats, rng.integers(40, 85, len(beats))


def score(beats, pitch):
    order = np.argsort(beats, kind="stable")
    beats = beats[order]
    onset = np.rint((beats - beats.min()) * 480).astype(np.int64)
    return piano_score(onset, onset + 200, pitch[order], np.full(len(onset), 64))


def played(beats, pitch, seed=0):
    """Chords rolled within 40 ms, a wavering tempo, and one of twenty notes wrong."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(pitch)) < 0.05
    _, chord = np.unique(beats, return_inverse=True)
    wavering = np.cumsum(np.diff(np.unique(beats), prepend=0) * rng.uniform(0.8, 1.3, chord.max() + 1))
    return wavering[chord] + rng.uniform(0, 0.04, len(beats)), np.where(wrong, pitch + 1, pitch)


@pytest.fixture(scope="module")
def tests():
    return Fingerprints({f"task/test/{seed}": fingerprint(score(*music(seed))) for seed in range(20)})


def found(tests, beats, pitch):
    return [match.piece for match in tests.matches(fingerprint(score(beats, pitch)))]


@pytest.mark.parametrize(
    "change",
    [
        lambda b, p: (b, p),
        lambda b, p: (b, p + 5),
        lambda b, p: (b * 2, p),
        played,
        lambda b, p: (b[150:280], p[150:280]),
        lambda b, p: (np.concatenate([music(77)[0], b + 900]), np.concatenate([music(77)[1], p])),
    ],
    ids=["same", "transposed", "slower", "played", "excerpt", "after other music"],
)
def test_the_same_music_is_found(tests, change):
    assert found(tests, *change(*music(3))) == ["task/test/3"]


def test_an_arrangement_with_the_same_highest_notes_is_found(tests):
    beats, pitch = music(4)
    first = np.flatnonzero(np.diff(beats, prepend=-1) > 0)
    highest = np.maximum.reduceat(pitch, first)
    bass = np.random.default_rng(9).integers(20, 39, len(first))
    assert found(tests, np.repeat(beats[first], 2), np.stack([bass, highest], axis=1).reshape(-1)) == [
        "task/test/4"
    ]


def test_other_music_and_common_figures_are_not(tests):
    assert all(found(tests, *music(seed)) == [] for seed in range(100, 130))
    scales = np.arange(400) / 4, 40 + np.arange(400) % 24
    with_scales = Fingerprints({"scales": fingerprint(score(*scales))})
    assert found(with_scales, *scales) == []


def test_a_beat_of_notes_without_seconds_is_half_a_second():
    beats, pitch = music(3)
    notes = BeatNotes(beats, beats + 0.4, pitch, np.full(len(pitch), 64))
    assert all(map(np.array_equal, fingerprint(notes), fingerprint(score(beats, pitch))))


def test_short_pieces_are_found_where_they_are_equal():
    short = Fingerprints({"short": fingerprint(score(*music(1, 10)))})
    assert 0 < len(fingerprint(score(*music(1, 10)))[0]) < SHARED
    assert found(short, *music(1, 10)) == ["short"]
    assert found(short, *music(1, 11)) == []
    assert found(Fingerprints({"none": fingerprint(score(*music(1, 2)))}), *music(1, 2)) == []


def test_percussion_does_not_count(tests):
    from musicbert.midi import Score

    beats, pitch = music(5)
    plain = score(beats, pitch)
    drums = Score(**{**vars(plain), "drum": np.ones(len(plain), bool)})
    assert tests.matches(fingerprint(drums)) == []


def test_written_and_read(tests, tmp_path):
    tests.save(tmp_path / "tests.npz")
    again = Fingerprints.load(tmp_path / "tests.npz")
    assert again.names == tests.names
    assert str(again.matches(fingerprint(score(*music(6))))[0]).startswith("task/test/6 (")
    Fingerprints({}).save(tmp_path / "none.npz")
    assert len(Fingerprints.load(tmp_path / "none.npz")) == 0
    assert Fingerprints({}).matches(fingerprint(score(*music(6)))) == []


@pytest.mark.parametrize("content", [b"", b"PK nonsense", b"\x93NUMPY"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "tests.npz").write_bytes(content)
    with pytest.raises(DatasetError, match="bad-fingerprints"):
        Fingerprints.load(tmp_path / "tests.npz")
    some = np.arange(3, dtype=np.uint32)
    for sizes, notes in (([3], some), ([[3, 4]], some), ([[-1, 3]], some), ([[3, 3]], some * 0.5)):
        arrays = {"names": np.array(["a"]), "sizes": np.array(sizes), "notes": notes, "highest": some}
        np.savez(tmp_path / "other.npz", **arrays)
        with pytest.raises(DatasetError, match="bad-fingerprints"):
            Fingerprints.load(tmp_path / "other.npz")
    with pytest.raises(DatasetError, match="not-found"):
        Fingerprints.load(tmp_path / "missing.npz")

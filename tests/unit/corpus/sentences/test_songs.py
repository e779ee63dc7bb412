"""Versions of a song, arrays set aside on disk, and work in processes."""

from functools import partial

import numpy as np
import pytest

from musicbert.corpus.files.archive import MidiSource
from musicbert.corpus.files.folders import Spool
from musicbert.corpus.files.parallel import each_member, ordered_map
from musicbert.corpus.splits.song_groups import song_groups, song_marks
from musicbert.encoding import encode_notes
from musicbert.errors import DatasetError
from musicbert.midi import Score, read_score


def tune(seed, *, shift=0, stretch=1, notes=80):
    rng = np.random.default_rng(seed)
    onset = np.cumsum(rng.integers(1, 4, notes)) * 240 * stretch
    zeros = np.zeros(notes, np.int64)
    return Score(
        ticks_per_beat=480,
        onset=onset,
        offset=onset + 200,
        pitch=rng.integers(45, 75, notes) + shift,
        velocity=zeros + 64,
        program=zeros,
        drum=zeros.astype(bool),
        track=zeros,
    )


def test_versions_of_a_song_are_one_group_in_any_order():
    scores = {
        "d": tune(1),
        "b": tune(1, shift=4),
        "a": tune(2),
        "e": tune(1, stretch=2),
        "c": tune(3),
        "f": tune(3),
    }
    marks = {name: song_marks(score, *encode_notes(score)) for name, score in scores.items()}
    expected = {"a": "a", "b": "b", "d": "b", "e": "b", "c": "c", "f": "c"}
    for names in (list(scores), sorted(scores), sorted(scores, reverse=True)):
        found = song_groups(names, [marks[n][0] for n in names], [marks[n][1] for n in names])
        assert dict(zip(names, found, strict=True)) == expected
    assert song_groups([], [], []) == []


def test_a_spool_gives_arrays_back_and_leaves_no_file(tmp_path):
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 1 << 16, size) for size in (5, 0, 300, 1)]
    with Spool(tmp_path) as spool:
        assert [spool.append(each) for each in arrays] == [0, 1, 2, 3]
        for number in (2, 0, 3, 1):
            assert np.array_equal(spool[number], arrays[number])
        assert np.array_equal(spool[spool.append(np.array([[1, 2], [3, 4]]))], [1, 2, 3, 4])
        assert len(spool) == 5
        with pytest.raises(ValueError, match="16 bits"):
            spool.append(np.array([-1]))
    assert list(tmp_path.iterdir()) == []


def _double(number):
    if number == 7:
        raise DatasetError("seven", "This is seven")
    return 2 * number


@pytest.mark.parametrize("workers", [1, 2])
def test_work_comes_back_in_its_order_and_is_taken_as_it_is_done(workers):
    taken = []

    def numbers():
        for number in range(6):
            taken.append(number)
            yield number

    assert list(ordered_map(_double, numbers(), workers=workers)) == [0, 2, 4, 6, 8, 10]
    assert taken == list(range(6))
    with pytest.raises(DatasetError, match="seven"):
        list(ordered_map(_double, [1, 7, 2], workers=workers))


def test_work_ahead_is_bounded():
    taken = []

    def numbers():
        for number in range(1000):
            taken.append(number)
            yield number

    results = ordered_map(partial(max, 3), numbers(), workers=2)
    assert next(results) == 3
    assert len(taken) <= 16
    results.close()


def _count(member, content):
    return len(read_score(content, name=member.path))


@pytest.mark.parametrize("workers", [1, 2])
def test_each_member_has_an_outcome(make_midi_folder, workers):
    folder = make_midi_folder(3)
    (folder / "a" / "broken.mid").write_bytes(b"MThd")
    with MidiSource(folder) as source:
        done = list(each_member(source, source.members, _count, workers=workers))
        expected = [member.path for member in source.members]
    assert [each.outcome.path for each in done] == expected
    assert [each.outcome.ok for each in done] == [each.result is not None for each in done]
    assert sum(each.result is None for each in done) == 1
    assert all(each.outcome.sha256 for each in done)

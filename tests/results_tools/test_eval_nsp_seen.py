"""Queries are given back to their songs by their phrases."""

import numpy as np
import pytest
from eval_nsp_seen import phrase_intervals, queries_of_songs, read_songs

from musicbert.errors import DatasetError


def test_intervals_of_the_highest_notes_whatever_the_key():
    place, pitch = np.array([0, 0, 4, 8, 8]), np.array([60, 67, 65, 60, 72])
    assert phrase_intervals(place, pitch) == bytes([126, 135])
    assert phrase_intervals(place + 96, pitch - 5) == phrase_intervals(place, pitch)
    assert phrase_intervals(place[::-1], pitch[::-1]) == phrase_intervals(place, pitch)
    assert phrase_intervals(place[:0], pitch[:0]) == b""


def test_queries_lie_in_the_order_of_their_songs():
    rng = np.random.default_rng(0)
    songs = [rng.integers(100, 160, 400, dtype=np.uint8).tobytes() for _ in range(6)]
    truth = np.repeat(np.arange(6), 10)
    phrases = []
    for number, song in enumerate(truth):
        begin = int(rng.integers(300))
        line = songs[song][begin : begin + 20]
        if number % 3 == 1:  # a phrase that its file does not have
            line = rng.integers(100, 160, 20, dtype=np.uint8).tobytes()
        if number == 29:  # one of the third song that also is all of the first one's
            line = songs[0][:20]
        phrases.append(line)
    bounds = queries_of_songs(phrases, [[b"", song] for song in songs])
    assert ((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).all()
    assert (bounds[:, 0] == bounds[:, 1]).mean() > 0.8
    # without the second song's file its queries may be of it or of its neighbours
    bounds = queries_of_songs(phrases, [[song] if at != 1 else [] for at, song in enumerate(songs)])
    assert bounds[10:20].min() == 0
    assert bounds[10:20].max() == 2
    assert queries_of_songs(phrases[:3], [[], []]).tolist() == [[0, 1]] * 3


def test_lists_of_songs(tmp_path):
    (tmp_path / "songs.txt").write_text("a\ttest\nb\ttrain\n\nc\ttest\n")
    assert read_songs(tmp_path / "songs.txt") == ["a", "c"]
    (tmp_path / "songs.txt").write_text("a test x\n")
    with pytest.raises(DatasetError, match="bad-songs"):
        read_songs(tmp_path / "songs.txt")
    with pytest.raises(DatasetError, match="not-found"):
        read_songs(tmp_path / "none.txt")

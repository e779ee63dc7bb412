"""Phrases of multi-track pieces, and pairs of them: by hand, divided by song, the same for any workers."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from musicbert.corpus.files.ledger import read_ledger
from musicbert.corpus.sentences.pairs.generate import GenerateOptions, generate
from musicbert.corpus.sentences.pairs.phrases import PhraseOptions, melody_track, phrases
from musicbert.encoding import line_to_rows
from musicbert.errors import DatasetError
from musicbert.midi import Score, midi_bytes

BEAT = 480


def score(tracks, *, names=(), metre=(4, 4), drums=()):
    """Tracks as lists of (onset in beats, length in beats, pitch)."""
    notes = [(track, *note) for track, part in enumerate(tracks) for note in part]
    table = np.array([(t, round(o * BEAT), round((o + d) * BEAT), p) for t, o, d, p in notes], np.int64)
    zeros = np.zeros(len(table), np.int64)
    return Score(
        ticks_per_beat=BEAT,
        onset=table[:, 1],
        offset=table[:, 2],
        pitch=table[:, 3],
        velocity=zeros + 70,
        program=zeros + 33,
        drum=np.isin(table[:, 0], drums),
        track=table[:, 0],
        tempo_tick=np.zeros(1, np.int64),
        tempo_bpm=np.array([93.0]),
        metre_tick=np.zeros(1, np.int64),
        metre_numerator=np.array([metre[0]]),
        metre_denominator=np.array([metre[1]]),
        track_name=tuple(names),
    )


def song(rng, bars=16, base=60):
    """A melody of eighths and chords below it."""
    melody = [(at / 2, 0.5, base + int(rng.integers(0, 12))) for at in range(bars * 8)]
    chords = [
        (4 * bar, 4, base - 24 + int(step))
        for bar in range(bars)
        for step in rng.choice(12, 3, replace=False)
    ]
    return melody, chords


def test_the_melody_is_found_by_name_by_number_and_by_ear():
    melody, chords = song(np.random.default_rng(0))
    assert melody_track(score([chords, melody], names=["Piano", "Lead Vocals"])) == 1
    assert melody_track(score([melody, chords], names=["a", "b"]), "1") == 1
    assert melody_track(score([melody, chords], names=["Guitar", "Bass"]), "bass") == 1
    assert melody_track(score([chords, melody])) == 1  # the one voice on top
    assert melody_track(score([chords, melody, melody], drums=[1])) == 2
    with pytest.raises(DatasetError, match="no-melody"):
        melody_track(score([chords]))
    with pytest.raises(DatasetError, match="no track 'flute'"):
        melody_track(score([melody, chords], names=["Guitar", "Bass"]), "flute")


def test_phrases_are_bars_counted_from_the_melody_on_one_clock():
    melody, chords = song(np.random.default_rng(0))
    late = [(onset + 8, length, pitch) for onset, length, pitch in melody[:64]]  # bars 2 to 9
    found = phrases(score([late, chords]), PhraseOptions(melody="0"))
    assert [each.bar for each in found] == [2, 6]
    for each in found:
        assert set(each.melody[:, 0]) == {0, 1, 2, 3}
        assert len(each.melody) == 32
        assert len(each.accompaniment) == 12
        assert set(each.melody[:, 2]) == {80}
        assert set(each.accompaniment[:, 2]) == {0}
        assert set(each.melody[:, 6]) == {9}  # 4/4
        assert set(each.melody[:, 7]) == {35}  # 120 BPM
    pitches = [int(p) for each in found for p in each.melody[:, 3]]
    assert pitches == [pitch for _, _, pitch in late]
    level = phrases(score([late, chords]), PhraseOptions(melody="0", level_velocity=True))
    assert set(level[0].melody[:, 5]) == {16}


def test_bars_that_are_not_in_four_or_too_empty_do_not_count():
    melody, chords = song(np.random.default_rng(0))
    with pytest.raises(DatasetError, match="no-phrase"):
        phrases(score([melody, chords], metre=(3, 4)), PhraseOptions(melody="0"))
    thin = [note for note in melody if not 16 <= note[0] < 31]
    found = phrases(score([thin, chords]), PhraseOptions(melody="0"))
    assert [each.bar for each in found] == [0, 8, 12]
    with pytest.raises(DatasetError, match="no-accompaniment"):
        phrases(score([melody]), PhraseOptions())
    assert len(phrases(score([melody]), PhraseOptions(), accompanied=False)) == 4
    changing = replace(
        score([melody, chords]),
        metre_tick=np.array([0, 16 * BEAT, 19 * BEAT]),
        metre_numerator=np.array([4, 3, 4]),
        metre_denominator=np.array([4, 4, 4]),
    )
    assert [each.bar for each in phrases(changing, PhraseOptions(melody="0"))] == [0, 8, 12]


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Twelve songs, a transposed copy of the first, and a file that is no music."""
    folder = tmp_path_factory.mktemp("songs")
    for number in range(12):
        parts = song(np.random.default_rng(number))
        (folder / f"{number:02d}.mid").write_bytes(midi_bytes(score(parts)))
        if number == 0:
            up = [[(onset, length, pitch + 3) for onset, length, pitch in part] for part in parts]
            (folder / "00_up.mid").write_bytes(midi_bytes(score(up)))
    (folder / "broken.mid").write_bytes(b"MThd nothing")
    return folder


def read(folder, part):
    names = ("txt", "label", "group", "first")
    text, *numbers = ((folder / f"{part}.{name}").read_text().splitlines() for name in names)
    return [line_to_rows(line) for line in text], *(np.array(column, int) for column in numbers)


OPTIONS = GenerateOptions("acc", shares=(0.6, 0.2, 0.2), group=4)


@pytest.mark.parametrize("task", ["next", "acc"])
def test_pairs_of_a_query_differ_in_the_second_phrase_only(songs, tmp_path, task):
    report = generate(songs, tmp_path / "raw", replace(OPTIONS, task=task))
    assert sum(report.left_out.values()) == 1  # the file that is no music
    for part, candidates in (("train", 2), ("valid", 2), ("test", 4)):
        rows, labels, groups, firsts = read(tmp_path / "raw", part)
        assert len(rows) == report.parts[part]["pairs"] == candidates * report.parts[part]["queries"]
        assert set(firsts) == ({256} if task == "next" else {0})
        for query in np.unique(groups):
            mine = np.flatnonzero(groups == query)
            assert len(mine) == candidates
            assert labels[mine].sum() == 1
            halves = [
                (each[each[:, 2] == 80], each[each[:, 2] == 0])
                if task == "acc"
                else (each[each[:, 0] < 4], each[each[:, 0] >= 4])
                for each in (rows[at] for at in mine)
            ]
            assert len({first.tobytes() for first, _ in halves}) == 1
            assert len({second.tobytes() for _, second in halves}) == candidates
        if part == "test":  # the place of the true one tells nothing
            assert len({int(np.argmax(labels[groups == query])) for query in np.unique(groups)}) > 1


def test_true_pairs_are_of_one_place_of_one_piece(songs, tmp_path):
    generate(songs, tmp_path / "raw", replace(OPTIONS, task="next"))
    expected = set()
    for number in range(12):
        found = phrases(score(song(np.random.default_rng(number))), OPTIONS.cut, accompanied=False)
        for one, other in itertools.pairwise(found):
            expected.add((one.melody[:, 3].tobytes(), other.melody[:, 3].tobytes()))
    checked = 0
    for part in ("train", "valid", "test"):
        rows, labels, _, _ = read(tmp_path / "raw", part)
        for each, label in zip(rows, labels, strict=True):
            pair = tuple(each[each[:, 0] // 4 == half][:, 3] for half in (0, 1))
            for shift in (0, 3):  # the transposed copy
                key = tuple((half - shift).tobytes() for half in pair)
                if key in expected:
                    break
            assert (key in expected) == bool(label)
            checked += label
    assert checked == 13 * 3


def test_versions_of_a_song_are_in_one_part_and_every_file_is_accounted_for(songs, tmp_path):
    report = generate(songs, tmp_path / "raw", OPTIONS)
    ledger = {each.name: each for each in read_ledger(tmp_path / "raw" / "ledger.jsonl")}
    assert len(ledger) == 14
    assert ledger["00"].group == ledger["00_up"].group
    assert ledger["00"].split == ledger["00_up"].split
    assert not ledger["broken"].ok
    about = json.loads((tmp_path / "raw" / "about.json").read_text())
    assert about["parts"] == report.parts
    assert {each.split for each in ledger.values() if each.ok} == {"train", "valid", "test"}


def test_workers_change_nothing_and_seeds_do(songs, tmp_path):
    for name, options in (
        ("1", OPTIONS),
        ("2", replace(OPTIONS, workers=2)),
        ("s", replace(OPTIONS, seed=8)),
    ):
        generate(songs, tmp_path / name, options)
    for path in sorted((tmp_path / "1").iterdir()):
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes(), path.name
    assert (tmp_path / "1" / "train.txt").read_bytes() != (tmp_path / "s" / "train.txt").read_bytes()


def test_false_phrases_of_the_same_song(songs, tmp_path):
    generate(songs, tmp_path / "raw", replace(OPTIONS, others="same"))
    rows, _, groups, _ = read(tmp_path / "raw", "test")
    place = {}  # pitches of an accompaniment -> song
    for number in range(12):
        for each in phrases(score(song(np.random.default_rng(number))), OPTIONS.cut):
            for shift in (0, 3) if number == 0 else (0,):
                place[(each.accompaniment[:, 3] + shift).tobytes()] = number
    for query in np.unique(groups):
        mine = [rows[at] for at in np.flatnonzero(groups == query)]
        assert len({place[each[each[:, 2] == 0][:, 3].tobytes()] for each in mine}) == 1


def test_too_few_phrases_is_an_error_that_leaves_nothing(songs, tmp_path):
    with pytest.raises(DatasetError, match="too-few-phrases"):
        generate(songs, tmp_path / "raw", replace(OPTIONS, group=50))
    assert not (tmp_path / "raw").exists()
    assert list(tmp_path.iterdir()) == []

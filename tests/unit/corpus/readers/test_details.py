"""What single readers do beyond the contract."""

import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicbert.corpus.files.ledger import Outcome
from musicbert.corpus.readers import read
from musicbert.corpus.readers.augmentednet import frame_notes, measure_lines, midi_pitch, score_notes
from musicbert.corpus.readers.beats import align_to_beats, fill_gaps, times_to_beats
from musicbert.corpus.readers.midi_folders import TAGTRAUM
from musicbert.corpus.readers.orchestra import bar_lines
from musicbert.corpus.readers.performed_beats import near_a_beat, pseudo_beat
from musicbert.corpus.readers.pop909 import velocity_class
from musicbert.corpus.readers.tnua import bars_of, fingering_class
from musicbert.errors import DatasetError
from musicbert.midi import Score


def score(notes, **more):
    """Notes (onset, offset, pitch[, velocity, track]), 480 ticks a beat at 60 BPM: a second is 480 ticks."""
    table = [(*note, *(64, 0)[len(note) - 3 :]) for note in notes]
    onset, offset, pitch, velocity, track = np.array(table, np.int64).T
    zeros = np.zeros(len(table), np.int64)
    return Score(
        480, onset, offset, pitch, velocity, zeros, zeros.astype(bool), track,
        tempo_tick=np.zeros(1, np.int64), tempo_bpm=np.array([60.0]), **more,
    )  # fmt: skip


def test_fingering_classes():
    # string 1 begins at 2 (finger 0), each position is 5 on, each string 60 on; position 0 counts as 1
    assert fingering_class([1, 1, 1, 2, 4], [1, 0, 2, 1, 12], [0, 4, 0, 0, 3]).tolist() == [2, 6, 7, 62, 240]
    assert fingering_class([0, 0], [0, 12], [0, 4]).tolist() == [0, 1]  # open string, as published


def test_bars_of_a_voice():
    assert bars_of([0, 0, 0, 1, 0.5]).tolist() == [0, 1, 2, 2, 3]
    assert bars_of([-1, -0.5, 0, 3, 0]).tolist() == [-1, -1, 0, 0, 1]
    assert bars_of([]).tolist() == []


@given(st.lists(st.floats(0.5, 9), min_size=2, max_size=20), st.lists(st.floats(-30, 100), max_size=30))
def test_bars_become_four_beats(lengths, times):
    lines = np.cumsum([0.0, *lengths])
    assert np.allclose(times_to_beats(lines, lines), 4 * np.arange(len(lines)))
    beats = times_to_beats(np.sort(times), lines)
    assert (np.diff(beats) >= -1e-9).all()


def test_bars_must_ascend():
    for lines in ([0.0], [0.0, 0.0], [0.0, 2.0, 1.0]):
        with pytest.raises(DatasetError, match="bad-bars"):
            times_to_beats([0.0], lines)


def test_holes_in_bar_lines_are_filled_and_long_bars_kept():
    assert fill_gaps([0, 4, 8, 16, 20]).tolist() == [0, 4, 8, 16, 20]
    filled = fill_gaps([0, 4, 206, 210])
    assert filled[-1] == 210
    assert (np.diff(filled)[:-2] == 4).all()
    assert len(filled) == 1 + 1 + 51 + 1


def test_velocity_classes_at_their_bounds():
    assert velocity_class(np.array([1, 31, 32, 47, 48, 64, 80, 95, 96, 127])).tolist() == [
        1, 1, 2, 2, 3, 4, 5, 5, 6, 6
    ]  # fmt: skip


def test_pop909_notes_say_nothing_of_their_track(make_source, tmp_path):
    folder = make_source("pop909_processed", tmp_path)
    published = {piece.name: piece for piece in read("pop909", folder, compatible=True)}
    for piece in read("pop909", folder):
        notes = piece.notes
        assert len({*notes.track.tolist(), *notes.program.tolist()}) == 1
        assert len(set(notes.velocity.tolist())) == 1
        order = np.lexsort((notes.offset, notes.pitch, notes.onset))
        assert np.array_equal(order, np.arange(len(notes)))
        theirs = published[piece.name]
        assert len(set(theirs.notes.velocity.tolist())) > 1
        assert sorted(zip(notes.onset, notes.pitch, piece.labels["melody"], strict=True)) == sorted(
            zip(theirs.notes.onset, theirs.notes.pitch, theirs.labels["melody"], strict=True)
        )


def test_pop909_ties_are_in_random_order():
    """One pitch in two tracks at once: the melody is not always first."""
    from musicbert.corpus.readers.pop909 import neutral_order

    notes = score([(0, 240, 60, 64, 0), (0, 240, 60, 64, 2)])
    firsts = {int(neutral_order(notes, f"song{n}")[0]) for n in range(20)}
    assert firsts == {0, 1}
    assert neutral_order(notes, "one").tolist() == neutral_order(notes, "one").tolist()


def test_pop909_beats_follow_the_published_rules():
    notes = score(
        [
            (240, 480, 50),  # half a second before the first beat: left out
            (912, 1200, 51),  # 0.1 s early and long: moved to the beat
            (912, 960, 52),  # early and short: left out
            (1200, 1440, 60),  # half a beat after the first one, half a beat long
            (1440, 1470, 61),  # rounds to no duration: left out
            (1440, 1680, 62),
            (9000, 9400, 63),  # more than a beat after the last: left out
        ]
    )
    audio = np.stack([np.arange(2, 12), np.array([3, 4, 1, 2, 3, 4, 1, 2, 3, 4])], axis=1).astype(float)
    aligned = align_to_beats(notes, audio)
    # the first downbeat is beat 2, so the piece begins two beats into a bar
    found = dict(
        zip(
            aligned.pitch.tolist(),
            zip(aligned.onset.tolist(), aligned.offset.tolist(), strict=True),
            strict=True,
        )
    )
    assert found == {51: (960, 1200), 60: (1200, 1440), 62: (1440, 1680)}
    three = np.stack([np.arange(9), np.arange(9) % 3 + 1], axis=1).astype(float)
    downbeats = np.stack([np.arange(9), np.zeros(9), np.arange(9) % 3 == 0], axis=1)
    with pytest.raises(DatasetError, match="not-in-four"):
        align_to_beats(notes, three, downbeats)


def test_orchestra_bars_follow_time_signatures():
    metre = {
        "metre_tick": np.array([0, 4 * 480 * 2]),
        "metre_numerator": np.array([4, 3]),
        "metre_denominator": np.array([4, 4]),
    }
    assert bar_lines(score([(0, 1, 60)], **metre), 4).tolist() == [0, 4, 8, 11, 14]
    assert bar_lines(score([(0, 1, 60)]), 2).tolist() == [0, 4, 8]


def test_orchestra_parts_have_the_class_of_their_bar(make_source, tmp_path):
    folder = make_source("orchestra", tmp_path)
    roles = np.load(folder / "dataset" / "annotations" / "k550-1.npy")
    part = next(piece for piece in read("orchestra", folder) if piece.name == "k550-1/01")
    bars = (part.notes.onset // 4).astype(int)
    weights = np.array([4, 2, 1])
    expected = [int(roles[bar, 1] @ weights) if bar < len(roles) else 0 for bar in bars]
    assert part.labels["texture"].tolist() == expected


def test_beats_are_near_within_70_ms():
    beats = [0.0, 1.0, 2.0]
    assert near_a_beat([0.07, 0.071, 0.93, 1.5, 2.5], beats).tolist() == [2, 1, 2, 1, 1]
    assert near_a_beat([0.074, 0.076], beats, compatible=True).tolist() == [2, 1]  # 7 and 8 of 10 ms
    assert near_a_beat([0.5], []).tolist() == [1]


@given(st.lists(st.floats(0.01, 20), min_size=1, max_size=9))
def test_pseudo_beat_lies_in_its_range(durations):
    assert 0.3 <= pseudo_beat(durations) <= 1.5


def test_pm2s_lists_a_performance_once_in_the_clean_split(make_source, tmp_path):
    pieces = list(read("pm2s", make_source("pm2s", tmp_path)))
    assert [piece.splits.get("published") for piece in pieces].count("train") == 3
    assert [piece.splits.get("clean") for piece in pieces].count("train") == 2


def test_asap_keeps_versions_together(make_source, tmp_path):
    pieces = {piece.name: piece for piece in read("asap", make_source("asap", tmp_path))}
    groups = {name: piece.group for name, piece in pieces.items() if "bwv_0" in name}
    assert len(groups) == 3
    assert len(set(groups.values())) == 1
    assert not any("midi_score" in name for name in pieces)


def test_spelled_notes():
    assert [midi_pitch(name) for name in ("C4", "B#3", "C-4", "A##2", "E--5")] == [60, 60, 59, 47, 74]
    for wrong in ("H4", "C", "4", "C99"):
        with pytest.raises(ValueError, match=r"."):
            midi_pitch(wrong)


def test_frames_become_notes():
    frames = [["C4", "E4"], ["C4", "E4"], ["C4"], ["C4", "G4"]]
    begins = [[True, True], [False, False], [True], [False, True]]
    onset, offset, pitch = frame_notes(np.arange(4) / 8, frames, begins)
    # C4 begins anew in the third frame only if it is said to: it sounds on otherwise
    assert list(zip(onset, offset, pitch, strict=True)) == [
        (0.0, 0.25, 60), (0.0, 0.25, 64), (0.25, 0.5, 60), (0.375, 0.5, 67)
    ]  # fmt: skip


def test_pickups_are_ends_of_bars():
    offsets = np.arange(0, 7, 0.5)
    measures = np.where(offsets < 1, 0, 1 + (offsets - 1) // 3).astype(float)
    assert measure_lines(offsets, measures).tolist() == [-2, 1, 4, 7]
    assert measure_lines(offsets, measures, compatible=True).tolist() == [0, 1, 4, 7]


def test_augmentednet_labels_follow_the_frames(make_source, tmp_path):
    piece = next(iter(read("augmentednet", make_source("augmentednet", tmp_path))))
    # a pickup of one quarter, then bars of three: a bar is four beats
    quarter = (piece.notes.onset - 4) * 3 / 4 + 1
    expected = [("C", "F", "G", "C")[int(time // 3) % 4] for time in quarter + 1e-6]
    from musicbert.corpus.readers.tasks import CHORD_ROOTS

    assert [CHORD_ROOTS[label] for label in piece.labels["chordroot"]] == expected


MUSICXML = """<?xml version="1.0"?><score-partwise version="3.1"><part-list><score-part id="P1">
<part-name>p</part-name></score-part></part-list><part id="P1">{measures}</part></score-partwise>"""
NOTE = "<note>{chord}<pitch><step>{step}</step><octave>4</octave></pitch><duration>1</duration></note>"


def test_augmentednet_scores_as_published(make_source, tmp_path):
    pytest.importorskip("music21")
    folder = make_source("augmentednet", tmp_path)
    bars = []
    for number in range(7):
        notes = NOTE.format(chord="", step="CDE"[number % 3]) + NOTE.format(chord="<chord/>", step="G")
        time = "<attributes><divisions>1</divisions></attributes>" if number == 0 else ""
        bars.append(f'<measure number="{number}">{time}{notes * (1 if number == 0 else 3)}</measure>')
    text = MUSICXML.format(measures="".join(bars))
    (folder / "rawdata").mkdir()
    for number in range(1, 4):
        (folder / "rawdata" / f"score{number}.mxl").write_text(text)  # not compressed, as some are
    with zipfile.ZipFile(folder / "rawdata" / "score0.mxl", "w") as archive:
        archive.writestr("META-INF/container.xml", '<rootfile full-path="music/own.xml"/>')
        archive.writestr("other.xml", "no music")
        archive.writestr("music/own.xml", text)
    pieces = list(read("augmentednet", folder, compatible=True))
    assert len(pieces) == 6
    assert len({len(piece.notes) for piece in pieces}) == 1
    notes = pieces[0].notes
    assert len(notes) == 2 * (1 + 6 * 3)
    assert notes.onset[:4].tolist() == pytest.approx([0, 0, 4, 4])  # the pickup is a whole bar there
    (folder / "rawdata" / "score3.mxl").write_text("<html/>")
    (folder / "rawdata" / "score2.mxl").unlink()
    failed = [
        each
        for each in read("augmentednet", folder, compatible=True, strict=False)
        if isinstance(each, Outcome)
    ]
    assert sorted(each.outcome for each in failed) == ["bad-score", "not-found"]


def test_humdrum_scores():
    pytest.importorskip("music21")
    onset, offset, pitch = score_notes(b"**kern\n*M3/4\n=1\n4c\n[4d\n4d]\n=2\n2e 2g\n*-\n", "a.krn")
    assert list(zip(onset, offset, pitch, strict=True)) == [
        (0, 1, 60), (1, 2, 62), (2, 3, 62), (3, 5, 64), (3, 5, 67)
    ]  # fmt: skip


def test_tagtraum_is_capped_as_published(make_source, tmp_path, monkeypatch):
    folder = make_source("tagtraum", tmp_path)
    monkeypatch.setattr("musicbert.corpus.readers.midi_folders._CAPS", {"train": 2, "valid": 150})
    whole, capped = (list(read(TAGTRAUM.name, folder, compatible=compat)) for compat in (False, True))
    assert len(whole) - len(capped) == 5  # one of three training files a class
    assert {p.name for p in capped} < {p.name for p in whole}

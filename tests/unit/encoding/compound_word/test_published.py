"""Each fault of the published program, and what the mended codec does instead."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.encoding.beat_notes import BeatNotes
from musicbert.encoding.codecs import get_codec
from musicbert.encoding.compound_word import CONTINUE, NEW, labels_by_running_index
from musicbert.errors import MidiError
from musicbert.midi import Score, read_score

M2BERT, MIDIBERT, CLEAN = (get_codec(name) for name in ("cp-m2bert", "cp-midibert", "cp"))
FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "musicbert"


def piece(onset, duration=480, pitch=60, track=0, *, ticks_per_beat=480, metres=(), drum=False):
    """A score; numbers stand for all notes."""
    n = len(onset)

    def column(values):
        return np.broadcast_to(np.asarray(values, np.int64), (n,)).copy()

    onset = np.asarray(onset, np.int64)
    metre = np.array(metres, np.int64).reshape(-1, 3)
    return Score(
        ticks_per_beat,
        onset,
        onset + column(duration),
        column(pitch),
        column(64),
        column(0),
        column(drum).astype(bool),
        column(track),
        metre_tick=metre[:, 0],
        metre_numerator=metre[:, 1],
        metre_denominator=metre[:, 2],
    )


def beats(onset, duration=1.0, pitch=60):
    onset = np.asarray(onset, np.float64)
    n = len(onset)
    return BeatNotes(onset, onset + duration, np.broadcast_to(np.int64(pitch), (n,)).copy(), np.full(n, 64))


def places(rows):
    """Bar and sixteenth of each row."""
    return [
        (bar, position) for bar, position in zip(np.cumsum(rows[:, 0] == NEW) - 1, rows[:, 1], strict=True)
    ]


def reason(codec, notes):
    with pytest.raises(MidiError) as caught:
        codec.encode(notes)
    return caught.value.reason


@pytest.mark.parametrize("codec", [M2BERT, MIDIBERT])
def test_last_slot_moves_a_sixteenth_early(codec):
    score = piece([0, 960, 1920])
    assert places(codec.encode(score)[0]) == [(0, 0), (0, 8), (0, 15)]  # 1920 became 1800
    assert places(CLEAN.encode(score)[0]) == [(0, 0), (0, 8), (1, 0)]


def test_the_last_slot_takes_whole_chords_with_it():
    score = piece([0, 1920, 1920, 1861], pitch=[60, 64, 67, 70])
    assert places(M2BERT.encode(score)[0]) == [(0, 0), (0, 15), (0, 15), (0, 15)]
    assert places(CLEAN.encode(score)[0]) == [(0, 0), (1, 0), (1, 0), (1, 0)]


@pytest.mark.parametrize("codec", [M2BERT, MIDIBERT])
def test_all_onsets_zero(codec):
    score = piece([0, 0, 0], pitch=[67, 60, 64])
    assert reason(codec, score) == "no-grid"
    rows, note_index = CLEAN.encode(score)
    assert rows.tolist() == [[NEW, 0, 38, 7], [CONTINUE, 0, 42, 7], [CONTINUE, 0, 45, 7]]
    assert note_index.tolist() == [1, 2, 0]


def test_short_notes():
    score = piece([0, 480, 960], duration=[480, 29, 30])
    assert M2BERT.encode(score)[1].tolist() == [0, 2]
    assert MIDIBERT.encode(score)[1].tolist() == CLEAN.encode(score)[1].tolist() == [0, 1, 2]
    assert reason(M2BERT, piece([0, 480], duration=10)) == "no-notes"
    assert len(CLEAN.encode(piece([0, 480], duration=0))[0]) == 2


def test_pitches_outside_the_vocabulary():
    score = piece([0, 480, 960, 1440], pitch=[21, 108, 0, 127])
    assert M2BERT.encode(score)[0][:, 2].tolist() == [0, 85, 0, 85]
    assert reason(MIDIBERT, score) == "pitch-range"
    pitch = CLEAN.encode(score)[0][:, 2] + 22
    assert pitch.tolist() == [33, 96, 24, 103]
    assert ((pitch - score.pitch) % 12 == 0).all()


def test_other_resolutions():
    score = piece([0, 384, 4 * 384], ticks_per_beat=384)
    assert places(CLEAN.encode(score)[0]) == [(0, 0), (0, 4), (1, 0)]
    assert places(M2BERT.encode(score)[0])[:2] == [(0, 0), (0, 4)]
    assert places(MIDIBERT.encode(score)[0])[:2] == [(0, 0), (0, 3)]  # 384 ticks for 0.8 of a quarter note


def test_order_gives_away_the_track_as_published_and_not_when_mended():
    score = piece([0, 0, 480, 480], pitch=[72, 60, 74, 62], track=[0, 1, 0, 1])
    assert M2BERT.encode(score)[1].tolist() == [0, 1, 2, 3]  # the melody, track 0, always first
    assert CLEAN.encode(score)[1].tolist() == [1, 0, 3, 2]
    swapped = piece([0, 0, 480, 480], pitch=[60, 72, 62, 74], track=[0, 1, 0, 1])
    assert np.array_equal(CLEAN.encode(swapped)[0], CLEAN.encode(score)[0])
    assert not np.array_equal(M2BERT.encode(swapped)[0], M2BERT.encode(score)[0])


def test_midibert_loses_a_last_note_without_duration():
    score = piece([0, 1990], duration=[240, 0])
    assert MIDIBERT.encode(score)[1].tolist() == [0]
    assert CLEAN.encode(score)[1].tolist() == [0, 1]


def test_beats_trailing_notes():
    notes = beats([0.0, 8.1], duration=[1.0, 0.2])  # the latest offset is 8.3: the last bar line is 8
    assert M2BERT.encode(notes)[1].tolist() == [0]
    rows, note_index = CLEAN.encode(notes)
    assert note_index.tolist() == [0, 1]
    assert places(rows) == [(0, 0), (1, 0)]
    # 10.5 + 4 is rounded to the even 14, 9.5 + 4 too
    assert len(M2BERT.encode(beats([0.0, 8.1], duration=[1.0, 2.4]))[0]) == 2
    assert reason(M2BERT, beats([-3.0, 0.25], duration=[1.0, 0.1])) == "no-notes"


def test_beats_pickup():
    notes = beats([-0.25, 0.0, 1.0], duration=0.25)
    assert M2BERT.encode(notes)[1].tolist() == [1, 2]
    for codec in (CLEAN, MIDIBERT):
        rows, note_index = codec.encode(notes)
        assert note_index.tolist() == [0, 1, 2]
        assert places(rows)[0] == (0, 15)
    assert places(CLEAN.encode(notes)[0]) == [(0, 15), (1, 0), (1, 4)]


def test_beats_late_onset():
    notes = beats([0.0, 3.95, 7.0])
    score = piece([0, 1896, 3360])  # the same in ticks
    assert places(M2BERT.encode(notes)[0]) == [(0, 0), (0, 15), (1, 12)]
    assert places(M2BERT.encode(score)[0])[:2] == [(0, 0), (1, 0)]
    assert places(CLEAN.encode(notes)[0]) == places(CLEAN.encode(score)[0]) == [(0, 0), (1, 0), (1, 12)]


def test_labels_by_running_index_shift_and_note_index_does_not():
    notes = beats([-1.0, 0.0, 1.0, 1.0], pitch=np.array([50, 51, 53, 52]))
    labels = np.array([10, 11, 13, 12])
    rows, note_index = M2BERT.encode(notes)
    assert labels_by_running_index(labels, rows).tolist() == [10, 11, 13]
    assert labels[note_index].tolist() == [11, 12, 13]
    assert (rows[:, 2] + 22 - 50 + 10).tolist() == labels[note_index].tolist()
    with pytest.raises(ValueError, match="rows have shape"):
        labels_by_running_index(labels, rows[:, :3])


@pytest.fixture(scope="module")
def loops(root):
    spec = importlib.util.spec_from_file_location("loop_cp", root / "benchmarks" / "loop_cp.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_made_files_agree_with_plain_loops(loops):
    import miditoolkit

    seen, failed = 0, set()
    for path in sorted(FIXTURES.glob("s*.mid")):
        try:
            rows, _ = M2BERT.encode(read_score(path, reader="miditoolkit"))
        except MidiError as error:
            failed.add(path.stem)
            if error.reason in ("no-grid", "pitch-range"):
                with pytest.raises(IndexError):
                    loops.encode(miditoolkit.MidiFile(str(path)))
            continue
        assert rows.tolist() == [list(row) for row in loops.encode(miditoolkit.MidiFile(str(path)))]
        seen += 1
    assert seen > 20
    assert failed >= {"s11_empty_no_notes", "s19_corrupt", "s20_zero_bytes"}


@settings(max_examples=200, deadline=None)
@given(
    notes=st.lists(
        st.tuples(
            st.integers(-400, 4000),
            st.integers(0, 2000),
            st.integers(0, 127),
        ),
        min_size=1,
        max_size=30,
    ),
    grain=st.sampled_from([24, 96, 100, 480]),
)
def test_beats_agree_with_plain_loops(loops, notes, grain):
    onset, duration, pitch = np.array(notes, np.float64).T
    columns = BeatNotes(
        onset / grain, (onset + duration) / grain, pitch.astype(np.int64), np.full(len(onset), 64)
    )
    lists = np.stack([columns.onset, columns.offset, columns.pitch], axis=1).tolist()
    expected = [list(row) for row in loops.encode_beats(lists)]
    if not expected:
        assert reason(M2BERT, columns) == "no-notes"
        return
    rows, note_index = M2BERT.encode(columns)
    assert rows.tolist() == expected
    assert len(set(note_index.tolist())) == len(rows)
    assert np.array_equal(rows[:, 2], np.clip(columns.pitch[note_index], 22, 107) - 22)

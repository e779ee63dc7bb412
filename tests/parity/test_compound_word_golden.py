"""Compound words are those of M2BERT's and MidiBERT's own programs, number for number, labels included."""

import importlib.util
import json
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from musicbert.corpus.bins.upstream import read_segments
from musicbert.corpus.files.object_npy import load_pickle
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.encoding.codecs import get_codec
from musicbert.encoding.compound_word import (
    FIELD_SIZES,
    M2BERT,
    MASK_ROW,
    PAD_ROW,
    accepted_for_pretraining,
    chunk_rows,
    chunk_values,
    dictionary,
    labels_by_running_index,
)
from musicbert.encoding.compound_word.published import beat_rows
from musicbert.errors import MidiError
from musicbert.midi import read_score

pytestmark = pytest.mark.shared

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "m2bert"
MIDI = sorted(path.stem for path in (GOLDEN / "midi").glob("*.mid")) if GOLDEN.is_dir() else []
#: Lower edges of the classes of velocity, of which class 1 is the first (spec of the task).
VELOCITY_EDGES = [0, 32, 48, 64, 80, 96, 128]
COMPOSERS = ["Bethel", "Clayderman", "Einaudi", "Hancock", "Hillsong", "Hisaishi", "Ryuichi", "Yiruma"]


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def beat_notes(lists):
    onset, offset, pitch = np.array(lists, np.float64).T
    return BeatNotes(onset, offset, pitch.astype(np.int64), np.full(len(onset), 64))


def velocity_class(velocity):
    return np.searchsorted(VELOCITY_EDGES, velocity, side="right")


def test_the_set_is_complete():
    assert len(MIDI) == 11


@pytest.mark.parametrize("reader", ["symusic", "miditoolkit"])
@pytest.mark.parametrize("name", MIDI)
def test_tokens_labels_and_acceptance(name, reader):
    expected = golden(name)
    score = read_score(GOLDEN / expected["midi"], reader=reader)
    rows, note_index = get_codec("cp-m2bert").encode(score)
    assert rows.dtype == np.int64
    assert rows.tolist() == expected["tokens"]
    assert (score.track[note_index] + 1).tolist() == expected["track_labels_plus1"]
    assert velocity_class(score.velocity[note_index]).tolist() == expected["velocity_labels_plus1"]
    assert accepted_for_pretraining(score) is expected["accepted_for_pretraining"]


@pytest.mark.parametrize("name", MIDI)
def test_mended_rows_keep_every_note(name):
    score = read_score(GOLDEN / golden(name)["midi"])
    codec = get_codec("cp")
    rows, note_index = codec.encode(score)
    assert sorted(note_index.tolist()) == list(range(len(score)))
    again, _ = codec.encode(codec.decode(rows))
    assert np.array_equal(again, rows)


def test_dictionary():
    expected = golden("cp_dictionary")
    event2word, word2event = dictionary()
    assert event2word == expected["event2word"]
    assert list(event2word) == expected["field_order"]
    assert list(FIELD_SIZES) == list(expected["sizes"].values())
    assert list(PAD_ROW) == expected["pad"]
    assert list(MASK_ROW) == expected["mask"]
    assert all(
        word2event[field][number] == word for field, ids in event2word.items() for word, number in ids.items()
    )


@pytest.mark.parametrize("name", ["smc_pop909_001_melody", "bps_motif_01"])
def test_note_lists_of_the_benchmark(name):
    expected = golden(name)
    rows, note_index = get_codec("cp-m2bert").encode(beat_notes(expected["smc_notes"]))
    labels = np.array(expected["smc_labels"])
    assert chunk_rows(rows).tolist() == expected["tokens"]
    # no note of these two is dropped or moved, so that both ways to attach labels agree with the program
    assert chunk_values(labels_by_running_index(labels, rows)).tolist() == expected["labels"]
    assert chunk_values(labels[note_index]).tolist() == expected["labels"]


def test_violin_labels_end_up_on_wrong_notes_as_published_and_on_right_ones_here():
    expected = golden("tnua_vio1_bach1")
    notes, labels = beat_notes(expected["smc_notes"]), np.array(expected["smc_labels"])
    rows, note_index = get_codec("cp-m2bert").encode(notes)
    broken = np.array(expected["smc_path_tokens_BROKEN_UPSTREAM"])
    assert np.array_equal(rows[: broken.shape[1]], broken[0])
    wrong = labels_by_running_index(labels, rows)
    pitch_of_label = notes.pitch[: len(rows)]  # the k-th label belongs to the k-th note
    assert (pitch_of_label != notes.pitch[note_index]).mean() > 0.9
    assert (wrong != labels[note_index]).mean() > 0.5
    assert np.array_equal(rows[:, 2], notes.pitch[note_index] - 22)
    assert len(rows) == len(notes) - int((notes.onset < 0).sum())  # the pickup is lost
    whole, whole_index = get_codec("cp").encode(notes)
    assert len(whole) == len(notes)
    assert np.array_equal(whole[:, 2], notes.pitch[whole_index] - 22)


def test_violin_from_its_source():
    expected = golden("tnua_vio1_bach1")
    lists = np.array(expected["smc_notes"])
    # the start is counted within the bar: a bar of four beats begins wherever it falls
    lists[:, :2] += 4 * np.cumsum(np.diff(lists[:, 0], prepend=lists[0, 0]) < 0)[:, None]
    rows, note_index = beat_rows(beat_notes(lists), M2BERT, first_bar=-1)
    assert chunk_rows(rows).tolist() == expected["direct_path_tokens"]
    labels = np.array(expected["smc_labels"])[note_index]
    assert chunk_values(labels).tolist() == expected["direct_path_labels"]
    mended, _ = get_codec("cp").encode(beat_notes(lists))
    assert len(mended) == len(lists)


@pytest.fixture(scope="module")
def midibert(shared, tmp_path_factory):
    """Folder of MidiBERT's published data and of the music that they were made from."""
    folder = tmp_path_factory.mktemp("midibert")
    for name in ("midibert_golden", "ps_pianist8", "me_ve_pop909"):
        with tarfile.open(shared / f"data/tasks/{name}.tar.xz") as archive:
            wanted = [member for member in archive if "/train/" not in member.name]
            archive.extractall(folder / name, members=wanted, filter="data")
    return folder


@pytest.mark.parametrize("split", ["valid", "test"])
def test_midibert_composer_segments(midibert, split):
    files = midibert / "midibert_golden/midibert_cp"
    tokens, answers = read_segments(files / f"composer_{split}.npy", files / f"composer_{split}_ans.npy")
    expected = Counter((rows.tobytes(), int(answer)) for rows, answer in zip(tokens, answers, strict=True))
    made = Counter()
    for path in (midibert / "ps_pianist8").rglob(f"{split}/*/*.mid"):
        rows, _ = get_codec("cp-midibert").encode(read_score(path))
        composer = COMPOSERS.index(path.parent.name)
        made.update((chunk.tobytes(), composer) for chunk in chunk_rows(rows, 512, drop_below=256))
    assert made == expected
    assert made.total() == {"valid": 156, "test": 126}[split]


@pytest.mark.parametrize("split", ["valid", "test"])
def test_midibert_melody_and_velocity_labels(midibert, split):
    made = {"mel": Counter(), "vel": Counter()}
    for path in (midibert / "me_ve_pop909").rglob(f"{split}/*.mid"):
        score = read_score(path)
        rows, note_index = get_codec("cp-midibert").encode(score)
        # on a piece at 480 ticks without short notes, both programs do the same
        assert np.array_equal(get_codec("cp-m2bert").encode(score)[0], rows)
        labels = {"mel": score.track + 1, "vel": velocity_class(score.velocity)}
        for task, values in labels.items():
            made[task].update(chunk.tobytes() for chunk in chunk_values(values[note_index], 512))
    for task, chunks in made.items():
        published = np.load(midibert / f"midibert_golden/midibert_cp/pop909_{split}_{task}ans.npy")
        assert chunks == Counter(chunk.tobytes() for chunk in published)


def test_midibert_dictionary(midibert):
    assert load_pickle(midibert / "midibert_golden/midibert_cp/CP.pkl")[0] == dictionary()[0]


def test_real_files_agree_with_plain_loops(shared, root):
    """Every note of some fifty files of nine collections, with both published ways."""
    import io

    import miditoolkit

    spec = importlib.util.spec_from_file_location("loop_cp", root / "benchmarks" / "loop_cp.py")
    loops = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loops)
    seen = notes_seen = 0
    with tarfile.open(shared / "data/pretrain_small.tar.xz") as archive:
        for number, member in enumerate(archive):
            if number % 96 or not member.name.endswith((".mid", ".midi")) or member.size > 60_000:
                continue
            data = archive.extractfile(member).read()
            try:
                score = read_score(data, reader="miditoolkit")
            except MidiError:
                continue
            rows, _ = get_codec("cp-m2bert").encode(score)
            assert rows.tolist() == [
                list(row) for row in loops.encode(miditoolkit.MidiFile(file=io.BytesIO(data)))
            ]
            times = (score.onset / score.ticks_per_beat, score.offset / score.ticks_per_beat)
            lists = np.stack([*times, score.pitch], axis=1)
            beats, _ = get_codec("cp-m2bert").encode(beat_notes(lists))
            assert beats.tolist() == [list(row) for row in loops.encode_beats(lists.tolist())]
            seen, notes_seen = seen + 1, notes_seen + len(score)
    assert seen > 25
    assert notes_seen > 20_000

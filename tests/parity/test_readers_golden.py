"""Readers against what the published programs made of the same files (golden data)."""

import json
import shutil

import numpy as np
import pytest

from musicbert.corpus.readers import read
from musicbert.corpus.readers.beats import align_to_beats
from musicbert.corpus.readers.published import five_folds, part_of_name, pop909_part
from musicbert.encoding.codecs import get_codec
from musicbert.midi import read_score

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def golden(shared):
    return shared / "golden" / "m2bert"


def load(path):
    return json.loads(path.read_text())


def note_list(piece):
    notes = piece.notes
    return np.stack([notes.onset, notes.offset, notes.pitch], axis=1)


def test_bps_motif_note_list(golden, tmp_path):
    from openpyxl import Workbook

    record = load(golden / "bps_motif_01.json")
    shutil.copy(golden / record["csv"], tmp_path / "01-1.csv")
    book = Workbook()
    for line in record["downbeats_from_xlsx_col0"]:
        book.active.append([line])
    (tmp_path / "1").mkdir()
    book.save(tmp_path / "1" / "dBeats.xlsx")
    (piece,) = read("bps_motif", tmp_path, compatible=True)
    np.testing.assert_allclose(note_list(piece), np.array(record["smc_notes"]), rtol=0, atol=1e-9)
    assert piece.labels["mnid"].tolist() == record["smc_labels"]
    rows, index = get_codec("cp-m2bert").encode(piece.notes)
    expected = np.array(record["tokens"]).reshape(-1, 4)
    assert np.array_equal(rows, expected[: len(rows)])
    assert np.array_equal(piece.labels["mnid"][index], np.array(record["labels"]).reshape(-1)[: len(rows)])


def test_tnua_published_list_and_mended_notes(golden, tmp_path):
    record = load(golden / "tnua_vio1_bach1.json")
    shutil.copy(golden / record["csv"], tmp_path / "vio1_bach1.csv")
    (published,) = read("tnua", tmp_path, compatible=True)
    assert np.array_equal(note_list(published), np.array(record["smc_notes"]))
    assert published.labels["violin_all"].tolist() == record["smc_labels"]
    # the published tokens are sorted by pitch while the labels stay: most notes have another note's label
    rows, index = get_codec("cp-m2bert").encode(published.notes)
    broken = np.array(record["smc_path_tokens_BROKEN_UPSTREAM"][0])
    assert np.array_equal(rows[: len(broken)], broken)
    own, running = published.labels["violin_all"][index], published.labels["violin_all"][: len(index)]
    assert (own != running).mean() > 0.5
    # mended: bars as in the published second path, and each note keeps its label
    (mended,) = read("tnua", tmp_path)
    rows, index = get_codec("cp").encode(mended.notes)
    expected = np.array(record["direct_path_tokens"][0])[: len(rows)]
    labels = np.array(record["direct_path_labels"][0])[: len(rows)]

    def in_slots(tokens, classes):
        """Notes of one sixteenth in any order: there the codec sorts by pitch, the published one by onset."""
        bars = np.cumsum(tokens[:, 0] == 0)
        return np.unique(np.column_stack([bars, tokens[:, 1:], classes]), axis=0, return_counts=True)

    ours = in_slots(rows, mended.labels["violin_all"][index])
    theirs = in_slots(expected, labels)
    assert len(rows) == len(mended.notes)
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", ["pop909_processed_001"])
def test_pop909_labels_in_the_published_order(golden, tmp_path, name):
    record = load(golden / f"{name}.json")
    (tmp_path / "train").mkdir()
    shutil.copy(golden / record["midi"], tmp_path / "train" / "001.mid")
    (piece,) = read("pop909", tmp_path, compatible=True)
    rows, index = get_codec("cp-m2bert").encode(piece.notes)
    assert np.array_equal(rows, np.array(record["tokens"]))
    assert piece.labels["melody"][index].tolist() == record["track_labels_plus1"]
    assert piece.labels["velocity"][index].tolist() == record["velocity_labels_plus1"]


def test_pop909_notes_of_the_benchmark(golden, tmp_path):
    record = load(golden / "smc_pop909_001_melody.json")
    (tmp_path / "train").mkdir()
    shutil.copy(golden / "midi" / "pop909_processed_001.mid", tmp_path / "train" / "001.mid")
    (piece,) = read("pop909", tmp_path)
    beats = piece.notes.ticks_per_beat
    ours = np.stack([piece.notes.onset / beats, piece.notes.offset / beats, piece.notes.pitch], axis=1)
    theirs = np.array(record["smc_notes"])
    assert np.array_equal(ours[:, [0, 2]], theirs[:, [0, 2]])  # by onset and pitch; equal ones in any order
    pairs = [
        sorted(zip(map(tuple, notes.tolist()), labels, strict=True))
        for notes, labels in ((ours, piece.labels["melody"].tolist()), (theirs, record["smc_labels"]))
    ]
    assert pairs[0] == pairs[1]
    assert set(piece.notes.program) == set(piece.notes.track) == {0}
    assert len(set(piece.notes.velocity)) == 1


#: Beats of song 001 are 2/3 s apart from 2.664 s on, but for these (10 ms): what makes the published notes of
#: the song from the published recording of it. The beat table itself is not part of the golden data.
SHIFTED = {
    4: 1, 8: -1, 27: -2, 32: 1, 47: -2, 63: -1, 64: 1, 75: -2, 78: 1, 91: -2, 100: 1, 112: 1, 114: -5,
    122: -2, 123: 1, 127: -2, 142: -1, 152: 1, 155: -2, 158: 1, 171: -2, 175: 1, 180: 1, 204: -1,
    210: 2, 222: -2, 235: -2, 239: 1, 267: -2, 144: -0.1,
}  # fmt: skip


def test_pop909_preprocessing(golden):
    raw = read_score(golden / "midi" / "pop909_001_raw.mid")
    processed = read_score(golden / "midi" / "pop909_processed_001.mid")
    beats = np.arange(292) * 60 / 90.000225 + 2.664
    for number, shift in SHIFTED.items():
        beats[number] += shift / 100
    ours = align_to_beats(raw, np.stack([beats, np.arange(292) % 4 + 1], axis=1))
    columns = ("track", "onset", "pitch", "offset", "velocity", "program")

    def table(song):
        notes = np.stack([getattr(song, column) for column in columns], axis=1)
        return notes[np.lexsort(notes.T[::-1])]

    assert np.array_equal(table(ours), table(processed))
    assert ours.ticks_per_beat == processed.ticks_per_beat


def test_published_splits_and_folds(golden):
    record = load(golden / "splits.json")
    for part in ("train", "valid", "test"):
        songs = [song for song in range(1, 910) if pop909_part(song) == part]
        assert sorted(f"{song:03d}" for song in songs) == sorted(record["pop909_split"][f"{part}_data"])
    waltzes = [song for song in range(1, 910) if pop909_part(song) == "train_3beat"]
    assert sorted(f"{song:03d}" for song in waltzes) == sorted(record["pop909_triple_meter"])
    for source in ("pianist8", "emopia"):
        folds = record[f"{source}_folds"]
        classes = {}
        for path in (path for fold in folds for path in fold):
            part, _, rest = path.partition("/")
            stem = rest.rpartition("/")[2].removesuffix(".mid")
            assert part_of_name(source, stem) == part
            classes[path] = rest.partition("/")[0] if source == "pianist8" else rest[:2]
        ours = five_folds(classes)
        assert [sorted(path for path in ours if ours[path] == str(k)) for k in range(5)] == [
            sorted(fold) for fold in folds
        ]

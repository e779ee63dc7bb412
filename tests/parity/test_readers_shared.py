"""Readers on the real data sets: what was published about them, and MidiBERT's own segments."""

from collections import Counter

import numpy as np
import pytest

from musicbert.corpus.readers import read
from musicbert.corpus.readers.benchmark import load_data_set
from musicbert.corpus.readers.files import SourceFiles
from musicbert.corpus.splits.song_groups import content_groups, leaks
from musicbert.encoding.codecs import get_codec
from musicbert.encoding.compound_word.chunks import chunk_rows, chunk_values

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def tasks(shared):
    return shared / "data" / "tasks"


def parts_of(pieces, split="published"):
    return Counter(piece.splits.get(split, "") for piece in pieces)


def test_violin_fingering_census(tasks):
    pieces = list(read("tnua", tasks / "vf_tnua.tar.xz"))
    labels = np.concatenate([piece.labels["violin_all"] for piece in pieces])
    assert (len(pieces), len(labels), len(set(labels)), labels.max()) == (140, 108_795, 132, 240)
    assert (labels == 0).sum() == 148
    assert parts_of(pieces) == {"train": 36, "valid": 6, "test": 9, "": 89}


def test_violin_labels_lie_on_other_notes_in_the_published_path(tasks):
    """94 % of the labels of the published parts come to lie on a note of another pitch."""
    codec = get_codec("cp-m2bert")
    wrong = total = 0
    for piece in read("tnua", tasks / "vf_tnua.tar.xz", compatible=True):
        if not piece.splits:
            continue
        rows, index = codec.encode(piece.notes)
        wrong += int((piece.notes.pitch[index] != piece.notes.pitch[: len(index)]).sum())
        total += len(rows)
    assert wrong / total > 0.9


def test_motif_folds(tasks):
    pieces = list(read("bps_motif", tasks / "mnid_bpsmotif.tar.xz"))
    assert parts_of(pieces) == {"0": 7, "1": 7, "2": 6, "3": 6, "4": 6}
    hole = next(piece for piece in pieces if piece.name == "03-1")
    published = {p.name: p for p in read("bps_motif", tasks / "mnid_bpsmotif.tar.xz", compatible=True)}
    # sonata 3: 202 quarter notes are one bar in the published downbeats, 50 or more here
    assert hole.notes.onset.max() - published["03-1"].notes.onset.max() > 4 * 40


def test_orchestra_bars_by_both_ways(tasks):
    """Downbeats of the data set, and the time signatures of the MIDI files, are the same."""
    path = tasks / "otc_orchestra.tar.xz"
    with_table = list(read("orchestra", path))
    assert parts_of(with_table) == {"train": 162, "valid": 39, "test": 41}
    labels = np.concatenate([piece.labels["texture"] for piece in with_table])
    assert set(labels) == {0, 1, 2, 3, 4, 6}  # 5 and 7 never occur

    from musicbert.corpus.readers.orchestra import _load

    with SourceFiles(path, r"(?:scores_midi/[^/]+\.mid|annotations/[^/]+\.npy)$") as files:
        midi = next(p for p in files.paths if p.endswith("beethoven_op21-1.mid"))
        without = {name: (notes, labels) for name, notes, labels in _load(files, midi, "beethoven_op21-1")}
    for piece in with_table:
        if piece.name in without:
            notes, labels = without[piece.name]
            assert np.allclose(notes.onset, piece.notes.onset)
            assert np.array_equal(labels["texture"], piece.labels["texture"])


def test_pop909_gives_the_published_answers(tasks):
    """All 637 segments of melody and velocity answers that MIDI-BERT publishes, bit for bit."""
    codec = get_codec("cp-midibert")
    answers = {}
    with SourceFiles(tasks / "midibert_golden.tar.xz", r"\.npy$") as files:
        import io

        for path in files.paths:
            answers[path.rpartition("/")[2]] = np.load(io.BytesIO(files.read(path)), allow_pickle=False)
    found = {"melody": Counter(), "velocity": Counter()}
    for piece in read("pop909", tasks / "me_ve_pop909.tar.xz", compatible=True):
        if piece.splits["published"] == "train":
            continue
        _, index = codec.encode(piece.notes)
        for label, counts in found.items():
            counts.update(map(bytes, chunk_values(piece.labels[label][index], 512).astype(np.int64)))
    for label, short in (("melody", "mel"), ("velocity", "vel")):
        theirs = Counter()
        for part in ("valid", "test"):
            theirs.update(map(bytes, answers[f"pop909_{part}_{short}ans.npy"].astype(np.int64)))
        assert sum(theirs.values()) == 637
        assert found[label] == theirs


def test_pianist8_gives_the_published_segments(tasks):
    codec = get_codec("cp-midibert")
    import io

    theirs = Counter()
    with SourceFiles(tasks / "midibert_golden.tar.xz", r"composer_(valid|test)(_ans)?\.npy$") as files:
        arrays = {p.rpartition("/")[2]: np.load(io.BytesIO(files.read(p))) for p in files.paths}
    for part in ("valid", "test"):
        tokens, labels = arrays[f"composer_{part}.npy"], arrays[f"composer_{part}_ans.npy"]
        theirs.update((int(label), bytes(rows)) for rows, label in zip(tokens, labels, strict=True))
    ours = Counter()
    for piece in read("pianist8", tasks / "ps_pianist8.tar.xz"):
        if "/train/" in piece.source:
            continue
        rows, _ = codec.encode(piece.notes)
        for chunk in chunk_rows(rows, 512, drop_below=256):
            ours[piece.labels["composer"], bytes(chunk.astype(np.int64))] += 1
    assert sum(theirs.values()) == 282
    assert ours == theirs


def test_versions_lie_in_two_parts_of_published_splits(tasks):
    data = load_data_set("pianist8", tasks / "ps_pianist8.tar.xz")
    groups = content_groups(data.pieces)
    assert leaks(data.pieces, groups, "published") == {"groups": 4, "tested": 8, "pieces": 411}
    assert leaks(data.pieces, groups, "clean")["groups"] == 0
    assert parts_of(data.pieces) == {"0": 84, "1": 83, "2": 82, "3": 83, "4": 79}


def test_emotions_of_two_data_sets_in_one_archive(tasks):
    path = tasks / "er_emopia_vgmidi.tar.xz"
    games = list(read("emopia", path, inside="VGMIDI_as_EMOPIA_1.0"))
    clips = list(read("emopia", path, inside="EMOPIA_1.0"))
    assert (len(games), len(clips)) == (200, 223)
    assert all(len({p.labels["emotion"] for p in each}) == 4 for each in (games, clips))


def test_genres_behind_hard_links(tasks):
    pieces = list(read("tagtraum", tasks / "genre_lmd_topmagd_masd.tar.xz", compatible=True))
    assert parts_of(pieces) == {"train": 542, "valid": 68, "test": 70}


def test_beats_of_performances(tasks):
    data = load_data_set("pm2s", tasks / "bp_dbp_pm2s.tar.xz")
    whole = [piece for piece in data.pieces if not piece.name.endswith("#tail")]
    assert parts_of(data.pieces, "clean")["test"] == 29
    assert len(whole) == 732
    segments = sum(
        -(-len(piece.notes) // 1024) for piece in data.pieces if piece.splits["published"] == "valid"
    )
    before = sum(
        -(-len(piece.notes) // 1024)
        for piece in read("pm2s", tasks / "bp_dbp_pm2s.tar.xz")
        if piece.splits["published"] == "valid"
    )
    assert segments == before + 500
    labels = np.concatenate([piece.labels["downbeat"] for piece in data.pieces])
    assert 0.1 < (labels == 2).mean() < 0.3


@pytest.mark.slow
def test_chords_and_keys(tasks):
    pieces = list(read("augmentednet", tasks / "cr_lk_augmentednet.tar.xz"))
    assert parts_of(pieces) == {"train": 408, "valid": 94, "test": 94}
    roots = np.concatenate([piece.labels["chordroot"] for piece in pieces])
    keys = np.concatenate([piece.labels["localkey"] for piece in pieces])
    assert len(set(roots)) == 29
    assert len(set(keys)) == 37
    # a bar has four beats: most notes lie on sixteenths or triplets of them
    onset = np.concatenate([piece.notes.onset for piece in pieces])
    assert (np.abs(onset * 24 - np.rint(onset * 24)) < 1e-6).mean() > 0.9

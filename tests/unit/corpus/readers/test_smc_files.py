"""The benchmark's own npy files, in and out."""

import os
import pickle

import numpy as np
import pytest

from musicbert.corpus.labelled.shard_writer import write_shards
from musicbert.corpus.readers import get_task
from musicbert.corpus.readers.benchmark import load_data_set
from musicbert.corpus.readers.smc_files import export, find_files, read_file
from musicbert.encoding.codecs import get_codec
from musicbert.errors import DatasetError


def ragged(values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


def save_lists(folder, stem, notes, answers):
    np.save(folder / f"{stem}.npy", ragged(notes), allow_pickle=True)
    for label, values in answers.items():
        np.save(folder / f"{stem}_{label}ans.npy", ragged(values), allow_pickle=True)


def test_note_lists(tmp_path):
    notes = [[[0.0, 1.0, 60], [0.5, 1.5, 64], [4.0, 5.0, 67]], [[1.0, 2.0, 50]]]
    save_lists(tmp_path, "pop909_train", notes, {"melody": [[1, 3, 1], [2]], "velocity": [[1, 2, 3], [4]]})
    (file,) = find_files(tmp_path)
    assert {row.abbreviation for row in file.rows} == {"ME", "VE"}
    first, second = read_file(file)
    assert first.notes.pitch.tolist() == [60, 64, 67]
    assert first.labels["melody"].tolist() == [1, 3, 1]
    assert second.labels["velocity"].tolist() == [4]
    assert first.splits == {"published": "train"}
    assert first.name != second.name


def test_fingering_lists_get_their_bars_back(tmp_path):
    notes = [[[0.0, 1.0, 70], [3.0, 4.0, 65], [0.0, 1.0, 60]]]
    save_lists(tmp_path, "tnua_test", notes, {"violin_all": [[5, 6, 7]]})
    (piece,) = read_file(find_files(tmp_path)[0])
    assert piece.notes.onset.tolist() == [0, 3, 4]
    rows, index = get_codec("cp").encode(piece.notes)
    assert piece.labels["violin_all"][index].tolist() == [5, 6, 7]
    assert rows[:, 0].tolist() == [0, 1, 0]


@pytest.mark.parametrize(("source", "name"), [("bps_motif", "bps_motif"), ("emopia", "emopia")])
def test_segments_out_and_in_again(make_source, tmp_path, source, name):
    data = load_data_set(source, make_source(source, tmp_path / "set"))
    row = get_task({"bps_motif": "MNID", "emopia": "ER"}[source])
    shards = write_shards(data.pieces, "cp", tmp_path / "shards", [row.task]).shards
    written = export(shards, tmp_path / "npy", name)
    for path in written:
        array = np.load(path, allow_pickle=False)
        assert array.dtype == np.int64
        if "ans" not in path.name:
            assert array.shape[1:] == (row.window, 4)
    files = find_files(tmp_path / "npy")
    assert [file.part for file in files] == ["0", "1", "2", "3", "4"]
    codec = get_codec("cp")
    for file in files:
        pieces = [p for p in range(len(shards)) if shards.pieces[p].splits["published"] == file.part]
        again = list(read_file(file))
        assert len(again) == len(pieces)  # all are shorter than a segment
        for number, piece in zip(pieces, again, strict=True):
            rows, index = codec.encode(piece.notes)
            assert np.array_equal(rows, shards.rows(number))
            label = row.task.label
            if row.task.level == "note":
                assert np.array_equal(piece.labels[label][index], shards.note_labels(label, number))
            else:
                assert piece.labels[label] == shards.label(label)[number]


def test_bad_files_are_one_error(tmp_path):
    with pytest.raises(DatasetError, match="not-found"):
        find_files(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="wrong-layout"):
        find_files(tmp_path)
    save_lists(tmp_path, "pop909_train", [[[0, 1, 60]]], {"melody": [[1], [2]]})
    with pytest.raises(DatasetError, match="wrong-length"):
        list(read_file(find_files(tmp_path)[0]))

    class Evil:
        def __reduce__(self):
            return os.system, ("true",)

    header = (tmp_path / "pop909_train.npy").read_bytes()
    start = header.index(b"\n") + 1
    (tmp_path / "pop909_train.npy").write_bytes(header[:start] + pickle.dumps(Evil()))
    with pytest.raises(DatasetError, match="unsafe-pickle"):
        list(read_file(find_files(tmp_path)[0]))


def test_only_compound_words_are_exported(make_source, tmp_path):
    data = load_data_set("tnua", make_source("tnua", tmp_path / "set"))
    shards = write_shards(data.pieces, "octuple", tmp_path / "shards", [get_task("VF").task]).shards
    with pytest.raises(DatasetError, match="wrong-codec"):
        export(shards, tmp_path / "npy", "tnua")

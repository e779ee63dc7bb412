"""The contract of labelled sets: the same pieces in every format, the same assertions.

A new format needs a function that writes `PIECES` in it, and a row in `FORMATS`.
"""

import json
import shutil
from dataclasses import dataclass

import numpy as np
import pytest

from musicbert.corpus.bins.databin import (
    label_dictionary,
    read_dictionary,
    text_to_ids,
    write_indexed_dataset,
)
from musicbert.corpus.labelled import (
    LabelledPiece,
    LabelledSet,
    RatingBin,
    SentenceBin,
    Shards,
    Task,
    open_labelled,
)
from musicbert.corpus.labelled.shard_writer import write_shards
from musicbert.encoding import dictionary_text, encode_notes, performance_inputs, rows_to_ids
from musicbert.errors import DatasetError
from musicbert.midi import Score

PARTS = ("train", "valid", "test")
DIMENSIONS, PERFORMERS, CLASSES = ("soft", "slow"), ("0", "1", "Score"), ("rock", "jazz", "folk")


@dataclass
class Made:
    name: str
    part: str
    score: Score
    labels: dict


def make(seed, part):
    rng = np.random.default_rng(seed)
    notes = 5 + 3 * seed
    zeros = np.zeros(notes, np.int64)
    onset = np.sort(rng.integers(0, 64, notes)) * 120
    music = Score(
        ticks_per_beat=480,
        onset=onset,
        offset=onset + 100,
        pitch=40 + np.arange(notes),  # no two equal notes
        velocity=rng.integers(4, 128, notes),
        program=zeros,
        drum=zeros.astype(bool),
        track=zeros,
    )
    ratings = [seed / 8, np.nan if seed == 3 else 1 - seed / 8]
    kinds = {"single": [CLASSES[seed % 3]], "several": list(CLASSES[: 1 + seed % 3])}
    labels = {"ratings": ratings, "performer": seed % 3, **kinds}
    return Made(f"Made_D960_mv3_8bars_{PERFORMERS[seed % 3]}_{seed}", part, music, labels)


PIECES = [make(seed, part) for seed, part in enumerate(["train"] * 4 + ["valid"] * 2 + ["test"] * 2)]
of_part = {part: [piece for piece in PIECES if piece.part == part] for part in PARTS}


def encoded(piece):
    rows, index = encode_notes(piece.score)
    return rows, performance_inputs(piece.score, index).astype(np.float32)


def write_input(folder):
    for name in ("input0", "label", "performance"):
        (folder / name).mkdir(parents=True)
    (folder / "input0" / "dict.txt").write_text(dictionary_text())
    for part, pieces in of_part.items():
        rows, inputs = zip(*map(encoded, pieces), strict=True)
        write_indexed_dataset([rows_to_ids(each) for each in rows], folder / "input0" / part)
        np.save(folder / "performance" / f"{part}.performance.npy", np.concatenate(inputs))
        (folder / "label" / f"{part}.id").write_text("".join(f"{piece.name}\n" for piece in pieces))


def write_rating_bin(folder):
    write_input(folder)
    record = {"classes": PERFORMERS, "dimensions": [{"name": name} for name in DIMENSIONS]}
    (folder / "label" / "classes.json").write_text(json.dumps(record))
    for part, pieces in of_part.items():
        rows = [[None if np.isnan(v) else v for v in piece.labels["ratings"]] for piece in pieces]
        lines = [
            json.dumps([*row, piece.labels["performer"]]) for row, piece in zip(rows, pieces, strict=True)
        ]
        (folder / "label" / f"{part}.label").write_text("\n".join(lines) + "\n")
    return {"ratings": "ratings", "performer": "performer"}


def write_sentence_bin(folder, kind="single"):
    write_input(folder)
    words = {part: [" ".join(piece.labels[kind]) for piece in pieces] for part, pieces in of_part.items()}
    (folder / "label" / "dict.txt").write_text(label_dictionary(words["train"]))
    ids = read_dictionary(folder / "label" / "dict.txt")
    for part, lines in words.items():
        write_indexed_dataset(text_to_ids(lines, ids), folder / "label" / part)
        (folder / "label" / f"{part}.label").write_text("".join(f"{line}\n" for line in lines))
    return {"label": kind}


def write_shard_set(folder):
    tasks = [
        Task("ratings", "ratings", "sequence", "regression", DIMENSIONS, "r2"),
        Task("performer", "performer", "sequence", "classes", PERFORMERS, "accuracy"),
        Task("single", "single", "sequence", "classes", CLASSES, "accuracy"),
        Task("several", "several", "sequence", "multilabel", CLASSES, "micro_f1"),
        Task("pitch", "pitch", "note", "regression", ("pitch",), "r2"),
    ]

    def labels(piece):
        hot = [float(name in piece.labels["several"]) for name in CLASSES]
        single = CLASSES.index(piece.labels["single"][0])
        return {**piece.labels, "single": single, "several": hot, "pitch": piece.score.pitch}

    given = [
        LabelledPiece(each.name, each.score, each.name, labels(each), {"data-bin": each.part})
        for each in PIECES
    ]
    write_shards(given, "octuple", folder, tasks, performance=True)
    return {name: name for name in ("ratings", "performer", "single", "several")}


FORMATS = {
    "shards": (write_shard_set, Shards),
    "ratings": (write_rating_bin, RatingBin),
    "sentences": (write_sentence_bin, SentenceBin),
    "sets of labels": (lambda folder: write_sentence_bin(folder, "several"), SentenceBin),
}


@pytest.fixture(scope="module", params=FORMATS)
def opened(request, tmp_path_factory):
    """A set, and which label of `PIECES` each of its labels is."""
    write, kind = FORMATS[request.param]
    folder = tmp_path_factory.mktemp("set") / "set"
    labels = write(folder)
    found = open_labelled(folder)
    assert isinstance(found, kind)
    return found, labels


def meaning(column, value):
    """A label of one piece as `PIECES` has it."""
    if column.kind == "regression":
        return value.tolist()
    if column.kind == "classes":
        names = [column.classes[value]]
        return column.classes.index(names[0]) if column.name == "performer" else names
    return [name for name in CLASSES if value[column.classes.index(name)]]


def test_pieces_rows_and_performance_inputs(opened):
    data, _ = opened
    assert isinstance(data, LabelledSet)
    assert (data.codec, len(data.fields)) == ("octuple", 8)
    assert data.names == tuple(piece.name for piece in PIECES)
    assert len(data) == len(PIECES) == len(data.pieces) == len(data.groups)
    assert data.index == {name: k for k, name in enumerate(data.names)}
    for piece in PIECES:
        at = data.index[piece.name]
        rows, inputs = encoded(piece)
        np.testing.assert_array_equal(data.rows(at), rows)
        np.testing.assert_array_equal(data.rows(at, 2, 4), rows[2:4])
        np.testing.assert_array_equal(data.rows(at, 2, 999), rows[2:])
        np.testing.assert_array_equal(data.performance(at), inputs)
        np.testing.assert_array_equal(data.performance(at, 1, 3), inputs[1:3])
        assert data.rows(at).dtype == np.int64
        assert data.performance_width == inputs.shape[1]
        assert data.lengths[at] == len(rows) == len(data.note_index(at))
        info = data.pieces[at]
        assert (info.name, info.notes, info.rows) == (piece.name, len(piece.score), len(rows))
        np.testing.assert_array_equal(piece.score.pitch[data.note_index(at)], rows[:, 3])
    assert data.offsets.tolist() == [0, *np.cumsum(data.lengths)]


def test_labels_are_those_of_the_piece_of_the_name(opened):
    data, labels = opened
    assert set(labels) <= set(data.labels)
    for name, source in labels.items():
        column, values = data.labels[name], data.label(name)
        assert values.shape == (len(data), *column.width)
        assert values.dtype == column.dtype
        for piece in PIECES:
            found = meaning(column, values[data.index[piece.name]])
            np.testing.assert_equal(found, piece.labels[source])
    with pytest.raises(DatasetError, match="unknown-label"):
        data.label("mood")


def test_splits_and_hashes(opened, tmp_path):
    data, _ = opened
    assert data.split_names == ("data-bin",)
    assert data.split("data-bin") == {piece.name: piece.part for piece in PIECES}
    assert data.split("published") == {}
    write_shard_set(tmp_path / "other")
    assert [each.sha256 for each in data.pieces] == [
        each.sha256 for each in Shards(tmp_path / "other").pieces
    ]
    assert open_labelled(data.path).sha256 == data.sha256


def test_folders_of_no_format(tmp_path):
    with pytest.raises(DatasetError, match="not-found"):
        open_labelled(tmp_path)
    write_rating_bin(tmp_path / "bin" / "0")
    with pytest.raises(DatasetError, match=r"give one fold, such as .*bin/0"):
        open_labelled(tmp_path / "bin")


# -- data-bins


@pytest.fixture
def rating_bin(tmp_path):
    write_rating_bin(tmp_path / "bin")
    return tmp_path / "bin"


@pytest.fixture
def sentence_bin(tmp_path):
    write_sentence_bin(tmp_path / "bin")
    return tmp_path / "bin"


def reason(opener, folder, **options):
    with pytest.raises(DatasetError) as caught:
        opener(folder, **options)
    return caught.value.reason


def test_one_part_alone(rating_bin):
    (rating_bin / "label" / "test.label").write_text("damaged")
    assert reason(RatingBin, rating_bin) == "bad-label"
    one = RatingBin(rating_bin, parts=["valid"])
    assert one.names == tuple(piece.name for piece in of_part["valid"])
    np.testing.assert_array_equal(one.performance(1), encoded(of_part["valid"][1])[1])
    assert list(RatingBin(rating_bin, parts=["train", "valid"]).part("valid")) == [4, 5]
    assert one.groups[one.names[0]] == "Made_D960_mv3_8bars_4"


def test_segments_that_share_bars_are_one_group(rating_bin):
    names = [*(f"Schubert_D960_mv3_8bars_1_{number}" for number in (9, 18, 1)), "c"]
    (rating_bin / "label" / "train.id").write_text("\n".join(names) + "\n")  # bars of 9 come again in 18
    groups = list(RatingBin(rating_bin, parts=["train"]).groups.values())
    assert groups == [*["Schubert_D960_mv3_8bars_9"] * 2, "Schubert_D960_mv3_8bars_1", "c"]


def test_names_that_occur_twice_and_names_that_are_not_there(rating_bin):
    for kind in ("input0", "label", "performance"):
        for source in (rating_bin / kind).glob("test.*"):
            shutil.copy(source, source.with_name(source.name.replace("test", "valid")))
    data = RatingBin(rating_bin)  # the two-way split, as published: test is valid, too
    test = [piece.name for piece in of_part["test"]]
    assert [data.names[piece] for piece in data.part("test")] == test
    assert [data.names[piece] for piece in data.part("valid")] == [f"{name}#2" for name in test]
    (rating_bin / "label" / "train.id").write_text("a\na\na#2\nb\n")
    assert RatingBin(rating_bin, parts=["train"]).names == ("a", "a#3", "a#2", "b")
    (rating_bin / "label" / "train.id").unlink()
    data = RatingBin(rating_bin)
    assert data.ids is None
    assert data.names[:2] == ("train-0", "train-1")


def test_without_performance_inputs(rating_bin):
    np.save(rating_bin / "performance" / "test.performance.npy", np.zeros((3, 4), np.float32))
    assert reason(lambda folder: RatingBin(folder).performance_width, rating_bin) == "bad-performance"
    shutil.rmtree(rating_bin / "performance")
    data = RatingBin(rating_bin)
    assert data.performance_width == 0
    with pytest.raises(DatasetError, match="no-performance"):
        data.performance(0)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def swap(prefix):
    ids = np.fromfile(f"{prefix}.bin", "<u2").reshape(-1, 8)
    ids[2] = ids[2, ::-1]
    ids.tofile(f"{prefix}.bin")


def no_end(prefix):
    ids = np.fromfile(f"{prefix}.bin", "<u2")
    ids[-8:] = ids[-16:-8]
    ids.tofile(f"{prefix}.bin")


DAMAGE = {
    "no dictionary": (lambda f: (f / "input0/dict.txt").unlink(), "not-found", "not-found"),
    "other dictionary": (
        lambda f: (f / "input0/dict.txt").write_text("a 0\n"), "wrong-dictionary", "wrong-dictionary",
    ),
    "index cut": (lambda f: cut(f / "input0/test.idx"), "bad-index", "bad-index"),
    "no end": (lambda f: no_end(f / "input0/train"), "wrong-dictionary", "wrong-tokens"),
    "fields in another order": (lambda f: swap(f / "input0/train"), "wrong-dictionary", None),
    "identifiers": (lambda f: (f / "label/test.id").write_text("a\n"), "wrong-length", "wrong-length"),
    "no part": (lambda f: [p.unlink() for p in (f / "input0").glob("*.idx")], "missing-split", "not-found"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "ratings", "sentences"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_data_bins(change, ratings, sentences, tmp_path):
    write_rating_bin(tmp_path / "ratings")
    write_sentence_bin(tmp_path / "sentences")
    for opener, expected in ((RatingBin, ratings), (SentenceBin, sentences)):
        folder = tmp_path / ("ratings" if opener is RatingBin else "sentences")
        change(folder)
        if expected:
            assert reason(opener, folder) == expected


def test_parts_that_are_missing_or_empty(rating_bin):
    for opener, missing, empty in (
        (RatingBin, "missing-split", "empty-split"),
        (SentenceBin, "not-found", "no-pieces"),
    ):
        (rating_bin / "input0" / "none.idx").unlink(missing_ok=True)
        assert reason(opener, rating_bin, parts=["none"]) == missing
        write_indexed_dataset([], rating_bin / "input0" / "none")
        assert reason(opener, rating_bin, parts=["none"]) == empty


def test_one_parser_of_ratings(rating_bin):
    path = rating_bin / "label" / "valid.label"
    good = path.read_text().splitlines()
    for line in (
        "[0.5, 0.5, true]",
        "[0.5, 0.5, 0.5]",
        "[true, 0.5, 1]",
        '["0.5", 0.5, 1]',
        "[0.5, 0.5, 1e9]",
    ):
        path.write_text(f"{good[0]}\n{line}\n")
        assert reason(RatingBin, rating_bin) == "bad-label"
    path.write_text(f"{good[0]}\n[null, 0, null]\n")
    data = RatingBin(rating_bin)
    assert data.label("performer")[5] == -1
    np.testing.assert_equal(data.label("ratings")[5].tolist(), [np.nan, 0])


def test_kinds_of_sentence_labels(sentence_bin, caplog):
    label = sentence_bin / "label"
    data = SentenceBin(sentence_bin, kind="multilabel", outputs=5)
    assert data.labels["label"].classes[3:] == ("unused-3", "unused-4")
    assert data.label("label").shape == (8, 5)
    assert data.label("label").sum() == 8
    assert reason(SentenceBin, sentence_bin, outputs=2, kind="classes") == "class-count-mismatch"
    for part, pieces in of_part.items():
        (label / f"{part}.label").write_text("".join(f"{k} 0.5\n" for k in range(len(pieces))))
    data = SentenceBin(sentence_bin, outputs=2)
    assert data.labels["label"].kind == "regression"
    assert data.label("label")[:2].tolist() == [[0, 0.5], [1, 0.5]]
    assert reason(SentenceBin, sentence_bin, outputs=3) == "wrong-label"
    # a label that the dictionary lacks
    ids = read_dictionary(label / "dict.txt")
    write_indexed_dataset(text_to_ids(["rock", "polka jazz"], ids), label / "test")
    assert reason(SentenceBin, sentence_bin, kind="classes") == "wrong-label"
    data = SentenceBin(sentence_bin)
    assert data.labels["label"].kind == "multilabel"
    assert data.label("label")[-1].sum() == 1
    assert "1 labels are unknown" in caplog.text
    write_indexed_dataset(text_to_ids(["rock"], ids), label / "test")
    assert reason(SentenceBin, sentence_bin) == "wrong-length"


def test_queries_are_groups(sentence_bin):
    for part, pieces in of_part.items():
        (sentence_bin / "label" / f"{part}.group").write_text(
            "".join(f"{k // 2}\n" for k in range(len(pieces)))
        )
    data = SentenceBin(sentence_bin)
    assert [data.groups[name] for name in data.names[:5]] == ["train-0"] * 2 + ["train-1"] * 2 + ["valid-0"]

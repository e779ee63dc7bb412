"""One contract for all readers, on small data sets in the published layouts."""

import tarfile
import zipfile

import numpy as np
import pytest

from musicbert.corpus.files.ledger import Outcome
from musicbert.corpus.readers import SOURCES, read
from musicbert.corpus.readers.benchmark import tasks_of
from musicbert.encoding.codecs import get_codec
from musicbert.errors import DatasetError, MusicBertError

LAYOUTS = {**{name: name for name in SOURCES}, "pop909_processed": "pop909"}


@pytest.fixture(scope="module")
def made(make_source, tmp_path_factory):
    """Folder of each layout."""
    return {name: make_source(name, tmp_path_factory.mktemp(name)) for name in LAYOUTS}


def content(pieces):
    """What must be equal however a data set is packed."""
    return [
        (
            piece.name,
            piece.group,
            dict(piece.splits),
            piece.notes.onset.tolist(),
            piece.notes.pitch.tolist(),
            {key: np.asarray(values).tolist() for key, values in piece.labels.items()},
        )
        for piece in pieces
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compatible", [False, True])
def test_every_piece_keeps_the_contract(made, layout, compatible):
    if compatible and layout == "augmentednet":
        pytest.skip("the published notes come from scores (tested by itself)")
    source = LAYOUTS[layout]
    found = read(source, made[layout], compatible=compatible, strict=False)
    pieces = [piece for piece in found if not isinstance(piece, Outcome)]
    assert len({piece.name for piece in pieces}) == len(pieces) > 2
    for piece in pieces:
        assert piece.group
        assert piece.source
        rows, index = get_codec("octuple").encode(piece.notes)
        assert len(rows) == len(index)
        for row in tasks_of(source):
            labels = np.asarray(piece.labels[row.task.label])
            assert labels.shape == ((len(piece.notes),) if row.task.level == "note" else ())
            assert labels.min() >= 0
            assert labels.max() < len(row.task.classes)
            if row.task.level == "note" and row.abbreviation not in ("VF", "OTC"):
                assert labels.min() > 0  # class 0 is the published padding


@pytest.mark.parametrize("layout", LAYOUTS)
def test_clean_splits_keep_groups_whole(made, layout):
    parts = {}
    for piece in read(LAYOUTS[layout], made[layout], strict=False):
        if isinstance(piece, Outcome) or "clean" not in piece.splits:
            continue
        parts.setdefault(piece.group, set()).add(piece.splits["clean"])
    if layout in ("tnua",):  # by violinist and piece: the same piece is in no two parts either
        assert parts
    assert all(len(each) == 1 for each in parts.values())


@pytest.mark.parametrize("layout", ["tnua", "pm2s", "pianist8", "augmentednet"])
def test_folder_zip_and_tar_give_the_same(made, layout, tmp_path):
    folder = made[layout]
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in reversed(files):
            archive.write(path, path.relative_to(folder.parent))
    with tarfile.open(tmp_path / "set.tar.xz", "w:xz", preset=0) as archive:
        archive.add(folder, "./inside")
    source = LAYOUTS[layout]
    expected = content(read(source, folder))
    assert content(read(source, tmp_path / "set.zip")) == expected
    assert content(read(source, tmp_path / "set.tar.xz")) == expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reading_twice_gives_the_same(made, layout):
    first, second = (
        [p for p in read(LAYOUTS[layout], made[layout], strict=False) if not isinstance(p, Outcome)]
        for _ in "ab"
    )
    assert content(first) == content(second)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_damaged_file_is_named_and_the_others_go_on(make_source, layout, tmp_path):
    folder = make_source(layout, tmp_path / "set")
    suffix = {"tnua": ".csv", "bps_motif": "01-1.csv", "pm2s": ".pkl", "augmentednet": ".tsv"}
    victims = [
        path
        for path in sorted(folder.rglob(f"*{suffix.get(layout, '.mid')}"))
        if path.name not in ("dataset_summary.tsv", "midi_score.mid")
    ]
    victims[0].write_bytes(b"\x80\x05not this\x00")
    found = list(read(LAYOUTS[layout], folder, strict=False))
    failed = [each for each in found if isinstance(each, Outcome)]
    assert any(each.path.endswith(victims[0].name) and each.detail for each in failed)
    assert len(found) - len(failed) > 2
    with pytest.raises(MusicBertError):
        list(read(LAYOUTS[layout], folder))


def test_another_data_set_is_an_error(made):
    with pytest.raises(DatasetError, match="wrong-layout"):
        list(read("tnua", made["pianist8"]))
    with pytest.raises(DatasetError, match="not-found"):
        list(read("tnua", made["tnua"] / "nowhere"))
    with pytest.raises(ValueError, match="a source is one of"):
        read("unknown", made["tnua"])

"""A folder of remixes goes on where it stopped, and only from the same settings."""

import csv
import json

import pytest

from musicbert.errors import DatasetError
from musicbert.midi import read_score
from musicbert.remixing import Choice, Remixer, write_remixes


@pytest.fixture
def remixer(model, song):
    return Remixer(song, model=model, choice=Choice((2, 3)))


RECORD = {"settings": {"--bars": [2, 3]}, "files": {"song.mid": "abc"}}


def test_versions_are_kept_and_added(remixer, tmp_path, monkeypatch):
    folder, seen = tmp_path / "remixes", []
    first = write_remixes(folder, remixer, 2, RECORD, progress=lambda *done: seen.append(done))
    assert seen == [(1, 2), (2, 2)]
    before = {path.name: path.read_bytes() for path in folder.glob("version-*")}
    assert sorted(before) == ["version-1.json", "version-1.mid", "version-2.json", "version-2.mid"]
    drawn, draw = [], remixer.version
    monkeypatch.setattr(remixer, "version", lambda number: (drawn.append(number), draw(number))[1])
    (folder / "version-2.json").unlink()  # as if it had been stopped
    ranking = write_remixes(folder, remixer, 3, RECORD)
    assert drawn == [2, 3]
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert [entry["rank"] for entry in ranking] == [1, 2, 3]
    assert {entry["file"] for entry in first} < {entry["file"] for entry in ranking}
    with (folder / "ranking.csv").open() as file:
        rows = list(csv.DictReader(file))
    shown = json.loads((folder / "ranking.json").read_text())["versions"]
    assert shown == ranking
    assert [float(row["likelihood"]) for row in rows] == [entry["likelihood"] for entry in ranking]
    for entry in ranking:
        assert len(read_score(folder / entry["file"])) == len(remixer.score)


def test_a_folder_of_something_else_is_refused(remixer, tmp_path):
    write_remixes(tmp_path / "a", remixer, 1, RECORD)
    with pytest.raises(DatasetError, match="other-settings"):
        write_remixes(tmp_path / "a", remixer, 1, {**RECORD, "settings": {"--bars": [1, 3]}})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("x")
    with pytest.raises(DatasetError, match="output-exists"):
        write_remixes(tmp_path / "b", remixer, 1, RECORD)
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["mine.txt"]

"""A folder of remixes goes on where it stopped, and only from the same settings."""

import csv
import json
import wave
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from musicbert import viz
from musicbert.errors import DatasetError
from musicbert.midi import read_score
from musicbert.remixing import Choice, Remixer, folder, write_remixes


@pytest.fixture
def remixer(model, song):
    return Remixer(song, model=model, choice=Choice((2, 3)))


RECORD = {"settings": {"--bars": [2, 3]}, "files": {"song.mid": "abc"}}


def test_versions_are_kept_and_added(remixer, tmp_path, monkeypatch):
    place, seen = tmp_path / "remixes", []
    first = write_remixes(place, remixer, 2, RECORD, progress=lambda *done: seen.append(done))
    assert seen == [(1, 2), (2, 2)]
    before = {path.name: path.read_bytes() for path in place.glob("version-*")}
    assert sorted(before) == ["version-1.json", "version-1.mid", "version-2.json", "version-2.mid"]
    drawn, draw = [], remixer.version
    monkeypatch.setattr(remixer, "version", lambda number: (drawn.append(number), draw(number))[1])
    (place / "version-2.json").unlink()  # as if it had been stopped
    ranking = write_remixes(place, remixer, 3, RECORD)
    assert drawn == [2, 3]
    assert {name: (place / name).read_bytes() for name in before} == before
    assert [entry["rank"] for entry in ranking] == [1, 2, 3]
    assert {entry["file"] for entry in first} < {entry["file"] for entry in ranking}
    with (place / "ranking.csv").open() as file:
        rows = list(csv.DictReader(file))
    shown = json.loads((place / "ranking.json").read_text())["versions"]
    assert shown == ranking
    assert [float(row["likelihood"]) for row in rows] == [entry["likelihood"] for entry in ranking]
    for entry in ranking:
        assert len(read_score(place / entry["file"])) == len(remixer.score)


def test_sounds_are_those_of_the_chosen_bars_and_their_neighbours(remixer, tmp_path, monkeypatch):
    """Bars 2 and 3 of 4/4 at 100 and 120 BPM; a sound is added to a version that is there already."""
    played = []
    monkeypatch.setattr(
        folder, "render", lambda source, path, **part: (played.append((source, part)), path.touch())
    )
    write_remixes(tmp_path / "r", remixer, 1, RECORD)
    before = (tmp_path / "r" / "version-1.mid").read_bytes()
    for _ in range(2):
        write_remixes(tmp_path / "r", remixer, 1, RECORD, sound=True)
    assert sorted(path.name for path in (tmp_path / "r").glob("*.wav")) == ["original.wav", "version-1.wav"]
    assert (tmp_path / "r" / "version-1.mid").read_bytes() == before
    assert [source for source, _ in played] == [remixer.original.data, tmp_path / "r" / "version-1.mid"]
    for _, part in played:
        assert part == {"start": 0, "end": pytest.approx(16 * 0.6)}


def test_pictures_show_what_was_written_anew(remixer, tmp_path, monkeypatch):
    """In the same colours before and after; a picture is added to a version that is there already."""
    drawn = []
    draw = viz.piano_roll
    monkeypatch.setattr(
        viz, "piano_roll", lambda *where, **how: (drawn.append((where, how)), draw(*where, **how))
    )
    write_remixes(tmp_path, remixer, 1, RECORD)
    for _ in range(2):
        write_remixes(tmp_path, remixer, 1, RECORD, pictures=True)
    (before, first), (after, second) = drawn
    assert [path.name for _, path in (before, after)] == ["original.png", "version-1.png"]
    chosen, new, [score, version] = first.pop("values"), second.pop("values"), [before[0], after[0]]
    assert chosen.sum() == new.sum() == remixer.mask.any(axis=1).sum()
    pitches = [score.pitch[~chosen], version.pitch[~new]]
    assert sorted(pitches[0]) == sorted(pitches[1])
    assert first.pop("names") == ("stays", "to be written anew")
    assert second.pop("names") == ("stays", "written anew")
    assert [first.pop("title"), second.pop("title")] == ["original: bars 2-3", "version-1: bars 2-3"]
    assert first == second == {"start": 0, "end": pytest.approx(16 * 0.6), "pitches": (48, 76)}
    for path in (before[1], after[1]):
        colours = {
            tuple(colour) for colour in np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3).tolist()
        }
        assert {(0, 114, 178), (230, 159, 0)} <= colours  # blue and orange


def test_the_part_of_a_version_follows_its_tempi(remixer):
    faster = replace(remixer.score, tempo_bpm=2 * remixer.score.tempo_bpm)
    assert remixer.seconds(faster) == pytest.approx((0, 8 * 0.6))


def test_a_version_is_heard(remixer, tmp_path):
    pytest.importorskip("tinysoundfont", reason="needs the synthesiser (extra sound)")
    write_remixes(tmp_path, remixer, 1, RECORD, sound=True)
    for name in ("original.wav", "version-1.wav"):
        with wave.open(str(tmp_path / name)) as sound:
            assert 9 < sound.getnframes() / sound.getframerate() < 20
            assert np.abs(np.frombuffer(sound.readframes(sound.getnframes()), np.int16)).max() > 1000


def test_what_a_killed_run_left_goes_when_it_is_repeated(remixer, tmp_path):
    (tmp_path / ".made_from.json.abcdefgh.partial").write_text("{")
    write_remixes(tmp_path, remixer, 1, RECORD)
    (tmp_path / ".version-2.mid.abcdefgh.partial").write_text("MThd")
    write_remixes(tmp_path, remixer, 1, RECORD)
    assert not list(tmp_path.glob(".*"))


def test_a_folder_of_something_else_is_refused(remixer, tmp_path):
    write_remixes(tmp_path / "a", remixer, 1, RECORD)
    with pytest.raises(DatasetError, match="other-settings"):
        write_remixes(tmp_path / "a", remixer, 1, {**RECORD, "settings": {"--bars": [1, 3]}})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("x")
    with pytest.raises(DatasetError, match="output-exists"):
        write_remixes(tmp_path / "b", remixer, 1, RECORD)
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["mine.txt"]

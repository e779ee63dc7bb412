"""What something was made from: equal or not, and what differs; folders that one process holds."""

import signal
import subprocess
import sys
import textwrap

import pytest

from musicbert.errors import DatasetError
from musicbert.reuse import (
    differences,
    hash_of,
    hashes_of,
    hold_folder,
    made_from,
    read_record,
    require_same,
    write_record,
)

SETTINGS = {"--group-column": "album", "--classes": ["a", "b"], "--seeds": None}
FILES = {"a.mid": "1", "b.mid": "2"}


def test_the_same_is_the_same_also_from_disk(tmp_path):
    write_record(tmp_path / "made_from.json", made_from(SETTINGS, {**FILES, "n\udcff.mid": "3"}))
    before = read_record(tmp_path / "made_from.json")
    assert differences(before, made_from(SETTINGS, {**FILES, "n\udcff.mid": "3"})) == []
    require_same(before, made_from({**SETTINGS, "--classes": ("a", "b")}, dict(before["files"])), "x", "y")


@pytest.mark.parametrize(
    ("settings", "files", "words"),
    [
        ({"--group-column": None}, {}, "--group-column: album -> none"),
        ({"--classes": ["a"]}, {}, '--classes: ["a", "b"] -> ["a"]'),
        ({"--seeds": [1]}, {}, "--seeds: none -> [1]"),
        ({"--new": 1}, {}, "--new: none -> 1"),
        ({}, {"a.mid": "9"}, "other bytes: a.mid"),
        ({}, {"c.mid": "3"}, "added: c.mid"),
        ({"--seeds": 2}, {"b.mid": "0"}, "--seeds: none -> 2; other bytes: b.mid"),
    ],
)
def test_what_differs_is_named(settings, files, words):
    before, now = made_from(SETTINGS, FILES), made_from({**SETTINGS, **settings}, {**FILES, **files})
    with pytest.raises(DatasetError, match="other-settings") as caught:
        require_same(before, now, "folder", "do this")
    assert words in caught.value.message
    assert caught.value.hint == "do this"


def test_files_that_are_gone_and_many_of_them():
    many = {f"{k}.mid": "0" for k in range(20)}
    (line,) = differences(made_from({}, many), made_from({}, {}))
    assert line.startswith("removed: 0.mid, 1.mid")
    assert line.endswith("and 14 more")


@pytest.mark.parametrize("before", [None, [], {}, {"settings": {}}, "text"])
def test_without_a_record_nothing_is_the_same(before, tmp_path):
    with pytest.raises(DatasetError, match="no record"):
        require_same(before, made_from({}, {}), "folder", "do this")
    (tmp_path / "broken").write_text("{")
    assert read_record(tmp_path / "broken") is None


def test_hashes_see_bytes_and_names(tmp_path):
    folder = tmp_path / "a"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "x").write_bytes(b"1")
    (folder / ".hidden").write_bytes(b"1")
    assert set(hashes_of(folder)) == {"in/x"}
    first = hash_of(folder)
    assert set(hashes_of(folder / "in" / "x")) == {"x"}
    (folder / "in" / "x").write_bytes(b"2")
    second = hash_of(folder)
    (folder / "in" / "x").rename(folder / "in" / "y")
    assert len({first, second, hash_of(folder)}) == 3


def test_one_process_holds_a_folder(tmp_path):
    with hold_folder(tmp_path / "out"):
        with pytest.raises(DatasetError, match="output-busy"), hold_folder(tmp_path / "out"):
            pass
        with hold_folder(tmp_path / "out" / "inner"):
            pass
    assert not (tmp_path / "out").exists()  # nothing was written
    with hold_folder(tmp_path / "out"):
        (tmp_path / "out" / "x").touch()
    assert (tmp_path / "out" / "x").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="cannot-write"), hold_folder(tmp_path / "file"):
        pass


def test_a_new_folder_of_another_run_stays(tmp_path):
    with hold_folder(tmp_path / "out"):
        (tmp_path / "out").rename(tmp_path / "moved")
        (tmp_path / "out").mkdir()
    assert (tmp_path / "out").is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="no flock")
def test_a_folder_that_goes_before_it_is_held_is_busy(tmp_path, monkeypatch):
    monkeypatch.setattr("musicbert.reuse.fcntl.flock", lambda *_: (tmp_path / "out").rmdir())
    with pytest.raises(DatasetError, match="output-busy"), hold_folder(tmp_path / "out"):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="no flock")
def test_a_killed_process_holds_nothing(tmp_path):
    code = f"""
        import time
        from musicbert.reuse import hold_folder
        with hold_folder({str(tmp_path / "out")!r}):
            print("ready", flush=True)
            time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(DatasetError, match="output-busy"), hold_folder(tmp_path / "out"):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with hold_folder(tmp_path / "out"):
        pass

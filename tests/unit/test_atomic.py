"""Atomic writing of files: whole or nothing."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from musicbert import atomic
from musicbert.atomic import replacing, write_bytes, write_json, write_text


def test_writes_content_and_leaves_nothing_else(tmp_path):
    write_bytes(tmp_path / "a", b"\x00\xff")
    write_text(tmp_path / "b", "é\n")
    write_json(tmp_path / "c", {"x": [1.5, None]})
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"
    assert (tmp_path / "b").read_bytes() == "é\n".encode()
    assert (tmp_path / "c").read_text() == '{\n  "x": [\n    1.5,\n    null\n  ]\n}\n'
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b", "c"]


def test_file_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_failure_keeps_the_old_file(tmp_path, monkeypatch):
    write_text(tmp_path / "a", "old")
    monkeypatch.setattr(atomic.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_text(tmp_path / "a", "new")
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a", float("nan"))
    assert not list(tmp_path.iterdir())


def test_a_block_that_fails_keeps_the_old_file_and_its_own_error(tmp_path):
    def interrupted(error):
        with replacing(tmp_path / "a") as file:
            file.write(b"half")
            raise error

    write_text(tmp_path / "a", "old")
    for error in (KeyboardInterrupt(), ValueError("x"), FileNotFoundError(2, "gone", "other")):
        with pytest.raises(type(error)) as caught:
            interrupted(error)
        assert caught.value is error
        assert getattr(error, "filename", "other") == "other"
        assert [each.name for each in tmp_path.iterdir()] == ["a"]
        assert (tmp_path / "a").read_text() == "old"


def test_an_error_names_the_destination(tmp_path):
    target = tmp_path / "missing" / "a"
    with pytest.raises(FileNotFoundError) as caught:
        write_text(target, "x")
    assert str(caught.value) == f"[Errno 2] No such file or directory: {str(target)!r}"
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path / "folder", "x")
    assert str(caught.value).endswith(f": {str(tmp_path / 'folder')!r}")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "a", "old")
    code = f"""
        import time
        from musicbert.atomic import replacing
        with replacing({str(tmp_path / "a")!r}) as file:
            file.write(b"new")
            file.flush()
            print("ready", flush=True)
            time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (tmp_path / "a").read_text() == "old"
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"

"""Atomic writing of files: whole or nothing."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

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


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to("folder/target")
    for content in (b"new", b"newer"):  # the target is missing at first
        write_bytes(tmp_path / "first", content)
        assert (tmp_path / "first").readlink().name == "second"
        assert (tmp_path / "folder" / "target").read_bytes() == content
    assert [each.name for each in (tmp_path / "folder").iterdir()] == ["target"]


def test_a_circle_of_links_is_an_error(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        write_bytes(tmp_path / "a", b"x")
    assert (tmp_path / "a").is_symlink()


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_stays_and_gets_the_content(tmp_path, linked):
    pipe = name = tmp_path / "pipe"
    os.mkfifo(pipe)
    if linked:
        name = tmp_path / "link"
        name.symlink_to(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    with replacing(name) as file:
        file.write(b"..... world")
        file.seek(0)
        file.write(b"hello")
    assert reader.communicate(timeout=60)[0] == b"hello world"
    assert pipe.is_fifo()
    assert name.is_symlink() == linked
    assert len(list(tmp_path.iterdir())) == 1 + linked


def test_a_device_stays(tmp_path):
    write_bytes("/dev/null", b"x")
    (tmp_path / "link").symlink_to("/dev/null")
    write_bytes(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert Path("/dev/null").is_char_device()


def test_standard_output_is_written_where_it_goes(tmp_path):
    code = "from musicbert.atomic import write_text; print('a', flush=True); write_text('/dev/stdout', 'b')"
    with (tmp_path / "out").open("w") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert (tmp_path / "out").read_text() == "a\nb"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout == b"a\nb"


def test_names_that_are_not_utf8_are_escaped_and_read_back_from_json(tmp_path):
    name = os.fsdecode(b"\xe9t\xe9.mid")
    write_text(tmp_path / "a", f"{name},é")
    assert (tmp_path / "a").read_text() == "\\udce9t\\udce9.mid,é"
    write_json(tmp_path / "b", {name: "é"})
    assert json.loads((tmp_path / "b").read_text()) == {name: "é"}

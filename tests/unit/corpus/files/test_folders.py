"""Atomic writing of folders and arrays: whole or nothing."""

import io
import signal
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest

from musicbert.corpus.files.folders import build_directory, read_npz, write_npy
from musicbert.errors import DatasetError


def test_arrays_are_written_and_objects_are_refused(tmp_path):
    write_npy(tmp_path / "d.npy", np.arange(3, dtype=np.float32))
    assert np.load(tmp_path / "d.npy").tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="pickle"):
        write_npy(tmp_path / "d.npy", np.array([{}], dtype=object))
    assert [each.name for each in tmp_path.iterdir()] == ["d.npy"]
    assert np.load(tmp_path / "d.npy").tolist() == [0, 1, 2]


def test_folder_appears_when_complete(tmp_path):
    with build_directory(tmp_path / "deep" / "out") as partial:
        (partial / "a").write_text("x")
        assert not (tmp_path / "deep" / "out").exists()
    assert [each.name for each in (tmp_path / "deep").iterdir()] == ["out"]
    assert (tmp_path / "deep" / "out" / "a").read_text() == "x"


def test_empty_destination_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    with build_directory(tmp_path / "out") as partial:
        (partial / "a").write_text("x")
    assert (tmp_path / "out" / "a").exists()


def test_exception_leaves_nothing(tmp_path):
    def interrupted():
        with build_directory(tmp_path / "out") as partial:
            (partial / "a").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_existing_output_is_refused_without_overwrite(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    with pytest.raises(DatasetError, match="--overwrite") as caught, build_directory(tmp_path / "out"):
        pass
    assert caught.value.reason == "output-exists"
    assert (tmp_path / "out" / "precious").read_text() == "x"


def test_overwrite_replaces_only_what_is_recognised(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("x")

    def ours(folder):
        return (folder / "ledger.jsonl").is_file()

    with pytest.raises(DatasetError) as caught, build_directory(out, overwrite=True, recognise=ours):
        pass
    assert caught.value.reason == "output-not-ours"
    assert (out / "precious").exists()
    (out / "ledger.jsonl").write_text("")
    with build_directory(out, overwrite=True, recognise=ours) as partial:
        (partial / "new").write_text("x")
        assert (out / "precious").exists(), "the old one stays until the new one is complete"
    assert [each.name for each in out.iterdir()] == ["new"]
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_failed_overwrite_keeps_the_old_one(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("x")
    with pytest.raises(RuntimeError, match="stop"), build_directory(out, overwrite=True):
        raise RuntimeError("stop")
    assert (out / "old").exists()


def test_file_in_the_way(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(DatasetError) as caught, build_directory(tmp_path / "out", overwrite=True):
        pass
    assert caught.value.reason == "output-is-file"


def test_two_runs_at_once_are_refused(tmp_path):
    with build_directory(tmp_path / "out") as partial:
        (partial / "a").write_text("x")
        with pytest.raises(DatasetError) as caught, build_directory(tmp_path / "out"):
            pass
        assert caught.value.reason == "output-busy"
    assert (tmp_path / "out" / "a").read_text() == "x"


def test_killed_run_leaves_no_output_and_the_next_run_clears_up(tmp_path):
    code = f"""
        import sys, time
        from musicbert.corpus.files.folders import build_directory
        with build_directory({str(tmp_path / "out")!r}) as partial:
            (partial / "half").write_text("x")
            print("ready", flush=True)
            time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "out").exists()
    assert (tmp_path / ".out.partial" / "half").exists()
    with build_directory(tmp_path / "out") as partial:
        (partial / "whole").write_text("x")
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["whole"]
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_an_npz_unpacks_to_no_more_than_arrays_do(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.arange(3))
    assert read_npz(path)["a"].tolist() == [0, 1, 2]
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 30,)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
        member.write(header.getvalue())
        for _ in range(1024):
            member.write(bytes(1 << 20))
    with pytest.raises(ValueError, match="it unpacks to"):
        read_npz(path)
    for content in (b"", b"PK\3\4", header.getvalue(), b"\x80\x04N."):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"npz|damaged|pickle|read all data|memory"):
            read_npz(path)

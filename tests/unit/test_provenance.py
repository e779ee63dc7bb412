"""Where a result comes from: commit with and without git, hardware, no paths of the machine."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from musicbert.provenance import command_line, provenance

ROOT = Path(__file__).parents[2]


def _git(*arguments: str) -> str:
    done = subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, check=True, text=True)
    return done.stdout.strip()


@pytest.mark.skipif(
    not (ROOT / ".git").exists() or shutil.which("git") is None, reason="not a checkout, or no git"
)
def test_an_archive_knows_its_commit(tmp_path):
    archive = tmp_path / "a.tar"
    paths = ("musicbert/__init__.py", "musicbert/provenance.py", ".git_archival.txt", ".gitattributes")
    _git("archive", "-o", str(archive), "HEAD", *paths)
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    asked = "from musicbert.provenance import provenance as p; r = p(['a'], inputs={}, seed=0); "
    done = subprocess.run(
        [sys.executable, "-c", asked + "print(r['commit'], r['changed'])"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "GIT_DIR": str(tmp_path / "none")},
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.split() == [_git("rev-parse", "HEAD"), "None"]


def test_hardware_and_inputs(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"x")
    made = provenance(["run", str(tmp_path / "x.bin")], inputs={"x": tmp_path / "x.bin"}, seed=3)
    assert made["hardware"]["cores"] == os.cpu_count()
    assert "gpu" not in made["hardware"] or isinstance(made["hardware"]["gpu"], str)
    assert made["command"] == "run x.bin"
    assert made["data"]["x"]["name"] == "x.bin"
    assert made["seed"] == 3


def test_a_commit_that_was_not_filled_in_is_none(tmp_path, monkeypatch):
    (tmp_path / "package").mkdir()
    (tmp_path / ".git_archival.txt").write_text("node: $Format:%H$\n")
    monkeypatch.setattr("musicbert.provenance.__file__", str(tmp_path / "package" / "provenance.py"))
    monkeypatch.setattr("musicbert.provenance._git", lambda *_: None)
    made = provenance([], inputs={}, seed=0)
    assert made["commit"] is None
    assert made["changed"] is None


def test_paths_are_cut():
    assert command_line(["a", "/some/where/b.txt", "--c=/d/e", "../f/g", "h/i"]) == "a b.txt --c=e g h/i"

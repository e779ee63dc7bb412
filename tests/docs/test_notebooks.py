"""Notebooks run from beginning to end, each in an empty folder; the repository holds no output of theirs."""

import json
import os
import sys
from pathlib import Path

import pytest
from warm_python import python

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
#: what takes long -> what runs
SMALLER = {
    "--max-updates 12": "--max-updates 2",
    "--updates 60 --warmup 10": "--updates 4 --warmup 1",
    "--validate-every 30": "--validate-every 2",
}
nbformat = pytest.importorskip("nbformat", reason="needs nbformat and nbclient")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel")
    pytest.importorskip("ipykernel", reason="needs nbclient and ipykernel")
    program = tmp_path / "bin" / "musicbert"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {python()} -m musicbert "$@"\n')
    program.chmod(0o755)
    kernel = {"argv": [python(), "-m", "ipykernel_launcher", "-f", "{connection_file}"], "language": "python"}
    folder = tmp_path / "jupyter" / "kernels" / "warm"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({**kernel, "display_name": "warm"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    paths = os.pathsep.join([str(program.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    for name, value in {"PATH": paths, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHON", python())
    (tmp_path / "place").mkdir()
    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        for printed, runs in SMALLER.items():
            cell.source = cell.source.replace(printed, runs)
    place = {"metadata": {"path": str(tmp_path / "place")}}
    client = nbclient.NotebookClient(book, timeout=300, kernel_name="warm", resources=place)
    client.execute()


def test_what_takes_long_is_in_the_notebooks():
    texts = [cell.source for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells]
    assert all(any(printed in text for text in texts) for printed in SMALLER)


def test_notebooks_hold_no_output():
    assert len(NOTEBOOKS) >= 3
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs")
            assert cell.get("execution_count") is None

"""The benchmark of embeddings: both sides give the same numbers, and the table has a row a task."""

import importlib
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="needs transformers (pip install -e '.[dev]')")
BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def embed_speed(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("embed_speed")


def test_a_table_is_written(embed_speed, tmp_path, monkeypatch):
    monkeypatch.setattr(embed_speed, "LONGEST", 70)
    monkeypatch.setattr(embed_speed.torch, "set_num_threads", lambda count: None)
    options = ["--arch", "tiny", "--lengths", "mixed", "--pieces", "3", "--rounds", "1"]
    embed_speed.main([*options, "--write", str(tmp_path / "x.md")])
    rows = [line for line in (tmp_path / "x.md").read_text().splitlines() if line.startswith("| tiny")]
    assert len(rows) == len(embed_speed.TASKS)


def test_other_numbers_stop_it(embed_speed, monkeypatch):
    monkeypatch.setattr(embed_speed, "LONGEST", 70)
    monkeypatch.setattr(embed_speed, "theirs", lambda *_: [0.0])
    with pytest.raises(AssertionError):
        embed_speed.measure("tiny", "mixed", 1, 1, lambda: 0.0)

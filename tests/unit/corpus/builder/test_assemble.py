"""Large parts are written by all workers at once, with the same bytes."""

import numpy as np
import pytest

from musicbert.corpus.builder import BuildOptions, assemble, build_corpus
from musicbert.corpus.builder import job as job_module
from musicbert.corpus.builder.runner import Runner, open_runner

OPTIONS = BuildOptions(shares=(90, 5, 5), window=60, overlap=2, performance=True)


def contents(corpus):
    return {
        str(path.relative_to(corpus)): path.read_bytes()
        for path in sorted(corpus.rglob("*"))
        if path.is_file() and path.name != "timings.jsonl"
    }


@pytest.fixture
def source(make_midi_folder):
    return make_midi_folder(24, notes=(50, 200))


@pytest.fixture
def in_turn(monkeypatch):
    """Ranges as for three workers, yet all in this process; the list of those that were written."""
    monkeypatch.setattr(assemble, "RANGE_TOKENS", 1000)
    written = []

    def run(runner, function, tasks, on_crash=None):
        for task in reversed(list(tasks)):  # in whatever order
            written.append(task)
            yield function(task)

    monkeypatch.setattr(Runner, "run", run)
    monkeypatch.setattr(Runner, "local_workers", 3, raising=False)
    monkeypatch.setattr(Runner, "__init__", lambda self, make, workers, local=True: None)
    monkeypatch.setattr(Runner, "close", lambda self: None)
    return written


def test_ranges_give_the_bytes_of_a_whole(tmp_path, source, in_turn, monkeypatch):
    build_corpus(source, tmp_path / "ranges", OPTIONS, progress=False)
    cut = [task for task in in_turn if isinstance(task, assemble.Range)]
    assert len(cut) > 5
    assert {task.part.split for task in cut} >= {"train"}
    monkeypatch.setattr(Runner, "local_workers", 1)
    in_turn.clear()
    build_corpus(source, tmp_path / "whole", OPTIONS, progress=False)
    assert not any(isinstance(task, assemble.Range) for task in in_turn)
    assert contents(tmp_path / "ranges") == contents(tmp_path / "whole")
    stored = np.load(tmp_path / "ranges" / "train.performance.npy")
    assert stored.any(axis=1).all()  # no hole between two ranges


@pytest.mark.parametrize("after", [1, 4])
def test_a_run_that_ends_between_ranges_goes_on(tmp_path, source, in_turn, monkeypatch, after):
    build_corpus(source, tmp_path / "whole", OPTIONS, progress=False)
    real, left = job_module.write_range, [after]

    def dies(task):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr(job_module, "write_range", dies)
    with pytest.raises(KeyboardInterrupt):
        build_corpus(source, tmp_path / "out", OPTIONS, progress=False)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(job_module, "write_range", real)
    build_corpus(source, tmp_path / "out", OPTIONS, progress=False)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_text_and_small_parts_are_written_whole(tmp_path, source, in_turn):
    build_corpus(source, tmp_path / "text", BuildOptions(output="both"), progress=False)
    assert not any(isinstance(task, assemble.Range) for task in in_turn)


def test_a_cluster_writes_parts_whole():
    with open_runner(3) as runner:
        assert runner.local_workers == 3
    assert Runner(None, 5, local=False).local_workers == 1

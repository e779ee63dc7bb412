"""`musicbert build --scheduler`: two worker processes, one killed half-way: nothing lost, nothing twice."""

import os
import signal
import subprocess
import sys
import time

import pytest
from tqdm import tqdm

from musicbert.corpus.builder import build_corpus
from musicbert.corpus.builder import job as job_module
from musicbert.corpus.files.ledger import read_ledger
from musicbert.errors import DatasetError

distributed = pytest.importorskip("distributed", reason="the extra [cluster] is not installed")


@pytest.fixture
def cluster(tmp_path, root):
    """A scheduler and two workers, each a process of its own: (address, worker processes)."""
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    address_file = tmp_path / "scheduler.json"
    logs = (tmp_path / "cluster.log").open("wb")
    common = {"env": environment, "stdout": logs, "stderr": subprocess.STDOUT, "cwd": tmp_path}
    python = [sys.executable, "-m"]
    local = ["--scheduler-file", str(address_file), "--no-dashboard"]
    command = [*python, "distributed.cli.dask_scheduler", *local, "--host", "127.0.0.1", "--port", "0"]
    scheduler = subprocess.Popen(command, **common)
    command = [*python, "distributed.cli.dask_worker", *local, "--nthreads", "1", "--no-nanny"]
    command += ["--local-directory", str(tmp_path)]
    workers = [subprocess.Popen(command, **common) for _ in range(2)]
    try:
        while not address_file.exists():
            assert scheduler.poll() is None, (tmp_path / "cluster.log").read_text()
            time.sleep(0.1)
        with distributed.Client(scheduler_file=str(address_file)) as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        yield address, workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()
        logs.close()


@pytest.mark.filterwarnings("ignore")
def test_a_worker_is_killed_half_way(tmp_path, make_midi_folder, cluster, monkeypatch):
    address, workers = cluster
    source = make_midi_folder(120, notes=(500, 1500))
    monkeypatch.setattr(job_module, "CHUNK_FILES", 4)
    build_corpus(source, tmp_path / "alone", progress=False)
    done = []
    shards = tmp_path / ".far.building" / "shards"

    class Bar(tqdm):
        def update(self, n=1):
            done.append(n)
            if len(done) == 8:  # of thirty chunks
                workers[0].send_signal(signal.SIGKILL)
            return super().update(n)

    monkeypatch.setattr(job_module, "progress_bar", lambda shown, **how: Bar(disable=True, **how))
    report = build_corpus(source, tmp_path / "far", scheduler=address, progress=False)
    assert workers[0].wait(30) == -signal.SIGKILL
    assert workers[1].poll() is None
    assert not shards.exists()
    assert report.outcomes == {"ok": 120}
    paths = [entry.path for entry in read_ledger(tmp_path / "far" / "ledger.jsonl")]
    assert len(paths) == len(set(paths)) == 120
    for name in ("train.bin", "train.idx", "valid.bin", "test.bin", "ledger.jsonl"):
        alone, far = tmp_path / "alone" / name, tmp_path / "far" / name
        assert alone.exists() == far.exists()
        assert not alone.exists() or alone.read_bytes() == far.read_bytes()


@pytest.mark.filterwarnings("ignore")
def test_no_scheduler_is_one_clear_error(tmp_path, make_midi_folder):
    with pytest.raises(DatasetError, match="no-scheduler"):
        build_corpus(make_midi_folder(2), tmp_path / "x", scheduler="nonsense://1", progress=False)

"""`musicbert build` as it runs: workers, kills, crashes of a parser, fairseq's own bytes, a cluster."""

import filecmp
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from processes import wait_for_group
from warm_python import python

from musicbert.corpus.builder import BuildOptions, build_corpus
from musicbert.corpus.builder.runner import open_runner
from musicbert.corpus.files.ledger import read_ledger

SHARES = ["--shares", "60", "20", "20"]


def contents(corpus):
    return {
        str(path.relative_to(corpus)): path.read_bytes()
        for path in sorted(corpus.rglob("*"))
        if path.is_file() and path.name != "timings.jsonl"
    }


@pytest.fixture
def script(tmp_path, root):
    """The command with small chunks; ``slow`` makes every file take time, ``fatal`` ends the process."""
    path = tmp_path / "command.py"
    path.write_text(
        textwrap.dedent(
            """
            import os, sys, time
            from musicbert.corpus.builder import job, worker
            from musicbert.cli.main import main
            job.CHUNK_FILES = 4
            read = worker.read_score
            def slow(content, **options):
                time.sleep(float(os.environ.get("SLOW", "0")))
                if content == b"fatal":
                    os._exit(9)
                return read(content, **options)
            worker.read_score = slow
            if __name__ == "__main__":
                sys.exit(main(["build", *sys.argv[1:]]))
            """
        )
    )

    def start(*arguments, slow=0.0):
        environment = {**os.environ, "PYTHONPATH": str(root), "SLOW": str(slow), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(path), *map(str, arguments), "--quiet"]
        return subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    return start


def finish(process):
    output = process.communicate()[0].decode()
    assert process.returncode == 0, output
    return output


def wait_until(condition, process):
    while not condition():
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.01)


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_started_again_is_the_same_corpus(tmp_path, make_midi_folder, script, workers):
    source = make_midi_folder(60)
    (source / "broken.mid").write_bytes(b"MThd nonsense")
    finish(script(source, "-o", tmp_path / "straight", *SHARES))
    command = [source, "-o", tmp_path / "killed", *SHARES, "--workers", workers]
    work = tmp_path / ".killed.building"
    for shards in (1, 5, 10):  # killed while files are encoded, each time a little later
        process = script(*command, slow=0.02)
        wait_until(lambda n=shards: len(list(work.rglob("shards/*/*.jsonl"))) >= n, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (tmp_path / "killed").exists()
    finish(script(*command))
    assert contents(tmp_path / "killed") == contents(tmp_path / "straight")
    assert not work.exists()


def test_killed_at_random_moments(tmp_path, make_midi_folder, script):
    source = make_midi_folder(60, seed=3)
    finish(script(source, "-o", tmp_path / "straight", "--format", "both", "--shard-tokens", "5000"))
    command = [source, "-o", tmp_path / "killed", "--format", "both", "--shard-tokens", "5000"]
    work = tmp_path / ".killed.building"
    kills = 0
    for delay in (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3):  # after the first shard: encoding, dividing, writing
        process = script(*command, slow=0.001)
        try:
            wait_until(lambda: any(work.rglob("shards/*/*.jsonl")), process)
        except AssertionError:  # it was done before we looked
            break
        time.sleep(delay)
        kills += process.poll() is None
        process.kill()
        process.communicate()
    if not (tmp_path / "killed").exists() or work.exists():
        finish(script(*command))
    assert kills
    assert contents(tmp_path / "killed") == contents(tmp_path / "straight")


def test_no_worker_outlives_a_killed_run(tmp_path, make_midi_folder, script):
    process = script(make_midi_folder(40), "-o", tmp_path / "killed", "--workers", 2, slow=0.05)
    work = tmp_path / ".killed.building"
    wait_until(lambda: any(work.rglob("*.partial")), process)
    process.kill()
    process.communicate()
    wait_for_group(process.pid)


def test_number_of_workers_changes_nothing(tmp_path, make_midi_folder, script):
    source = make_midi_folder(50, notes=(100, 1500))
    arguments = [*SHARES, "--performance-input", "--shard-tokens", "60000"]
    finish(script(source, "-o", tmp_path / "one", *arguments))
    finish(script(source, "-o", tmp_path / "two", *arguments, "--workers", 2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_file_that_ends_its_process_is_a_ledger_entry(tmp_path, make_midi_folder, script):
    source = make_midi_folder(12)
    (source / "a" / "00004x.mid").write_bytes(b"fatal")
    finish(script(source, "-o", tmp_path / "bin", "--workers", 2, "--max-failure-rate", 0.1))
    outcomes = {entry.path: entry.outcome for entry in read_ledger(tmp_path / "bin" / "ledger.jsonl")}
    assert outcomes.pop("a/00004x.mid") == "crashed"
    assert set(outcomes.values()) == {"ok"}
    assert len(outcomes) == 12


def test_two_runs_of_one_output(tmp_path, make_midi_folder, script):
    source = make_midi_folder(40)
    first = script(source, "-o", tmp_path / "bin", slow=0.05)
    wait_until(lambda: any((tmp_path / ".bin.building").rglob("*.partial")), first)
    second = script(source, "-o", tmp_path / "bin")
    assert "output-busy" in second.communicate()[0].decode()
    assert second.returncode == 2
    finish(first)


def test_bytes_are_those_of_fairseq_preprocess(tmp_path, make_midi_folder):
    pytest.importorskip("fairseq", reason="fairseq is not installed")
    source = make_midi_folder(30, notes=(30, 1500))
    options = BuildOptions(output="both", shares=(60, 20, 20))
    build_corpus(source, tmp_path / "both", options, progress=False)
    command = [python(), "-m", "fairseq_cli.preprocess", "--only-source", "--workers", "1"]
    command += ["--srcdict", str(tmp_path / "both" / "dict.txt"), "--destdir", str(tmp_path / "theirs")]
    for split in ("train", "valid", "test"):
        command += [f"--{split}pref", str(tmp_path / "both" / f"midi_{split}.txt")]
    subprocess.run(command, check=True, capture_output=True)
    names = ["dict.txt"] + [f"{s}.{suffix}" for s in ("train", "valid", "test") for suffix in ("bin", "idx")]
    assert filecmp.cmpfiles(tmp_path / "both", tmp_path / "theirs", names, shallow=False) == (names, [], [])


def test_script_for_those_who_know_upstream(tmp_path, make_midi_folder, root):
    shutil.make_archive(str(tmp_path / "set"), "zip", make_midi_folder(10))
    command = ["bash", str(root / "scripts" / "preprocess.sh")]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    arguments = ["set.zip", "raw", "--quiet", "--shares", "60", "20", "20"]
    subprocess.run([*command, *arguments], cwd=tmp_path, check=True, env=environment)
    names = {path.name for path in (tmp_path / "raw").iterdir()}
    assert {"dict.txt", "midi_train.txt", "midi_valid.txt", "midi_test.txt"} <= names
    missing = subprocess.run(command, capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    assert "preprocess.sh DATASET OUTPUT" in missing.stdout


def test_tasks_of_a_broken_pool_are_not_lost():
    """`eval` stands for the work: it is found by name in every process."""
    killer = "__import__('os')._exit(3)"
    tasks = ["1", killer, *(str(number) for number in range(2, 10))]
    with open_runner(2) as runner:
        results = list(runner.run(eval, tasks, lambda task, kills: str(-int(kills(task) and not kills("5")))))
    assert sorted(results) == [-1, *range(1, 10)]

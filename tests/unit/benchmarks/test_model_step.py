"""The benchmark of a training step against a plain path: shapes, threads, and tokens a second."""

import importlib

import pytest
import torch


@pytest.fixture
def bench(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    threads = torch.get_num_threads()
    yield importlib.import_module("model_step")
    torch.set_num_threads(threads)


def rows_of(text, begin):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.split("\n") if begin in line]


def test_a_shape_of_its_own(bench, tmp_path):
    out = tmp_path / "step.md"
    bench.main(["--arch", "tiny", "--shape", "2x12", "--threads", "2", "--rounds", "1", "--write", str(out)])
    text = out.read_text()
    assert "(wall time)" in text
    assert "2 threads" in text
    assert "--shape 2x12 --threads 2 --rounds 1`" in text
    head, attention_head = rows_of(text, "dropout")
    on, off, form, *attention = rows_of(text, "2 x 12 notes")
    assert (on[2], off[2]) == ("on", "off")
    for row in (on, off):
        row = dict(zip(head, row, strict=True))
        for path in bench.PATHS:
            milliseconds, tokens = float(row[path]), float(row[f"{path}, tokens/s"].replace(",", ""))
            # the time is rounded to a tenth of a millisecond, tokens to whole ones
            assert 192_000 / (milliseconds + 0.06) - 1 <= tokens
            assert tokens <= 192_000 / max(milliseconds - 0.06, 1e-3) + 1
    assert len(form) == 5
    assert [(row[2], row[3]) for row in attention] == [
        (precision, dropout) for precision in ("float32", "bfloat16") for dropout in ("on", "off")
    ]
    assert all(len(row) == len(attention_head) for row in attention)


def test_clocks_and_shapes(bench):
    assert bench.clock_of("cpu", 1) == "CPU"
    assert bench.clock_of("cpu", 2) == bench.clock_of("cuda", 1) == "wall"
    assert bench.shape_of("4x900") == (4, 900)


@pytest.mark.parametrize("words", [["--shape", "4x"], ["--shape", "0x9"], ["--threads", "0"]])
def test_what_cannot_be_is_refused(bench, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        bench.main(words)
    assert "error" in capsys.readouterr().err


def test_steps_only(bench, tmp_path):
    out = tmp_path / "step.md"
    options = ["--arch", "tiny", "--shape", "2x12", "--threads", "2", "--rounds", "1", "--steps-only"]
    bench.main([*options, "--write", str(out)])
    assert "(CPU time)" in out.read_text()
    assert "down-projection" not in out.read_text()


def test_memory(bench, tmp_path):
    out = tmp_path / "memory.md"
    bench.main(["--memory", "--arch", "tiny", "--shape", "1x12", "--write", str(out)])
    (row,) = rows_of(out.read_text(), "1 x 12 notes")
    assert len(row) == 6
    assert all(float(peak.replace(",", "")) > 0 for peak in row[2:])

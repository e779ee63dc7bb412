"""Time what pre-training of M2BERT costs: the piano-roll target, loading, and a training step.

    python benchmarks/m2bert_speed.py [--write benchmarks/m2bert_speed_<hardware>_<date>.md] [--arch mini
    base]

Targets of a crop of 1,024 notes are made by a plain loop over notes and rows (as one would write it first),
by our NumPy function, and by our function on the device; all three are compared first. Loading is a crop with
its noise and events, and putting crops into a batch. A step is forward, loss and backward of
``music_pretrain`` with dropout on. "dense" is the same network with a dense mask in the local layers and the
embedding projected note by note; losses are compared first, without dropout.

On a CPU one thread is used (``--threads``) and CPU time of the process counts, best of several rounds; on a
GPU (``--device cuda``) wall time after synchronising. Memory is the most that the process holds in a step of
"ours" on a CPU (Linux), Python and torch included, and what tensors take in a step of "bf16" on a GPU.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from model_step import commit_here

from musicbert.config import M2BERT_PRESETS
from musicbert.fairseq_plugin.pretraining.note_crops import NoteCrops
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.model.blocks.local_attention import Reach
from musicbert.model.losses.masked_lm import column_sums
from musicbert.model.losses.pianoroll import roll_loss, roll_targets
from musicbert.objectives.denoising import NoisePolicy, add_noise, noise_radii
from musicbert.objectives.note_fields import CP
from musicbert.objectives.pianoroll import (
    CHROMA,
    DURATION_SIXTEENTHS,
    PITCHES,
    ROWS,
    roll_events,
    roll_target,
)

NOTES = 1024
#: seconds a crop, of the published collate function as measured in its specification
REFERENCE_TARGET = 0.12
#: CPU-seconds of a step of the published program, 2 crops, paper's size
REFERENCE_STEP = 38.0


class MadePieces:
    """Piano-like pieces of one length."""

    fields = CP

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        position = np.sort(rng.integers(0, 16, (count, NOTES // 8, 8)), axis=2).reshape(count, NOTES)
        bar, pitch = rng.random((count, NOTES)) > 0.1, rng.integers(20, 70, (count, NOTES))
        duration = rng.integers(0, 20, (count, NOTES))
        self._rows = np.stack([bar, position, pitch, duration], axis=-1).astype(np.int64)
        self.lengths = np.full(count, NOTES)

    def rows(self, piece: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        return self._rows[piece, start:stop]


def plain_target(cells: np.ndarray) -> np.ndarray:
    """The target by a loop over notes and rows."""
    bars, bar_of = [], []
    for number, (bar, *_) in enumerate(cells.tolist()):
        if bar == 0 or number == 0:
            bars.append(np.zeros((ROWS + 1, CHROMA + PITCHES), np.float32))
        bar_of.append(len(bars) - 1)
    for number, (_, position, pitch, duration) in enumerate(cells.tolist()):
        for row in range(position, position + DURATION_SIXTEENTHS[duration]):
            bar = bar_of[number] + row // ROWS
            if bar < len(bars) and row < 2 * ROWS:
                bars[bar][row % ROWS, pitch % CHROMA] += 1
                bars[bar][row % ROWS, CHROMA + pitch] += 1
    rows = [bar / np.maximum(bar.sum(1, keepdims=True), 0.1) * 2 for bar in bars]
    return np.stack(
        [np.concatenate([rows[b][:ROWS].ravel(), rows[b][c[1]]]) for b, c in zip(bar_of, cells, strict=True)]
    )


def best_times(calls: dict[str, Callable[[], object]], rounds: int, device: str) -> dict[str, float]:
    """Best time of each call in seconds, taken in turns."""
    best = dict.fromkeys(calls, float("inf"))
    for turn in range(rounds + 1):
        for name, call in calls.items():
            if device == "cuda":
                torch.cuda.synchronize()
            begin = time.perf_counter() if device == "cuda" else time.process_time()
            call()
            if device == "cuda":
                torch.cuda.synchronize()
            spent = (time.perf_counter() if device == "cuda" else time.process_time()) - begin
            if turn:  # the first round warms up
                best[name] = min(best[name], spent)
    return best


def crops_of(count: int) -> NoteCrops:
    policy = NoisePolicy(noise_radii(CP, (4, 12, 12)))
    return NoteCrops(MadePieces(count), partial(add_noise, fields=CP, policy=policy), roll=True)


def measure_targets(device: str, rounds: int) -> list[str]:
    pieces = MadePieces(12)
    cells = [pieces.rows(number) for number in range(12)]
    events = torch.from_numpy(np.stack([roll_events(each, CP) for each in cells])).to(device)
    bars = int(events[..., 0].max()) + 1
    wanted = plain_target(cells[0])
    assert np.abs(roll_target(cells[0], CP) - wanted).max() < 1e-6
    assert np.abs(roll_targets(events, bars)[0].cpu().numpy() - wanted).max() < 1e-6
    host = best_times(
        {
            "plain loop": lambda: plain_target(cells[0]),
            "NumPy": lambda: roll_target(cells[0], CP),
            "events (loader)": lambda: roll_events(cells[0], CP),
        },
        rounds,
        "cpu",
    )
    there = best_times({f"raster ({device})": lambda: roll_targets(events, bars)}, rounds, device)
    times = {**host, **{name: value / 12 for name, value in there.items()}}
    return [f"| {n} | {1e3 * value:.2f} | {REFERENCE_TARGET / value:.0f} |" for n, value in times.items()]


def measure_loading(rounds: int) -> list[str]:
    crops = crops_of(48)
    items = [crops[index] for index in range(12)]
    times = best_times(
        {"crop, noise, events": lambda: crops[0], "batch of 12": lambda: crops.collater(items)}, rounds, "cpu"
    )
    alone, together = times.values()
    lines = [f"| {name} | {1e3 * value:.2f} |" for name, value in times.items()]
    return [*lines, f"| crops a second and process | {1 / (alone + together / 12):.0f} |"]


def to_device(batch: dict, device: str) -> dict:
    def move(value: object) -> object:
        if isinstance(value, dict):
            return {name: move(each) for name, each in value.items()}
        return value.to(device) if isinstance(value, torch.Tensor) else value

    return move(batch)  # type: ignore[return-value]


def loss_of(model: M2Bert, batch: dict) -> torch.Tensor:
    """As the criterion ``compound_token``, a note."""
    outputs, _ = model(**batch["net_input"])
    sums = column_sums(outputs.columns, batch["target"], batch["selected"])
    weights = torch.tensor([float(size) for size in CP.sizes], device=sums.loss.device)
    padding = batch["net_input"]["padding_mask"]
    error = roll_loss(outputs.roll, batch["events"], batch["bars"], None if padding is None else ~padding)
    loss = (weights * sums.loss / sums.count.clamp(min=0.1)).sum() + error / batch["ntokens"]
    return loss / (sum(CP.sizes) + 1)


def dense_reach(batch: int, length: int, window: int, _: object, device: torch.device) -> Reach:
    place = torch.arange(length, device=device)
    band = (place[:, None] - place).abs() <= window
    return Reach(None, band.expand(batch, 1, length, length), 0)


def peak_memory(call: Callable[[], object]) -> str:
    """Most memory that the process holds while it runs a function, where Linux tells."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the mark of the highest level goes down to now
    except OSError:
        return "-"
    call()
    marks = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return f"{int(marks['VmHWM'].split()[0]) / 2**20:.1f} GiB"


def measure_steps(arch: str, crops: int, device: str, rounds: int, *, compare: bool) -> list[str]:
    torch.manual_seed(0)
    data = crops_of(crops)
    batch = to_device(data.collater([data[index] for index in range(crops)]), device)
    model = M2Bert(M2BERT_PRESETS[arch]).to(device)

    def step(*, dense: bool = False, bf16: bool = False, backward: bool = True) -> float:
        model.zero_grad()
        model.encoder.form, model.autocast_bf16 = ("direct" if dense else "table"), bf16
        with mock.patch.object(Reach, "of", dense_reach) if dense else mock.patch.dict({}):
            loss = loss_of(model, batch)
        if backward:
            loss.backward()
        return float(loss.detach())

    model.eval()
    with torch.inference_mode():
        assert abs(step(backward=False) - step(dense=True, backward=False)) < 1e-3
    model.train()
    calls: dict[str, Callable[[], object]] = {"dense": partial(step, dense=True)} if compare else {}
    calls |= {"ours": step, "bf16": partial(step, bf16=True)}
    memory = "" if device == "cuda" else peak_memory(step)  # before anything else has left memory behind
    best = best_times(calls, rounds, device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        step(bf16=True)
        memory = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
    ours = min(best["ours"], best["bf16"])
    times = [f"{best[name]:.3f}" if name in best else "-" for name in ("dense", "ours", "bf16")]
    return [f"| {' | '.join([arch, f'{crops} x {NOTES}', *times, f'{crops * NOTES / ours:.0f}', memory])} |"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arch", nargs="+", default=["mini", "base"], choices=sorted(M2BERT_PRESETS))
    parser.add_argument("--crops", type=int, default=2, help="of a step")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--no-dense", action="store_true", help="leave the dense network out")
    parser.add_argument("--write", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    targets = measure_targets(options.device, max(options.rounds, 5))
    print(*targets, sep="\n", flush=True)
    loading = measure_loading(max(options.rounds, 20))
    print(*loading, sep="\n", flush=True)
    steps = []
    for arch in options.arch:
        steps += measure_steps(
            arch, options.crops, options.device, options.rounds, compare=not options.no_dense
        )
        print(steps[-1], flush=True)
    if options.write:
        cuda = options.device == "cuda"
        hardware = (
            torch.cuda.get_device_name() if cuda else f"{platform.machine()}, {options.threads} thread(s)"
        )
        lines = [
            "# Pre-training of M2BERT",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, commit {commit_here()}, {hardware}, torch {torch.__version__}, "
            f"Python {platform.python_version()}. Made by",
            f"`python benchmarks/m2bert_speed.py --arch {' '.join(options.arch)} --crops {options.crops} "
            f"--device {options.device} --rounds {options.rounds} --threads {options.threads}`,",
            "which says what is compared and checks that the numbers are equal.",
            "",
            f"## Piano-roll target of a crop of {NOTES} notes",
            "",
            f"| path | ms | times faster than the published one ({REFERENCE_TARGET} s) |",
            "|---|---|---|",
            *targets,
            "",
            "## Loading, one process",
            "",
            "| what | ms |",
            "|---|---|",
            *loading,
            "",
            "## A training step, seconds " + ("(wall)" if cuda else "(CPU)"),
            "",
            f"The published program takes about {REFERENCE_STEP:.0f} CPU-seconds for 2 x 1024 at the size "
            "`base` (specification).",
            "",
            "| arch | batch | dense | ours | bf16 | notes a second | memory |",
            "|---|---|---|---|---|---|---|",
            *steps,
            "",
        ]
        options.write.write_text("\n".join(lines))


if __name__ == "__main__":
    main()

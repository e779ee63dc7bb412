"""Training steps for ``pretrain_step.py``: one setting on one device, its speed and its FLOPs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from step_data import Blocks
from step_profile import profile_steps

from musicbert.config import PRESETS
from musicbert.flops import musicbert_flops
from musicbert.model import MusicBert
from musicbert.model.blocks.masked_positions import MaskedPlaces
from musicbert.model.blocks.packed_attention import Segments
from musicbert.model.losses.masked_lm import listed_lm_sums


def measured_ceiling(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product, best of several sizes."""
    best = 0.0
    for size in (4096, 8192, 16384) if device.type == "cuda" else (512, 1024):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        for _ in range(3):
            a @ b
        for _ in range(3):
            wait(device)
            begin = time.perf_counter()
            for _ in range(5):
                a @ b
            wait(device)
            best = max(best, 5 * 2.0 * size**3 / (time.perf_counter() - begin))
    return best


def measured_cells(result: dict[str, Any]) -> Iterator[str]:
    """Last cells of the table's lines: source, ms a step, notes/s, TFLOP/s, utilisation, GiB."""
    for name in ("resident", "loader"):
        if name in result:
            m = result[name]
            source = name if name == "resident" else f"loader, {m['workers']} workers"
            yield (
                f"{source} | {m['ms_per_step']:.1f} | {m['notes_per_second']:,.0f} | {m['tflops']:.1f} | "
                f"{m['utilisation']:.1%} | {result.get('peak_gib', 0):.1f} |"
            )


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Setting:
    arch: str
    batch: int
    notes: int
    precision: str
    layout: str
    separate: bool
    compile: bool
    attention_dropout: float
    down_form: str = "auto"


class Trainer:
    """One setting on one device."""

    def __init__(self, setting: Setting, device: torch.device) -> None:
        torch.manual_seed(0)
        self.setting, self.device = setting, device
        config = PRESETS[setting.arch].with_(max_positions=8192, attention_dropout=setting.attention_dropout)
        self.model = MusicBert(config).to(device).train()
        self.model.encoder.sentence_encoder.down_form = setting.down_form
        # "bf16": bfloat16 weights and a float32 copy for the optimiser, as fairseq's --bf16
        self.masters = None
        if setting.precision == "bf16":
            self.model.bfloat16()
            self.masters = [p.detach().float().requires_grad_() for p in self.model.parameters()]
        weights = self.masters or list(self.model.parameters())
        fused = device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.AdamW(weights, 5e-4, (0.9, 0.98), 1e-6, 0.01, fused=fused)
        if setting.compile:
            self.model.compile_blocks()

    def loss(self, batch: dict[str, Any]) -> torch.Tensor:
        moved = {
            name: value.to(self.device, non_blocking=True) if torch.is_tensor(value) else value
            for name, value in batch.items()
        }
        segments = Segments(moved["offsets"], moved["sequences"]) if "offsets" in moved else None
        places = MaskedPlaces(moved["notes"], moved["counts"])
        mixed = self.setting.precision == "autocast"
        with torch.autocast(self.device.type, torch.bfloat16) if mixed else contextlib.nullcontext():
            logits, _ = self.model(
                moved["tokens"], masked_places=places, padded=moved["padded"], segments=segments
            )
        return listed_lm_sums(logits, moved["wanted"], moved["counts"]).loss

    def step(self, batch: dict[str, Any]) -> None:
        (self.loss(batch) / max(len(batch["notes"]), 1)).backward()
        if self.masters is not None:
            grads = [p.grad for p in self.model.parameters()]
            for master, grad in zip(self.masters, grads, strict=True):
                master.grad = None if grad is None else grad.float()
        self.optimizer.step()
        if self.masters is not None:
            with torch.no_grad():
                torch._foreach_copy_(list(self.model.parameters()), self.masters)
        self.optimizer.zero_grad(set_to_none=True)
        self.model.zero_grad(set_to_none=True)


def forever(loader: torch.utils.data.DataLoader) -> Iterator[dict[str, Any]]:
    while True:
        yield from loader


def loader_of(data: Blocks, workers: int, device: torch.device) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(
        data,
        batch_size=None,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
    )


def measure(
    setting: Setting,
    device: torch.device,
    data: Blocks,
    ceiling: float,
    *,
    steps: int,
    warmup: int,
    workers: int,
    sync: bool = False,
    profiled: int = 0,
    trace: Path | None = None,
) -> dict[str, Any]:
    """Rows ``resident`` and, with ``workers`` >= 0, ``loader``; and a profile of ``profiled`` steps."""
    trainer = Trainer(setting, device)
    config = trainer.model.config
    resident = data[0]
    pinned = {k: v.to(device) if torch.is_tensor(v) else v for k, v in resident.items()}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    begin = time.perf_counter()
    for _ in range(warmup):
        trainer.step(pinned)
    wait(device)
    warm = time.perf_counter() - begin

    def row(source: Iterator[dict[str, Any]]) -> dict[str, float]:
        times, notes, flops = [], 0, 0.0
        wait(device)
        for _ in range(steps):
            begin = time.perf_counter()
            batch = next(source)
            trainer.step(batch)
            if sync:
                wait(device)
            times.append(time.perf_counter() - begin)
            notes += sum(batch["sequences"])
            flops += musicbert_flops(config, batch["sequences"], len(batch["notes"]))
        begin = time.perf_counter()
        wait(device)
        seconds = sum(times) + time.perf_counter() - begin
        return {
            "ms_per_step": 1000 * seconds / steps,
            "notes_per_second": notes / seconds,
            "tflops": flops / seconds / 1e12,
            "utilisation": flops / seconds / ceiling,
        }

    result: dict[str, Any] = {**asdict(setting), "warmup_seconds": warm}
    result["resident"] = row(iter(lambda: pinned, None))
    if device.type == "cuda":
        result["peak_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    if profiled:
        result["profile"] = profile_steps(lambda: trainer.step(pinned), profiled, trace=trace)
    if workers >= 0:
        source = forever(loader_of(data, workers, device))
        for _ in range(warmup):  # with and without padding: compiled apart
            trainer.step(next(source))
        result["loader"] = {**row(source), "workers": workers}
    return result

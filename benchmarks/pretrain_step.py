"""Speed of masked-LM training: step time, notes a second, model FLOPs utilisation and memory.

    python benchmarks/pretrain_step.py --arch base --batch 16 --precision autocast --compile --workers 8
    python benchmarks/pretrain_step.py --sweep small base --write benchmarks/pretrain_step_<hardware>.md

Runs on whatever device torch finds and needs torch, NumPy and this package, no fairseq. A step is forward,
loss, backward and optimiser. Rows measured for each setting:

``resident``
    one batch that is on the device already: the speed of the model.
``loader``
    batches masked on the fly by ``--workers`` processes, put into pinned memory and copied: what training
    sees. ``--data PREFIX`` takes binarised pieces (``PREFIX.bin``, ``PREFIX.idx``), else pieces are made.

Utilisation is model FLOPs / time / ceiling. Both are of dense matrix products: 2 * m * n * k each.

    forward   = notes * L * (8 D^2 + 4 D W)              projections and feed-forward layers (W wide)
              + sum over sequences of L * 4 T^2 D        scores and weighted values
              + down-projection                          2 V F D^2 as a table, 2 F D^2 a note directly
              + selected * (2 D^2 + 2 D^2 + 2 D V)       up-projection, dense of the head, logits
    training  = 3 * forward                              recomputing is not counted

``ceiling`` is what one large product reaches on this device in the same precision, measured; padding is no
work that is needed, so only real notes count.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicbert.batches import MaskedBatch, collate
from musicbert.config import PRESETS, ModelConfig
from musicbert.encoding.vocabulary import FIELD_SIZES, rows_to_ids
from musicbert.masking import MaskPolicy, mask_tokens
from musicbert.model import MusicBert
from musicbert.model.masked_lm import listed_lm_sums
from musicbert.model.places import MaskedPlaces
from musicbert.model.segments import Segments

FIELDS = 8


# ---------------------------------------------------------------------------------------------------- data
class Blocks(torch.utils.data.Dataset):
    """Masked batches: item ``i`` is a whole batch, made from blocks of about ``notes`` notes."""

    def __init__(self, pieces: list[np.ndarray], batch: int, notes: int, layout: str, separate: bool) -> None:
        self.layout, self.separate, self.batch = layout, separate, batch
        self.blocks: list[list[np.ndarray]] = [[]]
        filled = 0
        for piece in pieces:  # as many consecutive pieces as fit
            size = len(piece) // FIELDS
            if self.blocks[-1] and filled + size > notes:
                self.blocks.append([])
                filled = 0
            self.blocks[-1].append(piece)
            filled += size

    def __len__(self) -> int:
        return len(self.blocks) // self.batch

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng([1, index])
        rows = self.blocks[index * self.batch : (index + 1) * self.batch]
        masked = [
            mask_tokens(np.concatenate(row).astype(np.int64), rng, MaskPolicy(per_piece=self.separate))
            for row in rows
        ]
        segments = [[len(piece) // FIELDS for piece in row] for row in rows] if self.separate else None
        return as_tensors(collate(*zip(*masked, strict=True), layout=self.layout, segments=segments), rows)


def as_tensors(batch: MaskedBatch, rows: list[list[np.ndarray]]) -> dict[str, Any]:
    tensors = {name: torch.from_numpy(getattr(batch, name)) for name in ("tokens", "notes", "wanted")}
    sequences = batch.lengths or [sum(map(len, row)) // FIELDS for row in rows]
    if batch.lengths is not None:
        tensors["offsets"] = Segments.of(batch.lengths).offsets
    return {**tensors, "counts": batch.counts, "padded": batch.padded, "sequences": sequences}


def made_pieces(count: int, seed: int = 0) -> list[np.ndarray]:
    """Piano-like windows of 30 to 1,000 notes: most windows of a corpus are full."""
    rng, pieces = np.random.default_rng(seed), []
    for _ in range(count):
        notes = 1000 if rng.random() < 0.7 else int(rng.integers(30, 1000))
        rows = rng.integers(0, np.minimum(FIELD_SIZES, (256, 64, 1, 88, 96, 32, 1, 4)), (notes, FIELDS))
        rows[:, 0] = np.sort(rng.integers(0, max(notes // 12, 1), notes))
        pieces.append(rows_to_ids(rows))
    return pieces


def stored_pieces(prefix: str, count: int) -> list[np.ndarray]:
    from musicbert.corpus.databin import read_index

    sizes = read_index(prefix)[:count]
    tokens = np.memmap(f"{prefix}.bin", dtype="<u2", mode="r")
    return [np.asarray(part) for part in np.split(tokens[: sizes.sum()], np.cumsum(sizes)[:-1])]


# --------------------------------------------------------------------------------------------------- model
def needed_flops(config: ModelConfig, sequences: list[int], selected: int) -> float:
    """FLOPs of a training step (see the module docstring)."""
    L, D, W, V = config.layers, config.width, config.ffn_width, config.vocabulary_size
    notes = sum(sequences)
    forward = notes * L * (8.0 * D * D + 4.0 * D * W)
    forward += L * 4.0 * D * sum(float(T) ** 2 for T in sequences)
    forward += 2.0 * FIELDS * D * D * min(V, notes)
    forward += selected * (4.0 * D * D + 2.0 * D * V)
    return 3.0 * forward


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
        fused = {"fused": True} if device.type == "cuda" else {}
        self.optimizer = torch.optim.AdamW(weights, 5e-4, (0.9, 0.98), 1e-6, 0.01, **fused)
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
                for weight, master in zip(self.model.parameters(), self.masters, strict=True):
                    weight.copy_(master)
        self.optimizer.zero_grad(set_to_none=True)
        self.model.zero_grad(set_to_none=True)


# --------------------------------------------------------------------------------------------- measurement
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
    setting: Setting, device: torch.device, data: Blocks, options: argparse.Namespace, ceiling: float
) -> dict[str, Any]:
    trainer = Trainer(setting, device)
    config = trainer.model.config
    resident = data[0]
    pinned = {k: v.to(device) if torch.is_tensor(v) else v for k, v in resident.items()}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    begin = time.perf_counter()
    for _ in range(options.warmup):
        trainer.step(pinned)
    wait(device)
    warm = time.perf_counter() - begin

    def row(source: Iterator[dict[str, Any]]) -> dict[str, float]:
        times, notes, flops = [], 0, 0.0
        wait(device)
        for _ in range(options.steps):
            begin = time.perf_counter()
            batch = next(source)
            trainer.step(batch)
            if options.sync:
                wait(device)
            times.append(time.perf_counter() - begin)
            notes += sum(batch["sequences"])
            flops += needed_flops(config, batch["sequences"], len(batch["notes"]))
        begin = time.perf_counter()
        wait(device)
        seconds = sum(times) + time.perf_counter() - begin
        return {
            "ms_per_step": 1000 * seconds / options.steps,
            "notes_per_second": notes / seconds,
            "tflops": flops / seconds / 1e12,
            "utilisation": flops / seconds / ceiling,
        }

    result: dict[str, Any] = {**asdict(setting), "warmup_seconds": warm}
    result["resident"] = row(iter(lambda: pinned, None))
    if options.workers >= 0:
        source = forever(loader_of(data, options.workers, device))
        for _ in range(options.warmup):  # with and without padding: compiled apart
            trainer.step(next(source))
        result["loader"] = row(source)
    if device.type == "cuda":
        result["peak_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    return result


def measure_loader(data: Blocks, seconds: float = 3.0) -> float:
    """Notes that one process masks and collates in a second of processor time."""
    begin, notes, index = time.process_time(), 0, 0
    while time.process_time() - begin < seconds:
        notes += sum(data[index % len(data)]["sequences"])
        index += 1
    return notes / (time.process_time() - begin)


def check_layouts(device: torch.device) -> float:
    """Largest difference between the losses of a padded batch and of the same as a stream (float32)."""
    pieces = made_pieces(12, seed=5)
    torch.manual_seed(0)
    model = MusicBert(PRESETS["tiny"].with_(max_positions=8192)).to(device).eval()
    rng = np.random.default_rng(0)
    policy = MaskPolicy(random_tokens="field")
    masked = [mask_tokens(piece, rng, policy) for piece in pieces]
    losses = []
    for layout in ("padded", "stream"):
        batch = as_tensors(collate(*zip(*masked, strict=True), layout=layout), [[p] for p in pieces])
        batch = {k: v.to(device) if torch.is_tensor(v) else v for k, v in batch.items()}
        segments = Segments(batch["offsets"], batch["sequences"]) if "offsets" in batch else None
        places = MaskedPlaces(batch["notes"], batch["counts"])
        logits, _ = model(batch["tokens"], masked_places=places, padded=batch["padded"], segments=segments)
        loss = listed_lm_sums(logits, batch["wanted"], batch["counts"]).loss
        model.zero_grad()
        (loss / len(batch["wanted"])).backward()
        grads = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        losses.append((loss.item() / len(batch["wanted"]), grads))
    (a, one), (b, two) = losses
    return max(abs(a - b), (one - two).abs().max().item())


def table(results: list[dict[str, Any]], workers: int) -> list[str]:
    lines = [
        "| arch | batch | precision | layout | attention dropout | compiled | source | ms a step | notes/s "
        "| TFLOP/s | utilisation | GiB |",
        "|---|---:|---|---|---:|---|---|---:|---:|---:|---:|---:|",
    ]
    for r in results:
        for name in ("resident", "loader"):
            if name not in r:
                continue
            m = r[name]
            source = name if name == "resident" else f"loader, {workers} workers"
            lines.append(
                f"| {r['arch']} | {r['batch']} x {r['notes']} | {r['precision']} | {r['layout']}"
                f"{', pieces apart' if r['separate'] else ''} | {r['attention_dropout']} | "
                f"{'yes' if r['compile'] else 'no'} | {source} | {m['ms_per_step']:.1f} | "
                f"{m['notes_per_second']:,.0f} | {m['tflops']:.1f} | {m['utilisation']:.1%} | "
                f"{r.get('peak_gib', 0):.1f} |"
            )
    return lines


def settings_of(options: argparse.Namespace) -> list[Setting]:
    def one(arch: str, **changes: Any) -> Setting:
        values = {
            "arch": arch, "batch": options.batch, "notes": options.notes, "precision": options.precision,
            "layout": options.layout, "separate": options.separate, "compile": options.compile,
            "attention_dropout": options.attention_dropout, "down_form": options.down_form,
        }  # fmt: skip
        return Setting(**{**values, **changes})

    if not options.sweep:
        return [one(options.arch)]
    found = []
    for arch in options.sweep:
        every = itertools.product(("padded", "stream"), ("autocast", "bf16"), (False, True))
        found += [one(arch, layout=kind, precision=form, compile=yes) for kind, form, yes in every]
        found.append(one(arch, layout="stream", precision="bf16", compile=True, attention_dropout=0.0))
        found.append(one(arch, layout="stream", precision="bf16", compile=True, separate=True))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arch", default="small", choices=sorted(PRESETS))
    parser.add_argument("--batch", type=int, default=16, help="blocks of a step")
    parser.add_argument("--notes", type=int, default=1023, help="most notes of a block, specials included")
    parser.add_argument("--precision", default="autocast", choices=["float32", "autocast", "bf16"])
    parser.add_argument("--layout", default="padded", choices=["padded", "stream"])
    parser.add_argument("--separate", action="store_true", help="pieces of a block apart (with stream)")
    parser.add_argument("--attention-dropout", type=float, default=0.1)
    parser.add_argument("--down-form", default="auto", choices=["auto", "direct", "table", "present"])
    parser.add_argument("--compile", action="store_true", help="torch.compile of the blocks")
    parser.add_argument("--sweep", nargs="+", choices=sorted(PRESETS), help="all settings, for these sizes")
    parser.add_argument("--data", help="prefix of binarised pieces, such as lmd_data_bin/train")
    parser.add_argument("--pieces", type=int, default=2000, help="pieces to make or to read")
    parser.add_argument("--workers", type=int, default=4, help="loading processes; -1: no loader row")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=6)
    parser.add_argument("--sync", action="store_true", help="wait for the device after each step")
    parser.add_argument("--device", help="cpu, cuda, ... (default: what torch finds)")
    parser.add_argument("--threads", type=int, default=0, help="threads of a CPU run (default: torch's)")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    parser.add_argument("--write", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    print(f"{name}, torch {torch.__version__}, Python {platform.python_version()}", flush=True)
    difference = check_layouts(device)
    print(f"padded against stream: largest difference of loss and gradient {difference:.2e}", flush=True)
    pieces = stored_pieces(options.data, options.pieces) if options.data else made_pieces(options.pieces)
    ceilings: dict[str, float] = {}
    results = []
    for setting in settings_of(options):
        kind = "float32" if setting.precision == "float32" else "bfloat16"
        if kind not in ceilings:
            ceilings[kind] = measured_ceiling(device, getattr(torch, kind))
            print(f"ceiling, {kind}: {ceilings[kind] / 1e12:.1f} TFLOP/s", flush=True)
        data = Blocks(pieces, setting.batch, setting.notes, setting.layout, setting.separate)
        try:
            results.append(measure(setting, device, data, options, ceilings[kind]))
            print("\n".join(table(results[-1:], options.workers)[2:]), flush=True)
        except (RuntimeError, NotImplementedError) as error:  # out of memory, or a kernel that is not there
            print(f"{setting}: {type(error).__name__}: {str(error)[:300]}", flush=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        torch.compiler.reset()
    one_core = measure_loader(Blocks(pieces, options.batch, options.notes, options.layout, False))
    print(f"one process masks and collates {one_core:,.0f} notes/s", flush=True)
    summary = {
        "device": name, "torch": torch.__version__, "python": platform.python_version(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}", "ceiling_tflops": {k: v / 1e12 for k, v in ceilings.items()},
        "loader_notes_per_second_per_process": one_core, "layout_difference": difference, "results": results,
    }  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(summary, indent=1))
    if options.write:
        lines = [
            "# Speed of masked-LM training",
            "",
            f"{summary['date']}, {name}, torch {torch.__version__}, Python {platform.python_version()}.",
            "Made by `python benchmarks/pretrain_step.py`, which says what is counted. Ceiling (one large",
            f"matrix product): {', '.join(f'{k} {v / 1e12:.0f} TFLOP/s' for k, v in ceilings.items())}.",
            f"One process masks and collates {one_core:,.0f} notes/s. Padded against stream, float32:",
            f"largest difference of loss and gradients {difference:.1e}.",
            "",
            *table(results, options.workers),
            "",
        ]
        options.write.write_text("\n".join(lines))


if __name__ == "__main__":
    main()

"""M2BERT's pre-training step: time, notes a second, model FLOPs utilisation and memory.

    python benchmarks/m2bert_step.py --arch base --batch 64 --data CP_FOLDER --workers 8 \\
        --settings masks:eager flash:eager flash:compiled --profile profile.md

Runs on whatever device torch finds. A step is forward, the losses of columns and piano roll, backward,
clipping, and ``stable_adamw``, with products in bfloat16 and float32 weights (``--bf16`` of
``scripts/m2bert/pretrain.sh``). Rows for each setting:

``resident``
    one batch that is on the device already: the speed of the model.
``loader``
    crops that ``--workers`` processes cut and disturb, copied from pinned memory: what training sees.
    ``--data`` is a folder of compound words (``musicbert build --encoding cp``), else pieces are made.

``--settings`` are words with colons between them (``flash:compiled:half:128``): what attends (``masks``:
scaled dot-product attention with masks and blocks; ``flash``: FlashAttention's kernel for sequences, on a
GPU), ``compiled`` blocks, for any shape or (``static``) for each shape anew, ``half`` (sums over the blocks
in bfloat16), ``undropped`` (no dropout), a batch. With ``flash`` both kinds of attention are compared first,
outputs and gradients, padding included. ``--profile FILE`` writes where the time of resident steps goes, by
kind of kernel. Files are written after each setting. What counts as work is said in
:mod:`musicbert.flops`; the ceiling is what one large product reaches on the device in bfloat16,
measured.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from m2bert_speed import MadePieces, loss_of
from step_profile import profile_lines, profile_steps
from step_trainer import forever, measured_ceiling, measured_cells, wait

from musicbert.atomic import write_json, write_text
from musicbert.config import M2BERT_PRESETS
from musicbert.fairseq_plugin.optimisers.stable_adamw import StableAdamW
from musicbert.fairseq_plugin.pretraining.note_crops import NoteCrops, open_pieces
from musicbert.flops import m2bert_flops
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.model.blocks import modernbert
from musicbert.objectives.denoising import NoisePolicy, add_noise, noise_radii
from musicbert.objectives.note_fields import CP


def attending(form: str) -> Any:
    """``masks``: as on a device without FlashAttention."""
    plain = mock.patch.object(modernbert, "has_flash", return_value=False)
    return plain if form == "masks" else nullcontext()


def to_device(batch: Any, device: torch.device) -> Any:
    """As fairseq does it: without waiting for the device."""
    if isinstance(batch, dict):
        return {name: to_device(each, device) for name, each in batch.items()}
    return batch.to(device, non_blocking=True) if isinstance(batch, torch.Tensor) else batch


def differences(device: torch.device) -> tuple[float, float]:
    """FlashAttention against masks, padded crops, bfloat16 products: of the states, of the gradients."""
    torch.manual_seed(0)
    config = M2BERT_PRESETS["mini"].with_(attention_dropout=0.0, mlp_dropout=0.0)
    model, found = M2Bert(config).to(device), []
    model.autocast_bf16 = True
    lengths = torch.tensor([700, 1, 300, 64], device=device)
    cells = torch.stack([torch.randint(0, size - 2, (4, 700), device=device) for size in CP.sizes], dim=-1)
    padding = torch.arange(700, device=device) >= lengths[:, None]
    cells[padding] = torch.tensor(CP.pads, device=device)
    weight = torch.randn(4, 700, config.width, device=device) * ~padding[..., None]
    for form in ("masks", "flash"):
        with attending(form):
            states = model(cells, padding, features_only=True, lengths=lengths)[0].float()
        model.zero_grad()
        (states * weight).sum().backward()
        gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        found.append((states.detach() * ~padding[..., None], torch.cat(gradients)))
    (old, old_gradient), (new, new_gradient) = found
    return (
        float((old - new).norm() / old.norm()),
        float((old_gradient - new_gradient).norm() / old_gradient.norm()),
    )


class Trainer:
    """One setting."""

    def __init__(self, arch: str, setting: dict[str, Any], device: torch.device) -> None:
        torch.manual_seed(0)
        self.device, rate = device, setting["dropout"]
        config = M2BERT_PRESETS[arch].with_(attention_dropout=rate, mlp_dropout=rate)
        self.model = M2Bert(config).to(device).train()
        self.model.autocast_bf16 = True
        self.model.encoder.note_bert1.half_sums = setting["half"]
        if setting["compile"]:
            self.model.compile_blocks(dynamic=not setting["static"])
        self.weights = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = StableAdamW(self.weights, lr=2e-5)

    def step(self, batch: dict[str, Any]) -> None:
        loss_of(self.model, to_device(batch, self.device)).backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 3.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def measure(
    options: argparse.Namespace, setting: dict[str, Any], crops: NoteCrops, ceiling: float
) -> dict[str, Any]:
    """Rows ``resident`` and ``loader`` of a setting, and its profile."""
    device, batch = torch.device(options.device), setting["batch"]
    trainer = Trainer(options.arch, setting, device)
    order = crops.ordered_indices()
    groups = [order[i : i + batch] for i in range(0, len(order) - batch + 1, batch)]
    groups = [groups[i] for i in torch.randperm(len(groups), generator=torch.Generator().manual_seed(0))]
    resident = to_device(crops.collater([crops[int(i)] for i in order[-batch:]]), device)

    def row(source: Iterator[dict[str, Any]]) -> dict[str, float]:
        notes, flops = 0, 0.0
        wait(device)
        begin = time.perf_counter()
        for _ in range(options.steps):
            each = next(source)
            trainer.step(each)
            lengths = known if each is resident else each["net_input"]["lengths"].tolist()
            notes += sum(lengths)
            flops += m2bert_flops(trainer.model.config, lengths, len(each["target"]))
        wait(device)
        seconds = time.perf_counter() - begin
        return {
            "ms_per_step": 1000 * seconds / options.steps,
            "notes_per_second": notes / seconds,
            "tflops": flops / seconds / 1e12,
            "utilisation": flops / seconds / ceiling,
        }

    known = resident["net_input"]["lengths"].tolist()  # not asked of the device in each step
    result: dict[str, Any] = {
        "arch": f"m2bert {options.arch}", "notes": crops.crop, "precision": "autocast", **setting,
        "layout": setting["attention"] + (", half sums" if setting["half"] else ""),
        "attention_dropout": setting["dropout"],
    }  # fmt: skip
    with attending(setting["attention"]):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        begin = time.perf_counter()
        for _ in range(options.warmup):
            trainer.step(resident)
        wait(device)
        result["warmup_seconds"] = time.perf_counter() - begin
        result["resident"] = row(iter(lambda: resident, None))
        if device.type == "cuda":
            result["peak_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
        if options.profile:
            result["profile"] = profile_steps(lambda: trainer.step(resident), options.profile_steps)
        if options.workers >= 0:
            loader = torch.utils.data.DataLoader(
                crops, batch_sampler=groups, collate_fn=crops.collater, num_workers=options.workers,
                pin_memory=device.type == "cuda", persistent_workers=options.workers > 0,
            )  # fmt: skip
            source = forever(loader)
            for _ in range(options.warmup):
                trainer.step(next(source))
            result["loader"] = {**row(source), "workers": options.workers}
    return result


def table(results: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| arch | batch | attention | compiled | sums | dropout | source | ms a step | notes/s | TFLOP/s "
        "| utilisation | GiB |",
        "|---|---:|---|---|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for r in results:
        compiled = "static" if r["static"] else "yes"
        start = (
            f"| {r['arch']} | {r['batch']} x {r['notes']} | {r['attention']} | "
            f"{compiled if r['compile'] else 'no'} | {'bfloat16' if r['half'] else 'float32'} | "
            f"{r['dropout']} | "
        )
        lines += [start + cells for cells in measured_cells(r)]
    return lines


def setting_of(text: str) -> dict[str, Any]:
    words = set(text.split(":"))
    sizes = {word for word in words if word.isdecimal()}
    known = {"masks", "flash", "eager", "compiled", "static", "half", "undropped"}
    against = ({"masks", "flash"}, {"eager", "compiled"})
    if words - sizes - known or len(sizes) > 1 or any(pair <= words for pair in against):
        raise ValueError(text)
    if "static" in words and "compiled" not in words:
        raise ValueError(text)
    return {
        "attention": "flash" if "flash" in words else "masks", "compile": "compiled" in words,
        "static": "static" in words, "half": "half" in words, "dropout": 0.0 if "undropped" in words else 0.1,
        "batch": int(sizes.pop()) if sizes else 0,
    }  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arch", default="base", choices=sorted(M2BERT_PRESETS))
    parser.add_argument("--batch", type=int, default=64, help="crops of a step")
    parser.add_argument("--crop", type=int, default=1024, help="notes of a crop")
    parser.add_argument("--settings", nargs="+", type=setting_of, default=[setting_of("masks")])
    parser.add_argument("--data", type=Path, help="folder of compound words")
    parser.add_argument("--workers", type=int, default=4, help="loading processes; -1: no loader row")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=6)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    parser.add_argument("--write", type=Path, help="Markdown file to write")
    parser.add_argument("--profile", type=Path, help="Markdown file: time of each setting by kind of kernel")
    parser.add_argument("--profile-steps", type=int, default=5)
    return parser


def main(given: list[str] | None = None) -> None:
    options = arguments().parse_args(given)
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    where = f"{datetime.now(UTC):%Y-%m-%d}, {name}, {versions}."
    print(where, flush=True)
    said = ""
    if any(setting["attention"] == "flash" for setting in options.settings):
        if not modernbert.has_flash(device):
            raise SystemExit(f"error: {name} has no FlashAttention here; leave flash out of --settings")
        said = "FlashAttention against masks, relative: states {:.1e}, gradients {:.1e}.".format(
            *differences(device)
        )
        print(said, flush=True)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    pieces = open_pieces(options.data, "train", CP) if options.data else MadePieces(4 * options.batch)
    noise = NoisePolicy(noise_radii(CP, (4, 12, 12)))
    crops = NoteCrops(pieces, partial(add_noise, fields=CP, policy=noise), crop=options.crop, roll=True)
    ceiling = measured_ceiling(device, torch.bfloat16)
    print(f"ceiling, bfloat16: {ceiling / 1e12:.1f} TFLOP/s", flush=True)
    results: list[dict[str, Any]] = []
    for setting in options.settings:
        setting["batch"] = setting["batch"] or options.batch
        try:
            results.append(measure(options, setting, crops, ceiling))
        except RuntimeError as error:  # out of memory, or a kernel that is not there
            print(f"{setting}: {type(error).__name__}: {str(error)[:600]}", flush=True)
            continue
        print("\n".join(table(results[-1:])[2:]), flush=True)
        summary = {"where": where, "check": said, "ceiling_tflops": ceiling / 1e12, "results": results}
        head = [where, said, f"Ceiling: {ceiling / 1e12:.0f} TFLOP/s.", ""]
        save: list[tuple[Path | None, Callable[[Path], None]]] = [
            (options.json, lambda path, all_of_it=summary: write_json(path, all_of_it)),
            (options.write, lambda path, top=head: write_text(
                path, "\n".join(["# M2BERT's pre-training step", "", *top, *table(results), ""]))),
            (options.profile, lambda path, top=head: write_text(path, "\n".join(
                ["# Where M2BERT's step spends its time", "", *top,
                 *(line for r in results if "profile" in r for line in profile_lines(r))]))),
        ]  # fmt: skip
        for path, write in save:
            if path:
                write(path)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        torch.compiler.reset()


if __name__ == "__main__":
    main()

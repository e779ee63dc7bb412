"""Time a training step of the masked language model against a plain path with the same numbers.

    python benchmarks/model_step.py [--write benchmarks/model_step_<hardware>_<date>.md] [--arch tiny small]

Plain path, on the same parameters: embed eight tokens a note, concatenate, project; attention as two matrix
products around a softmax with a dense (B, H, T, T) mask; up-projection of every note; logits of masked
tokens. Ours: look-ups in projected tables, fused attention without a mask, up-projection of masked tokens
only. A step is forward, loss and backward (the optimiser is the same on both sides and left out). "bf16" is
ours with
``--autocast-bf16``.

Both run in turns in one process, one thread; what counts is the CPU time of the process (other work on the
machine does not), best of several rounds. On a GPU (``--device cuda``) it is the wall time, after
synchronising.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from musicbert.config import PRESETS
from musicbert.encoding.vocabulary import FIELD_SIZES, PAD, VOCABULARY_SIZE, rows_to_ids
from musicbert.masking import MaskPolicy, mask_tokens
from musicbert.model import MusicBert
from musicbert.model.embedding import compound_embedding, note_positions
from musicbert.model.masked_lm import masked_lm_sums

#: name -> (pieces, notes): a packed block, a batch of short performances, and one short piece
BATCHES = {"1 x 1,000 notes": (1, 1000), "16 x 120 notes": (16, 120), "1 x 120 notes": (1, 120)}


def make_batch(pieces: int, notes: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Piano-like pieces, masked by bar."""
    rng = np.random.default_rng(0)
    sources, targets = [], []
    for _ in range(pieces):
        rows = rng.integers(0, np.minimum(FIELD_SIZES, (256, 64, 1, 88, 96, 32, 1, 4)), (notes, 8))
        rows[:, 0] = np.sort(rng.integers(0, max(notes // 12, 1), notes))
        source, target = mask_tokens(rows_to_ids(rows), rng, MaskPolicy())
        sources.append(source)
        targets.append(target)
    stacked = np.stack(sources), np.stack(targets)
    return torch.from_numpy(stacked[0]).to(device), torch.from_numpy(stacked[1]).to(device)


def plain_loss(model: MusicBert, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The loss, every step written out."""
    encoder, config = model.encoder.sentence_encoder, model.config
    padding = source[:, :: config.fields].eq(PAD)  # (B, T)
    mask = torch.zeros(
        padding.shape[0], config.heads, padding.shape[1], padding.shape[1], device=source.device
    )
    mask.masked_fill_(padding[:, None, None, :], float("-inf"))  # (B, H, T, T)
    x = encoder.embed_tokens(source).flatten(1).unflatten(1, (padding.shape[1], -1))  # (B, T, F*D)
    x = encoder.downsampling(x) + encoder.embed_positions(note_positions(padding))  # (B, T, D)
    x = F.dropout(encoder.emb_layer_norm(x), config.dropout, model.training)
    x = x * (~padding)[..., None].to(x.dtype)
    for layer in encoder.layers:
        attention = layer.self_attn
        split = [p(x).unflatten(-1, (config.heads, -1)).transpose(1, 2) for p in
                 (attention.q_proj, attention.k_proj, attention.v_proj)]  # fmt: skip
        q, k, v = split  # (B, H, T, D/H)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + mask.to(q.dtype)
        share = F.dropout(scores.float().softmax(-1).to(q.dtype), config.attention_dropout, model.training)
        y = attention.out_proj((share @ v).transpose(1, 2).flatten(2))
        x = layer.self_attn_layer_norm(x + F.dropout(y, config.dropout, model.training))
        y = layer.fc2(F.gelu(layer.fc1(x)))
        x = layer.final_layer_norm(x + F.dropout(y, config.dropout, model.training))
    features = encoder.upsampling(x).view(source.shape[0], -1, config.width)  # (B, T*F, D)
    selected = target.ne(PAD)
    logits = model.encoder.lm_head(features[selected])  # (N, V)
    return F.cross_entropy(logits.float(), target[selected], reduction="sum")


def our_loss(model: MusicBert, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    selected = target.ne(PAD)
    return masked_lm_sums(model(source, masked_tokens=selected)[0], target, selected).loss


def our_loss_bf16(model: MusicBert, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    model.autocast_bf16 = True
    try:
        return our_loss(model, source, target)
    finally:
        model.autocast_bf16 = False


def best_times(calls: dict[str, Callable[[], None]], rounds: int, device: str) -> dict[str, float]:
    """Best time of each call in milliseconds, taken in turns."""
    best = dict.fromkeys(calls, float("inf"))
    for turn in range(rounds + 1):
        for name, call in calls.items():
            if device == "cuda":
                torch.cuda.synchronize()
                begin = time.perf_counter()
                call()
                torch.cuda.synchronize()
                spent = time.perf_counter() - begin
            else:
                begin = time.process_time()
                call()
                spent = time.process_time() - begin
            if turn:  # the first round warms up
                best[name] = min(best[name], 1000 * spent)
    return best


def step_of(loss: Callable[..., torch.Tensor], model: MusicBert, *batch: torch.Tensor) -> Callable[[], None]:
    def step() -> None:
        model.zero_grad()
        loss(model, *batch).backward()

    return step


def measure_steps(arch: str, device: str, rounds: int) -> list[str]:
    rows = []
    for name, shape in BATCHES.items():
        torch.manual_seed(0)
        model = MusicBert(PRESETS[arch].with_(max_positions=1024)).to(device)
        batch = make_batch(*shape, device)
        model.eval()
        with torch.inference_mode():
            ours, plain = our_loss(model, *batch), plain_loss(model, *batch)
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-2)
        for dropout in (True, False):
            model.train(dropout)
            paths = {"plain": plain_loss, "ours": our_loss, "bf16": our_loss_bf16}
            calls = {path: step_of(loss, model, *batch) for path, loss in paths.items()}
            best = best_times(calls, rounds, device)
            kind = "on" if dropout else "off"
            times = " | ".join(f"{value:.1f}" for value in best.values())
            ratios = " | ".join(f"{best['plain'] / best[path]:.2f}" for path in ("ours", "bf16"))
            rows.append(f"| {arch} | {name} | {kind} | {times} | {ratios} |")
            print(rows[-1], flush=True)
    return rows


def measure_forms(arch: str, device: str, rounds: int) -> list[str]:
    rows, width = [], PRESETS[arch].width
    table = torch.randn(VOCABULARY_SIZE, width, device=device, requires_grad=True)
    weight = torch.randn(width, 8 * width, device=device, requires_grad=True)
    for name, shape in BATCHES.items():
        source, _ = make_batch(*shape, device)

        def call(form: str, source: torch.Tensor = source) -> Callable[[], None]:
            def run() -> None:
                table.grad = weight.grad = None
                compound_embedding(source, table, weight, form=form).sum().backward()

            return run

        best = best_times({form: call(form) for form in ("direct", "table", "present")}, rounds, device)
        times = " | ".join(f"{value:.2f}" for value in best.values())
        rows.append(f"| {arch} | {name} | {times} |")
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arch", nargs="+", default=["tiny", "small"], choices=sorted(PRESETS))
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps, forms = [], []
    for arch in options.arch:
        steps += measure_steps(arch, options.device, options.rounds)
        forms += measure_forms(arch, options.device, options.rounds)
    if options.write:
        hardware = (
            torch.cuda.get_device_name() if options.device == "cuda" else f"{platform.machine()}, one thread"
        )
        unit = "wall" if options.device == "cuda" else "CPU"
        lines = [
            "# A training step of the masked language model",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {hardware}, torch {torch.__version__}, "
            f"Python {platform.python_version()}, float32.",
            f"Milliseconds ({unit} time), best of {options.rounds}. Made by",
            f"`python benchmarks/model_step.py --arch {' '.join(options.arch)} --device {options.device}`,",
            "which also says what the two paths are and checks that their losses are equal.",
            "",
            "| arch | batch | dropout | plain | ours | bf16 | plain / ours | plain / bf16 |",
            "|---|---|---|---|---|---|---|---|",
            *steps,
            "",
            "## The down-projection alone, forward and backward",
            "",
            "| arch | batch | direct | table | present |",
            "|---|---|---|---|---|",
            *forms,
            "",
        ]
        options.write.write_text("\n".join(lines))


if __name__ == "__main__":
    main()

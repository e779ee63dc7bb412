"""Time a training step of the masked language model against a plain path with the same numbers.

    python benchmarks/model_step.py [--write benchmarks/model_step_<hardware>_<date>.md] [--arch tiny small]
    python benchmarks/model_step.py --shape 4x900 --threads 2  # rows x notes, on two idle cores
    python benchmarks/model_step.py --memory --arch small --shape 4x900

Plain path, on the same parameters: embed eight tokens a note, concatenate, project; attention as two matrix
products around a softmax with a dense (B, H, T, T) mask; up-projection of every note; logits of masked
tokens. Ours: look-ups in projected tables, attention without a mask (`musicbert.model.blocks.dot_product`),
up-projection of masked tokens only. A step is forward, loss and backward (the optimiser is the same on both
sides and left out). "bf16" is ours with ``--autocast-bf16``. Two parts are timed alone, too: three forms of
the down-projection, and the attention of one layer against torch's own choice of a kernel.

Both run in turns in one process. With one thread (the default) what counts is the CPU time of the process
(other work on the machine does not), best of several rounds. With several (``--threads``) and on a GPU
(``--device cuda``, after synchronising) it is the wall time: leave the machine idle. Tokens a second are
eight a note, the two ends of a row not counted.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from musicbert.config import PRESETS
from musicbert.encoding.vocabulary import FIELD_SIZES, PAD, VOCABULARY_SIZE, rows_to_ids
from musicbert.model import MusicBert
from musicbert.model.blocks import dot_product
from musicbert.model.blocks.dot_product import dot_product_attention
from musicbert.model.blocks.embedding import compound_embedding, note_positions
from musicbert.objectives.masking import MaskPolicy, mask_tokens

#: (rows, notes): a packed block, a batch of short performances, and one short piece
SHAPES = ((1, 1000), (16, 120), (1, 120))
#: paths that are timed, in the order of the columns
PATHS = ("plain", "ours", "bf16")
#: times that each path runs, without the first
ROUNDS = 5
#: paths whose memory is measured
KINDS = ("plain", "keeping weights", "ours")


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
    logits = model(source, masked_tokens=selected)[0]
    return F.cross_entropy(logits.float(), target[selected], reduction="sum")


def our_loss_bf16(model: MusicBert, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    model.autocast_bf16 = True
    try:
        return our_loss(model, source, target)
    finally:
        model.autocast_bf16 = False


def clock_of(device: str, threads: int) -> str:
    """Which time counts: that of the CPU adds up threads, and knows nothing of a GPU."""
    return "CPU" if device == "cpu" and threads == 1 else "wall"


def shape_of(text: str) -> tuple[int, int]:
    """Rows and notes of ``4x900``."""
    rows, _, notes = text.partition("x")
    if not (rows.isdecimal() and notes.isdecimal() and int(rows) and int(notes)):
        raise argparse.ArgumentTypeError(f"a shape is ROWSxNOTES, such as 4x900, not {text!r}")
    return int(rows), int(notes)


def best_times(
    calls: dict[str, Callable[[], None]], rounds: int, device: str, threads: int
) -> dict[str, float]:
    """Best time of each call in milliseconds, taken in turns."""
    clock = time.process_time if clock_of(device, threads) == "CPU" else time.perf_counter
    best = dict.fromkeys(calls, float("inf"))
    for turn in range(rounds + 1):
        for name, call in calls.items():
            if device == "cuda":
                torch.cuda.synchronize()
            begin = clock()
            call()
            if device == "cuda":
                torch.cuda.synchronize()
            spent = clock() - begin
            if turn:  # the first round warms up
                best[name] = min(best[name], 1000 * spent)
    return best


def step_of(loss: Callable[..., torch.Tensor], model: MusicBert, *batch: torch.Tensor) -> Callable[[], None]:
    def step() -> None:
        model.zero_grad()
        loss(model, *batch).backward()

    return step


def measure_steps(
    arch: str, shapes: Sequence[tuple[int, int]], device: str, rounds: int, threads: int
) -> list[str]:
    rows = []
    for shape in shapes:
        torch.manual_seed(0)
        # two special octuples stand around the notes
        model = MusicBert(PRESETS[arch].with_(max_positions=max(1024, shape[1] + 2))).to(device)
        batch = make_batch(*shape, device)
        model.eval()
        with torch.inference_mode():
            ours, plain = our_loss(model, *batch), plain_loss(model, *batch)
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-2)
        for dropout in (True, False):
            model.train(dropout)
            losses = zip(PATHS, (plain_loss, our_loss, our_loss_bf16), strict=True)
            calls = {path: step_of(loss, model, *batch) for path, loss in losses}
            best = best_times(calls, rounds, device, threads)
            kind = "on" if dropout else "off"
            times = " | ".join(f"{value:.1f}" for value in best.values())
            ratios = " | ".join(f"{best['plain'] / best[path]:.2f}" for path in ("ours", "bf16"))
            tokens = " | ".join(f"{8000 * shape[0] * shape[1] / value:,.0f}" for value in best.values())
            rows.append(f"| {arch} | {named(shape)} | {kind} | {times} | {ratios} | {tokens} |")
            print(rows[-1], flush=True)
    return rows


def named(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]:,} notes"


def measure_forms(
    arch: str, shapes: Sequence[tuple[int, int]], device: str, rounds: int, threads: int
) -> list[str]:
    rows, width = [], PRESETS[arch].width
    table = torch.randn(VOCABULARY_SIZE, width, device=device, requires_grad=True)
    weight = torch.randn(width, 8 * width, device=device, requires_grad=True)
    for shape in shapes:
        source, _ = make_batch(*shape, device)

        def call(form: str, source: torch.Tensor = source) -> Callable[[], None]:
            def run() -> None:
                table.grad = weight.grad = None
                compound_embedding(source, table, weight, form=form).sum().backward()

            return run

        calls = {form: call(form) for form in ("direct", "table", "present")}
        best = best_times(calls, rounds, device, threads)
        times = " | ".join(f"{value:.2f}" for value in best.values())
        rows.append(f"| {arch} | {named(shape)} | {times} |")
        print(rows[-1], flush=True)
    return rows


def measure_attention(
    arch: str, shapes: Sequence[tuple[int, int]], device: str, rounds: int, threads: int
) -> list[str]:
    """Attention of one layer, forward and backward: torch's choice of kernel, and ours."""
    rows, config = [], PRESETS[arch]
    for pieces, notes in shapes:
        for dtype in (torch.float32, torch.bfloat16):
            size = (pieces, notes + 2, config.heads, config.width // config.heads)
            q, k, v = (
                torch.randn(size, dtype=dtype, device=device).transpose(1, 2).requires_grad_() for _ in "qkv"
            )
            for dropout in (0.1, 0.0):

                def fused(parts: tuple[torch.Tensor, ...] = (q, k, v), rate: float = dropout) -> None:
                    F.scaled_dot_product_attention(*parts, dropout_p=rate).sum().backward()

                def chosen(parts: tuple[torch.Tensor, ...] = (q, k, v), rate: float = dropout) -> None:
                    dot_product_attention(*parts, dropout=rate).sum().backward()

                best = best_times({"torch": fused, "ours": chosen}, rounds, device, threads)
                name, kind = str(dtype).removeprefix("torch."), "on" if dropout else "off"
                times = f"{best['torch']:.1f} | {best['ours']:.1f} | {best['torch'] / best['ours']:.2f}"
                rows.append(f"| {arch} | {named((pieces, notes))} | {name} | {kind} | {times} |")
                print(rows[-1], flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arch", nargs="+", default=["tiny", "small"], choices=sorted(PRESETS))
    parser.add_argument(
        "--shape",
        nargs="+",
        type=shape_of,
        default=SHAPES,
        metavar="ROWSxNOTES",
        help="(1x1000 16x120 1x120)",
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (%(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--steps-only",
        action="store_true",
        help="no tables of parts; processor time of all threads",
    )
    parser.add_argument("--write", type=Path, help="Markdown file to write")
    parser.add_argument("--memory", action="store_true", help="measure the memory of each path, not its time")
    parser.add_argument("--peak", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.threads < 1:
        parser.error("--threads is at least 1")
    torch.set_num_threads(options.threads)
    if options.peak:
        print_peak(options.peak, options.arch[0], options.shape[0])
        return
    if options.memory:
        rows = [row for arch in options.arch for row in measure_memory(arch, options.shape, options.threads)]
        if options.write:
            options.write.write_text(memory_report(options, rows))
        return
    steps, forms, attention = [], [], []
    settings = options.device, options.rounds, options.threads
    for arch in options.arch:
        if options.steps_only:
            steps += measure_steps(arch, options.shape, options.device, options.rounds, 1)
            continue
        steps += measure_steps(arch, options.shape, *settings)
        forms += measure_forms(arch, options.shape, *settings)
        attention += measure_attention(arch, options.shape, *settings)
    if options.write:
        options.write.write_text(report(options, steps, forms, attention))


def measure_memory(arch: str, shapes: Sequence[tuple[int, int]], threads: int) -> list[str]:
    """Largest memory of a process that takes three steps with dropout, for each path."""
    rows = []
    for shape in shapes:
        peaks = []
        for path in KINDS:
            words = [
                sys.executable,
                __file__,
                "--peak",
                path,
                "--arch",
                arch,
                "--shape",
                f"{shape[0]}x{shape[1]}",
            ]
            done = subprocess.run(
                [*words, "--threads", str(threads)], capture_output=True, text=True, check=True
            )
            peaks.append(float(done.stdout))
        numbers = " | ".join(f"{peak:,.0f}" for peak in peaks)
        rows.append(f"| {arch} | {named(shape)} | {numbers} | {peaks[2] / peaks[0]:.2f} |")
        print(rows[-1], flush=True)
    return rows


def print_peak(path: str, arch: str, shape: tuple[int, int]) -> None:
    """Take three steps, and print the largest memory of this process in MiB."""
    torch.manual_seed(0)
    model = MusicBert(PRESETS[arch].with_(max_positions=max(1024, shape[1] + 2))).train()
    if path == "keeping weights":
        dot_product.KEPT_WEIGHTS = sys.maxsize
    step = step_of(plain_loss if path == "plain" else our_loss, model, *make_batch(*shape, "cpu"))
    for _ in range(3):
        step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def report(
    options: argparse.Namespace, steps: Sequence[str], forms: Sequence[str], attention: Sequence[str]
) -> str:
    threads = "one thread" if options.threads == 1 else f"{options.threads} threads"
    hardware = (
        torch.cuda.get_device_name() if options.device == "cuda" else f"{platform.machine()}, {threads}"
    )
    command = f"--arch {' '.join(options.arch)} --device {options.device}"
    if options.shape != SHAPES:
        command += " --shape " + " ".join(f"{rows}x{notes}" for rows, notes in options.shape)
    if options.threads != 1:
        command += f" --threads {options.threads}"
    if options.rounds != ROUNDS:
        command += f" --rounds {options.rounds}"
    if options.steps_only:
        command += " --steps-only"
    clock = clock_of(options.device, 1 if options.steps_only else options.threads)
    spins = os.environ.get("GOMP_SPINCOUNT")
    waiting = f", GOMP_SPINCOUNT={spins}" if spins else ""
    commit = commit_here()
    parts = [
        "## The down-projection alone, forward and backward",
        "",
        "| arch | batch | direct | table | present |",
        "|---|---|---|---|---|",
        *forms,
        "",
        "## The attention of one layer alone, forward and backward",
        "",
        "| arch | batch | precision | dropout | torch's choice | ours | ratio |",
        "|---|---|---|---|---|---|---|",
        *attention,
        "",
    ]
    heads = ["arch", "batch", "dropout", *PATHS, "plain / ours", "plain / bf16"]
    heads += [f"{path}, tokens/s" for path in PATHS]
    return "\n".join(
        [
            "# A training step of the masked language model",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}, {hardware}{waiting}, torch {torch.__version__}, "
            f"Python {platform.python_version()}, float32.",
            f"Milliseconds ({clock} time), best of {options.rounds}, and "
            "tokens (eight a note) a second of it. Made by",
            f"`python benchmarks/model_step.py {command}`,",
            "which also says what the two paths are and checks that their losses are equal.",
            "",
            f"| {' | '.join(heads)} |",
            "|---" * len(heads) + "|",
            *steps,
            "",
            *([] if options.steps_only else parts),
        ]
    )


def commit_here() -> str:
    """Commit of the checkout."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    where = Path(__file__).parent
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=where).stdout.strip()


def memory_report(options: argparse.Namespace, rows: Sequence[str]) -> str:
    shapes = " ".join(f"{count}x{notes}" for count, notes in options.shape)
    command = f"--memory --arch {' '.join(options.arch)} --shape {shapes} --threads {options.threads}"
    commit = commit_here()
    return "\n".join(
        [
            "# Memory of a training step of the masked language model",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}, {platform.machine()}, "
            f"{options.threads} thread(s), "
            f"torch {torch.__version__}, Python {platform.python_version()}, float32, dropout on.",
            "Largest memory in MiB of a process that takes three steps, torch and the model in it. Made by",
            f"`python benchmarks/model_step.py {command}`,",
            "which also says what the two paths are. `keeping weights` is ours with all weights of attention",
            "kept for the backward pass, as before those of long rows were computed again.",
            "",
            f"| arch | batch | {' | '.join(KINDS)} | ours / plain |",
            "|---" * 6 + "|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()

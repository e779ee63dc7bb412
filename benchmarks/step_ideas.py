"""Which ideas make a training step of the masked language model faster on a CPU, and how fast can it become?

    python benchmarks/step_ideas.py [--write benchmarks/step_ideas_<hardware>_<date>.md] [--only REGEX]
    python benchmarks/step_ideas.py --threads 2 --only "whole step|threads"

"before" is without the idea, "after" with it, in turns in one process; processor time, median of several
rounds. The whole step is that of ``model_step.py`` (its plain path against ours; size ``small``, float32).
"products" are the matrix products that no exact step can leave out, alone, forward and backward: what the
plain path takes, divided by them, is the best ratio that could be reached. Ideas that are "kept" are in
`musicbert.model`; for the others this program holds the code. ``--only`` chooses rows by name.
"""

from __future__ import annotations

import argparse
import copy
import functools
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import step_forms as forms
import torch
import torch.nn.functional as F
from model_step import commit_here, make_batch, our_loss, plain_loss, shape_of

from musicbert.config import PRESETS
from musicbert.model import MusicBert
from musicbert.model.backbones.encoder import EncoderLayer
from musicbert.model.blocks import attention, dot_product, dropout, embedding, masked_positions
from musicbert.model.blocks.masked_positions import MaskedPlaces
from musicbert.model.blocks.packed_attention import Segments
from musicbert.model.losses.masked_lm import listed_lm_sums
from musicbert.objectives.batches import collate

ARCH, ROUNDS, SEED = "small", 3, 0
SHAPES = ("4x900", "1x1000", "8x250", "16x120", "1x120")
Call = Callable[[], Any]


@functools.cache
def ready(shape: str, dropping: bool) -> tuple[MusicBert, tuple[torch.Tensor, torch.Tensor]]:
    """Model and batch of a shape."""
    rows, notes = shape_of(shape)
    torch.manual_seed(SEED)
    model = MusicBert(PRESETS[ARCH].with_(max_positions=max(1024, notes + 2))).train(dropping)
    return model, make_batch(rows, notes, "cpu")


def step(shape: str, dropping: bool = True, loss: Callable[..., torch.Tensor] = our_loss) -> Call:
    model, batch = ready(shape, dropping)

    def run() -> None:
        model.zero_grad()
        loss(model, *batch).backward()

    return run


def under(call: Call, *patches: Any) -> Call:
    """Run with something patched."""

    def run() -> None:
        with ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch)
            call()

    return run


def with_layer(**parts: Any) -> Any:
    return mock.patch.object(EncoderLayer, "forward", functools.partialmethod(forms.layer, **parts))


def compiled(shape: str, dropping: bool, apart: bool) -> Call:
    """A step with compiled blocks; ``apart``: attention is left out of them."""
    model, batch = ready(shape, dropping)
    model = copy.deepcopy(model)
    model.compile_blocks()
    ours = torch.compiler.disable(attention.dot_product_attention)
    patches = [mock.patch.object(attention, "dot_product_attention", ours)] if apart else []

    def run() -> None:
        model.zero_grad()
        our_loss(model, *batch).backward()

    return under(run, *patches)


def with_optimiser(shape: str, kind: str, loss: Callable[..., torch.Tensor] = our_loss) -> Call:
    from fairseq.optim.adam import Adam  # the installed one, as in training

    model = copy.deepcopy(ready(shape, True)[0])
    settings: dict[str, Any] = {"lr": 1e-5, "weight_decay": 0.01}
    makers: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "fairseq": functools.partial(Adam, **settings),
        "fused": functools.partial(torch.optim.AdamW, fused=True, **settings),
        "foreach": functools.partial(torch.optim.AdamW, foreach=True, **settings),
    }
    optimiser, batch = makers[kind](model.parameters()), ready(shape, True)[1]

    def run() -> None:
        model.zero_grad()
        loss(model, *batch).backward()
        optimiser.step()

    return run


def attending(shape: str, rate: float, attend: Callable[..., torch.Tensor]) -> Call:
    """One layer's attention, forward and backward."""
    rows, notes = shape_of(shape)
    q, k, v = (torch.randn(rows, notes + 2, 8, 64).transpose(1, 2).requires_grad_() for _ in "qkv")

    def run() -> None:
        attend(q, k, v, rate).sum().backward()

    return run


def fused(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rate: float) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k, v, dropout_p=rate)


def ours(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rate: float) -> torch.Tensor:
    return dot_product.dot_product_attention(q, k, v, dropout=rate)


def products(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rate: float) -> torch.Tensor:
    return dot_product._plain(q, k, v, None, rate)


def of_lengths(layout: str) -> Call:
    """A step on pieces of 30 to 250 notes, padded or one stream."""
    from step_data import made_pieces

    from musicbert.objectives.masking import MaskPolicy, mask_tokens

    rng, (model, _) = np.random.default_rng(SEED), ready("8x250", True)
    pieces = [piece[: 8 * int(rng.integers(30, 250))] for piece in made_pieces(8, SEED)]
    made = collate(*zip(*(mask_tokens(p, rng, MaskPolicy()) for p in pieces), strict=True), layout=layout)
    tokens, wanted = torch.from_numpy(made.tokens), torch.from_numpy(made.wanted)
    places = MaskedPlaces(torch.from_numpy(made.notes), made.counts)
    segments = None if made.lengths is None else Segments.of(made.lengths)

    def run() -> None:
        model.zero_grad()
        logits, _ = model(tokens, masked_places=places, padded=made.padded, segments=segments)
        listed_lm_sums(logits, wanted, made.counts).loss.backward()

    return run


def position_gradient(sparse: bool) -> Call:
    """Gradient of the published table of 8,194 positions for a piece of 120 notes."""
    table = torch.randn(8194, 512, requires_grad=True)
    index = torch.arange(2, 124)

    def run() -> None:
        table.grad = None
        F.embedding(index, table, sparse=sparse).sum().backward()

    return run


def whole_head(model: MusicBert, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Loss with logits of every token."""
    selected = target.ne(embedding.PAD)
    logits = model(source)[0][selected]
    return F.cross_entropy(logits.float(), target[selected], reduction="sum")


def product(form: str) -> Call:
    x, weight, bias = torch.randn(2016, 512), torch.randn(2048, 512), torch.randn(2048)
    turned = weight.t().contiguous()
    calls: dict[str, Call] = {
        "linear": lambda: F.linear(x, weight, bias),
        "turned": lambda: torch.addmm(bias, x, turned),
        "no bias": lambda: torch.mm(x, weight.t()),
        "strassen": lambda: forms.strassen(x, turned),
    }
    return calls[form]


def in_a_process(variables: dict[str, str]) -> float:
    """Processor milliseconds of our step, 8x250, in a process with these variables."""
    words = [sys.executable, __file__, "--alone"]
    done = subprocess.run(words, env=os.environ | variables, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


HEAP = {"MALLOC_TRIM_THRESHOLD_": "8000000000", "MALLOC_MMAP_THRESHOLD_": "8000000000"}
PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}


def ideas() -> Iterator[tuple[str, str, bool, Callable[[], tuple[Call, Call]]]]:
    """Name, where it is measured, whether it is kept, and calls before and after."""

    def wide(shape: str, on: bool) -> Call:
        encoder = ready(shape, on)[0].encoder.sentence_encoder
        return under(step(shape, on), mock.patch.object(encoder, "narrows", False))

    for shape in ("8x250", "4x900", "1x120"):
        yield ("the last block only for notes with masked tokens", f"step {shape}", True,
               lambda shape=shape: (wide(shape, False), step(shape, False)))  # fmt: skip
    few = mock.patch.object(dropout, "by_torch", return_value=True)
    for shape in ("8x250", "1x120"):
        yield ("dropout of states from whole numbers, summed in one pass", f"step {shape}", True,
               lambda shape=shape: (under(step(shape), few), step(shape)))  # fmt: skip
    slow = mock.patch.object(dropout, "_bits", forms.bits_of_torch)
    yield ("random bits of attention from SFC64", "step 4x900", True,
           lambda: (under(step("4x900"), slow), step("4x900")))  # fmt: skip
    plain = mock.patch.object(dot_product, "_Dropped", mock.Mock(apply=dot_product._plain))
    yield ("attention with dropout: a backward pass of its own", "step 8x250", True,
           lambda: (under(step("8x250"), plain), step("8x250")))  # fmt: skip
    large = mock.patch.object(dot_product, "BLOCK", dot_product.CHUNK)
    yield ("attention with dropout: blocks that stay in the cache", "layer 4x900", True,
           lambda: (under(attending("4x900", 0.1, ours), large), attending("4x900", 0.1, ours)))  # fmt: skip
    apart = [mock.patch.object(module, "linear_by_field", forms.apart_by_field)
             for module in (embedding, masked_positions)]  # fmt: skip
    yield ("gradients by field written in place", "step 1x120", True,
           lambda: (under(step("1x120"), *apart), step("1x120")))  # fmt: skip
    yield ("logits of chosen tokens only", "step 8x250", True,
           lambda: (step("8x250", loss=whole_head), step("8x250")))  # fmt: skip
    yield ("a stream instead of padding, 30 to 250 notes", "step 8 pieces", True,
           lambda: (of_lengths("padded"), of_lengths("stream")))  # fmt: skip
    for shape in ("8x250", "1x120"):
        for kind in ("fused", "foreach"):
            yield (f"optimiser: fairseq's Adam, torch's {kind} AdamW", f"step {shape}", kind == "fused",
                   lambda shape=shape, kind=kind: (with_optimiser(shape, "fairseq"),
                                                   with_optimiser(shape, kind)))  # fmt: skip
    yield ("all: plain with fairseq's Adam, ours with fused AdamW", "step 8x250", True,
           lambda: (with_optimiser("8x250", "fairseq", plain_loss),
                    with_optimiser("8x250", "fused")))  # fmt: skip
    for on in (True, False):
        kind = "with" if on else "without"
        for split in (False, True):
            yield (f"torch.compile of the blocks{', attention apart' if split else ''}, {kind} dropout",
                   "step 8x250", False,
                   lambda on=on, split=split: (step("8x250", on), compiled("8x250", on, split)))  # fmt: skip
        rate = 0.1 if on else 0.0
        for shape in ("4x900", "8x250"):
            yield (f"attention {kind} dropout: scaled_dot_product_attention instead of products",
                   f"layer {shape}", not on,
                   lambda rate=rate, shape=shape: (attending(shape, rate, ours if rate else products),
                                                   attending(shape, rate, fused)))  # fmt: skip
    own: list[tuple[str, Any]] = [
        ("GELU computed again by the backward pass", with_layer(feed=forms.feed_forward)),
        ("residual and layer norm in one function", with_layer(norm=forms.add_norm)),
        ("attention checkpointed", with_layer(attend=forms.checkpointed)),
        ("queries, keys and values in one product",
         mock.patch.object(attention.SelfAttention, "_projected", forms.joint_projected)),
    ]  # fmt: skip
    for name, patch in own:
        yield (name, "step 8x250", False,
               lambda patch=patch: (step("8x250"), under(step("8x250"), patch)))  # fmt: skip
    yield ("weights kept transposed", "product", False, lambda: (product("linear"), product("turned")))
    yield ("no bias (a bound for one added elsewhere)", "product", False,
           lambda: (product("linear"), product("no bias")))  # fmt: skip
    yield ("a level of Strassen's products", "product", False,
           lambda: (product("no bias"), product("strassen")))  # fmt: skip
    yield ("sparse gradient of 8,194 positions", "gradient", False,
           lambda: (position_gradient(False), position_gradient(True)))  # fmt: skip
    small = mock.patch.object(dot_product, "CHUNK", 2**19)
    yield ("two threads: blocks of 2^22 instead of 2^19 weights", "step 4x900", True,
           lambda: (under(step("4x900"), small), step("4x900")))  # fmt: skip


def medians(calls: dict[str, Call], rounds: int) -> dict[str, float]:
    """Median processor milliseconds, in turns; short calls several times."""
    begin = time.process_time()
    for call in calls.values():
        call()
    once = (time.process_time() - begin) / len(calls)
    rounds = rounds if once > 0.3 else max(rounds, min(int(4 / max(once, 1e-3)), 41))
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.process_time()
            call()
            taken[name].append(1000 * (time.process_time() - begin))
    return {name: statistics.median(values) for name, values in taken.items()}


def whole_steps(wanted: Callable[[str], Any], rounds: int) -> Iterator[str]:
    for shape in SHAPES:
        if not wanted(f"whole step {shape}"):
            continue
        for on in (True, False):
            losses = {"plain": plain_loss, "ours": our_loss}
            took = medians({name: step(shape, on, loss) for name, loss in losses.items()}, rounds)
            model, batch = ready(shape, on)
            # threads that wait for each other count, too, where other programs run: no bound
            alone = torch.get_num_threads() == 1
            least = forms.products_alone(model.config, *batch) if alone else float("nan")
            share = (batch[1].view(len(batch[1]), -1, 8) != embedding.PAD).any(-1).float().mean()
            ratios = f"{took['plain'] / took['ours']:.2f} | {took['plain'] / least:.2f}"
            cells = f"{took['plain']:.1f} | {took['ours']:.1f} | {least:.1f} | {ratios} | {share:.0%}"
            yield f"| {shape} | {'on' if on else 'off'} | {cells.replace('nan', '-')} |"


def idea_rows(wanted: Callable[[str], Any], rounds: int) -> Iterator[str]:
    for name, where, kept, calls in ideas():
        threads = name.startswith("two threads") == (torch.get_num_threads() > 1)
        if threads and wanted(name):
            took = medians(dict(zip(("before", "after"), calls(), strict=True)), rounds)
            yield row(name, where, kept, **took)
    for name, variables in (("a heap that is never trimmed", HEAP), ("huge pages", PAGES)):
        if torch.get_num_threads() == 1 and wanted(name):
            pairs = [(in_a_process({}), in_a_process(variables)) for _ in range(3)]
            before, after = (statistics.median(values) for values in zip(*pairs, strict=True))
            yield row(f"{name} ({' '.join(variables)})", "step 8x250", False, before, after)


def row(name: str, where: str, kept: bool, before: float, after: float) -> str:
    verdict = "kept" if kept else "left out"
    return f"| {name} | {where} | {before:.1f} | {after:.1f} | {before / after:.2f} | {verdict} |"


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", metavar="REGEX", help="rows whose name holds it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--write", type=Path, help="Markdown file to write; rows are added to one that exists"
    )
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    torch.set_num_threads(options.threads)
    if options.alone:
        print(medians({"ours": step("8x250")}, options.rounds)["ours"])
        return
    wanted = re.compile(options.only).search
    threads = "one thread" if options.threads == 1 else f"{options.threads} threads"
    if spins := os.environ.get("GOMP_SPINCOUNT"):
        threads += f", GOMP_SPINCOUNT={spins}"
    if options.threads > 1:  # of all processes, when it began
        threads += f", {os.getloadavg()[0]:.0f} processes running"
    command = f"--threads {options.threads} --rounds {options.rounds}"
    command += f' --only "{options.only}"' if options.only else ""
    tables = (
        ("| batch | dropout | plain | ours | products | plain / ours | plain / products | notes with masks |",
         whole_steps(wanted, options.rounds)),
        ("| idea | where | before | after | before / after | |", idea_rows(wanted, options.rounds)),
    )  # fmt: skip
    lines = [
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit_here()}, {hardware()}, {threads}, torch "
        f"{torch.__version__}, "
        f"Python {platform.python_version()}, float32, size {ARCH}, seed {SEED}. Processor milliseconds, "
        f"median of at least {options.rounds} rounds in turns. Made by",
        f"`python benchmarks/step_ideas.py {command}`.",
        "",
    ]
    for head, rows in tables:
        found = []
        for each in rows:
            print(each, flush=True)
            found.append(each)
        if found:
            lines += [head, "|---" * (head.count("|") - 1) + "|", *found, ""]
    if options.write:
        old = (
            options.write.read_text()
            if options.write.exists()
            else "# Ideas for the training step on a CPU\n"
        )
        options.write.write_text(old + "\n".join(lines))


def hardware() -> str:
    """Name of the processor, where Linux tells."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    found = re.search(r"model name\s*: (.+)", text)
    return found.group(1) if found else platform.machine()


if __name__ == "__main__":
    main()

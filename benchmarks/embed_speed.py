"""Time embeddings of pieces against a BERT of transformers with the same weights, used as its users do.

    python benchmarks/embed_speed.py [--write benchmarks/embed_speed_<hardware>_<date>.md] [--arch small base]
    python benchmarks/embed_speed.py --threads 2      # on two idle cores

Theirs: ``BertModel`` with the octuple embedding of musicbert_hf, in inference mode, in batches of eight
pieces in the order of the data, padded to the longest and with an attention mask; a state between the blocks
comes from ``output_hidden_states``. Ours: `Model.embed`. Both get rows of the encoding, and give one vector a
piece (``first``: the state of the first token; ``mean``: over the notes) or the states of the notes; where
they differ by more than 1e-4, the program stops. Pieces are of ``mixed`` lengths (50 to 998 notes, evenly
spread) or all ``equal`` (998 notes, so that nothing is padded); tokens are random. ``bf16`` is ours with
``precision="bfloat16"``, whose numbers are rounded.

Both run in turns in one process. With one thread what counts is the CPU time of the process, best of several
rounds, with more the wall time.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

from musicbert.config import PRESETS
from musicbert.encoding.vocabulary import FIELD_SIZES, PAD, rows_to_ids
from musicbert.model import MusicBert
from musicbert.predict.model import Model
from musicbert.weights import Bundle
from musicbert.weights.families.hugging_face import hugging_face_config, to_hugging_face

#: pieces of a batch of a user of transformers
BATCH = 8
LONGEST = 998
#: what is asked for: level, pooling, layer counted from the last
TASKS = {
    "first": ("piece", "first", -1),
    "mean": ("piece", "mean", -1),
    "notes": ("note", "mean", -1),
    "mean, layer in the middle": ("piece", "mean", 0),
}


def make_pieces(count: int, lengths: str) -> list[np.ndarray]:
    """Rows of pieces of these lengths."""
    rng = np.random.default_rng(0)
    sizes = (
        rng.permutation(np.linspace(50, LONGEST, count).astype(int))
        if lengths == "mixed"
        else [LONGEST] * count
    )
    pieces = []
    for size in sizes:
        rows = rng.integers(0, np.minimum(FIELD_SIZES, (256, 64, 1, 88, 96, 32, 1, 4)), (size, 8))
        rows[:, 0] = np.arange(size) // 12
        pieces.append(rows)
    return pieces


def bert_of(model: MusicBert) -> Any:
    """The same weights in transformers."""
    bert = transformers.BertModel(
        transformers.BertConfig(**hugging_face_config(model.config)), add_pooling_layer=False
    )
    width = model.config.width
    bert.embeddings.downsampling = nn.Sequential(nn.Linear(8 * width, width))
    bert.embeddings.upsampling = nn.Sequential(nn.Linear(width, 8 * width))
    weights = {
        name.removeprefix("bert."): value for name, value in to_hugging_face(model.state_dict()).items()
    }
    bert.load_state_dict(
        {name: value for name, value in weights.items() if not name.startswith("cls.")}, strict=True
    )
    return bert.eval()


@torch.inference_mode()
def theirs(bert: Any, pieces: Sequence[np.ndarray], level: str, pooling: str, layer: int) -> list[np.ndarray]:
    """Embeddings by transformers in padded batches."""
    embeddings, found = bert.embeddings, []
    for begin in range(0, len(pieces), BATCH):
        chosen = [torch.from_numpy(tokens_of(rows)) for rows in pieces[begin : begin + BATCH]]
        tokens = nn.utils.rnn.pad_sequence(chosen, batch_first=True, padding_value=PAD)  # (B, T, 8)
        mask = tokens[:, :, 0].ne(PAD)
        x = embeddings.downsampling(embeddings.word_embeddings(tokens).flatten(2))
        x = embeddings.LayerNorm(x + embeddings.position_embeddings.weight[2 : 2 + tokens.shape[1]])
        every = layer != -1
        kept = bert.get_extended_attention_mask(mask, mask.shape) if not mask.all() else None
        out = bert.encoder(x, attention_mask=kept, output_hidden_states=every)
        states = out.hidden_states[layer] if every else out.last_hidden_state
        width = states.shape[2]
        up = embeddings.upsampling[0]
        for row, real in zip(states, mask.sum(1).tolist(), strict=True):
            notes = row[1 : real - 1]
            if level == "note":
                found.append(notes.numpy().copy())
            elif pooling == "mean":
                found.append(notes.mean(0).numpy())
            else:
                found.append(nn.functional.linear(row[0], up.weight[:width], up.bias[:width]).numpy())
    return found


def tokens_of(rows: np.ndarray) -> np.ndarray:
    """Ids of a piece between ``<s>`` and ``</s>`` [shape=(n + 2, 8)]."""
    return rows_to_ids(rows).reshape(-1, 8)


def best_times(
    calls: dict[str, Callable[[], Any]], rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Best time of each call in seconds, taken in turns."""
    best = dict.fromkeys(calls, float("inf"))
    for turn in range(rounds + 1):
        for name, call in calls.items():
            begin = clock()
            call()
            if turn:  # the first round warms up
                best[name] = min(best[name], clock() - begin)
    return best


def measure(arch: str, lengths: str, count: int, rounds: int, clock: Callable[[], float]) -> list[str]:
    torch.manual_seed(0)
    config = PRESETS[arch].with_(max_positions=1024)
    module = MusicBert(config).eval()
    bert = bert_of(module)
    bundle = Bundle(config, module.state_dict())
    ours, rounded = Model(bundle, device="cpu"), Model(bundle, device="cpu", precision="bfloat16")
    pieces, rows = make_pieces(count, lengths), []
    for task, (level, pooling, layer) in TASKS.items():
        depth = layer if layer == -1 else config.layers // 2
        asked = {"level": level, "layer": depth, **({} if level == "note" else {"pooling": pooling})}
        for one, other in zip(
            ours.embed(pieces, **asked), theirs(bert, pieces, level, pooling, depth), strict=True
        ):
            np.testing.assert_allclose(one, other, atol=1e-4)
        calls = {
            "theirs": partial(theirs, bert, pieces, level, pooling, depth),
            "ours": partial(ours.embed, pieces, **asked),
            "bf16": partial(rounded.embed, pieces, **asked),
        }
        best = best_times(calls, rounds, clock)
        rates = " | ".join(f"{sum(map(len, pieces)) / value:,.0f}" for value in best.values())
        ratios = " | ".join(f"{best['theirs'] / best[name]:.2f}" for name in ("ours", "bf16"))
        rows.append(f"| {arch} | {lengths} | {task} | {rates} | {ratios} |")
        print(rows[-1], flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arch", nargs="+", default=["small"], choices=sorted(PRESETS))
    parser.add_argument("--lengths", nargs="+", default=["mixed", "equal"], choices=["mixed", "equal"])
    parser.add_argument("--pieces", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="Markdown file to write")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    rows = [
        row
        for arch in options.arch
        for lengths in options.lengths
        for row in measure(arch, lengths, options.pieces, options.rounds, clock)
    ]
    if options.write:
        options.write.write_text(report(options, rows))


def report(options: argparse.Namespace, rows: Sequence[str]) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    ).stdout.strip()
    command = f"--arch {' '.join(options.arch)} --pieces {options.pieces} --threads {options.threads}"
    kind = "CPU" if options.threads == 1 else "wall"
    return "\n".join(
        [
            "# Embedding pieces",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}, {platform.machine()} "
            f"({torch.backends.cpu.get_cpu_capability()}), {options.threads} thread(s), "
            f"torch {torch.__version__}, transformers {transformers.__version__}, "
            f"Python {platform.python_version()}, float32.",
            f"Notes a second ({kind} time, best of {options.rounds}), and ratios of the times. Made by",
            f"`python benchmarks/embed_speed.py {command}`,",
            "which also says what is compared and checks that both give the same numbers.",
            "",
            "| arch | lengths | asked for | theirs | ours | ours, bf16 | theirs / ours | theirs / bf16 |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()

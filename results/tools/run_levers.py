"""The levers that need a GPU, in order: pre-training, fine-tuning, rates of each start, the twelve tasks.

pretrain (10 minutes of one GPU): on the corpus of --corpus, a data-bin of `musicbert build
--performance-input` without music of any test, with dropout 0.1: a network with performance inputs, bars
and expression masked in turn, and a plain one. finetune (8): the first on the rating sets with frozen
layers, mean + sd, means of the raters, weights by raters and phases, its learning rate chosen inside the
training folds. rates (5): from scratch, random and pre-trained, each with the rate that is best for it
inside the training folds. tasks (7): the plain network and one from scratch on M2BERT's benchmark. Steps
that are done go on where they were; --tiny runs all of it on a CPU in minutes, to see that it works.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from program import die, make_parser, need, run, say

STEPS = "pretrain finetune rates tasks"
#: what --tiny makes of the sizes of a run
SIZES = {
    "arch": ("musicbert_mini", "musicbert_tiny"),
    "seeds": ("1 2 3", "1"),
    "updates": (400, 2),
    "search": ("1e-4 2e-4 5e-4 1e-3", "1e-4 1e-3"),
    "workers": (16, 1),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the steps. Exit code 2 for bad input, that of a program where it fails."""
    given = _parser().parse_args(arguments)
    for name, sizes in SIZES.items():
        if getattr(given, name) is None:
            setattr(given, name, sizes[given.tiny])
    steps = given.steps.split()
    if unknown := [step for step in steps if step not in STEPS.split()]:
        die(f"unknown step {unknown[0]} ({STEPS})")
    for step in steps:
        say(step)
        globals()[f"_{step}"](given)
    return 0


def _weights(given: argparse.Namespace, *, performance: bool = True) -> Path:
    """Weights of the pre-training, or those of --init or --init-plain."""
    chosen: Path | None = given.init if performance else given.init_plain
    made: Path = given.output / ("pretrain" if performance else "pretrain_plain") / "checkpoint_last.pt"
    return chosen if chosen is not None else made


def _pretrain(given: argparse.Namespace) -> None:
    if given.corpus is None:
        die("--corpus is missing: a data-bin of musicbert build --performance-input")
    need(given.corpus, "make it with musicbert build --performance-input")
    updates, warmup, rows, batch = (2, 0, 2, 2) if given.tiny else (given.pretrain_updates, 200, 128, 32)
    played = ("--performance-input", "--mask-strategy", "bar+expression", "--mask-prob", "0.3")
    for performance, own in ((True, played), (False, ())):
        out = _weights(given, performance=performance).parent
        run(
            *("scripts/pretrain/musicbert.sh", "--data", given.corpus, "--save-dir", out, *own),
            *("--arch", given.arch, "--dropout", "0.1", "--random-tokens", "field", "--break-mode", "eos"),
            *("--lr", "1e-3", "--updates", updates, "--warmup", warmup, "--effective-batch", rows),
            *("--batch", batch, "--validate-every", 1 if given.tiny else 500, "--optimizer", "fused_adamw"),
            *(("--cpu", "--num-workers", 0) if given.tiny else ("--autocast-bf16", "--layout", "stream")),
            *("--resume", "--", "--clip-norm", "1", "--stop-time-hours", f"{given.minutes / 120:.4f}"),
        )


def _rated(given: argparse.Namespace, step: str, starts: str, *levers: object) -> None:
    """Run the main job on the data-bins of --ratings, in a folder of its own."""
    if given.ratings is None:
        die("--ratings is missing: the output folder of scripts/run_xai.sh --stages prepare")
    need(given.ratings / "bin", "scripts/run_xai.sh --stages prepare makes it")
    weights, out = _weights(given), given.output / step
    need(weights, "run the step pretrain, or give --init")
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "bin").exists():
        (out / "bin").symlink_to((given.ratings / "bin").absolute())
    more = ("--batch", 4) if given.tiny else ()
    run(
        *("results/tools/run_xai.py", "--stages", "train", "--output", out, "--arch", given.arch),
        *("--variants", "performance", "--starts", starts, "--init-performance", weights),
        *("--updates", given.updates, "--seeds", given.seeds, "--search", given.search),
        *("--workers", given.workers, "--device", "cpu" if given.tiny else "gpu", *more, *levers),
        *(("--splits", given.splits) if given.splits else ()),
    )


def _finetune(given: argparse.Namespace) -> None:
    frozen = 1 if given.tiny else 2
    levers = ("--pooling", "mean+sd", "--freeze-layers", frozen, "--means-weight", 0.5, "--rater-weights")
    _rated(given, "finetune", "mlm random", *levers, "--phases", 2 if given.tiny else 6)


def _rates(given: argparse.Namespace) -> None:
    scratch = given.search if given.tiny else "5e-4 1e-3 2e-3 4e-3"
    _rated(given, "rates", "scratch random mlm", "--search-scratch", scratch)


def _tasks(given: argparse.Namespace) -> None:
    if given.note_data is None and given.seq_data is None:
        die("--note-data and --seq-data are missing: folders of scripts/prepare_smc_benchmark.sh")
    weights = _weights(given, performance=False)
    need(weights, "run the step pretrain, or give --init-plain")
    folders = [folder or "-" for folder in (given.note_data, given.seq_data)]
    for name, model in (("mlm", weights), ("scratch", f"scratch:{given.arch}")):
        small = ("--cpu", "--max-updates", 1, "--seeds", 1, "--batch", 2) if given.tiny else ("--bf16",)
        run(
            *("scripts/finetune_m2bert.sh", model, *folders, "--output", given.output / "tasks" / name),
            *("--splits", "clean", "--workers", given.workers, *small),
            *(("--tasks", *given.tasks.split()) if given.tasks else ()),
        )


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--output", type=Path, default=Path("runs_levers"), help="folder for everything that is made")
    add("--steps", default=STEPS, help="what to do, in this order")
    add("--tiny", action="store_true", help="everything small and on the CPU")
    add("--corpus", type=Path, help="data-bin of the pre-training, with performance inputs")
    add("--ratings", type=Path, help="output folder of scripts/run_xai.sh --stages prepare")
    add("--note-data", type=Path, help="shards of labels of notes (scripts/prepare_smc_benchmark.sh)")
    add("--seq-data", type=Path, help="shards of labels of pieces")
    add("--init", type=Path, help="weights with performance inputs, in place of the step pretrain")
    add("--init-plain", type=Path, help="weights without performance inputs, for the twelve tasks")
    add(
        "--minutes", type=float, default=10.0, help="the two pre-trainings together end after so many minutes"
    )
    add("--pretrain-updates", type=int, default=20000, help="updates of the pre-training, if time allows")
    add("--splits", default="", help="of run_xai.sh, such as 'xai:content_8fold' (all that are prepared)")
    add("--tasks", default="", help="tasks of the benchmark (all whose data are there)")
    for name, (usual, tiny) in SIZES.items():
        add(f"--{name}", type=type(usual), help=f"default: {usual}; tiny: {tiny}")
    return parser


if __name__ == "__main__":
    sys.exit(main())

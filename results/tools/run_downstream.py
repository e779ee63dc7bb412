"""MusicBERT's four downstream tasks on real data: data sets, training on every fold with seeds, and scores.

The folder of --sources holds the unpacked sources: PiRhDy/dataset/context_{next,acc}/, a folder of MIDI files
with melodies (--midi), midi_genre_map.json and lmd_full/; a task whose source is missing is skipped. Steps
that are done already are skipped, so an interrupted run goes on where it was. What follows -- goes to
fairseq-train.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from program import arch_of, check_record, die, make_parser, need, record_of, run, say, split_extra

from musicbert.reuse import MADE_FROM, read_record, write_record

GENRES = ("topmagd", "masd")
#: options that the recipes of all four tasks share: passed on where they are given
SHARED = {
    "lr": "peak learning rate",
    "effective-batch": "sequences of one update, over all devices and accumulation",
    "dropout": "dropout of hidden states",
    "attention-dropout": "dropout of attention",
    "pooling": "what the head reads: first (published) or mean",
    "seeds": "seeds, one run each",
    "validate-every": "updates between validations (0: after each epoch)",
    "patience": "stop after so many validations without a better score (-1: never)",
    "num-workers": "data loading processes",
}
SWITCHES = {
    "cpu": "train on the CPU even where there is a GPU",
    "fp16": "half precision (GPU)",
    "bf16": "bfloat16 (on a GPU the weights too; on a CPU the products alone)",
    "autocast-bf16": "bfloat16 products, float32 weights, on a GPU too",
    "bar": "a progress bar in place of the log, which is in train.log anyway",
}


def main(arguments: list[str] | None = None) -> int:
    """Run all steps of all tasks. Exit code 2 for bad input, that of a step where it fails."""
    words, extra = split_extra(arguments)
    given = _parser().parse_args(words)
    if given.sources is None:
        die("--sources is missing (see --help)")
    need(given.sources, "it holds the sources")
    for task in given.tasks.split():
        source = _source(given, task)
        if not source.exists():
            say(f"{task} is passed over: there is no {source}")
            continue
        data = given.output / f"{task}_data_bin"
        _make_data(given, task, source, data)
        folders = [_train(given, task, start, data, extra) for start in given.starts.split()]
        program = "eval_genre.py" if task in GENRES else "eval_nsp.py"
        device = ("--device", "cpu") if given.cpu else ()
        run(f"scripts/{program}", *folders, data, "--output", given.results / task, *device)
    return 0


def _source(given: argparse.Namespace, task: str) -> Path:
    """What the data of a task are made from."""
    if task in ("next", "acc"):
        return Path(given.sources / "PiRhDy" / "dataset")
    if task.endswith("_midi"):
        return Path(given.midi or given.sources / "midi")
    return Path(given.sources / "midi_genre_map.json")


def _make_data(given: argparse.Namespace, task: str, source: Path, data: Path) -> None:
    """Make the data of a task, unless they are there, made from the same files."""
    lakh = given.sources / "lmd_full"
    file = data.with_name(f"{data.name}.{MADE_FROM}")
    record = record_of({"task": task}, source, *((lakh,) if task in GENRES else ()))
    if data.is_dir():
        check_record(read_record(file), record, data, "remove it to make it anew, or choose another --output")
        return
    say(f"data of {task}")
    workers = ("--workers", given.workers)
    if task in GENRES:
        made = ("--output", data, "--format", "bin", *workers)
        run("scripts/gen_genre.py", task, "--map", source, "--midi", lakh, *made)
    else:
        raw = given.output / f"{task}_data_raw"
        kind = "--midi" if task.endswith("_midi") else "--pirhdy"
        name = task.removesuffix("_midi")
        run("scripts/gen_nsp.py", name, kind, source, "--output", raw, "--overwrite", *workers)
        run("scripts/binarize_nsp.sh", name, "--raw", raw, "--bin", data, "--direct")
        shutil.rmtree(raw, ignore_errors=True)
    data.parent.mkdir(parents=True, exist_ok=True)
    write_record(file, record)


def _train(given: argparse.Namespace, task: str, start: str, data: Path, extra: list[str] | None) -> Path:
    """Train a task from a start; returns the folder of its runs."""
    if task in GENRES:
        recipe, batch, updates, decay = ("train_genre.sh", task), given.genre_batch, given.genre_updates, 0.01
        more: list[object] = ["--fold", given.folds]
    else:
        recipe, batch, updates, decay = (
            ("train_nsp.sh", task.removesuffix("_midi")),
            given.pair_batch,
            given.pair_updates,
            0.1,
        )
        more = []
    arch = given.arch or arch_of(given.init)
    folder: Path = given.output / task / f"{arch.removeprefix('musicbert_')}-{start}"
    for name in SHARED:
        value = getattr(given, name.replace("-", "_"))
        more += [] if value is None else [f"--{name}", value]
    more += [f"--{name}" for name in SWITCHES if getattr(given, name.replace("-", "_"))]
    more += ["--from-scratch"] if start == "scratch" else ["--init", given.init]
    more += [] if extra is None else ["--", *extra]
    program, what = recipe
    run(
        *(f"scripts/{program}", what, "--data", data, "--save-dir", folder),
        # without --arch, the recipe reads the architecture from the weights
        *(("--arch", arch) if given.arch or start == "scratch" else ()),
        *("--updates", updates, "--warmup", updates // 5, "--weight-decay", decay, "--batch", batch),
        *("--resume", *more),
    )
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--sources", type=Path, help="folder of the sources (required)")
    add("--midi", help="MIDI files with a melody, for next_midi and acc_midi (default: DIR/midi)")
    add("--output", type=Path, default=Path("runs_downstream"), help="folder for everything that is made")
    add("--results", type=Path, default=Path("results/downstream"), help="folder for the scores")
    add("--tasks", default="next acc next_midi acc_midi topmagd masd", help="tasks")
    add("--starts", default="scratch init", help="scratch: random weights; init: the weights of --init")
    add("--pair-updates", type=int, default=250000, help="updates of next and acc")
    add("--genre-updates", type=int, default=20000, help="updates of genre and style")
    add("--pair-batch", default="16", help="pairs of one forward pass")
    add("--genre-batch", default="4", help="windows of one forward pass")
    add("--folds", default="all", help="folds of genre and style")
    add("--workers", default="2", help="processes that make the data")
    weights = "checkpoints/checkpoint_last_musicbert_base.pt"
    add("--init", default=weights, help="pre-trained weights: a file, a folder or a name")
    sizes = "musicbert_{tiny,mini,small,medium,base,large}"
    add("--arch", default="", help=f"{sizes} (default: what the weights' name says, or base)")
    recipes = "default: as scripts/train_nsp.sh and scripts/train_genre.sh"
    for name, about in SHARED.items():
        add(f"--{name}", metavar="VALUE", help=f"{about} ({recipes})")
    for name, about in SWITCHES.items():
        add(f"--{name}", action="store_true", help=about)
    return parser


if __name__ == "__main__":
    sys.exit(main())

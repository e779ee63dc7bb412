"""The main job on real data: labels, data sets, baselines, training on every fold with seeds, and reports.

The folder of --data holds xai/{total.csv,segmented_midi.zip} and
percepiano/{total.csv,segment_midi.zip,folds.json}; either may be missing. Steps that are done already are
skipped, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from program import ROOT, check_record, die, make_parser, need, record_of, run, say

from musicbert.atomic import write_text
from musicbert.config import PRESETS
from musicbert.recipes.command import Device, adam, flags, schedule
from musicbert.reuse import MADE_FROM, read_record, write_record

SPLITS = (
    "xai:segment xai:segment_clean xai:content_8fold xai_centred:content_8fold "
    "xai_mnskim:content_8fold xai_mnskim_mean:content_8fold "
    "percepiano:performer_published percepiano:composition_strict4 percepiano:content_4fold "
    "percepiano:performer_cv"
)
#: set -> options of map_midi_to_label.py
LABELS: dict[str, tuple[str, ...]] = {
    "xai": ("--label", "apex", "--columns", "published"),
    "xai_centred": ("--label", "mean", "--columns", "published", "--zeros", "cell", "--center-raters"),
    "xai_mnskim": ("--label", "apex", "--columns", "mnskim"),
    "xai_mnskim_mean": ("--label", "mean", "--columns", "mnskim"),
    "percepiano": ("--label", "mean"),
}
#: split -> options of gen_xai.py; the others are schemes of folds.json
FOLDS: dict[str, tuple[str, ...]] = {
    "segment": ("--split", "segment", "--valid", "none"),
    "segment_clean": ("--split", "segment-clean", "--valid", "none"),
    "content_8fold": ("--split", "k-fold", "--folds", "8", "--valid", "none"),
    "content_4fold": ("--split", "k-fold", "--folds", "4", "--valid", "none"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the stages. Exit code 2 for bad input, that of a step where it fails."""
    given = _parser().parse_args(arguments)
    stages = given.stages.split()
    if "prepare" in stages or "report" in stages:
        if given.data is None:
            die("--data is missing (see --help)")
        need(given.data, "it holds xai/ and percepiano/")
    for folder in (given.output, given.results):
        folder.mkdir(parents=True, exist_ok=True)
    _claim(given)
    if "prepare" in stages:
        for name in LABELS:
            _prepare(given, name)
    plan = given.output / "plan"
    if "plan" in stages or "train" in stages:
        write_text(plan, "".join(f"{shlex.join(map(str, line))}\n" for line in experiments(given)))
    if "train" in stages:
        run("scripts/run_experiments.py", "--plan", plan, "--workers", given.workers)
    if "report" in stages:
        folders = ("--runs", given.output, "--data", given.data, "--results", given.results)
        run("results/tools/report_xai_all.py", *folders)
    return 0


def _claim(given: argparse.Namespace) -> None:
    """Exit where the output holds runs of other settings or data: what is done already is skipped.

    A set of ratings may be added later.
    """
    names = ("arch", "updates", "lr", "batch", "augment", "cls_weight")
    settings = {f"--{name.replace('_', '-')}": getattr(given, name) for name in names}
    levers = (
        "pooling",
        "freeze_layers",
        "means_weight",
        "rater_weights",
        "phases",
        "search",
        "search_scratch",
    )
    defaults = _parser().parse_args([])
    changed = [name for name in levers if getattr(given, name) != getattr(defaults, name)]
    settings |= {f"--{name.replace('_', '-')}": getattr(given, name) for name in changed}
    sets = [given.data / name for name in ("xai", "percepiano")] if given.data else []
    file = given.output / MADE_FROM
    before = read_record(file) or record_of(settings)
    record = record_of(settings, *sets)
    record["files"] = before["files"] | record["files"]
    later = {name: digest for name, digest in record["files"].items() if name not in before["files"]}
    before["files"] |= later
    check_record(before, record, given.output, "choose another --output")
    write_record(file, record)


def _splits(given: argparse.Namespace) -> list[tuple[str, str]]:
    """Sets and splits to run."""
    return [
        (name, split) for name, _, split in (word.partition(":") for word in (given.splits or SPLITS).split())
    ]


def _prepare(given: argparse.Namespace, name: str) -> None:
    """Make labels, data sets and baselines of a set, where they are missing."""
    splits = [split for other, split in _splits(given) if other == name]
    if not splits:
        return
    xai = name.startswith("xai")
    source = given.data / ("xai" if xai else "percepiano")
    midi = source / ("segmented_midi.zip" if xai else "segment_midi.zip")
    if not source.is_dir():
        say(f"{source} is not there: {name} is left out")
        return
    labels = given.output / "labels" / f"{name}.json"
    if not labels.is_file():
        say(f"labels of {name}")
        labels.parent.mkdir(parents=True, exist_ok=True)
        reliability = given.output / "reliability" / name
        run(
            *("map_midi_to_label.py", "--csv", source / "total.csv", "--output", labels),
            *("--reliability", reliability, *LABELS[name]),
        )
    folds = given.data / "percepiano" / "folds.json"
    for split in splits:
        _make_data(given, name, split, labels, midi, folds)
    baselines = given.results / f"baselines_{name}"
    if baselines.with_suffix(".json").is_file():
        return
    say(f"baselines of {name}")
    run(
        *("scripts/baselines_xai.py", "--labels", labels, "--midi", midi, "--split", *splits),
        *("--task", "regression", "classes", "--output", baselines, "--cache", given.output / "features"),
        *("--predictions", given.output / "baselines" / name, "--ratings", source / "total.csv"),
        *(() if xai else ("--folds-file", folds)),
    )


def _make_data(
    given: argparse.Namespace, name: str, split: str, labels: Path, midi: Path, folds: Path
) -> None:
    raw, data = (given.output / kind / f"{name}_{split}" for kind in ("raw", "bin"))
    if data.is_dir():
        return
    say(f"data set {name}, {split}")
    for folder in (raw, data):
        folder.parent.mkdir(parents=True, exist_ok=True)
    options = FOLDS.get(split, ("--folds-file", f"{folds}:{split}"))
    if split not in FOLDS and split != "performer_published":  # its validation is published
        options = (*options, "--valid", "none")
    run(
        *("gen_xai.py", "--labels", labels, "--midi", midi, "--output", raw, "--overwrite"),
        *("--performance-input", "--neutralise-tempo-metre", *options),
    )
    run("scripts/binarize_xai.sh", name, "--raw", raw, "--bin", data, "--direct")


def experiments(given: argparse.Namespace) -> Iterator[list[object]]:
    """Yield the options of scripts/run_experiments.py for each experiment; all of them share the workers."""
    device = Device(gpus=int(given.device == "gpu")).flags()
    variants = {
        "published": flags(pooling="first"),
        "plain": flags(pooling="mean", augment=given.augment),
        "performance": flags(pooling="mean", augment=given.augment, performance_input=True),
    }
    for variant in given.variants.split():
        if variant not in variants:
            die(f"unknown variant {variant}")
        for start in given.starts.split():
            before, init = _start(given, variant, start, device)
            for name, split in _splits(given):
                data = given.output / "bin" / f"{name}_{split}"
                if not data.is_dir():
                    continue
                out = given.output / "trained" / name / split / f"{variant}-{start}"
                yield [
                    *("--data", data, "--output", out, "--seeds", *given.seeds.split()),
                    *("--parts", *given.parts.split(), *before, *_search(given, start), "--"),
                    *flags(
                        task="xai",
                        criterion="M2PFnP_xai",
                        arch=given.arch,
                        classification_head_name="performer",
                        regression_head_name="ratings",
                        reg_weight=5,
                        cls_weight=given.cls_weight,
                        dropout=0.1,
                        attention_dropout=0,
                    ),
                    *adam("fused_adamw", clip_norm="1.0"),
                    *schedule(
                        "polynomial_decay", lr=given.lr, warmup=given.updates // 10, updates=given.updates
                    ),
                    *flags(batch_size=given.batch, disable_validation=True, save_interval=1000),
                    *(*device, *variants[variant], *_levers(given, start), *init),
                ]


def _search(given: argparse.Namespace, start: str) -> tuple[str, ...]:
    """Learning rates to choose from inside the training folds; networks without weights have their own."""
    rates = given.search_scratch if start in ("scratch", "random") and given.search_scratch else given.search
    return ("--search", *(f"--lr {rate}" for rate in rates.split())) if rates else ()


def _levers(given: argparse.Namespace, start: str) -> tuple[str, ...]:
    """Options of the fine-tuning recipe that differ from the published ones."""
    frozen = 0 if start == "scratch" else given.freeze_layers
    if start == "random":  # an untrained network with a trained head
        frozen = PRESETS[given.arch.removeprefix("musicbert_")].layers
    return (
        *flags(pooling=given.pooling or None, freeze_layers=frozen or None),
        *flags(means_weight=given.means_weight or None, rater_weights=given.rater_weights),
        *flags(phases=given.phases if given.phases > 1 else None),
    )


def _start(
    given: argparse.Namespace, variant: str, start: str, device: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return options for masked-LM on the fold's own pieces (--before), and for the initial weights."""
    if start not in ("scratch", "random", "own", "mlm", "mlm+own"):
        die(f"unknown start {start} (scratch, random, mlm, own, mlm+own)")
    init: tuple[str, ...] = ()
    if start.startswith("mlm"):
        weights = given.init_performance if variant == "performance" else ""
        init = flags(init_from=_weights(weights or given.init or _pretrain(given), variant))
    if not start.endswith("own"):
        return (), init
    masked_lm = (
        *flags(task="octuple_masked_lm", criterion="octuple_masked_lm", arch=given.arch),
        *flags(sample_break_mode="eos", dropout=0, random_tokens="field", batch_size=16),
        *adam("fused_adamw", weight_decay=None, clip_norm="1.0"),
        *schedule("polynomial_decay", lr="5e-4", warmup=30, updates=given.own_updates),
        *flags(disable_validation=True, save_interval=1000),
        *(*device, *flags(performance_input=variant == "performance")),
    )
    return ("--before", shlex.join([*masked_lm, *init])), ()


def _weights(name: str, variant: str) -> Path:
    """Return a file or folder of weights, or weights that come with the project (musicbert-mini)."""
    shipped = ROOT / "checkpoints" / name
    path = shipped if not Path(name).exists() and shipped.is_dir() else Path(name)
    if not (path / "config.json").is_file() and not path.is_file():
        die(f"{path} is missing: these are the masked-LM weights of {variant}")
    return path.absolute()


def _pretrain(given: argparse.Namespace) -> str:
    """Pre-train as a masked LM on --corpus, where that is not done yet; returns the checkpoint."""
    data, out = given.output / "mlm_bin", given.output / "mlm"
    if not (out / "done").is_file():
        if not given.corpus or not Path(given.corpus).exists():
            die("--starts mlm needs --corpus (MIDI files) or --init (weights)")
        if not data.is_dir():
            run(
                *("-m", "musicbert", "build", given.corpus, "--output", data, "--shares", 98, 2, 0),
                *("--workers", given.workers, "--window", 512, "--overlap", 1),
                *("--exclude", "(?i)d960|d935|op142|woo80", "--max-failure-rate", 1),
            )
        run(
            *("scripts/pretrain_mlm.sh", "--data", data, "--save-dir", out, "--arch", given.arch),
            *("--updates", given.mlm_updates, "--warmup", 200, "--lr", "1.5e-3", "--effective-batch", 8),
            *("--batch", 8, "--break-mode", "eos", "--dropout", 0, "--save-every", 500),
            *(["--resume"] if (out / "checkpoint_last.pt").is_file() else []),
            *("--", "--random-tokens", "field"),
        )
        (out / "done").touch()
    return str(out / "checkpoint_best.pt")


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, help="folder of the data (required to prepare and to report)")
    add("--output", type=Path, default=Path("runs"), help="folder for everything that is made")
    add("--results", type=Path, default=Path("results"), help="folder for the reports")
    add("--arch", default="musicbert_tiny", help="musicbert_{tiny,mini,small,medium,base,large}")
    add("--seeds", default="1 2 3", help="seeds")
    add("--variants", default="published plain performance", help="see docs/training.md")
    starts = (
        "scratch: random weights; random: these frozen, with a trained head; "
        "mlm: after masked-LM pre-training (needs --corpus or --init); "
        "own, mlm+own: the same, and then masked-LM on the training pieces of the fold itself"
    )
    add("--starts", default="scratch mlm", help=starts)
    stages = "what to do; train alone needs no original data, plan only writes the file plan"
    add("--stages", default="prepare train report", help=stages)
    splits = "data sets and splits, such as 'xai:content_8fold percepiano:composition_strict4' (default: all)"
    add("--splits", default=SPLITS, help=splits)
    add("--corpus", default="", help="folder or zip of MIDI for the masked-LM pre-training")
    add("--init", default="", help="masked-LM weights, instead of --corpus")
    performance = "masked-LM weights of a model with performance inputs, for that variant (default: --init)"
    add("--init-performance", default="", help=performance)
    add("--mlm-updates", default="3000", help="updates of the masked-LM pre-training")
    add("--updates", type=int, default=450, help="updates of one training")
    add("--lr", default="1e-3", help="peak learning rate")
    add("--batch", default="32", help="pieces of one update")
    add("--cls-weight", default="1", help="weight of the performer's class beside 5 of the ratings")
    augment = "transpose=3,phase=8,bar,drop=0.1"
    add("--augment", default=augment, help="changes of training pieces, but for the published variant")
    add("--own-updates", type=int, default=300, help="updates of the masked-LM on the fold's own pieces")
    add("--workers", default="2", help="trainings at a time, each with one thread")
    add("--device", choices=("cpu", "gpu"), default="cpu", help="cpu, or gpu (all trainings share the GPU)")
    add("--pooling", default="", help="what the heads read: first, mean or mean+sd (default: the variant's)")
    frozen = "keep the embeddings and the first N blocks as they are, but from scratch"
    add("--freeze-layers", type=int, default=0, help=frozen)
    add("--means-weight", type=float, default=0.0, help="weight of the raters' means as a second target")
    add("--rater-weights", action="store_true", help="weigh training pieces by their number of raters")
    add("--phases", type=int, default=1, help="predictions are averaged over so many places of the bar line")
    search = "learning rates, of which the best inside each training fold is taken, such as '1e-4 5e-4'"
    add("--search", default="", help=search)
    add("--search-scratch", default="", help="the same for scratch and random (default: --search)")
    parts = "parts to predict; the hybrids of the report need 'test train'"
    add("--parts", default="test", help=parts)
    return parser


if __name__ == "__main__":
    sys.exit(main())

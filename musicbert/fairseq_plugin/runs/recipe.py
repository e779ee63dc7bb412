"""`Recipe`: how a backbone is fine-tuned, as options that become arguments of fairseq-train."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from musicbert.corpus.labelled.pieces import Level, Task
from musicbert.corpus.labelled.shards import Shards
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.labels.sums import METRICS
from musicbert.fairseq_plugin.runs.models import Family, ModelChoice
from musicbert.predict.windows import cut

__all__ = ["Recipe", "check_metric", "published_recipe", "selection_metric", "training_arguments"]


@dataclass(frozen=True)
class Recipe:
    """Options of fine-tuning; 0 and "" stand for what suits the model and the task.

    Attributes
    ----------
    epochs, max_updates
        Passes over the training part; updates at most (0: no bound).
    batch, accumulate
        Windows of a batch; batches of an update.
    learning_rate
        Highest learning rate: 5e-5 for MusicBERT, 2e-5 for M2BERT, 5e-4 from scratch.
    schedule
        ``linear`` (to 0) or ``constant``, after a rise over ``warmup`` (share of all updates, 0-1).
    weight_decay, decay_all
        Decoupled weight decay; of biases and norms too.
    clip
        Largest norm of the gradient; 0: no bound.
    patience
        Epochs without a better score after which training stops; 0: never.
    window, overlap, windows
        Notes of a window (1,000 for MusicBERT; for M2BERT 1,024, and 512 for labels of pieces; 512 for
        MidiBERT), notes that
        neighbours share, and which windows are read.
    head
        ``first``, ``mean`` or ``attention`` for labels of pieces; ``first`` for MusicBERT, ``attention`` for
        M2BERT.
    head_inner, head_dropout, attend_padding, mix_layers, layer
        See `musicbert.model.heads.tagger.TagSettings`.
    freeze_layers, layer_decay
        Blocks that stay as they are; learning rate of a block over that of the next.
    class_weights, label_smoothing
        See the task and the criterion.
    random_shift, augment
        Changes of training windows.
    performance_input
        Read performance inputs (MusicBERT).
    extra
        More arguments of fairseq-train.
    """

    epochs: int = 10
    max_updates: int = 0
    batch: int = 8
    accumulate: int = 1
    learning_rate: float = 0.0
    schedule: Literal["linear", "constant"] = "linear"
    warmup: float = 0.06
    weight_decay: float = 0.01
    decay_all: bool = False
    clip: float = 1.0
    patience: int = 0
    window: int = 0
    overlap: int = 0
    windows: Literal["all", "first"] = "all"
    head: str = ""
    head_inner: int = 0
    head_dropout: float = 0.1
    attend_padding: bool = False
    mix_layers: bool = False
    layer: int = -1
    freeze_layers: int = 0
    layer_decay: float = 1.0
    class_weights: Literal["none", "balanced", "sqrt"] = "none"
    label_smoothing: float = 0.0
    random_shift: bool = False
    augment: str = ""
    performance_input: bool = False
    extra: tuple[str, ...] = ()

    def with_(self, **changes: object) -> Recipe:
        """Return a copy with some attributes changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def window_of(self, family: Family, level: Level) -> int:
        """Notes of a window."""
        short = family == "midibert" or level == "sequence"
        default = 1000 if family == "musicbert" else 512 if short else 1024
        return self.window or default


def published_recipe(family: Family, level: Level) -> Recipe:
    """Recipe of the papers.

    M2BERT (and MidiBERT's benchmark): AdamW at a constant 2e-5, decay on everything, 10 epochs, no clipping,
    batches of 6 windows for notes and 12 for pieces. MidiBERT: the same with batches of 12, two layers in the
    head and an end after 3 epochs without a better score. MusicBERT (genre): 5e-5, linear schedule, batches
    of 64 pieces, of which the first window is read.
    """
    if family != "musicbert":
        recipe = Recipe(
            learning_rate=2e-5,
            schedule="constant",
            warmup=0.0,
            decay_all=True,
            clip=0.0,
            batch=6 if level == "note" else 12,
            attend_padding=True,
        )
        return recipe.with_(batch=12, head_inner=256, patience=3) if family == "midibert" else recipe
    return Recipe(learning_rate=5e-5, batch=8, accumulate=8, warmup=0.2, clip=0.0, windows="first")


def selection_metric(task: Task) -> str:
    """Metric by which training selects: the task's own where it can be computed as training goes on."""
    known = METRICS[task.kind]
    own = task.metric
    if own in known or (own.startswith("f1:") and own.removeprefix("f1:") in task.classes):
        return own
    return known[0]


def check_metric(task: Task) -> None:
    """Raise `DatasetError` (``unknown-metric``) where training cannot select by the metric of a task."""
    if selection_metric(task) != task.metric:
        known = [*METRICS[task.kind], *(["f1:CLASS"] if task.kind == "classes" else [])]
        raise DatasetError(
            "unknown-metric", f"no metric {task.metric!r} for {task.kind}; there are {', '.join(known)}"
        )


def updates_of(recipe: Recipe, windows: int) -> int:
    """Updates that a training part of so many windows takes."""
    each = math.ceil(math.ceil(windows / recipe.batch) / recipe.accumulate)
    total = each * recipe.epochs
    return min(total, recipe.max_updates) if recipe.max_updates else total


def training_arguments(
    shards: Shards, task: Task, model: ModelChoice, recipe: Recipe, pieces: Sequence[int]
) -> list[str]:
    """Arguments of fairseq-train, beside the data, the split, the seed and the folder to save to.

    Parameters
    ----------
    shards, task, model, recipe
        What to train on, what to learn, what to start from, and how.
    pieces
        Numbers of the pieces of the training part: their windows say how many updates an epoch has.
    """
    window = min(recipe.window_of(model.family, task.level), model.max_positions)
    windows = sum(
        len(
            cut(p, shards.rows(p), shards.codec, window=window, overlap=recipe.overlap, choice=recipe.windows)
        )
        for p in pieces
    )
    total = updates_of(recipe, windows)
    default = 5e-4 if not model.pretrained else 5e-5 if model.family == "musicbert" else 2e-5
    rate = str(recipe.learning_rate or default)
    warmup = str(round(recipe.warmup * total))
    arguments = [
        *("--task", f"music_{task.level}_tagging", "--criterion", "music_tagging", *model.arguments),
        *("--label", task.label, "--metric", selection_metric(task)),
        *("--best-checkpoint-metric", "score", "--maximize-best-checkpoint-metric"),
        *("--window", str(window), "--overlap", str(recipe.overlap), "--windows", recipe.windows),
        *("--max-positions", str(model.max_positions)),
        *("--optimizer", "layerwise_adamw", "--lr", rate, "--weight-decay", str(recipe.weight_decay)),
        *("--clip-norm", str(recipe.clip), "--batch-size", str(recipe.batch)),
        *("--update-freq", str(recipe.accumulate), "--max-epoch", str(recipe.epochs)),
        *("--max-update", str(total), "--head-dropout", str(recipe.head_dropout)),
        *("--layer-decay", str(recipe.layer_decay), "--freeze-layers", str(recipe.freeze_layers)),
        *("--layer", str(recipe.layer), "--class-weights", recipe.class_weights),
        *("--label-smoothing", str(recipe.label_smoothing), "--head-inner", str(recipe.head_inner)),
    ]
    if recipe.schedule == "linear":
        arguments += ["--lr-scheduler", "polynomial_decay", "--total-num-update", str(total)]
    else:
        arguments += ["--lr-scheduler", "fixed"]
    arguments += ["--warmup-updates", warmup]
    if task.ignore:
        arguments += ["--ignore-classes", ",".join(map(str, task.ignore))]
    if task.level == "sequence":
        default_head = "first" if model.family == "musicbert" else "attention"
        arguments += ["--tag-head", recipe.head or default_head]
    if recipe.patience:
        arguments += ["--patience", str(recipe.patience)]
    if recipe.augment:
        arguments += ["--augment", recipe.augment]
    for name in ("decay_all", "attend_padding", "mix_layers", "random_shift", "performance_input"):
        if getattr(recipe, name):
            arguments.append(f"--{name.replace('_', '-')}")
    return [*arguments, *recipe.extra]

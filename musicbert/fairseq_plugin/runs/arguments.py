"""The arguments of fairseq-train that fine-tune a model.

`training_arguments` is for shards and the tasks ``music_note_tagging`` and ``music_sequence_tagging``,
`databin_arguments` for data-bins and the published tasks on ratings and sentences.
"""

import math
from collections.abc import Sequence

from musicbert.corpus.labelled import LabelledSet, RatingBin, Task
from musicbert.errors import ConfigError, DatasetError
from musicbert.fairseq_plugin.labels.sums import METRICS
from musicbert.fairseq_plugin.runs.models import ModelChoice
from musicbert.predict.windows import cut
from musicbert.recipes.command import flags
from musicbert.recipes.finetuning import RATINGS_ONLY, FineTuning

#: score by kind of label -> what the criterions of the published tasks log; the first one selects by default
_LOGGED = {
    "regression": {"r2": "R2"},
    "classes": {"accuracy": "accuracy"},
    "multilabel": {
        **{f"{mean}_f1": f"f1_score_{mean}" for mean in ("micro", "macro", "weighted", "samples")},
        **{f"roc_auc_{mean}": f"roc_auc_score_{mean}" for mean in ("micro", "macro", "weighted", "samples")},
    },
}


def selection_metric(task: Task) -> str:
    """Metric by which training selects: the task's own if it can be computed during training."""
    known, metric = METRICS[task.kind], task.metric
    if metric in known or (metric.startswith("f1:") and metric.removeprefix("f1:") in task.classes):
        return metric
    return known[0]


def check_metric(task: Task, *, databin: bool = False) -> None:
    """Raise `DatasetError` (``unknown-metric``) if training cannot select by the metric of a task."""
    known = [*_LOGGED[task.kind]] if databin else [*METRICS[task.kind]]
    if task.metric not in known and (databin or selection_metric(task) != task.metric):
        known += ["f1:CLASS"] if task.kind == "classes" and not databin else []
        raise DatasetError(
            "unknown-metric", f"no metric {task.metric!r} for {task.kind}; there are {', '.join(known)}"
        )


def updates_of(recipe: FineTuning, windows: int) -> int:
    """Updates that a training part of so many windows takes."""
    bounds = [recipe.max_updates] if recipe.max_updates else []
    if recipe.epochs:
        bounds.append(math.ceil(math.ceil(windows / recipe.batch) / recipe.accumulate) * recipe.epochs)
    if not bounds:
        raise ConfigError("bad-option", "neither epochs nor updates are bounded", hint="give --epochs")
    return min(bounds)


def training_arguments(
    shards: LabelledSet,
    task: Task,
    model: ModelChoice,
    recipe: FineTuning,
    pieces: Sequence[int],
    others: Sequence[Task] = (),
) -> list[str]:
    """Arguments for shards, without the data, the split, the seed and the folder to save to.

    ``pieces``: numbers of the pieces of the training part, whose windows give the updates of an epoch;
    ``others``: further labels of notes that the same head learns. Raises
    `ConfigError` (``bad-option``: attributes that only ratings have).
    """
    if wrong := _given(recipe, RATINGS_ONLY):
        options = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise ConfigError("bad-option", f"for a data-bin of ratings alone: {options}", hint="leave it out")
    window = min(recipe.window_of(model.family, task.level), model.max_positions)
    windows = sum(
        len(
            cut(p, shards.rows(p), shards.codec, window=window, overlap=recipe.overlap, choice=recipe.windows)
        )
        for p in pieces
    )
    head = recipe.head or ("first" if model.family == "musicbert" else "attention")
    return [
        *flags(task=f"music_{task.level}_tagging", criterion="music_tagging"),
        *model.arguments,
        *flags(
            label=",".join(each.label for each in (task, *others)),
            metric=",".join(selection_metric(each) for each in (task, *others)),
            best_checkpoint_metric="score",
            maximize_best_checkpoint_metric=True,
            window=window,
            overlap=recipe.overlap,
            windows=recipe.windows,
            max_positions=model.max_positions,
            head_dropout=recipe.head_dropout,
            layer_decay=recipe.layer_decay,
            freeze_layers=recipe.freeze_layers,
            layer=recipe.layer,
            class_weights=recipe.class_weights,
            label_smoothing=recipe.label_smoothing,
            head_inner=recipe.head_inner,
            ignore_classes=",".join(map(str, task.ignore)) or None,
            tag_head=head if task.level == "sequence" else None,
            attend_padding=recipe.attend_padding,
            mix_layers=recipe.mix_layers,
            random_shift=recipe.random_shift,
        ),
        *_shared(recipe, model, updates_of(recipe, windows)),
    ]


def databin_arguments(
    data: LabelledSet, tasks: Sequence[Task], model: ModelChoice, recipe: FineTuning
) -> list[str]:
    """Arguments for one fold of a data-bin, without data, seed and folder to save to.

    The first task selects the checkpoint, if there is a validation part. Raises `DatasetError`
    (``wrong-codec``: the model does not read octuples); `ConfigError` (``bad-option``: the recipe has
    attributes that these tasks do not have).
    """
    ratings = isinstance(data, RatingBin)
    _check_databin(model, recipe, ratings=ratings, data=data)
    parts = list(data.split("data-bin").values())
    task = tasks[0]
    labels = [task.label for task in tasks]
    if ratings:
        criterion = {1: "M2P_xai" if "performer" in labels else "M2PF_xai", 2: "M2PFnP_xai"}[len(labels)]
        named = flags(
            task="xai",
            criterion=criterion,
            classification_head_name="performer" if "performer" in labels else "ratings",
            regression_head_name="ratings" if len(labels) > 1 else None,
            freeze_layers=recipe.freeze_layers or None,
            means_weight=recipe.means_weight or None,
            rater_weights=recipe.rater_weights,
            phases=None if recipe.phases == 1 else recipe.phases,
        )
    else:
        several = task.kind == "multilabel"
        name = "sentence_prediction_multilabel" if several else "octuple_sentence_prediction"
        criterion = name.removeprefix("octuple_")
        named = flags(task=name, criterion=criterion, classification_head_name=f"{task.name}_head")
    selection = flags(
        best_checkpoint_metric=_LOGGED[task.kind].get(task.metric) or next(iter(_LOGGED[task.kind].values())),
        maximize_best_checkpoint_metric=True,
    )
    return [
        *named,
        *model.arguments,
        *flags(pooling=recipe.head or "first", max_positions=model.max_positions, shorten_method="truncate"),
        *(selection if "valid" in parts else flags(disable_validation=True)),
        *_shared(recipe, model, updates_of(recipe, parts.count("train"))),
    ]


#: attributes of `FineTuning` that the published tasks do not have
_SHARDS_ONLY = (
    *("window", "overlap", "windows", "head_inner", "head_dropout", "attend_padding", "mix_layers", "layer"),
    *("layer_decay", "class_weights", "label_smoothing", "random_shift"),
)
_NOT_OF_SENTENCES = (*_SHARDS_ONLY, *RATINGS_ONLY, "freeze_layers", "augment", "performance_input")


def _given(recipe: FineTuning, names: Sequence[str]) -> list[str]:
    return [name for name in names if getattr(recipe, name) != getattr(FineTuning, name)]


def _check_databin(model: ModelChoice, recipe: FineTuning, *, ratings: bool, data: LabelledSet) -> None:
    if model.family != "musicbert":
        raise DatasetError(
            "wrong-codec", f"data-bins hold octuples for MusicBERT, not for {model.family}", path=data.path
        )
    wrong = _given(recipe, _SHARDS_ONLY if ratings else _NOT_OF_SENTENCES)
    if wrong or recipe.head == "attention":
        options = ", ".join(f"--{name.replace('_', '-')}" for name in wrong or [f"head {recipe.head}"])
        raise ConfigError(
            "bad-option", f"not for a data-bin: {options}", hint="write shards, or leave it out"
        )


def _shared(recipe: FineTuning, model: ModelChoice, total: int) -> list[str]:
    """Arguments of all tasks: optimiser, schedule, batches, changes of the notes."""
    default = 5e-4 if not model.pretrained else 5e-5 if model.family == "musicbert" else 2e-5
    linear = recipe.schedule == "linear"
    return [
        *flags(
            optimizer="layerwise_adamw",
            lr=recipe.learning_rate or default,
            weight_decay=recipe.weight_decay,
            decay_all=recipe.decay_all,
            clip_norm=recipe.clip,
            batch_size=recipe.batch,
            update_freq=recipe.accumulate,
            max_epoch=recipe.epochs,
            max_update=total,
            lr_scheduler="polynomial_decay" if linear else "fixed",
            total_num_update=total if linear else None,
            warmup_updates=round(recipe.warmup * total),
            patience=recipe.patience or None,
            augment=recipe.augment or None,
            performance_input=recipe.performance_input,
            dropout=None if recipe.dropout < 0 else recipe.dropout,
            attention_dropout=None if recipe.dropout < 0 else recipe.dropout,
        ),
        *recipe.extra,
    ]

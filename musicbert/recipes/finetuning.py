"""`FineTuning`: options of ``musicbert finetune`` and ``musicbert benchmark``, and the published values."""

from __future__ import annotations

from dataclasses import dataclass, replace

from musicbert.errors import ConfigError
from musicbert.recipes.options import option
from musicbert.recipes.ratings import Performer, RatingsAndPerformer, Regression
from musicbert.recipes.sentences import Genre, Pairs

#: options of labels of ratings alone
RATINGS_ONLY = ("means_weight", "rater_weights", "phases")
_RATED = {
    frozenset({"ratings"}): Regression(),
    frozenset({"performer"}): Performer(),
    frozenset({"ratings", "performer"}): RatingsAndPerformer(),
}


@dataclass(frozen=True)
class FineTuning:
    """How a backbone is fine-tuned. With 0 and "", the model and the task decide.

    Commands have no options for ``decay_all``, ``attend_padding`` and ``extra`` (flags of fairseq-train).
    """

    epochs: int = option(10, "largest number of epochs, 0: no limit (10)")
    max_updates: int = option(0, "largest number of updates (no limit)")
    batch: int = option(8, "windows in a batch (8)")
    accumulate: int = option(1, "batches in an update (1)")
    learning_rate: float = option(0.0, "peak learning rate (5e-5; M2BERT 2e-5; from scratch 5e-4)")
    schedule: str = option(
        "linear", "learning rate schedule after warm-up (linear)", choices=("linear", "constant")
    )
    warmup: float = option(0.06, "share of the updates for warm-up, in 0-1 (0.06)")
    weight_decay: float = option(0.01, "decoupled weight decay (0.01)")
    decay_all: bool = False
    clip: float = option(1.0, "gradient clipping: largest norm, 0: none (1)")
    patience: int = option(0, "epochs without a better score after which training stops, 0: never (0)")
    window: int = option(0, "notes in a window (1000; M2BERT 1024, and 512 for labels of pieces)")
    overlap: int = option(0, "notes that neighbouring windows share (0)")
    windows: str = option("all", "windows of a piece that are read (all)", choices=("all", "first"))
    head: str = option(
        "",
        "pooling for labels of pieces (first; M2BERT attention)",
        choices=("first", "mean", "mean+sd", "attention"),
    )
    head_inner: int = option(0, "width between two layers of the head, 0: one layer (0)")
    head_dropout: float = option(0.1, "dropout in the head (0.1)")
    dropout: float = option(-1.0, "dropout in the backbone, below 0: that of its architecture (-1)")
    attend_padding: bool = False
    mix_layers: bool = option(False, "the head reads a learned mixture of all states")
    layer: int = option(-1, "layer whose states the head reads, 0: before the first block (the last)")
    freeze_layers: int = option(0, "freeze the embeddings and the first N blocks (0)")
    layer_decay: float = option(1.0, "ratio of a block's learning rate to that of the next block (1)")
    class_weights: str = option(
        "none", "weight of classes in the loss (none)", choices=("none", "balanced", "sqrt")
    )
    label_smoothing: float = option(0.0, "of classes, in 0-1 (0)")
    random_shift: bool = option(False, "shift the windows of training at random")
    augment: str = option(
        "", "augment training notes: transpose=5,velocity=1,stretch=0.1,phase=8,bar,drop=0.1"
    )
    performance_input: bool = option(False, "read pedal and timing too (MusicBERT)")
    means_weight: float = option(0.0, "of the raters' plain means, a second target beside ratings (0: none)")
    rater_weights: bool = option(False, "weigh rated pieces by their number of raters")
    phases: int = option(1, "average predictions of rated pieces over N places of the bar line (1)")
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.warmup <= 1:
            raise ConfigError(
                "bad-option",
                f"warm-up is a share of the updates, in 0-1, not {self.warmup:g}",
                hint="0.1 is a tenth of the updates",
            )

    def with_(self, **changes: object) -> FineTuning:
        """Return a copy with some attributes changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def window_of(self, family: str, level: str) -> int:
        """Notes of a window."""
        short = family == "midibert" or level == "sequence"
        default = 1000 if family == "musicbert" else 512 if short else 1024
        return self.window or default


def published_for_shards(family: str, level: str) -> FineTuning:
    """Published values for labels of notes or pieces in shards.

    M2BERT (and MidiBERT's benchmark): AdamW at a constant 2e-5, decay on everything, 10 epochs, no clipping,
    batches of 6 windows for notes and 12 for pieces. MidiBERT: the same with batches of 12, two layers in the
    head, and a stop after 3 epochs without a better score. MusicBERT (genre): 5e-5, linear schedule, batches
    of 64 pieces, of which the first window is read.
    """
    if family == "musicbert":
        return FineTuning(learning_rate=5e-5, batch=8, accumulate=8, warmup=0.2, clip=0.0, windows="first")
    recipe = FineTuning(
        learning_rate=2e-5,
        schedule="constant",
        warmup=0.0,
        decay_all=True,
        clip=0.0,
        batch=6 if level == "note" else 12,
        attend_padding=True,
    )
    return recipe.with_(batch=12, head_inner=256, patience=3) if family == "midibert" else recipe


def published_for_databin(labels: frozenset[str], kind: str) -> FineTuning:
    """Published values for labels of a data-bin: those of the recipes of ``musicbert train``.

    ``labels``: ``ratings``, ``performer`` or both; anything else is a sentence task; ``kind``: of the labels
    of a sentence task: ``classes`` (pairs) or ``multilabel`` (genre).
    """
    recipe = _RATED.get(labels) or (Genre() if kind == "multilabel" else Pairs())
    return FineTuning(
        epochs=0,
        max_updates=recipe.updates,
        warmup=recipe.warmup / recipe.updates,
        learning_rate=float(recipe.lr),
        batch=recipe.batch,
        accumulate=recipe.effective_batch // recipe.batch,
        weight_decay=float(getattr(recipe, "weight_decay", 0.01)),
        decay_all=True,
        clip=0.0,
        head=recipe.pooling,
        extra=("--layerwise-betas", "(0.9, 0.98)"),
    )

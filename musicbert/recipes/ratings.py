"""Recipes on rated performances: ratings, performers, both, and contrastive pre-training.

The data are one fold of a rating data-bin (``scripts/binarize_xai.sh``).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from musicbert.errors import ConfigError
from musicbert.recipes.base import Plan, Recipe, Start, Weights, need
from musicbert.recipes.command import flags, schedule
from musicbert.recipes.options import number, option, published

_MAX_POSITIONS = 8192
_MEANS = "weight of the raters' plain means as a second target (0: not learned)"


def _weight(given: str) -> str | None:
    return given if float(given) else None


@dataclass(frozen=True)
class _Rated(Recipe):
    """Options of every recipe on rated performances."""

    TASK: ClassVar[str] = ""

    data: str = option("xai_data_bin_apex_reg_cls", "binarised data set (scripts/binarize_xai.sh makes it)")
    fold: str = option("0", "fold of the data set")
    seed: int = published(7, "seed")
    max_tokens: int = option(
        0, "tokens of one forward pass at most (default: 8192 for each piece of the batch)"
    )
    performance_input: bool = option(False, "add pedal and timing to every note")
    compat: bool = option(False, "behave as the published code, bugs included")
    from_scratch: bool = option(False, "train without pre-trained weights")
    updates: int = published(7000, "number of updates")
    warmup: int = published(300, "warm-up updates")

    def _plan(self, start: Start, name: str, **own: object) -> Plan:
        """One run of a criterion; ``name`` names its folder below ``checkpoints/``."""
        folder = f"{self.data}/{self.fold}"
        need(f"{folder}/input0", "make it with scripts/binarize_xai.sh")
        batch: int = self.batch  # type: ignore[attr-defined]
        common = flags(
            task=self.TASK,
            **self.values("performance_input", "compat"),
            init_token=0,
            separator_token=2,
            max_positions=_MAX_POSITIONS,
            max_tokens=self.max_tokens or _MAX_POSITIONS * batch,
        )
        arguments = (*start.flags, *common, *flags(**own), *self._schedule())
        command = self.command(folder, self.save_dir or f"checkpoints/{name}", arguments, seed=self.seed)
        return Plan((command,), start.message)

    def _schedule(self) -> tuple[str, ...]:
        raise NotImplementedError


@dataclass(frozen=True)
class _Rating(_Rated):
    """Options of the recipes of the task ``xai``."""

    SOURCE = "the training scripts of mnskim/nlp_project_music_ai"
    TASK = "xai"

    lr: str = number("1e-4", "peak learning rate; published: 1e-4, 1e-5 and 1e-6")
    effective_batch: int = published(32, "pieces of one update, over all processes and accumulation")
    batch: int = published(4, "pieces of one forward pass of one process")
    dropout: str = number("0.1", "dropout of hidden states")
    attention_dropout: str = number("0.1", "dropout of attention")
    pooling: str = published("first", "what the heads read", choices=("first", "mean", "mean+sd"))
    augment: str = option("", "changes of the training pieces, such as transpose=3,bar,phase=8,drop=0.1")
    freeze_layers: int = option(0, "keep the embeddings and the first N blocks as they are, without dropout")
    rater_weights: bool = option(False, "weigh training pieces by their number of raters")
    phases: int = option(1, "average predictions over N places of the bar line (data on one clock)")

    def _schedule(self) -> tuple[str, ...]:
        return schedule("polynomial_decay", lr=self.lr, warmup=self.warmup, updates=self.updates)

    def _run(self, weights: Weights, criterion: str, name: str, metric: str, **heads: object) -> Plan:
        start = self.start(weights)
        return self._plan(
            start,
            f"xai_{name}_{self.lr}_{start.arch}",
            criterion=criterion,
            augment=self.augment or None,
            freeze_layers=self.freeze_layers or None,
            rater_weights=self.rater_weights,
            phases=None if self.phases == 1 else self.phases,
            **self.values("pooling", "dropout", "attention_dropout"),
            best_checkpoint_metric=metric,
            maximize_best_checkpoint_metric=True,
            **heads,
        )


@dataclass(frozen=True)
class Regression(_Rating):
    """Regression of all rated dimensions."""

    ABOUT = "Fine-tune on all rated dimensions (criterion M2PF_xai)."

    lr: str = number("1e-5", "peak learning rate")
    adversarial: bool = option(False, "virtual adversarial training (criterion M2PF_xai_adv)")
    means_weight: str = option("0", _MEANS, number=True)

    def plan(self, weights: Weights) -> Plan:
        """One run."""
        adversarial = "_adv" if self.adversarial else ""
        return self._run(
            weights,
            f"M2PF_xai{adversarial}",
            f"M2PF{adversarial}",
            "R2",
            means_weight=_weight(self.means_weight),
            classification_head_name="xai_head",
        )


@dataclass(frozen=True)
class Performer(_Rating):
    """Classification of the performer with the task of the ratings."""

    ABOUT = "Fine-tune on the performers with the task of the ratings (criterion M2P_xai)."

    def plan(self, weights: Weights) -> Plan:
        """One run."""
        return self._run(weights, "M2P_xai", "M2P", "accuracy", classification_head_name="xai_head")


@dataclass(frozen=True)
class RatingsAndPerformer(_Rating):
    """Ratings and performer with one model."""

    ABOUT = "Fine-tune on ratings and performers with one model (criterion M2PFnP_xai)."

    metric: str = published(
        "R2", "score on the validation set that selects the best checkpoint", choices=("R2", "accuracy")
    )
    cls_weight: str = number("1.0", "weight of the performer's cross entropy")
    reg_weight: str = number("1.0", "weight of the squared error of the ratings")
    means_weight: str = option("0", _MEANS, number=True)

    def plan(self, weights: Weights) -> Plan:
        """One run."""
        return self._run(
            weights,
            "M2PFnP_xai",
            "M2PFnP",
            self.metric,
            **self.values("cls_weight", "reg_weight"),
            means_weight=_weight(self.means_weight),
            classification_head_name="xai_M2PFnP_cls",
            regression_head_name="xai_M2PFnP_res",
        )


def _contrastive(arch: str) -> str:
    """Name of the contrastive architecture with an encoder of MusicBERT; base has the published name."""
    return {"base": "xai_pretrain_arch", "musicbert": "xai_pretrain_arch"}.get(
        size := arch.removeprefix("musicbert_"), f"xai_pretrain_{size}"
    )


@dataclass(frozen=True)
class _Contrastive(_Rated):
    """Options of the recipes of the task ``xai_pretrain_task``."""

    SOURCE = "scripts/classification of snu-hongsoona/nlp_project_music_ai"
    TASK = "xai_pretrain_task"
    DEFAULT_ARCH = "xai_pretrain_arch"

    arch: str = option(
        "",
        "xai_pretrain_arch (base) or xai_pretrain_{tiny,mini,small,medium,base,large} "
        "(default: that of the weights; from scratch, base)",
    )
    updates: int = published(5000, "number of updates")
    lr: str = number("5e-5", "peak learning rate")
    lr_period: int = published(800, "updates of one period of the cosine")
    effective_batch: int = published(64, "pieces of one update, over all processes and accumulation")
    batch: int = published(64, "pieces of one forward pass of one process")
    dropout: str = number("0.1", "dropout, of attention too")

    def _schedule(self) -> tuple[str, ...]:
        cosine = flags(
            warmup_init_lr="1e-5", min_lr="1e-5", lr_period_updates=self.lr_period, lr_shrink="0.9"
        )
        return (*schedule("cosine", lr=self.lr, warmup=self.warmup, updates=self.updates), *cosine)

    def architectures(self) -> tuple[str, ...]:
        """As `Recipe.architectures`, with an encoder of annotations."""
        sizes = (name.removeprefix("musicbert_") for name in super().architectures())
        return tuple(f"xai_pretrain_{size}" for size in ("arch", *sizes))

    def _run(self, weights: Weights, name: str, **own: object) -> Plan:
        start = self.start(weights, rename=_contrastive)
        return self._plan(
            start,
            f"xai_{name}_{self.lr}_{start.arch.removeprefix('xai_pretrain_')}",
            from_scratch=self.from_scratch,
            dropout=self.dropout,
            attention_dropout=self.dropout,
            **own,
        )

    def _performer(self, weights: Weights, name: str) -> Plan:
        return self._run(
            weights,
            f"finetuning_{name}",
            criterion="xai_finetuning_loss",
            is_fine_tuning=True,
            best_checkpoint_metric="accuracy",
            maximize_best_checkpoint_metric=True,
        )


_LOSSES = tuple(f"xai_pretrain_loss{views}{loss}" for views in ("", "_unimodal") for loss in ("", "_ntxent"))


@dataclass(frozen=True)
class Contrastive(_Contrastive):
    """Contrastive pre-training: embeddings of performances move close to those of their ratings."""

    ABOUT = "Contrastive pre-training of performances and their ratings, from plain MusicBERT weights."

    loss: str = published("xai_pretrain_loss", "objective", choices=_LOSSES)
    updates: int = published(300, "number of updates")
    warmup: int = published(100, "warm-up updates")

    def plan(self, weights: Weights) -> Plan:
        """One run."""
        return self._run(weights, self.loss, criterion=self.loss, best_checkpoint_metric="loss")


@dataclass(frozen=True)
class PerformerTuning(_Contrastive):
    """Classification of the performer, from a contrastive checkpoint."""

    NO_WEIGHTS = (
        "make it with scripts/classification/pretrain.sh, name another with --init, or add --from-scratch"
    )
    ABOUT = "Fine-tune on the performers, from a checkpoint of contrastive pre-training."

    init: str = option(
        "",
        "contrastive checkpoint (default: the one in checkpoints/ of the same --loss and --lr, and --arch)",
    )
    loss: str = published(
        "xai_pretrain_loss",
        "loss of the pre-training; names the checkpoint without --init",
        choices=_LOSSES,
    )

    def start(self, weights: Weights, **more: object) -> Start:
        """As `Recipe.start`, with the default checkpoint."""
        if self.init:
            return super().start(weights, **more)  # type: ignore[arg-type]
        size = self.arch.removeprefix("xai_pretrain_")
        name = f"checkpoints/xai_{self.loss}_{self.lr}_{size or '*'}/checkpoint_best.pt"
        found = sorted(map(str, Path().glob(name)))
        if len(found) > 1:
            raise ConfigError(
                "bad-option", f"several checkpoints fit: {', '.join(found)}", hint="choose with --init"
            )
        name = found[0] if found else name.replace("*", self.DEFAULT_ARCH.removeprefix("xai_pretrain_"))
        return replace(self, init=name).start(weights, **more)

    def plan(self, weights: Weights) -> Plan:
        """One run."""
        return self._performer(weights, self.loss)


@dataclass(frozen=True)
class PerformerOnly(_Contrastive):
    """Classification of the performer without contrastive pre-training, for comparison."""

    ABOUT = "Fine-tune on the performers from plain MusicBERT weights, without contrastive pre-training."

    def plan(self, weights: Weights) -> Plan:
        """One run."""
        return self._performer(weights, "no_pretrain")

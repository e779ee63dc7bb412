"""The fairseq task ``xai``: performers and ratings of pieces, from one fold of a rating data-bin.

What a criterion learns, with which head:

================================= ===================================== ==================================
criterion                         head ``--classification-head-name``   head ``--regression-head-name``
================================= ===================================== ==================================
``M2P_xai``                       performers                            -
``M2PF_xai``, ``M2PF_xai_adv``    ratings (sic, as published)           -
``M2PFnP_xai``                    performers                            ratings
================================= ===================================== ==================================

With ``--means-weight`` a head ``means`` learns the plain means of the raters, too; ``--rater-weights`` weighs
pieces by their number of raters. ``--freeze-layers`` keeps the embeddings and the first blocks as they are;
``--phases`` are averaged when a part is predicted, not in validation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
from fairseq.tasks import register_task
from numpy.typing import NDArray
from omegaconf import II

from musicbert.corpus.labelled import RatingBin
from musicbert.encoding.clock import MOST_PHASES
from musicbert.errors import ConfigError, DatasetError
from musicbert.evaluation.predictions import MEANS
from musicbert.fairseq_plugin.data.task import flag
from musicbert.fairseq_plugin.labels.dataset import LabelDataset
from musicbert.fairseq_plugin.labels.note_augmentation import parse_augmentation
from musicbert.fairseq_plugin.labels.task import AUGMENT_HELP, LabelTask, PieceConfig, read_split
from musicbert.fairseq_plugin.labels.terms import Term

_WITHOUT = "the label map has them: make it again with map_midi_to_label.py, then gen_xai.py, binarize_xai.sh"


@dataclass
class RatingConfig(PieceConfig):
    """Options of the task; the names are those of the published scripts."""

    num_cls_classes: int = flag(-1, "outputs of the classification head; -1 takes them from the data")
    num_reg_classes: int = flag(-1, "outputs of the regression head; -1 takes them from the data")
    regression_target: bool = flag(False, "accepted for old scripts, no effect")
    classification_head_name: str = flag("xai_head", "name of the classification head")
    regression_head_name: str = flag("xai_regression_head", "name of the regression head")
    performance_input: bool = flag(
        False, "read continuous performance inputs (pedal, timing) from performance/"
    )
    augment: str = flag("", AUGMENT_HELP)
    split_file: Optional[str] = flag(None, "JSON with the pieces of each part, in place of the parts")  # noqa: UP045
    freeze_layers: int = flag(0, "keep the embeddings and the first N blocks as they are, without dropout")
    means_weight: float = flag(0.0, "weight of the raters' plain means as a second target")
    rater_weights: bool = flag(False, "weigh training pieces by their number of raters")
    phases: int = flag(1, "predictions are the mean over so many places of the bar line (data on one clock)")
    compat: bool = flag(
        False,
        "reproduce the published code, faults included: metrics averaged over mini-batches, the "
        "column form of the contrastive loss, raw logits in the adversary, the performer's class as an "
        "input of the annotation encoder, 14 contrastive classes, no shortening",
    )
    criterion_name: str = II("criterion._name")


def _terms(cfg: RatingConfig) -> list[Term]:
    first, second = cfg.classification_head_name, cfg.regression_head_name
    performer = Term("performer", "classes", first)
    terms = {
        "M2P_xai": [performer],
        "M2PF_xai": [Term("ratings", "regression", first, activation="sigmoid")],
        "M2PFnP_xai": [performer, Term("ratings", "regression", second, "regression", "sigmoid")],
    }
    chosen = terms.get(cfg.criterion_name.removesuffix("_adv"), [])
    if cfg.rater_weights and cfg.criterion_name.endswith("_adv"):
        raise ConfigError("bad-options", f"--rater-weights have no effect with {cfg.criterion_name}")
    if not cfg.means_weight:
        return chosen
    if cfg.means_weight < 0 or cfg.compat or cfg.criterion_name not in ("M2PF_xai", "M2PFnP_xai"):
        message = f"--means-weight {cfg.means_weight:g} with --criterion {cfg.criterion_name}"
        hint = "a weight above 0, the criterion M2PF_xai or M2PFnP_xai, without --compat"
        raise ConfigError("bad-options", message, hint=hint)
    return [*chosen, Term(MEANS, "regression", MEANS, "regression", "sigmoid", cfg.means_weight)]


class PublishedDataset(LabelDataset):
    """As published: batches are sorted by falling length; ``ntokens`` counts labels other than 1.0."""

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch; see `LabelDataset.collater`."""
        batch = super().collater(sorted(samples, key=lambda item: -len(item["source"])))
        return {**batch, "ntokens": sum(int((target != 1.0).sum()) for target in batch["targets"].values())}


@register_task("xai", dataclass=RatingConfig)
class RatingTask(LabelTask):
    """Predict performers and ratings of pieces.

    Raises `DatasetError` (``one-class``), and those of `LabelTask`.
    """

    #: all labels of the data-bin are read, whichever are learned
    more_labels = ("ratings", "performer")
    keep_embeddings = True

    def __init__(self, cfg: RatingConfig, data: RatingBin, terms: Sequence[Term]) -> None:
        super().__init__(cfg, data, terms)
        if any(term.kind == "classes" and len(data.column(term.label).classes) < 2 for term in self.terms):
            raise DatasetError(
                "one-class",
                "All pieces have one performer: there is nothing to learn about performers",
                path=data.path,
                hint="map_midi_to_label.py --performer-column says who plays; or train on ratings alone",
            )
        self.compat = bool(cfg.compat)
        if self.compat:
            self.dataset_class = PublishedDataset
        self.augmentation = parse_augmentation(cfg.augment)
        self.phases = cfg.phases
        if not 1 <= cfg.phases <= MOST_PHASES:
            raise ConfigError("bad-options", f"--phases {cfg.phases}: 1 to {MOST_PHASES}")
        self.parts = read_split(cfg.split_file, data) if cfg.split_file else None

    def pieces(self, part: str) -> Sequence[int]:
        """Numbers of the pieces of a part."""
        return super().pieces(part) if self.parts is None else self.parts.get(part, [])

    def weights(self, training: bool) -> NDArray[np.float64] | None:
        """Raters of each piece over their mean in the training part, with ``--rater-weights``."""
        if not (training and self.cfg.rater_weights):
            return None
        raters = self.data.raters  # type: ignore[attr-defined]
        if raters is None:
            message = "The data-bin does not say how many raters a piece had"
            raise DatasetError("missing-labels", message, path=self.data.path, hint=_WITHOUT)
        mean = float(raters[np.asarray(self.pieces("train"), np.int64)].mean())
        return np.asarray(raters) / mean if mean > 0 else None

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model, with ``--freeze-layers`` of it frozen."""
        model = super().build_model(cfg, from_checkpoint)
        if self.cfg.freeze_layers:
            model.keep(self.cfg.freeze_layers, started=bool(getattr(cfg, "init_from", None)))
        return model

    @classmethod
    def setup_task(cls, cfg: RatingConfig, **_: Any) -> "RatingTask":
        """Open a data-bin; raises the `DatasetError` of `RatingBin` and of `LabelTask`.

        Also `DatasetError` (``missing-labels``: no means of the raters) and `ConfigError` (``bad-options``).
        """
        data, terms = RatingBin(cfg.data), _terms(cfg)
        if terms and terms[-1].label == MEANS and MEANS not in data.beside:
            message = "The data-bin holds no means of the raters"
            raise DatasetError("missing-labels", message, path=data.path, hint=_WITHOUT)
        return cls(cfg, data, terms)

    def outputs(self, term: Term) -> int:
        """Return the number of outputs of a head, checked against the user's option.

        With ``--compat`` a larger number is accepted, as in the published code. Raises `DatasetError`
        (``class-count-mismatch``).
        """
        option = "num_cls_classes" if term.family == "classification" else "num_reg_classes"
        asked, number = getattr(self.cfg, option), super().outputs(term)
        if asked > 0 and asked != number and not (self.compat and asked > number):
            flag_name = f"--{option.replace('_', '-')}"
            message = f"{flag_name} {asked}, but the label {term.label!r} has {number} outputs"
            hint = f"leave {flag_name} out, or give {number}"
            raise DatasetError("class-count-mismatch", message, path=self.cfg.data, hint=hint)
        return max(asked, number)

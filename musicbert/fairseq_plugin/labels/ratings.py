"""The fairseq task ``xai``: performers and ratings of pieces, from one fold of a rating data-bin.

What a criterion learns, with which head:

================================= ===================================== ==================================
criterion                         head ``--classification-head-name``   head ``--regression-head-name``
================================= ===================================== ==================================
``M2P_xai``                       performers                            -
``M2PF_xai``, ``M2PF_xai_adv``    ratings (sic, as published)           -
``M2PFnP_xai``                    performers                            ratings
================================= ===================================== ==================================
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fairseq.tasks import register_task
from omegaconf import II

from musicbert.corpus.labelled import RatingBin
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.data.task import flag
from musicbert.fairseq_plugin.labels.dataset import LabelDataset
from musicbert.fairseq_plugin.labels.note_augmentation import parse_augmentation
from musicbert.fairseq_plugin.labels.task import AUGMENT_HELP, LabelTask, PieceConfig
from musicbert.fairseq_plugin.labels.terms import Term


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
    return terms.get(cfg.criterion_name.removesuffix("_adv"), [])


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

    @classmethod
    def setup_task(cls, cfg: RatingConfig, **_: Any) -> "RatingTask":
        """Open a data-bin; raises the `DatasetError` of `RatingBin` and of `LabelTask`."""
        return cls(cfg, RatingBin(cfg.data), _terms(cfg))

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

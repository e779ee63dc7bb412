"""The fairseq task ``xai_pretrain_task``: contrastive pre-training, and fine-tuning from it.

With ``--compat`` the performer is read off a piece's identifier, as in the published code (0-12, 13 for the
score), and there are 14 classes, of which 11 never occurs.
"""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
from fairseq.tasks import register_task
from numpy.typing import NDArray

from musicbert.corpus.labelled import LabelColumn, RatingBin
from musicbert.corpus.labelled.rating_bin import PUBLISHED_CLASSES, published_performer
from musicbert.errors import ConfigError, DatasetError
from musicbert.fairseq_plugin.labels.ratings import RatingConfig, RatingTask
from musicbert.fairseq_plugin.labels.terms import Term


class PublishedBin(RatingBin):
    """A rating data-bin with the label ``published``: the performer as in the published code.

    Raises `DatasetError` (those of `RatingBin`, ``missing-ids``, ``bad-identifier``).
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__(path)
        if self.ids is None:
            message = "The data-bin has no identifiers, from which --compat reads performers"
            hint = "binarise again, or leave --compat out"
            raise DatasetError("missing-ids", message, path=path, hint=hint)
        classes = tuple(map(str, range(PUBLISHED_CLASSES)))
        self.labels = {**self.labels, "published": LabelColumn("published", "sequence", "classes", classes)}
        self._published = np.array([published_performer(name) for name in self.ids], np.int32)

    def label(self, name: str) -> NDArray[Any]:
        """Labels of the pieces."""
        return self._published if name == "published" else super().label(name)


@register_task("xai_pretrain_task", dataclass=RatingConfig)
class ContrastiveTask(RatingTask):
    """Bring performances near their annotations, or near those of the same performer."""

    @classmethod
    def setup_task(cls, cfg: RatingConfig, **_: Any) -> ContrastiveTask:
        """Open a data-bin; raises the `DatasetError` of `RatingTask` and `PublishedBin`."""
        unused = [name for name in ("freeze_layers", "means_weight", "rater_weights") if getattr(cfg, name)]
        unused += ["phases"] if cfg.phases != 1 else []
        if unused:
            named = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
            raise ConfigError("bad-options", f"{named}: for the task xai alone", hint="leave it out")
        performer = "published" if cfg.compat else "performer"
        return cls(cfg, (PublishedBin if cfg.compat else RatingBin)(cfg.data), [Term(performer, "classes")])

    @property
    def performer(self) -> str:
        """Name of the label of the performer."""
        return self.terms[0].label

    def add_heads(self, model: Any) -> Any:
        """Leave the model as it is: it has been built with its heads."""
        return model

    @property
    def performer_count(self) -> int:
        """Number of performer classes."""
        return self.outputs(self.terms[0])

    def outputs(self, term: Term) -> int:
        """Number of performers, with ``--compat`` as published."""
        return PUBLISHED_CLASSES if self.compat else super().outputs(term)

    @property
    def annotation_width(self) -> int:
        """Number of inputs of the annotation encoder: the ratings, and the class with ``--compat``."""
        return len(self.data.column("ratings").classes) + int(self.compat)

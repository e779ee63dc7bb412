"""`TaggingModel`: a backbone that fairseq has built, with a tagging head, as fairseq wants a model.

It is no architecture of its own: ``--arch`` names the backbone (``musicbert_*``, ``m2bert_*``), and the tasks
``music_note_tagging`` and ``music_sequence_tagging`` put the head on it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from fairseq.models import BaseFairseqModel

from musicbert.errors import CheckpointError
from musicbert.model.heads.tagger import Tagger

__all__ = ["TaggingModel"]

logger = logging.getLogger(__name__)


class TaggingModel(Tagger, BaseFairseqModel):
    """See `musicbert.model.heads.tagger.Tagger`."""

    def forward(self, src_tokens: torch.Tensor, performance: torch.Tensor | None = None) -> torch.Tensor:
        """Label notes or windows; refuse to train when the weights that were asked for never came.

        Raises
        ------
        CheckpointError
            ``weights-not-loaded``.
        """
        missing = getattr(self.backbone, "weights_expected", None)
        if self.training and missing is not None:
            raise CheckpointError(
                "weights-not-loaded",
                "Training was to start from this checkpoint, but it was not found",
                path=missing,
                hint="check the path given with --init-from",
            )
        return super().forward(src_tokens, performance)

    def load_state_dict(
        self,
        state_dict: Mapping[str, torch.Tensor],
        strict: bool = True,
        model_cfg: Any = None,
        args: Any = None,
    ) -> Any:
        """Load a checkpoint of this model, or of its backbone alone (``--finetune-from-model``)."""
        if not any(name.startswith("backbone.") for name in state_dict):
            logger.info("the checkpoint is one of a backbone: the head starts anew")
            return self.backbone.load_state_dict(state_dict, strict, model_cfg, args)  # type: ignore[call-arg]
        if hasattr(self.backbone, "weights_expected"):
            self.backbone.weights_expected = None
        return super().load_state_dict(state_dict, strict, model_cfg, args)

    def max_positions(self) -> int:
        """Longest window in rows."""
        return int(self.backbone.max_positions())  # type: ignore[operator]

"""The task ``masked_lm`` as the published recipe uses it.

If the dictionary is that of OctupleMIDI it masks octuples; otherwise it is fairseq's own task, and refuses to
build a MusicBERT. The published program has no flags for its ablations but reads four environment variables.
They are followed here, in this task only, and logged:

====================  ======================================================================================
``mask_strategy``     ``element``, ``compound``, ``bar``, or several joined by ``+``
``convert_encoding``  ``OCTMIDI``, ``CP`` or ``REMI`` (see `musicbert.encoding.views`)
``crop_length``       most rows (REMI: tokens) of a piece; ``CP`` and ``REMI`` need it
``disable_cp``        there, whatever its value: no compound embedding; ``REMI`` needs it
====================  ======================================================================================
"""

import functools
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairseq import utils
from fairseq.tasks.masked_lm import MaskedLMTask

from musicbert.encoding.views import View
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.backbones.musicbert import MusicBertModel
from musicbert.fairseq_plugin.data.databin import check_dictionary, is_octuple_dictionary
from musicbert.fairseq_plugin.data.task import change
from musicbert.fairseq_plugin.pretraining.masked_dataset import Form
from musicbert.fairseq_plugin.pretraining.masked_lm_task import masked_blocks
from musicbert.fairseq_plugin.pretraining.stall_warning import WatchesMaskedTokens
from musicbert.objectives.masking import MaskPolicy

logger = logging.getLogger(__name__)

ENCODINGS: dict[str, View] = {"OCTMIDI": "octuple", "CP": "cp", "REMI": "remi"}


@dataclass(frozen=True)
class PublishedSettings:
    """Settings of the environment variables of the published program."""

    strategy: str = "bar"
    view: View = "octuple"
    crop: int | None = None
    compound: bool = True


def published_settings(environment: Mapping[str, str]) -> PublishedSettings:
    """Read the environment variables of the published program; raises `DatasetError` (``bad-options``)."""
    encoding = environment.get("convert_encoding", "OCTMIDI")
    length = environment.get("crop_length")
    compound = "disable_cp" not in environment
    if encoding not in ENCODINGS:
        message = f"convert_encoding is one of {', '.join(ENCODINGS)}, not {encoding!r}"
        raise DatasetError("bad-options", message)
    if length is not None and (not length.isdecimal() or int(length) < 1):
        raise DatasetError("bad-options", f"crop_length is a number from 1, not {length!r}")
    if encoding != "OCTMIDI" and length is None:
        raise DatasetError("bad-options", f"convert_encoding={encoding} needs crop_length")
    if encoding == "REMI" and compound:
        raise DatasetError("bad-options", "convert_encoding=REMI has no compounds: set disable_cp too")
    crop = None if length is None or encoding == "OCTMIDI" else int(length)
    return PublishedSettings(environment.get("mask_strategy", "bar"), ENCODINGS[encoding], crop, compound)


class PublishedMaskedLMTask(WatchesMaskedTokens, MaskedLMTask):
    """fairseq's ``masked_lm``, with bar masking where the data are octuples."""

    #: whether eight tokens are one position of the model
    compound = True

    @functools.cached_property
    def settings(self) -> PublishedSettings:
        """What the environment says."""
        settings = published_settings(os.environ)
        if settings != PublishedSettings():
            logger.info("from the environment: %s; the task octuple_masked_lm has flags for it", settings)
        return settings

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model, without compounds where the settings say so.

        Raises `DatasetError` (``wrong-dictionary``: MusicBERT with data that are not OctupleMIDI).
        """
        if not self.settings.compound and hasattr(cfg, "no_compound"):
            change(cfg, no_compound=True)
        self.compound = not getattr(cfg, "no_compound", False)
        model = super().build_model(cfg, from_checkpoint)
        if isinstance(model, MusicBertModel):
            check_dictionary(self.dictionary, self.cfg.data)
        return model

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        """Open a split; raises the `DatasetError` of `masked_blocks`."""
        if not is_octuple_dictionary(self.dictionary):
            super().load_dataset(split, epoch=epoch, combine=combine, **kwargs)
            return
        folders = utils.split_paths(self.cfg.data)
        self.datasets[split] = masked_blocks(
            folders[(epoch - 1) % len(folders)],
            split,
            self.dictionary,
            MaskPolicy(
                strategy=self.settings.strategy,
                mask_prob=self.cfg.mask_prob,
                random_prob=self.cfg.random_token_prob,
                leave_prob=self.cfg.leave_unmasked_prob,
            ),
            tokens_per_sample=self.cfg.tokens_per_sample,
            break_mode=self.cfg.sample_break_mode,
            seed=self.cfg.seed,
            combine=combine,
            form=Form(self.settings.view, self.settings.crop, self.compound),
        )

"""The task ``music_pretrain``: any objective with any encoding and any backbone, each one flag.

==================  ======================================================================================
``--encoding``      ``cp`` (compound words) or ``octuple``
``--objective``     ``denoise`` (M2BERT) or ``mask`` (MidiBERT, MusicBERT: ``--mask-strategy``)
``--aux``           ``pianoroll``, ``pianoroll_nochroma`` or ``none``
``--arch``          ``m2bert_*`` or ``musicbert_*``
==================  ======================================================================================

Data: see :mod:`musicbert.fairseq_plugin.pretraining.note_crops`. Criterion: ``compound_token``. The
defaults are M2BERT's.
"""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fairseq import utils
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING

from musicbert.errors import ConfigError
from musicbert.fairseq_plugin.data.task import flag
from musicbert.fairseq_plugin.pretraining.note_crops import Corruption, NoteCrops, open_pieces
from musicbert.fairseq_plugin.pretraining.stall_warning import NATS, LearningWatch, WatchesLearning
from musicbert.model.losses.masked_lm import FieldCounts
from musicbert.objectives.denoising import CellMaskPolicy, NoisePolicy, add_noise, mask_cells, noise_radii
from musicbert.objectives.note_fields import NoteFields, note_fields
from musicbert.objectives.pianoroll import roll_size

logger = logging.getLogger(__name__)

ENCODINGS = ChoiceEnum(["cp", "octuple"])
OBJECTIVES = ChoiceEnum(["denoise", "mask"])
AUXILIARIES = ChoiceEnum(["pianoroll", "pianoroll_nochroma", "none"])


@dataclass
class MusicPretrainConfig(FairseqDataclass):
    """Flags of the task."""

    data: str = flag(MISSING, "data folder, or several separated by colons, one after the other by epoch")
    encoding: ENCODINGS = flag("cp", "encoding of the data")  # type: ignore[valid-type]  # noqa: RUF009
    objective: OBJECTIVES = flag(  # type: ignore[valid-type]  # noqa: RUF009
        "denoise", "denoise: say what disturbed notes were; mask: say what is hidden"
    )
    aux: AUXILIARIES = flag(  # type: ignore[valid-type]  # noqa: RUF009
        "pianoroll", "piano roll that every note is to predict: with chroma, without, or none"
    )
    crop: int = flag(1024, "notes of a crop")
    noise_prob: float = flag(0.3, "share of notes that are disturbed")
    noise_radius: str = flag(
        "4,12,12", "half-widths of position (sixteenths), pitch (semitones), duration (ids)[, velocity (ids)]"
    )
    noise_symmetric: bool = flag(False, "include the upper end of the noise (published: left out)")
    mask_strategy: str = flag("bar", "element, compound, bar, midibert, or a mixture such as bar+compound")
    mask_prob: float = flag(0.15, "share of cells that are selected")
    leave_unmasked_prob: float = flag(0.1, "share of selected cells that stay")
    random_token_prob: float = flag(0.1, "share of selected cells that become a random value")
    seed: int = II("common.seed")


@register_task("music_pretrain", dataclass=MusicPretrainConfig)
class MusicPretrainTask(WatchesLearning, FairseqTask):
    """Pre-training on crops of notes; raises `ConfigError` (``bad-options``)."""

    def __init__(self, cfg: MusicPretrainConfig) -> None:
        super().__init__(cfg)
        #: columns of a note; models and the criterion are built for them
        self.fields: NoteFields = note_fields(str(cfg.encoding))
        #: outputs of the piano-roll head, 0 without one
        self.roll_outputs = 0 if str(cfg.aux) == "none" else roll_size(chroma=str(cfg.aux) == "pianoroll")
        if cfg.crop < 1:
            raise ConfigError("bad-options", f"A crop has at least one note, not {cfg.crop}")
        self.corrupt, self.pad_first = self._corruption(cfg)

    def _corruption(self, cfg: MusicPretrainConfig) -> tuple[Corruption, bool]:
        if str(cfg.objective) == "denoise":
            parts = cfg.noise_radius.split(",")
            if not all(part.strip().isdecimal() for part in parts):
                hint = "give three or four whole numbers from 0, separated by commas"
                raise ConfigError("bad-options", f"--noise-radius is {cfg.noise_radius!r}", hint=hint)
            radii = noise_radii(self.fields, [int(part) for part in parts])
            noise = NoisePolicy(radii, cfg.noise_prob, cfg.noise_symmetric)
            return partial(add_noise, fields=self.fields, policy=noise), False
        mask = CellMaskPolicy(
            cfg.mask_strategy, cfg.mask_prob, cfg.random_token_prob, cfg.leave_unmasked_prob
        )
        return partial(mask_cells, fields=self.fields, policy=mask), mask.selects_padding

    @classmethod
    def setup_task(cls, cfg: MusicPretrainConfig, **_: Any) -> "MusicPretrainTask":
        """Make the task."""
        return cls(cfg)

    def load_dataset(self, split: str, epoch: int = 1, **_: Any) -> None:
        """Open a split of the data folder of this epoch; splits but train are in the first folder."""
        folders = utils.split_paths(self.cfg.data)
        folder = folders[(epoch - 1) % len(folders)] if split == "train" else folders[0]
        pieces = open_pieces(Path(folder), split, self.fields)
        self.datasets[split] = NoteCrops(
            pieces,
            self.corrupt,
            crop=self.cfg.crop,
            pad_first=self.pad_first,
            roll=bool(self.roll_outputs),
            fixed=split != "train",
            seed=self.cfg.seed,
        )
        logger.info("%s: %d pieces, %d crops", split, len(pieces.lengths), len(self.datasets[split]))

    @property
    def source_dictionary(self) -> None:
        """None: notes have columns, not words."""
        return None

    @property
    def target_dictionary(self) -> None:
        """None."""
        return None

    def max_positions(self) -> int:
        """Longest crop in notes."""
        return self.cfg.crop

    def new_watch(self) -> LearningWatch:
        """Watch the columns, in nats."""
        return LearningWatch(FieldCounts(len(self.fields), max(self.fields.sizes)), NATS)

    def count_batch(
        self, counts: FieldCounts, sample: dict[str, Any], logged: dict[str, Any]
    ) -> torch.Tensor | None:
        """Count the selected cells."""
        names = [f"nll_{name}" for name in self.fields.names]
        if not logged.keys() >= set(names):
            return None
        counts.add_cells(sample["target"], sample["selected"])
        return torch.stack([logged[name] for name in names]).sum()

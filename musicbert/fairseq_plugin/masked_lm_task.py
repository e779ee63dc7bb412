"""The task ``octuple_masked_lm``: predict the masked tokens of OctupleMIDI pieces."""

# No postponed annotations here: fairseq reads the types of a dataclass when it builds its flags.
import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fairseq import utils
from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING, open_dict

from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.datasets import (
    MaskedOctuples,
    load_dictionary,
    load_performance,
    load_pieces,
    pack,
    performance_width,
)
from musicbert.masking import MaskPolicy

__all__ = ["OctupleMaskedLMConfig", "OctupleMaskedLMTask", "masked_blocks"]

logger = logging.getLogger(__name__)

BREAK_MODES = ChoiceEnum(["complete", "eos"])
RANDOM_TOKENS = ChoiceEnum(["any", "field"])


def _flag(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class OctupleMaskedLMConfig(FairseqDataclass):
    """Flags of the task."""

    data: str = _flag(MISSING, "data folder, or several separated by colons, one after the other by epoch")
    sample_break_mode: BREAK_MODES = _flag(  # type: ignore[valid-type]  # noqa: RUF009
        "complete", "complete: several pieces in a row (published); eos: one piece a row"
    )
    tokens_per_sample: int = _flag(8192, "rows stay below this number of tokens")
    mask_strategy: str = _flag("bar", "element, compound, bar, or a mixture such as bar+compound")
    mask_prob: float = _flag(0.15, "share of tokens that are selected")
    leave_unmasked_prob: float = _flag(0.1, "share of selected tokens that stay")
    random_token_prob: float = _flag(0.1, "share of selected tokens that become a random token")
    random_tokens: RANDOM_TOKENS = _flag(  # type: ignore[valid-type]  # noqa: RUF009
        "any", "random tokens are any of the vocabulary (published) or of the same field"
    )
    group_per_piece: bool = _flag(False, "do not let pieces in one row share the groups of bar masking")
    performance_input: bool = _flag(False, "read <data>/<split>.performance.npy")
    seed: int = II("common.seed")


def masked_blocks(
    folder: str,
    split: str,
    dictionary: Dictionary,
    policy: MaskPolicy,
    *,
    tokens_per_sample: int,
    break_mode: str,
    seed: int,
    combine: bool = False,
    performance_input: bool = False,
) -> MaskedOctuples:
    """Open a split as masked blocks.

    Raises
    ------
    DatasetError
        ``bad-break-mode``, and those of :mod:`musicbert.fairseq_plugin.datasets`.
    """
    if str(break_mode) not in ("complete", "eos"):
        raise DatasetError(
            "bad-break-mode",
            f"The break mode {str(break_mode)!r} would cut notes in pieces",
            path=folder,
            hint="use --sample-break-mode complete or eos",
        )
    pieces = load_pieces(folder, split, dictionary, combine=combine)
    sizes = np.asarray(pieces.sizes)
    blocks = pack(sizes, tokens_per_sample - 1, str(break_mode))
    performance = load_performance(folder, split, sizes) if performance_input else None
    logger.info("%s: %d pieces in %d rows", split, len(pieces), len(blocks))
    return MaskedOctuples(pieces, blocks, policy, seed=seed, performance=performance)


@register_task("octuple_masked_lm", dataclass=OctupleMaskedLMConfig)
class OctupleMaskedLMTask(FairseqTask):
    """Masked language model over octuples."""

    def __init__(self, cfg: OctupleMaskedLMConfig, dictionary: Dictionary) -> None:
        super().__init__(cfg)
        self.dictionary = dictionary
        self.policy = MaskPolicy(
            strategy=cfg.mask_strategy,
            mask_prob=cfg.mask_prob,
            random_prob=cfg.random_token_prob,
            leave_prob=cfg.leave_unmasked_prob,
            random_tokens=str(cfg.random_tokens),
            per_piece=cfg.group_per_piece,
        )

    @classmethod
    def setup_task(cls, cfg: OctupleMaskedLMConfig, **_: Any) -> "OctupleMaskedLMTask":
        """Read the dictionary of the first data folder."""
        return cls(cfg, load_dictionary(utils.split_paths(cfg.data)[0]))

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model; ``--performance-input`` gives it as many performance inputs as the data have."""
        if self.cfg.performance_input and not from_checkpoint and not cfg.performance_features:
            with open_dict(cfg):
                cfg.performance_features = performance_width(self._folder(1), "train")
        return super().build_model(cfg, from_checkpoint)

    def _folder(self, epoch: int) -> str:
        folders = utils.split_paths(self.cfg.data)
        return folders[(epoch - 1) % len(folders)]

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **_: Any) -> None:
        """Open a split of the data folder of this epoch."""
        self.datasets[split] = masked_blocks(
            self._folder(epoch),
            split,
            self.dictionary,
            self.policy,
            tokens_per_sample=self.cfg.tokens_per_sample,
            break_mode=self.cfg.sample_break_mode,
            seed=self.cfg.seed,
            combine=combine,
            performance_input=self.cfg.performance_input,
        )

    @property
    def source_dictionary(self) -> Dictionary:
        """Dictionary of the tokens, with ``<mask>``."""
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        """The same dictionary."""
        return self.dictionary

    def max_positions(self) -> int:
        """Longest row in tokens."""
        return self.cfg.tokens_per_sample

"""The task ``octuple_masked_lm``: predict the masked tokens of OctupleMIDI pieces."""

import logging
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
from fairseq import utils
from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING

from musicbert.corpus.bins.performance import performance_width
from musicbert.encoding.views import VIEWS
from musicbert.errors import ConfigError, DatasetError
from musicbert.fairseq_plugin.data.databin import load_dictionary, load_performance, load_pieces
from musicbert.fairseq_plugin.data.task import OneDictionary, change, flag
from musicbert.fairseq_plugin.pretraining.masked_dataset import (
    AS_STORED,
    Form,
    MaskedOctuples,
    pack,
    piece_sizes,
)
from musicbert.fairseq_plugin.pretraining.stall_warning import WatchesMaskedTokens
from musicbert.objectives.masking import MaskPolicy

logger = logging.getLogger(__name__)

BREAK_MODES = ChoiceEnum(["complete", "eos"])
RANDOM_TOKENS = ChoiceEnum(["any", "field"])
ENCODINGS = ChoiceEnum(list(VIEWS))
LAYOUTS = ChoiceEnum(["padded", "stream"])


@dataclass
class OctupleMaskedLMConfig(FairseqDataclass):
    """Flags of the task."""

    data: str = flag(MISSING, "data folder, or several separated by colons, one after the other by epoch")
    sample_break_mode: BREAK_MODES = flag(  # type: ignore[valid-type]  # noqa: RUF009
        "complete", "complete: several pieces in a row (published); eos: one piece a row"
    )
    tokens_per_sample: int = flag(8192, "rows stay below this number of tokens")
    mask_strategy: str = flag(
        "bar", "element, compound, bar, expression, or a mixture such as bar+expression"
    )
    mask_prob: float = flag(0.15, "share of tokens that are selected")
    leave_unmasked_prob: float = flag(0.1, "share of selected tokens that stay")
    random_token_prob: float = flag(0.1, "share of selected tokens that become a random token")
    random_tokens: RANDOM_TOKENS = flag(  # type: ignore[valid-type]  # noqa: RUF009
        "any", "random tokens are any of the vocabulary (published) or of the same field"
    )
    group_per_piece: bool = flag(False, "do not let pieces in one row share the groups of bar masking")
    layout: LAYOUTS = flag(  # type: ignore[valid-type]  # noqa: RUF009
        "padded", "padded: rows filled up to the longest; stream: one after the other, nothing is padded"
    )
    separate_pieces: bool = flag(
        False, "pieces in one row do not see each other, with own positions and groups (layout stream)"
    )
    encoding: ENCODINGS = flag(  # type: ignore[valid-type]  # noqa: RUF009
        "octuple", "octuple, or the CP-like and REMI-like forms of the paper's ablation"
    )
    crop_length: Optional[int] = flag(  # noqa: UP045 - fairseq knows this spelling only
        None, "most notes of a piece (cp: rows, remi: tokens); the rest is left out"
    )
    performance_input: bool = flag(False, "read <data>/<split>.performance.npy")
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
    form: Form = AS_STORED,
) -> MaskedOctuples:
    """Open a split as masked blocks.

    Raises `DatasetError`: ``bad-break-mode``, ``too-long``, and those of
    :mod:`musicbert.fairseq_plugin.data.databin`.
    """
    if str(break_mode) not in ("complete", "eos"):
        message = f"The break mode {str(break_mode)!r} would cut notes in pieces"
        hint = "use --sample-break-mode complete or eos"
        raise DatasetError("bad-break-mode", message, path=folder, hint=hint)
    pieces = load_pieces(folder, split, dictionary, combine=combine)
    sizes = piece_sizes(pieces, form)
    longest = int(sizes.max(initial=0))
    if not form.as_stored and longest > tokens_per_sample:
        message = f"The longest piece has {longest} tokens in this encoding, more than {tokens_per_sample}"
        hint = "use --crop-length, or larger --tokens-per-sample and --max-positions"
        raise DatasetError("too-long", message, path=folder, hint=hint)
    blocks = pack(sizes, tokens_per_sample - 1, str(break_mode))
    stored = np.asarray(pieces.sizes)
    performance = load_performance(folder, split, stored) if performance_input else None
    logger.info("%s: %d pieces in %d rows", split, len(pieces), len(blocks))
    return MaskedOctuples(pieces, blocks, policy, seed=seed, performance=performance, form=form, sizes=sizes)


@register_task("octuple_masked_lm", dataclass=OctupleMaskedLMConfig)
class OctupleMaskedLMTask(WatchesMaskedTokens, OneDictionary, FairseqTask):
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
            per_piece=cfg.group_per_piece or cfg.separate_pieces,
        )
        #: set by the model: whether eight tokens are one position
        self.compound = str(cfg.encoding) != "remi"

    @classmethod
    def setup_task(cls, cfg: OctupleMaskedLMConfig, **_: Any) -> "OctupleMaskedLMTask":
        """Read the dictionary of the first data folder."""
        return cls(cfg, load_dictionary(utils.split_paths(cfg.data)[0]))

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model; ``--performance-input`` gives it as many performance inputs as the data have."""
        if self.cfg.performance_input and not from_checkpoint and not cfg.performance_features:
            change(cfg, performance_features=performance_width(self._folder(1)))
        if str(self.cfg.encoding) == "remi" and not cfg.no_compound:
            change(cfg, no_compound=True)
        self.compound = not cfg.no_compound
        return super().build_model(cfg, from_checkpoint)

    def form(self) -> Form:
        """How pieces are written and put together.

        Raises `ConfigError` (``bad-options``).
        """
        cfg = self.cfg
        if cfg.performance_input and (str(cfg.encoding) != "octuple" or cfg.crop_length or not self.compound):
            message = "Performance inputs belong to notes: they need whole pieces of compound octuples"
            raise ConfigError("bad-options", message, hint="leave out --performance-input")
        return Form(
            view=str(cfg.encoding),
            crop=cfg.crop_length,
            compound=self.compound,
            layout="stream" if cfg.separate_pieces else str(cfg.layout),
            separate=cfg.separate_pieces,
        )

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
            form=self.form(),
        )

    def max_positions(self) -> int:
        """Longest row in tokens."""
        return self.cfg.tokens_per_sample

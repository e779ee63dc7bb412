"""From what a user calls a model to the arguments of fairseq-train: ``scratch:ARCH``, a path, or a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Literal

import torch

from musicbert.config import M2BERT_PRESETS, PRESETS
from musicbert.errors import CheckpointError
from musicbert.weights import read_bundle, resolve, view_of
from musicbert.weights.container import load_checkpoint
from musicbert.weights.fairseq_file import architecture_name
from musicbert.weights.m2bert.mapping import infer_m2bert_config, is_m2bert, rename_m2bert
from musicbert.weights.m2bert.midibert import infer_midibert_config, is_midibert

__all__ = ["ModelChoice", "choose_model"]

SCRATCH = "scratch:"
Family = Literal["musicbert", "m2bert", "midibert"]
#: architecture -> family
_ARCHITECTURES: dict[str, Family] = {
    **{f"musicbert_{name}": "musicbert" for name in PRESETS},
    **{f"m2bert_{name}": "m2bert" for name in M2BERT_PRESETS},
}  # type: ignore[dict-item]


@dataclass(frozen=True)
class ModelChoice:
    """A backbone to fine-tune.

    Attributes
    ----------
    name
        As the user wrote it.
    family
        ``musicbert``, ``m2bert`` or ``midibert``.
    arguments
        Of fairseq-train: architecture, sizes, weights to start from.
    codec
        Encoding that it was trained on (for a new one, that of its family).
    path
        File or folder of the weights; None from scratch.
    max_positions
        Longest window in rows.
    """

    name: str
    family: Family
    arguments: tuple[str, ...]
    codec: str
    path: Path | None = None
    max_positions: int = 8192

    @property
    def pretrained(self) -> bool:
        """Whether it starts from weights."""
        return self.path is not None


def choose_model(name: str | PathLike[str], *, codec: str | None = None) -> ModelChoice:
    """Find a model.

    Parameters
    ----------
    name
        ``scratch:musicbert_tiny`` (any architecture), a checkpoint file or folder, or a name
        (`musicbert.weights.names`).
    codec
        Encoding to take in place of the model's own, where it can read that (a new M2BERT reads octuples).

    Raises
    ------
    CheckpointError
        ``unknown-architecture``; ``other-encoding`` for octuples with a MidiBERT, and for a MusicBERT that
        was trained on another form than octuples; those of `musicbert.weights.resolve` and of reading the
        checkpoint.
    """
    text = fspath(name)
    if text.startswith(SCRATCH):
        arch = text.removeprefix(SCRATCH)
        if arch not in _ARCHITECTURES:
            raise CheckpointError(
                "unknown-architecture", f"no architecture {arch!r}; there are {', '.join(_ARCHITECTURES)}"
            )
        family = _ARCHITECTURES[arch]
        own = "octuple" if family == "musicbert" else "cp"
        return ModelChoice(text, family, ("--arch", arch), codec or own)
    path = resolve(name).absolute()
    checkpoint = load_checkpoint(path)
    weights = checkpoint.weights
    if is_midibert(weights):
        return _midibert(text, path, weights, codec)
    if is_m2bert(weights):
        return _m2bert(text, path, weights, codec)
    view = view_of(checkpoint) or "octuple"
    if view != "octuple":
        raise CheckpointError(
            "other-encoding",
            f"It was trained on the encoding {view!r}, and the data are octuples",
            path=path,
            hint="give weights that were pre-trained on octuples (train_nsp.sh and train_genre.sh read both)",
        )
    config = read_bundle(path).config
    arguments = (
        *("--arch", architecture_name(config), "--init-from", str(path)),
        *("--encoder-layers", str(config.layers), "--encoder-embed-dim", str(config.width)),
        *("--encoder-ffn-embed-dim", str(config.ffn_width)),
        *("--encoder-attention-heads", str(config.heads)),
    )
    return ModelChoice(text, "musicbert", arguments, codec or "octuple", path, config.max_positions)


def _m2bert(text: str, path: Path, weights: Mapping[str, torch.Tensor], codec: str | None) -> ModelChoice:
    config = infer_m2bert_config(rename_m2bert(weights), path=path)
    arguments = (
        *("--arch", "m2bert", "--init-from", str(path)),
        *("--encoder-layers", str(config.layers), "--encoder-embed-dim", str(config.width)),
        *("--encoder-ffn-embed-dim", str(config.ffn_width)),
        *("--encoder-attention-heads", str(config.heads)),
        *("--field-embed-dim", str(config.embedding_width)),
    )
    own = "cp" if len(config.field_sizes) == 4 else "octuple"
    return ModelChoice(text, "m2bert", arguments, codec or own, path)


def _midibert(text: str, path: Path, weights: Mapping[str, torch.Tensor], codec: str | None) -> ModelChoice:
    config = infer_midibert_config(weights, path=path)
    if codec is not None and not codec.startswith("cp"):
        raise CheckpointError(
            "other-encoding",
            f"MidiBERT reads compound words, not {codec!r}",
            path=path,
            hint="write the data with the codec cp",
        )
    arguments = (
        *("--arch", "midibert_base", "--init-from", str(path)),
        *("--encoder-layers", str(config.layers), "--encoder-embed-dim", str(config.width)),
        *("--encoder-ffn-embed-dim", str(config.ffn_width)),
        *("--encoder-attention-heads", str(config.heads)),
        *("--field-embed-dim", str(config.embedding_width), "--max-distance", str(config.max_positions)),
    )
    return ModelChoice(text, "midibert", arguments, codec or "cp", path, config.max_positions)

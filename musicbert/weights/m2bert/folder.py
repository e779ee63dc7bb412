"""Checkpoints of M2BERT ready to be used or written: folder, fairseq's ``.pt``, the published ``.ckpt``.

``config.json`` of a folder: ``model_type`` ``m2bert``, ``format_version`` 1, ``encoding`` (``cp`` or
``octuple``), ``architecture`` (the attributes of :class:`~musicbert.config.M2BertConfig`), ``origin``.
``vocab.json`` names the columns and the ids of each: values, PAD and MASK.

The older MidiBERT goes the same ways (``model_type`` ``midibert``,
:class:`~musicbert.config.MidiBertConfig`), but for fairseq's ``.pt``: it is used, not trained.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch

from musicbert.atomic import replacing, write_json, write_text
from musicbert.config import M2BERT_PRESETS, M2BertConfig, MidiBertConfig
from musicbert.corpus.files.folders import build_directory
from musicbert.errors import CheckpointError
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.model.backbones.midibert import MidiBert
from musicbert.objectives.note_fields import CP, OCTUPLE, NoteFields
from musicbert.weights.bundle import Bundle, read_bundle
from musicbert.weights.container import Checkpoint, load_checkpoint
from musicbert.weights.folder import load_folder
from musicbert.weights.m2bert.card import model_card
from musicbert.weights.m2bert.mapping import fit_m2bert, infer_m2bert_config, rename_m2bert, upstream_m2bert
from musicbert.weights.m2bert.midibert import (
    fit_midibert,
    infer_midibert_config,
    is_midibert,
    rename_midibert,
)
from musicbert.weights.mapping import KeyReport

__all__ = [
    "M2BertBundle",
    "build_m2bert",
    "load_m2bert",
    "open_checkpoint",
    "read_m2bert",
    "save_m2bert_ckpt",
    "save_m2bert_fairseq",
    "save_m2bert_folder",
]

FORMAT_VERSION = 1
WEIGHTS, CONFIG, VOCABULARY, CARD = "model.safetensors", "config.json", "vocab.json", "README.md"
#: setting of a fairseq checkpoint -> attribute; shapes do not show these
_SETTINGS = {
    "encoder_attention_heads": "heads",
    "attention_dropout": "attention_dropout",
    "dropout": "mlp_dropout",
    "global_every": "global_every",
    "local_window": "window",
    "final_norm": "final_norm",
}


@dataclass(frozen=True)
class M2BertBundle:
    """A checkpoint.

    Attributes
    ----------
    config
        Architecture, of M2BERT or of MidiBERT.
    weights
        Our name -> tensor; every tensor of the file, also such as the model has no place for.
    origin
        ``file``, ``container`` and ``sha256`` of the checkpoint this came from, as far as known.
    """

    config: M2BertConfig | MidiBertConfig
    weights: Mapping[str, torch.Tensor]
    origin: Mapping[str, str] = field(default_factory=dict)

    @property
    def model_type(self) -> Literal["m2bert", "midibert"]:
        """Which model this is."""
        return "midibert" if isinstance(self.config, MidiBertConfig) else "m2bert"

    @property
    def columns(self) -> NoteFields:
        """Columns of the notes that it reads."""
        return next(each for each in (CP, OCTUPLE) if each.sizes == self.config.field_sizes)

    def settings(self) -> dict[str, Any]:
        """Content of ``config.json``."""
        architecture = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self.config).items()}
        return {
            "model_type": self.model_type,
            "format_version": FORMAT_VERSION,
            "encoding": self.columns.encoding,
            "architecture": architecture,
            "origin": dict(self.origin),
        }

    def half(self) -> M2BertBundle:
        """The same in float16: half the size, read back into float32."""
        return replace(self, weights={name: value.half() for name, value in self.weights.items()})


def read_m2bert(path: str | PathLike[str]) -> M2BertBundle:
    """Read a checkpoint in any container (a published ``.ckpt``, fairseq's ``.pt``), or a folder.

    Raises
    ------
    CheckpointError
        As :func:`~musicbert.weights.container.load_checkpoint` and
        :func:`~musicbert.weights.m2bert.mapping.infer_m2bert_config`; ``bad-config``.
    """
    checkpoint = load_checkpoint(path)
    if is_midibert(checkpoint.weights):
        weights = rename_midibert(checkpoint.weights)
        older = infer_midibert_config(weights, path=path)
        if checkpoint.folder_settings:
            return _from_settings(checkpoint, older, weights, path)
        return M2BertBundle(older, weights, {"file": Path(path).name, "container": checkpoint.container})
    weights = rename_m2bert(checkpoint.weights, path=path)
    found = infer_m2bert_config(weights, path=path)
    if checkpoint.folder_settings:
        return _from_settings(checkpoint, found, weights, path)
    known = {attribute: checkpoint.settings.get(name) for name, attribute in _SETTINGS.items()}
    config = found.with_(**{name: value for name, value in known.items() if value is not None})
    return M2BertBundle(config, weights, {"file": Path(path).name, "container": checkpoint.container})


def _from_settings(
    checkpoint: Checkpoint,
    found: M2BertConfig | MidiBertConfig,
    weights: Mapping[str, torch.Tensor],
    path: str | PathLike[str],
) -> M2BertBundle:
    own = checkpoint.folder_settings
    try:
        if int(own["format_version"]) > FORMAT_VERSION:
            raise ValueError(f"format_version {own['format_version']} is newer than this program")
        kind = type(found)
        names = {entry.name for entry in fields(kind)}
        given = {name: value for name, value in own["architecture"].items() if name in names}
        config = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})
        shaped = ["layers", "width", "ffn_width", "embedding_width", "field_sizes", "field_pads"]
        shaped += ["heads", "max_positions"] if kind is MidiBertConfig else ["roll_outputs"]
        differ = [name for name in shaped if getattr(config, name) != getattr(found, name)]
        if differ or config.width % config.heads:
            raise ValueError(f"the tensors are those of {found}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError("bad-config", f"Its config.json does not fit: {error}", path=path) from error
    return M2BertBundle(config, weights, dict(own.get("origin") or {}))


def open_checkpoint(
    path: str | PathLike[str], *, labels: str | PathLike[str] | None = None
) -> Bundle | M2BertBundle:
    """Read a checkpoint or a folder, of MusicBERT or of M2BERT.

    Raises
    ------
    CheckpointError
        As :func:`~musicbert.weights.load_folder`, :func:`~musicbert.weights.read_bundle` and `read_m2bert`.
    """
    try:
        return load_folder(path, labels=labels) if Path(path).is_dir() else read_bundle(path, labels=labels)
    except CheckpointError as error:
        if error.reason not in ("other-model", "other-vocabulary"):
            raise
        try:
            return read_m2bert(path)
        except CheckpointError as second:
            raise (error if second.reason == "other-model" else second) from None


def build_m2bert(
    bundle: M2BertBundle, *, path: str | PathLike[str] | None = None
) -> tuple[M2Bert | MidiBert, KeyReport]:
    """Build the model, in evaluation mode, and say what became of each tensor.

    Raises
    ------
    CheckpointError
        As :func:`~musicbert.weights.m2bert.mapping.fit_m2bert` and
        :func:`~musicbert.weights.m2bert.midibert.fit_midibert`.
    """
    model: M2Bert | MidiBert
    if isinstance(bundle.config, MidiBertConfig):
        model = MidiBert(bundle.config)
        state, report = fit_midibert(bundle.weights, model, path=path)
    else:
        model = M2Bert(bundle.config)
        state, report = fit_m2bert(bundle.weights, model, path=path)
    model.load_state_dict(state, strict=True)
    return model.eval(), report


def load_m2bert(path: str | PathLike[str]) -> M2Bert | MidiBert:
    """Open the model of a checkpoint or folder (see `read_m2bert`)."""
    return build_m2bert(read_m2bert(path), path=path)[0]


def save_m2bert_folder(bundle: M2BertBundle, folder: str | PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a checkpoint as a folder, whole or not at all.

    Raises
    ------
    DatasetError
        As :func:`~musicbert.corpus.files.folders.build_directory`.
    """
    from safetensors.torch import save_file

    columns = bundle.columns
    vocabulary = {
        name: {"values": values, "PAD": values, "MASK": values + 1}
        for name, values in zip(columns.names, columns.values, strict=True)
    }
    with build_directory(folder, overwrite=overwrite, recognise=_is_ours) as partial:
        tensors = {name: value.detach().contiguous().clone() for name, value in bundle.weights.items()}
        save_file(tensors, partial / WEIGHTS, metadata={"format": "pt"})
        write_json(partial / CONFIG, bundle.settings())
        (partial / WEIGHTS).chmod((partial / CONFIG).stat().st_mode)  # safetensors makes it private
        write_json(partial / VOCABULARY, vocabulary)
        write_text(partial / CARD, model_card(bundle))
    return Path(folder)


def save_m2bert_ckpt(bundle: M2BertBundle, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
    """Write ``state_dict`` and ``mask_lm`` as the published program's ``.ckpt`` has them (no optimiser).

    Raises
    ------
    CheckpointError
        ``output-exists``.
    """
    if bundle.model_type == "midibert":
        return _save({"epoch": 0, "state_dict": dict(bundle.weights)}, Path(path), overwrite)
    backbone, heads = upstream_m2bert(bundle.weights)
    return _save({"epoch": 0, "state_dict": backbone, "mask_lm": heads}, Path(path), overwrite)


def save_m2bert_fairseq(bundle: M2BertBundle, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a ``.pt`` that fairseq reads: something to start from (``--init-from``), not to resume.

    Raises
    ------
    CheckpointError
        ``output-exists``; ``not-exportable`` for a MidiBERT.
    """
    config = bundle.config
    if isinstance(config, MidiBertConfig):
        raise CheckpointError("not-exportable", "MidiBERT is no model of fairseq here", path=path)
    sizes = ("layers", "width", "ffn_width", "heads")
    same = [n for n, p in M2BERT_PRESETS.items() if all(getattr(p, s) == getattr(config, s) for s in sizes)]
    name = f"m2bert_{same[0]}" if same else "m2bert"
    model = Namespace(
        _name=name,
        arch=name,
        encoder_layers=config.layers,
        encoder_embed_dim=config.width,
        encoder_ffn_embed_dim=config.ffn_width,
        field_embed_dim=config.embedding_width,
        **{setting: getattr(config, attribute) for setting, attribute in _SETTINGS.items()},
    )
    cfg: dict[str, Any] = {"_name": None, "common": {}, "checkpoint": {}, "criterion": {}, "model": model}
    cfg["task"] = Namespace(_name="music_pretrain", data="")
    history = {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
    state = {
        "args": None,
        "cfg": cfg,
        "model": dict(bundle.weights),
        "criterion": None,
        "optimizer_history": [history],
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
        "last_optimizer_state": None,
        "musicbert": bundle.settings(),
    }
    return _save(state, Path(path), overwrite)


def _save(state: dict[str, Any], path: Path, overwrite: bool) -> Path:
    if path.exists() and not overwrite:
        raise CheckpointError(
            "output-exists", "It is there already", path=path, hint="choose another name, or pass --overwrite"
        )
    with replacing(path) as file:
        torch.save(state, file)
    return path


def _is_ours(folder: Path) -> bool:
    return (folder / WEIGHTS).is_file() and (folder / CONFIG).is_file()

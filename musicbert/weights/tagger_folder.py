"""A fine-tuned tagger as a folder, for use without fairseq and without its training data.

``tagger.json``
    ``model_type`` (``musicbert-tagger``), ``format_version``, ``family`` (``musicbert``, ``m2bert``
    or ``midibert``), ``architecture`` (attributes of the configuration), ``codec``, ``window`` and
    ``overlap`` in notes,
    ``head`` (`musicbert.model.heads.tagger.TagSettings`), ``task`` (name, label, level, kind, classes,
    ignored classes), and ``origin`` (model it started from, seed).
``model.safetensors``
    Tensors of `musicbert.model.heads.tagger.Tagger`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from musicbert.config import M2BertConfig, MidiBertConfig, ModelConfig
from musicbert.corpus.files.folders import build_directory
from musicbert.errors import CheckpointError
from musicbert.model import MusicBert
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.model.backbones.midibert import MidiBert
from musicbert.model.heads.tagger import Tagger, TagSettings

__all__ = ["SETTINGS", "is_tagger_folder", "load_tagger_folder", "save_tagger_folder"]

SETTINGS, WEIGHTS = "tagger.json", "model.safetensors"
MODEL_TYPE, FORMAT_VERSION = "musicbert-tagger", 1


def is_tagger_folder(path: str | PathLike[str]) -> bool:
    """Whether this is a folder that `save_tagger_folder` wrote."""
    return (Path(path) / SETTINGS).is_file()


def save_tagger_folder(
    folder: str | PathLike[str],
    weights: Mapping[str, torch.Tensor],
    settings: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> Path:
    """Write a tagger, whole or not at all.

    Parameters
    ----------
    folder
        Folder to write.
    weights
        State dict of a `Tagger`.
    settings
        The entries of ``tagger.json`` from ``family`` on.
    overwrite
        Replace an earlier tagger.
    """
    head = {"model_type": MODEL_TYPE, "format_version": FORMAT_VERSION, **settings}
    with build_directory(folder, overwrite=overwrite, recognise=is_tagger_folder) as partial:
        tensors = {name: value.detach().clone().contiguous() for name, value in weights.items()}
        save_file(tensors, partial / WEIGHTS, metadata={"format": "pt"})
        text = json.dumps(head, indent=2, ensure_ascii=False) + "\n"
        (partial / SETTINGS).write_text(text, encoding="utf-8")
        (partial / WEIGHTS).chmod((partial / SETTINGS).stat().st_mode)  # safetensors makes it private
    return Path(folder)


def load_tagger_folder(folder: str | PathLike[str]) -> tuple[Tagger, dict[str, Any]]:
    """Read a tagger: the module in evaluation mode, and its settings.

    Raises
    ------
    CheckpointError
        ``not-found``, ``unreadable``, ``bad-config`` (settings and tensors do not fit together).
    """
    folder = Path(folder)
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise CheckpointError("not-found", "There is no fine-tuned model here", path=folder) from error
    except (ValueError, OSError, SafetensorError) as error:
        raise CheckpointError("unreadable", f"It cannot be read: {error}", path=folder) from error
    try:
        if settings["model_type"] != MODEL_TYPE or int(settings["format_version"]) > FORMAT_VERSION:
            raise ValueError("it is of another type or of a newer version of this program")
        tagger = Tagger(_backbone(settings), TagSettings.from_dict(settings["head"]))
        tagger.load_state_dict(weights, strict=True)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError("bad-config", f"Its settings do not fit: {reason}", path=folder) from error
    return tagger.eval(), settings


def _backbone(settings: Mapping[str, Any]) -> MusicBert | M2Bert | MidiBert:
    family, shape = settings["family"], settings["architecture"]
    kind: Any = {"m2bert": M2BertConfig, "midibert": MidiBertConfig}.get(family, ModelConfig)
    known = {entry.name for entry in fields(kind)}
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in shape.items() if name in known}
    module: Any = {"m2bert": M2Bert, "midibert": MidiBert}.get(family, MusicBert)
    backbone: MusicBert | M2Bert | MidiBert = module(kind(**values))
    return backbone

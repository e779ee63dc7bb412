"""A fine-tuned tagger as a folder, for use without fairseq and without its training data.

``tagger.json``
    ``model_type`` (``musicbert-tagger``), ``format_version``, ``family`` (``musicbert``, ``m2bert``
    or ``midibert``), ``architecture`` (attributes of the configuration), ``codec``, ``window`` and
    ``overlap`` in notes,
    ``head`` (`musicbert.model.tagger.TagSettings`), ``task`` (name, label, level, kind, classes,
    ignored classes), and ``origin`` (model it started from, seed).
``model.safetensors``
    Tensors of `musicbert.model.tagger.Tagger`.
"""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from musicbert.errors import CheckpointError
from musicbert.model.tagger import Tagger, TagSettings
from musicbert.weights.container import read_json, read_safetensors
from musicbert.weights.families.known import FAMILIES
from musicbert.weights.folder import WEIGHTS, write_folder

SETTINGS = "tagger.json"
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

    ``folder``: folder to write; ``weights``: state dict of a `Tagger`; ``settings``: the entries of
    ``tagger.json`` from ``family`` on; ``overwrite``: replace an earlier tagger.
    """
    content = {"model_type": MODEL_TYPE, "format_version": FORMAT_VERSION, **settings}
    return write_folder(folder, weights, {SETTINGS: content}, overwrite=overwrite, recognise=is_tagger_folder)


def load_tagger_folder(folder: str | PathLike[str]) -> tuple[Tagger, dict[str, Any]]:
    """Read a tagger: the module in evaluation mode, and its settings.

    Raises `CheckpointError`: ``not-found``, ``unreadable``, ``bad-config`` (settings and tensors do not fit
    together).
    """
    folder = Path(folder)
    if not ((folder / SETTINGS).is_file() and (folder / WEIGHTS).is_file()):
        raise CheckpointError("not-found", "This folder does not hold a fine-tuned model", path=folder)
    settings, weights = read_json(folder / SETTINGS), read_safetensors(folder / WEIGHTS)
    try:
        if settings["model_type"] != MODEL_TYPE or int(settings["format_version"]) > FORMAT_VERSION:
            raise ValueError("another type of model, or a newer version of this program")
        family = FAMILIES[settings["family"]]
        backbone = family.module(family.config_from(settings["architecture"]))
        tagger = Tagger(backbone, TagSettings.from_dict(settings["head"]))
        tagger.load_state_dict(weights, strict=True)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError("bad-config", f"Its settings do not fit: {reason}", path=folder) from error
    return tagger.eval(), settings

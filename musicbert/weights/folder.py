"""The folder format: ``config.json``, ``model.safetensors``, ``vocab.json`` and a model card ``README.md``.

Everything is data: no pickle. Tensors have their published names and are written bit for bit as they are;
``vocab.json`` maps the 1,237 tokens to their ids; ``config.json`` is described in
:mod:`musicbert.weights.bundle`. With ``layout="hugging-face"`` names and ``config.json`` are those of
musicbert_hf (:mod:`musicbert.weights.hugging_face`); what the heads mean stays in ``heads.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Literal

import torch

from musicbert.corpus.files.folders import build_directory
from musicbert.encoding.vocabulary import TOKENS
from musicbert.errors import CheckpointError
from musicbert.weights.bundle import Bundle, read_bundle
from musicbert.weights.card import model_card
from musicbert.weights.hugging_face import hugging_face_config, to_hugging_face

__all__ = ["Layout", "load_folder", "save_folder"]

Layout = Literal["musicbert", "hugging-face"]
WEIGHTS, CONFIG, VOCABULARY, CARD = "model.safetensors", "config.json", "vocab.json", "README.md"


def save_folder(
    bundle: Bundle,
    folder: str | PathLike[str],
    *,
    layout: Layout = "musicbert",
    overwrite: bool = False,
) -> Path:
    """Write a checkpoint as a folder, whole or not at all.

    Parameters
    ----------
    bundle
        What to write.
    folder
        Where; it may not exist or be empty, unless ``overwrite``.
    layout
        ``musicbert``, or ``hugging-face`` for musicbert_hf.
    overwrite
        Replace such a folder that is there already (never a folder that holds something else).

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DatasetError
        As :func:`~musicbert.corpus.files.folders.build_directory`.
    CheckpointError
        ``not-exportable``.
    """
    from safetensors.torch import save_file

    weights = bundle.weights if layout == "musicbert" else to_hugging_face(bundle.weights)
    config = bundle.settings() if layout == "musicbert" else hugging_face_config(bundle.config)
    with build_directory(folder, overwrite=overwrite, recognise=_is_ours) as partial:
        save_file(_separate(weights), partial / WEIGHTS, metadata={"format": "pt"})
        _write_json(partial / CONFIG, config)
        (partial / WEIGHTS).chmod((partial / CONFIG).stat().st_mode)  # safetensors makes it private
        if layout == "hugging-face" and bundle.heads:
            _write_json(partial / "heads.json", [asdict(head) for head in bundle.heads])
        _write_json(partial / VOCABULARY, {token: index for index, token in enumerate(TOKENS)})
        (partial / CARD).write_text(model_card(bundle, layout), encoding="utf-8")
    return Path(folder)


def load_folder(folder: str | PathLike[str], *, labels: str | PathLike[str] | None = None) -> Bundle:
    """Read a folder that :func:`save_folder` wrote, in either layout.

    Raises
    ------
    CheckpointError
        ``not-found``, ``other-vocabulary``, and as :func:`~musicbert.weights.bundle.read_bundle`.
    """
    folder = Path(folder)
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(
            "not-found",
            f"This folder holds no {WEIGHTS}",
            path=folder,
            hint="give a folder written by `musicbert checkpoint convert`, or a checkpoint file",
        )
    vocabulary = folder / VOCABULARY
    if vocabulary.is_file():
        try:
            tokens = json.loads(vocabulary.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CheckpointError("unreadable", "It is no JSON", path=vocabulary) from error
        if tokens != {token: index for index, token in enumerate(TOKENS)}:
            raise CheckpointError(
                "other-vocabulary", "Its tokens are not those of OctupleMIDI in their order", path=vocabulary
            )
    return read_bundle(folder, labels=labels)


def _is_ours(folder: Path) -> bool:
    return (folder / WEIGHTS).is_file() and (folder / CONFIG).is_file()


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _separate(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors that share no memory, as safetensors wants them: tied ones become two equal ones."""
    seen: set[int] = set()
    result = {}
    for name, value in weights.items():
        address = value.untyped_storage().data_ptr()
        result[name] = value.detach().clone() if address in seen else value.detach().contiguous()
        seen.add(address)
    return result

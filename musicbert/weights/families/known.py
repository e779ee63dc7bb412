"""The families by name; names, architecture, and fit to a model of any checkpoint.

``path`` is the file of the checkpoint, named in errors.
"""

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

import torch
from torch import nn

from musicbert.errors import CheckpointError
from musicbert.weights.checks import check_architecture, check_values
from musicbert.weights.families.family import WITHOUT_FLAG, Config, Family, FamilyName, KeyReport, Weights
from musicbert.weights.families.m2bert import M2BERT, is_m2bert
from musicbert.weights.families.midibert import MIDIBERT, is_midibert
from musicbert.weights.families.musicbert import MUSICBERT

FAMILIES: dict[FamilyName, Family] = {family.name: family for family in (MUSICBERT, M2BERT, MIDIBERT)}


def family_of(weights: Weights) -> Family:
    """Family of tensors by their names; MusicBERT where they say nothing."""
    return MIDIBERT if is_midibert(weights) else M2BERT if is_m2bert(weights) else MUSICBERT


def family_of_config(config: Config) -> Family:
    """Family of an architecture."""
    return next(family for family in FAMILIES.values() if type(config) is family.config)


def rename(weights: Weights, *, path: str | PathLike[str] | None = None) -> dict[str, torch.Tensor]:
    """Give tensors the names of their family (published ones of MusicBERT).

    Raises `CheckpointError` (``midibert-layout``: a MidiBERT that is not whole).
    """
    return family_of(weights).rename(weights, path=path)


def infer_config(
    weights: Weights,
    settings: Mapping[str, Any] | None = None,
    *,
    family: Family | None = None,
    path: str | PathLike[str] | None = None,
) -> Config:
    """Read an architecture off the shapes of tensors and the settings of their checkpoint.

    ``settings`` are flags of fairseq (number of attention heads, dropouts). Without ``family``, the names of
    the tensors show it.
    Raises `CheckpointError` (``other-model``, ``other-vocabulary``, ``midibert-layout``,
    ``missing-weights``, ``bad-config``).
    """
    family = family or family_of(weights)
    config = _infer(family, family.rename(weights, path=path), path)
    try:
        family.check_sizes(config, settings or {})
        config = family.with_settings(config, settings or {})
        check_architecture(config)
    except (ValueError, OverflowError) as error:
        raise CheckpointError("bad-config", f"Its settings do not fit: {error}", path=path) from error
    return config


def _infer(family: Family, weights: Weights, path: str | PathLike[str] | None) -> Config:
    try:
        config: Config = family.infer(weights, path=path)
    except (IndexError, ZeroDivisionError, ValueError) as error:
        message = "It holds tensors of shapes that no such model has"
        raise CheckpointError("other-model", message, path=path) from error
    except CheckpointError as error:
        error.path = error.path if error.path or path is None else fspath(path)
        raise
    numbers = sum(value.numel() for value in weights.values())
    if config.layers * config.width * (4 * config.width + 2 * config.ffn_width) > numbers:
        message = f"Its tensors hold fewer numbers than {config.layers} layers need"
        raise CheckpointError("missing-weights", message, path=path)
    return config


def fit_weights(
    weights: Weights, model: nn.Module, *, path: str | PathLike[str] | None = None
) -> tuple[dict[str, torch.Tensor], KeyReport]:
    """Match a checkpoint's tensors, under any known names, with a model.

    Returns a state dict for ``load_state_dict(strict=True)``, and what became of each tensor; where the
    checkpoint has none, the model's value stays. A position table longer than the model's is cut. A shorter
    one that still holds ``max_positions`` tokens is continued by the model's own rows: both count from the
    same row.

    Raises `CheckpointError` (``other-model``, ``other-vocabulary``, ``other-architecture``,
    ``midibert-layout``, ``missing-weights``, ``bad-weights``).
    """
    config: Any = model.config
    family = family_of_config(config)
    weights = family.rename(weights, path=path)
    family.check(_infer(family, weights, path), config, path=path)
    values, state = model.state_dict(), {}
    loaded, missing, resized = [], [], []
    for name, value in values.items():
        given = weights.get(name)
        if given is not None and name.endswith("embed_positions.weight"):
            rows = given[: value.shape[0]]
            given = rows if len(rows) == len(value) else torch.cat([rows, value[len(rows) :].to(rows)])
        fits = given is not None and given.shape == value.shape
        (loaded if fits else missing if given is None else resized).append(name)
        state[name] = given if given is not None and fits else value
    lacking = [name for name in missing if not family.optional(name, config)]
    lacking += [name for name in resized if not name.startswith(family.resizable)]
    if lacking:
        message = f"{len(lacking)} tensors are missing or of another shape: {', '.join(lacking[:3])} ..."
        raise CheckpointError("missing-weights", message, path=path)
    check_values({name: state[name] for name in loaded}, path=path)
    unexpected = [name for name in weights if name not in values]
    return state, KeyReport(tuple(loaded), tuple(missing), tuple(unexpected), tuple(resized))


def check_settings(
    settings: Mapping[str, Any], config: Any, *, path: str | PathLike[str] | None = None
) -> None:
    """Check what no shape shows of a checkpoint's settings, such as heads, against a model.

    Raises `CheckpointError` (``other-architecture``, ``bad-config``).
    """
    family = family_of_config(config)
    try:
        theirs = family.with_settings(config, settings)
    except (ValueError, OverflowError) as error:
        raise CheckpointError("bad-config", f"Its settings do not fit: {error}", path=path) from error
    words = {"heads": "attention heads", "norm_eps": "as epsilon of LayerNorm"}
    found = {name: (getattr(theirs, name), flag) for name, flag in family.unseen.items()}
    found |= {name: (settings[name], "") for name in WITHOUT_FLAG if name in settings}
    for name, (value, flag) in found.items():
        ours = getattr(config, name, value)
        if value != ours:
            option = f", and --{flag.replace('_', '-')}" if flag else "; training has no flag for this"
            option += f" {value}" if flag and value is not True else ""
            raise CheckpointError(
                "other-architecture",
                f"It is of another architecture: {value} {words.get(name, f'as {name}')} (not {ours})",
                path=path,
                hint="choose the --arch it was trained with" + ("" if name == "heads" else option),
            )

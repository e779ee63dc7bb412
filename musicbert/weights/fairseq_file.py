"""Writing weights as one file: a ``.pt`` that fairseq reads, or M2BERT's published ``.ckpt``.

The container of a ``.pt`` is that of fairseq 0.12: ``cfg`` with a Namespace of the model's settings, ``args``
None, ``model``, and the bookkeeping that fairseq looks for. There is no state of an optimiser, so it is
something to start from (``--init-from``, ``--finetune-from-model``), not to resume. What ``config.json`` says
lies under ``musicbert``, so that a folder written from it again is the same.
"""

from argparse import Namespace
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.errors import CheckpointError
from musicbert.weights.bundle import Bundle
from musicbert.weights.families.m2bert import upstream_names
from musicbert.weights.pickles import write_pickle


def save_fairseq(bundle: Bundle, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a checkpoint of fairseq, whole or not at all.

    Raises `CheckpointError` (``output-exists``; ``not-exportable`` for a MidiBERT).
    """
    family, config = bundle.family, bundle.config
    if family.name == "midibert":
        raise CheckpointError("not-exportable", "A MidiBERT is not pre-trained with fairseq here", path=path)
    name = family.architecture_name(config)
    model = Namespace(_name=name, arch=name, **family.flag_values(config))
    task = "music_pretrain"
    if family.name == "musicbert":
        task = "masked_lm"
        model.tokens_per_sample = model.max_positions
        model.activation_fn, model.pooler_activation_fn = "gelu", "tanh"
        model.pooling, model.pad = bundle.pooling, 1
    groups: dict[str, Any] = {"common": {}, "checkpoint": {}, "criterion": {}}
    history = {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
    state = {
        "args": None,
        "cfg": {"_name": None, **groups, "model": model, "task": Namespace(_name=task, data="")},
        "model": dict(bundle.weights),
        "criterion": None,
        "optimizer_history": [history],
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
        "last_optimizer_state": None,
        "musicbert": bundle.settings(),
    }
    return _save(state, Path(path), overwrite)


def save_ckpt(bundle: Bundle, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
    """Write ``state_dict`` and ``mask_lm`` as M2BERT's and MidiBERT's programs do.

    Raises `CheckpointError` (``output-exists``; ``not-exportable`` for a MusicBERT).
    """
    if bundle.family.name == "musicbert":
        raise CheckpointError(
            "not-exportable", "This is a MusicBERT, not an M2BERT", path=path, hint="choose another format"
        )
    if bundle.family.name == "midibert":
        state: dict[str, Any] = {"epoch": 0, "state_dict": dict(bundle.weights)}
    else:
        backbone, heads = upstream_names(bundle.weights)
        state = {"epoch": 0, "state_dict": backbone, "mask_lm": heads}
    return _save(state, Path(path), overwrite)


def _save(state: dict[str, Any], path: Path, overwrite: bool) -> Path:
    if path.exists() and not overwrite:
        raise CheckpointError(
            "output-exists", "It exists already", path=path, hint="choose another name, or pass --overwrite"
        )
    write_pickle(state, path)
    return path

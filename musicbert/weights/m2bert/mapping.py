"""Weights of M2BERT: names, shapes, and what became of each tensor.

A published ``model_best.ckpt`` is a dictionary with ``state_dict`` (80 tensors of the backbone) and
``mask_lm`` (10 of the heads) beside the training state. Here they are one state dict, ``encoder.*`` and
``mask_lm.*``. The same file of a fine-tuned model has ``midibert.*`` and ``classifier.*``; a checkpoint of
our own training has our names, maybe with a wrapper's prefix. Tensors of the backbone may never be missing;
the heads may, as a whole or the piano roll's alone, which is said.

Checkpoints of the older MidiBERT (``bert.*``: a BERT with relative positions, no ModernBERT) are another
model (:mod:`musicbert.weights.m2bert.midibert`) and are refused by name where this one is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike

import torch

from musicbert.config import M2BERT_PRESETS, M2BertConfig
from musicbert.errors import CheckpointError
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.objectives.note_fields import CP, OCTUPLE
from musicbert.weights.mapping import KeyReport

__all__ = ["fit_m2bert", "infer_m2bert_config", "is_m2bert", "rename_m2bert", "upstream_m2bert"]

BACKBONE, HEADS = "encoder.", "mask_lm."
#: parts of the backbone by their published names
_PARTS = ("note_bert1.", "word_emb.", "in_linear.")
#: prefixes of wrappers, and of a fine-tuned model's backbone
_WRAPPERS = ("module.", "model.", "midibert.", "backbone.")
_LAYER = re.compile(r"encoder\.note_bert1\.layers\.(\d+)\.")
#: width of an attention head in every size
_HEAD_WIDTH = 64
#: tensors without gradient that a checkpoint may lack: they are never used
_UNUSED = ("encoder.note_bert1.embeddings.tok_embeddings.weight", "encoder.note_bert1.final_norm.weight")


def is_m2bert(weights: Mapping[str, torch.Tensor]) -> bool:
    """Whether these are tensors of an M2BERT, or of a MidiBERT (which training refuses with a reason)."""
    return any("note_bert1." in name or re.search(r"(^|\.)bert\.encoder\.", name) for name in weights)


def rename_m2bert(
    weights: Mapping[str, torch.Tensor], *, path: str | PathLike[str] | None = None
) -> dict[str, torch.Tensor]:
    """Give tensors our names: ``encoder.*`` and ``mask_lm.*``.

    Raises
    ------
    CheckpointError
        ``midibert-layout`` for a checkpoint of the older MidiBERT.
    """
    if any(re.search(r"(^|\.)bert\.encoder\.", name) for name in weights):
        raise CheckpointError(
            "midibert-layout",
            "It is a checkpoint of the older MidiBERT: BERT layers with relative_key_query positions",
            path=path,
            hint="from_pretrained, `musicbert embed` and `musicbert finetune` open it; pre-training starts "
            "from an M2BERT",
        )
    renamed = {}
    for name, value in weights.items():
        stripped = True
        while stripped:
            stripped = False
            for prefix in _WRAPPERS:
                if name.startswith(prefix):
                    name, stripped = name.removeprefix(prefix), True
        renamed[BACKBONE + name if name.startswith(_PARTS) else name] = value
    return renamed


def upstream_m2bert(
    weights: Mapping[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return ``state_dict`` and ``mask_lm`` of a published checkpoint, from our names."""
    backbone = {n.removeprefix(BACKBONE): v for n, v in weights.items() if n.startswith(BACKBONE)}
    heads = {n.removeprefix(HEADS): v for n, v in weights.items() if n.startswith(HEADS)}
    return backbone, heads


def infer_m2bert_config(
    weights: Mapping[str, torch.Tensor], *, path: str | PathLike[str] | None = None
) -> M2BertConfig:
    """Read the architecture off the shapes of tensors with our names.

    No shape shows dropouts, window, thetas and the number of heads: these are the published ones, a head
    being 64 wide.

    Raises
    ------
    CheckpointError
        ``other-model`` if this is no M2BERT.
    """
    try:
        width = weights["encoder.in_linear.weight"].shape[0]
        ffn_width = weights["encoder.note_bert1.layers.0.mlp.Wo.weight"].shape[1]
        columns = [name for name in weights if re.fullmatch(r"encoder\.word_emb\.\d+\.lut\.weight", name)]
        tables = [weights[f"encoder.word_emb.{column}.lut.weight"].shape for column in range(len(columns))]
        sizes, embedding_width = tuple(int(shape[0]) for shape in tables), int(tables[0][1])
    except (KeyError, IndexError) as error:
        message = f"It holds no M2BERT: {error} is missing"
        raise CheckpointError("other-model", message, path=path) from error
    known = next((fields for fields in (CP, OCTUPLE) if fields.sizes == sizes), None)
    if known is None:
        message = f"Its columns have {sizes} ids: neither compound words nor octuples"
        raise CheckpointError("other-vocabulary", message, path=path)
    roll = weights.get(f"{HEADS}proj.{len(sizes)}.weight")
    layers = 1 + max((int(found[1]) for name in weights if (found := _LAYER.match(name))), default=-1)
    return M2BERT_PRESETS["base"].with_(
        layers=layers,
        width=int(width),
        ffn_width=int(ffn_width),
        heads=max(int(width) // _HEAD_WIDTH, 1),
        embedding_width=embedding_width,
        field_sizes=sizes,
        field_pads=known.pads,
        roll_outputs=0 if roll is None else int(roll.shape[0]),
    )


def fit_m2bert(
    weights: Mapping[str, torch.Tensor],
    model: M2Bert,
    *,
    path: str | PathLike[str] | None = None,
) -> tuple[dict[str, torch.Tensor], KeyReport]:
    """Match a checkpoint with a model.

    Parameters
    ----------
    weights
        Tensors by any of the known spellings.
    model
        Where they go.
    path
        Named in errors.

    Returns
    -------
    state, report
        A state dict for ``load_state_dict(strict=True)``, and what became of each tensor.

    Raises
    ------
    CheckpointError
        ``midibert-layout``, ``other-model``, ``other-vocabulary``, ``other-architecture``,
        ``missing-weights``.
    """
    weights = rename_m2bert(weights, path=path)
    theirs, ours = infer_m2bert_config(weights, path=path), model.config
    if theirs.field_sizes != ours.field_sizes:
        raise CheckpointError(
            "other-vocabulary",
            f"Its columns have {theirs.field_sizes} ids, the model's {ours.field_sizes}",
            path=path,
            hint="use a checkpoint that was trained with the same --encoding",
        )
    compared = ("layers", "width", "ffn_width", "embedding_width")
    differ = [name for name in compared if getattr(theirs, name) != getattr(ours, name)]
    if differ:
        values = ", ".join(f"{name} {getattr(theirs, name)} (not {getattr(ours, name)})" for name in differ)
        raise CheckpointError(
            "other-architecture",
            f"It is of another architecture: {values}",
            path=path,
            hint="choose the --arch it was trained with",
        )
    state, loaded, missing, resized = {}, [], [], []
    own = model.state_dict()
    for name, value in own.items():
        found = weights.get(name)
        if found is None:
            missing.append(name)
        elif found.shape != value.shape:
            resized.append(name)
        else:
            loaded.append(name)
        state[name] = value if found is None or found.shape != value.shape else found
    lacking = [name for name in (*missing, *resized) if name.startswith(BACKBONE) and name not in _UNUSED]
    if ours.final_norm and _UNUSED[1] in missing:
        lacking.append(_UNUSED[1])
    if lacking:
        message = f"{len(lacking)} tensors are missing or of another shape: {', '.join(lacking[:3])} ..."
        raise CheckpointError("missing-weights", message, path=path)
    unexpected = [name for name in weights if name not in own]
    return state, KeyReport(tuple(loaded), tuple(missing), tuple(unexpected), tuple(resized))

"""M2BERT on disk: names and shapes of its tensors.

A published ``model_best.ckpt`` is a dictionary with ``state_dict`` (80 tensors of the backbone) and
``mask_lm`` (10 of the heads) beside the training state. Here they are one state dict, ``encoder.*`` and
``mask_lm.*``. The file of a fine-tuned model has ``midibert.*`` and ``classifier.*`` instead. Checkpoints
trained here have the names used here, possibly with a wrapper's prefix. Tensors of the backbone must be
present; all heads, or that of the piano roll, may be missing and are then reported.
"""

import re
from os import PathLike

import torch

from musicbert.config import M2BERT_PRESETS, M2BertConfig
from musicbert.errors import CheckpointError
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.objectives.note_fields import CP, OCTUPLE
from musicbert.weights.families.family import HEAD_WIDTH, SIZE_FLAGS, WRAPPERS, Family, Weights, layer_count

BACKBONE, HEADS = "encoder.", "mask_lm."
#: parts of the backbone by their published names
_PARTS = ("note_bert1.", "word_emb.", "in_linear.")
_MIDIBERT = re.compile(r"(^|\.)bert\.encoder\.")
#: tensors without gradient that a checkpoint may lack: they are never used
_UNUSED = ("encoder.note_bert1.embeddings.tok_embeddings.weight", "encoder.note_bert1.final_norm.weight")


def is_m2bert(weights: Weights) -> bool:
    """Whether these are tensors of an M2BERT, or of a MidiBERT (which training refuses with a reason)."""
    return any("note_bert1." in name or _MIDIBERT.search(name) for name in weights)


def rename(weights: Weights, *, path: str | PathLike[str] | None = None) -> dict[str, torch.Tensor]:
    """Give tensors our names: ``encoder.*`` and ``mask_lm.*``.

    Raises `CheckpointError` (``midibert-layout``: a checkpoint of the older MidiBERT).
    """
    if any(_MIDIBERT.search(name) for name in weights):
        raise CheckpointError(
            "midibert-layout",
            "It is a checkpoint of the older MidiBERT: BERT layers with relative_key_query positions",
            path=path,
            hint="from_pretrained, `musicbert embed` and `musicbert finetune` open it; pre-training starts "
            "from an M2BERT",
        )
    stripped = {WRAPPERS.sub("", name): value for name, value in weights.items()}
    return {BACKBONE + name if name.startswith(_PARTS) else name: value for name, value in stripped.items()}


def upstream_names(weights: Weights) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return ``state_dict`` and ``mask_lm`` of a published checkpoint, from our names."""
    backbone, heads = (
        {name.removeprefix(part): value for name, value in weights.items() if name.startswith(part)}
        for part in (BACKBONE, HEADS)
    )
    return backbone, heads


def infer(weights: Weights, *, path: str | PathLike[str] | None = None) -> M2BertConfig:
    """Read the architecture off the shapes.

    No shape shows dropouts, window, thetas and the number of heads: these are the published ones, a head
    being 64 wide.

    Raises `CheckpointError` (``other-model``; ``other-vocabulary`` for columns of another encoding).
    """
    try:
        width = weights["encoder.in_linear.weight"].shape[0]
        ffn_width = weights["encoder.note_bert1.layers.0.mlp.Wo.weight"].shape[1]
        columns = layer_count(weights, "encoder.word_emb.")
        tables = [weights[f"encoder.word_emb.{column}.lut.weight"].shape for column in range(columns)]
        sizes, embedding_width = tuple(int(shape[0]) for shape in tables), int(tables[0][1])
    except (KeyError, IndexError) as error:
        message = f"It does not hold an M2BERT: {error} is missing"
        raise CheckpointError("other-model", message, path=path) from error
    known = next((fields for fields in (CP, OCTUPLE) if fields.sizes == sizes), None)
    if known is None:
        message = f"Its columns have {sizes} ids: neither compound words nor octuples"
        raise CheckpointError("other-vocabulary", message, path=path)
    roll = weights.get(f"{HEADS}proj.{len(sizes)}.weight")
    return M2BertConfig(
        layers=layer_count(weights, "encoder.note_bert1.layers."),
        width=int(width),
        ffn_width=int(ffn_width),
        heads=max(int(width) // HEAD_WIDTH, 1),
        embedding_width=embedding_width,
        field_sizes=sizes,
        field_pads=known.pads,
        roll_outputs=0 if roll is None else int(roll.shape[0]),
    )


def _optional(name: str, config: M2BertConfig) -> bool:
    return not name.startswith(BACKBONE) or name in _UNUSED[: 1 if config.final_norm else 2]


_SIZES = ("layers", "width", "ffn_width", "embedding_width")
M2BERT = Family(
    name="m2bert",
    config=M2BertConfig,
    module=M2Bert,
    presets=M2BERT_PRESETS,
    rename=rename,
    infer=infer,
    flags={
        **SIZE_FLAGS,
        "field_embed_dim": "embedding_width",
        "attention_dropout": "attention_dropout",
        "dropout": "mlp_dropout",
        "global_every": "global_every",
        "local_window": "window",
        "final_norm": "final_norm",
    },
    from_settings=(
        "encoder_attention_heads",
        "attention_dropout",
        "dropout",
        "global_every",
        "local_window",
        "final_norm",
    ),
    from_shapes=(*_SIZES, "field_sizes", "field_pads", "roll_outputs"),
    sizes=_SIZES,
    vocabulary="field_sizes",
    optional=_optional,
    resizable=(HEADS,),
    encoding_hint="use a checkpoint that was trained with the same --encoding",
    title="An M2BERT model",
    about="M2BERT (ModernBERT blocks over the columns of a note, pre-trained by token denoising and\n"
    "piano-roll prediction) in the layout of the package `musicbert`.",
)

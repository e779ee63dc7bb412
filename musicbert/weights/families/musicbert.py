"""MusicBERT on disk: names and shapes of its tensors.

The published names are in the specification of the checkpoint (``encoder.sentence_encoder.*``,
``encoder.lm_head.*``, ``classification_heads.<name>.*``); older and newer names are translated. Only the
tensors of performance inputs and heads may be missing: the model then keeps its values.
"""

import re
from os import PathLike

import torch

from musicbert.config import PRESETS, ModelConfig
from musicbert.errors import CheckpointError
from musicbert.model import MusicBert
from musicbert.weights.families.family import HEAD_WIDTH, SIZE_FLAGS, Family, Weights, layer_count
from musicbert.weights.families.hugging_face import HUGGING_FACE_FIXED

ENCODER = "encoder.sentence_encoder."
#: tensors that the published model lacks; they start at a neutral value
OPTIONAL = (
    f"{ENCODER}performance_projection.weight",
    f"{ENCODER}performance_hidden_projection.weight",
    "encoder.performance_head.weight",
    "encoder.performance_head.bias",
)
HEADS = ("classification_heads.", "regression_heads.")
#: heads that may be missing or of another size: they then start anew
NEW_HEADS = (*HEADS, "roll_head.")
#: prefixes that wrappers put before every name
WRAPPERS = ("module.", "model.", "mainEncoder.")
#: rows of the position table before the first position (fairseq: padding index + 1)
POSITION_OFFSET = 2


def rename(weights: Weights, *, path: str | PathLike[str] | None = None) -> dict[str, torch.Tensor]:  # noqa: ARG001
    """Give tensors their published names: no wrapper prefix, ``emb_layer_norm``, ``encoder``."""
    names = dict(weights)
    for prefix in WRAPPERS:
        if not any(name.startswith("encoder.") for name in names) and any(
            name.startswith(prefix) for name in names
        ):
            names = {name.removeprefix(prefix): value for name, value in names.items()}
    renamed = {}
    for name, value in names.items():
        name = re.sub(r"^decoder\.", "encoder.", name)
        name = name.replace(".layernorm_embedding.", ".emb_layer_norm.")
        if not name.endswith(".version"):
            renamed[name] = value
    return renamed


def infer(weights: Weights, *, path: str | PathLike[str] | None = None) -> ModelConfig:
    """Read the architecture off the shapes; an attention head is taken to be 64 wide, as published.

    Raises `CheckpointError` (``other-model``).
    """
    try:
        vocabulary, width = weights[f"{ENCODER}embed_tokens.weight"].shape
        rows = weights[f"{ENCODER}embed_positions.weight"].shape[0]
        ffn_width = weights[f"{ENCODER}layers.0.fc1.weight"].shape[0]
    except (KeyError, ValueError) as error:
        message = "It does not hold a MusicBERT: tensors of the encoder are missing"
        raise CheckpointError("other-model", message, path=path) from error
    down = weights.get(f"{ENCODER}downsampling.0.weight")
    performance = weights.get(OPTIONAL[0])
    return ModelConfig(
        layers=layer_count(weights, f"{ENCODER}layers."),
        width=width,
        ffn_width=ffn_width,
        heads=max(width // HEAD_WIDTH, 1),
        max_positions=rows - POSITION_OFFSET,
        vocabulary_size=vocabulary,
        fields=1 if down is None else down.shape[1] // width,
        performance_features=0 if performance is None else performance.shape[1],
    )


def _misfits(theirs: ModelConfig, ours: ModelConfig) -> list[str]:
    """Too few positions (they are counted in notes), or other performance inputs than the model's."""
    short = theirs.max_positions < ours.max_positions // ours.fields
    other = theirs.performance_features not in (0, ours.performance_features)
    return ["max_positions"] * short + ["performance_features"] * other


MUSICBERT = Family(
    name="musicbert",
    config=ModelConfig,
    module=MusicBert,
    presets=PRESETS,
    rename=rename,
    infer=infer,
    flags={
        **SIZE_FLAGS,
        "dropout": "dropout",
        "attention_dropout": "attention_dropout",
        "activation_dropout": "activation_dropout",
        "pooler_dropout": "pooler_dropout",
        "layer_norm_eps": "norm_eps",
        "max_positions": "max_positions",
        "performance_features": "performance_features",
    },
    from_settings=(
        "encoder_attention_heads",
        "dropout",
        "attention_dropout",
        "activation_dropout",
        "pooler_dropout",
        "layer_norm_eps",
    ),
    fixed={
        "activation_fn": ("gelu",),
        "pooler_activation_fn": ("tanh",),
        "encoder_normalize_before": (False,),
        "layernorm_embedding": (True,),
        "encoder_learned_pos": (True,),
        "no_token_positional_embeddings": (False,),
        "no_scale_embedding": (True,),
        "adaptive_input": (False,),
        "encoder_layers_to_keep": (None,),
        "pad": (1,),
        **HUGGING_FACE_FIXED,
    },
    from_shapes=(
        "layers",
        "width",
        "ffn_width",
        "max_positions",
        "vocabulary_size",
        "fields",
        "performance_features",
    ),
    sizes=("layers", "width", "ffn_width", "fields"),
    vocabulary="vocabulary_size",
    optional=lambda name, _: name in OPTIONAL or name.startswith(NEW_HEADS),
    resizable=NEW_HEADS,
    misfits=_misfits,
    encoding_hint="use a checkpoint trained on OctupleMIDI with the same dict.txt",
    title="A MusicBERT model",
    about="MusicBERT (Zeng et al. 2021, <https://arxiv.org/abs/2106.05630>) reads symbolic music in the\n"
    "OctupleMIDI encoding: eight tokens a note.",
)

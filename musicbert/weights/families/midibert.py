"""The older MidiBERT on disk: ``bert.*``, ``word_emb.*`` and ``in_linear.*`` of its checkpoints.

A checkpoint is a dictionary whose ``state_dict`` holds the backbone; in a fine-tuned one, these names have
the prefix ``midibert.``, and there are ``classifier.*``. Every tensor that the model uses must be present.
Unused tensors are left out and reported: BERT's token embeddings, position table (replaced by distances) and
pooler, and heads.
"""

from os import PathLike

import torch

from musicbert.config import MidiBertConfig
from musicbert.errors import CheckpointError
from musicbert.model.backbones.midibert import MidiBert
from musicbert.objectives.note_fields import CP
from musicbert.weights.families.family import SIZE_FLAGS, WRAPPERS, Family, Weights, layer_count

_LAYERS = "bert.encoder.layer."


def is_midibert(weights: Weights) -> bool:
    """Whether these are tensors of a MidiBERT."""
    names = set(rename(weights))
    return "word_emb.0.lut.weight" in names and any(name.startswith(_LAYERS) for name in names)


def rename(weights: Weights, *, path: str | PathLike[str] | None = None) -> dict[str, torch.Tensor]:  # noqa: ARG001
    """Take the prefixes of wrappers off."""
    return {WRAPPERS.sub("", name): value for name, value in weights.items()}


def infer(weights: Weights, *, path: str | PathLike[str] | None = None) -> MidiBertConfig:
    """Read the architecture off the shapes; only dropouts are those that were published.

    Raises `CheckpointError`: ``other-model`` if this is no MidiBERT, or one without ``relative_key_query``;
    ``other-vocabulary`` for other columns than those of compound words (version 2 has six).
    """
    try:
        width, inputs = weights["in_linear.weight"].shape
        ffn_width = weights[f"{_LAYERS}0.intermediate.dense.weight"].shape[0]
        distances, head_width = weights[f"{_LAYERS}0.attention.self.distance_embedding.weight"].shape
        embedding_width = weights["word_emb.0.lut.weight"].shape[1]
    except (KeyError, ValueError) as error:
        message = f"It does not hold a MidiBERT with relative positions: {error} is missing"
        raise CheckpointError("other-model", message, path=path) from error
    names = (f"word_emb.{column}.lut.weight" for column in range(inputs // embedding_width))
    sizes = tuple(int(weights[name].shape[0]) for name in names if name in weights)
    if sizes != CP.sizes:
        message = f"Its columns have {sizes} ids, those of compound words {CP.sizes}"
        raise CheckpointError("other-vocabulary", message, path=path)
    return MidiBertConfig(
        layers=layer_count(weights, _LAYERS),
        width=int(width),
        ffn_width=int(ffn_width),
        heads=int(width) // int(head_width),
        embedding_width=int(embedding_width),
        max_positions=(int(distances) + 1) // 2,
    )


_SIZES = ("layers", "width", "ffn_width", "heads", "embedding_width", "max_positions")
MIDIBERT = Family(
    name="midibert",
    config=MidiBertConfig,
    module=MidiBert,
    presets={"base": MidiBertConfig()},
    rename=rename,
    infer=infer,
    flags={
        **SIZE_FLAGS,
        "field_embed_dim": "embedding_width",
        "dropout": "dropout",
        "attention_dropout": "attention_dropout",
        "max_distance": "max_positions",
    },
    from_settings=(),
    from_shapes=(*_SIZES, "field_sizes", "field_pads"),
    sizes=_SIZES,
    vocabulary="field_sizes",
    optional=lambda name, config: False,  # noqa: ARG005
    resizable=(),
    encoding_hint="use a checkpoint of compound words",
    title="A MidiBERT model",
    about="MidiBERT (BERT blocks with relative positions over the columns of a note) in the layout of the\n"
    "package `musicbert`.",
)

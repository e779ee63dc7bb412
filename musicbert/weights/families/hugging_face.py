"""The layout of Hugging Face's BERT, as musicbert_hf uses it: names and settings, there and back.

``encoder.sentence_encoder.layers.0.fc1.weight`` is ``bert.encoder.layer.0.intermediate.dense.weight`` there;
:data:`NAMES` has all names. Shapes are the same, and the position table keeps its two rows before the first
position. BERT also has a table of token types: it is written as one row of zeros. musicbert_hf stores one
that it never reads; in a BERT without the two projections, a table that is not zero is refused.
``cls.predictions.bias`` is BERT's second name of the decoder's bias. The decoder is never tied to the
embedding. Sentence heads keep their names, because BERT has none for them.
"""

import re
from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch

from musicbert.config import ModelConfig
from musicbert.errors import CheckpointError

#: published name (a prefix) -> name in the layout of Hugging Face; ``{i}`` is the number of a block
NAMES: dict[str, str] = {
    "encoder.sentence_encoder.embed_tokens": "bert.embeddings.word_embeddings",
    "encoder.sentence_encoder.embed_positions": "bert.embeddings.position_embeddings",
    "encoder.sentence_encoder.emb_layer_norm": "bert.embeddings.LayerNorm",
    "encoder.sentence_encoder.downsampling.0": "bert.embeddings.downsampling.0",
    "encoder.sentence_encoder.upsampling.0": "bert.embeddings.upsampling.0",
    **{
        f"encoder.sentence_encoder.layers.{{i}}.{ours}": f"bert.encoder.layer.{{i}}.{theirs}"
        for ours, theirs in {
            "self_attn.q_proj": "attention.self.query",
            "self_attn.k_proj": "attention.self.key",
            "self_attn.v_proj": "attention.self.value",
            "self_attn.out_proj": "attention.output.dense",
            "self_attn_layer_norm": "attention.output.LayerNorm",
            "fc1": "intermediate.dense",
            "fc2": "output.dense",
            "final_layer_norm": "output.LayerNorm",
        }.items()
    },
    "encoder.lm_head.dense": "cls.predictions.transform.dense",
    "encoder.lm_head.layer_norm": "cls.predictions.transform.LayerNorm",
    "encoder.lm_head": "cls.predictions.decoder",
}
TOKEN_TYPES = "bert.embeddings.token_type_embeddings.weight"
SECOND_BIAS = "cls.predictions.bias"
_BIAS = "cls.predictions.decoder.bias"
_PROJECTION = "bert.embeddings.downsampling.0.weight"
#: entry of ``config.json`` -> values with which BERT computes what the network here does
HUGGING_FACE_FIXED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("gelu", "gelu_python"),
    "position_embedding_type": ("absolute",),
    "fairseq_position_embeddings": (True,),
    "tie_word_embeddings": (False,),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
    "pruned_heads": ({},),
    "quantization_config": (None,),
    "bos_token_id": (0,),
    "eos_token_id": (2,),
    "pad_token_id": (1, 0),  # 0 is BERT's default: it says which row has no gradient
}
#: entry of ``config.json`` -> setting of fairseq, for what no shape shows
_SETTINGS = {
    "num_attention_heads": "encoder_attention_heads",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "classifier_dropout": "pooler_dropout",
    "layer_norm_eps": "layer_norm_eps",
}
#: entries of ``config.json`` that are sizes, compared with the tensors
_SIZES = (
    "vocab_size", "max_position_embeddings", "intermediate_size", "hidden_size", "num_hidden_layers",
    "compound_ratio",
)  # fmt: skip
#: entries that change no output: bookkeeping, training, token types (never read), generation of text
_NEUTRAL = (
    "_name_or_path", "architectures", "model_type", "transformers_version", "torch_dtype", "dtype",
    "initializer_range", "type_vocab_size", "use_cache", "output_attentions", "output_hidden_states",
    "output_past", "return_dict", "use_return_dict", "torchscript", "use_bfloat16",
    "gradient_checkpointing", "chunk_size_feed_forward", "tie_encoder_decoder", "id2label", "label2id",
    "num_labels", "problem_type", "finetuning_task", "task_specific_params", "tf_legacy_loss",
    "tokenizer_class", "prefix", "sep_token_id", "decoder_start_token_id", "cross_attention_hidden_size",
    "bad_words_ids", "begin_suppress_tokens", "diversity_penalty", "do_sample", "early_stopping",
    "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty", "forced_bos_token_id",
    "forced_eos_token_id", "length_penalty", "max_length", "min_length", "no_repeat_ngram_size",
    "num_beam_groups", "num_beams", "num_return_sequences", "output_scores", "remove_invalid_values",
    "repetition_penalty", "return_dict_in_generate", "suppress_tokens", "temperature", "top_k", "top_p",
    "typical_p", "_attn_implementation", "_attn_implementation_autoset", "auto_map",
)  # fmt: skip
_EMPTY: tuple[Any, ...] = (None, False, "", [], {})
_POSITIONS = "fairseq_position_embeddings"
_MARK = "bert.embeddings.word_embeddings.weight"
_BLOCK = re.compile(r"(\.layers?\.)(\d+)(?=\.)")
_PERFORMANCE = "encoder.sentence_encoder.performance_projection.weight"


def is_hugging_face(weights: Mapping[str, Any]) -> bool:
    """Whether tensors have the names of Hugging Face's BERT, and not those of a MidiBERT."""
    return _MARK in weights and not any(name.startswith("word_emb.") for name in weights)


def _translate(name: str, names: Mapping[str, str]) -> str:
    """Name of a tensor on the other side, or the same name where it has no counterpart."""
    block = _BLOCK.search(name)
    general = _BLOCK.sub(r"\1{i}", name, count=1)
    stem, _, last = general.rpartition(".")
    if stem not in names:
        return name
    translated = f"{names[stem]}.{last}"
    return translated.replace("{i}", block[2]) if block else translated


def to_hugging_face(
    weights: Mapping[str, torch.Tensor], *, path: str | PathLike[str] | None = None
) -> dict[str, torch.Tensor]:
    """Give tensors by published name the names of Hugging Face's BERT.

    A table of token types of zeros [shape=(1, D)] and the second bias are added.

    Raises `CheckpointError` (``not-exportable`` for performance inputs, which that layout has no place for).
    """
    if _PERFORMANCE in weights:
        raise CheckpointError(
            "not-exportable",
            "It has performance inputs, which the layout of Hugging Face cannot hold",
            path=path,
            hint="keep it in the folder format",
        )
    renamed = {_translate(name, NAMES): value for name, value in weights.items()}
    renamed[TOKEN_TYPES] = torch.zeros_like(renamed[_MARK][:1])
    renamed[SECOND_BIAS] = renamed["cls.predictions.decoder.bias"].clone()
    return renamed


def from_hugging_face(
    weights: Mapping[str, torch.Tensor],
    *,
    path: str | PathLike[str] | None = None,
    classifier: bool = False,
) -> dict[str, torch.Tensor]:
    """Give tensors with the names of Hugging Face's BERT their published names.

    ``classifier``: the head of the language model may be missing.
    Raises `CheckpointError`: ``other-model`` where token types are read and not zero, or the head of the
    language model is tied or missing; ``bad-weights`` where its bias is there twice, with two values.
    """
    weights = dict(weights)
    types = weights.pop(TOKEN_TYPES, None)
    if types is not None and _PROJECTION not in weights and bool((types != 0).any()):
        raise CheckpointError("other-model", "It has token types, which MusicBERT does not have", path=path)
    second = weights.pop(SECOND_BIAS, None)
    if second is not None and not torch.equal(weights.setdefault(_BIAS, second), second):
        message = f"{SECOND_BIAS} and {_BIAS} differ, and are one parameter in BERT"
        raise CheckpointError("bad-weights", message, path=path)
    if not classifier and "cls.predictions.decoder.weight" not in weights:
        hint = None
        if any(name.startswith("classifier") for name in weights):
            hint = "open a classifier as a folder, whose config.json names its class in architectures"
        message = "Its language-model head is tied or missing; MusicBERT's is not tied"
        raise CheckpointError("other-model", message, path=path, hint=hint)
    back = {theirs: ours for ours, theirs in NAMES.items()}
    ignored = "bert.embeddings.position_ids"
    return {_translate(name, back): value for name, value in weights.items() if name != ignored}


def check_layout(content: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> list[str]:
    """Check what a ``config.json`` leaves open; ``weights`` have published names.

    Returns its entries that are not known here, and are not false or empty. Raises `ValueError` where
    nothing shows that positions count from row 2, as in fairseq: neither the settings, nor row 1, which is
    that of padding there, and zero.
    """
    table = weights.get("encoder.sentence_encoder.embed_positions.weight")
    if content.get(_POSITIONS) is None and table is not None and bool((table[1:2] != 0).any()):
        raise ValueError(
            f"nothing says from which row on positions are counted: add {_POSITIONS} (true or false) to it"
        )
    if content.get("model_type", "bert") != "bert" and "layer_norm_eps" not in content:
        raise ValueError(f"model_type is {content['model_type']!r}, and there is no layer_norm_eps")
    known = {*HUGGING_FACE_FIXED, *_SETTINGS, *_SIZES, *_NEUTRAL}
    return [name for name, value in content.items() if name not in known and value not in _EMPTY]


def hugging_face_config(config: ModelConfig) -> dict[str, Any]:
    """Content of ``config.json`` in the layout of musicbert_hf."""
    return {
        "model_type": "bert",
        "vocab_size": config.vocabulary_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.ffn_width,
        "hidden_act": "gelu",
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "classifier_dropout": config.pooler_dropout,
        "max_position_embeddings": config.max_positions + 2,
        "fairseq_position_embeddings": True,
        "type_vocab_size": 1,
        "layer_norm_eps": config.norm_eps,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
        "compound_ratio": config.fields,
    }


def hugging_face_settings(content: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Settings of a ``config.json`` by their names in fairseq; ``weights`` have published names.

    Raises `ValueError` where a size is not that of the tensors.
    """
    tables = {
        "vocab_size": weights.get("encoder.sentence_encoder.embed_tokens.weight"),
        "max_position_embeddings": weights.get("encoder.sentence_encoder.embed_positions.weight"),
        "intermediate_size": weights.get("encoder.sentence_encoder.layers.0.fc1.weight"),
        "hidden_size": weights.get("encoder.sentence_encoder.emb_layer_norm.weight"),
    }
    shown = {name: len(table) for name, table in tables.items() if table is not None and table.dim()}
    blocks = {_BLOCK.findall(name)[0][1] for name in weights if _BLOCK.search(name)}
    shown["num_hidden_layers"] = len(blocks)
    down = weights.get("encoder.sentence_encoder.downsampling.0.weight")
    if down is not None and down.dim() == 2 and len(down):
        shown["compound_ratio"] = down.shape[1] // len(down)
    for name, size in shown.items():
        if content.get(name, size) != size:
            raise ValueError(f"{name} is {content[name]!r}, the tensors show {size}")
    settings = {name: content[name] for name in HUGGING_FACE_FIXED if name in content}
    settings |= {ours: content[theirs] for theirs, ours in _SETTINGS.items() if theirs in content}
    if content.get("model_type") == "bert":
        settings.setdefault("layer_norm_eps", 1e-12)  # BERT's, where its settings are silent
    return settings

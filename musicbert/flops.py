"""Arithmetic that a training step needs, for model FLOPs utilisation (Chowdhery et al. 2022).

Legend: ``L`` layers, ``D`` width, ``W`` width of the feed-forward layers, ``E`` width of the embedding of a
column, ``T`` notes of a sequence, ``V`` ids.

Dense matrix products are counted, ``2 m n k`` each. A training step is three forward passes (Kaplan et al.
2020). Recomputation, padding and everything that is not a matrix product do not count.
"""

from collections.abc import Sequence

from musicbert.config import M2BertConfig, ModelConfig


def musicbert_flops(config: ModelConfig, lengths: Sequence[int], selected: float) -> float:
    """FLOPs of a step of masked-LM training; ``lengths``: notes of each sequence, without padding.

    ::

        notes * L * (8 D^2 + 4 D W)              projections and feed-forward layers
        + sum over sequences of L * 4 T^2 D      scores and weighted values
        + fields * 2 D^2 min(V, notes)           down-projection, by table or by note
        + selected * (4 D^2 + 2 D V)             up-projection, dense of the head, logits of the tokens
    """
    L, D, W, V = config.layers, config.width, config.ffn_width, config.vocabulary_size
    notes = sum(lengths)
    forward = notes * L * (8.0 * D * D + 4.0 * D * W)
    forward += L * 4.0 * D * sum(float(T) ** 2 for T in lengths)
    forward += 2.0 * config.fields * D * D * min(V, notes)
    forward += selected * (4.0 * D * D + 2.0 * D * V)
    return 3.0 * forward


def m2bert_flops(config: M2BertConfig, lengths: Sequence[int], selected: float) -> float:
    """FLOPs of a step of M2BERT's training, piano roll included where the model has the head.

    ::

        notes * L * (8 D^2 + 6 D W)                            projections and gated feed-forward layers
        + sum over sequences, global layers of 4 T^2 D         scores and weighted values
        + sum over sequences, local layers of 4 T S D          of S = min(T, 2 window + 1) notes
        + 2 V E D                                              embedding, by the tables of the columns
        + selected * 2 D V + notes * 2 D roll_outputs          heads, V for the selected notes
    """
    L, D, W, V = config.layers, config.width, config.ffn_width, sum(config.field_sizes)
    notes = sum(lengths)
    everything = -(-L // config.global_every)
    seen = everything * sum(float(T) ** 2 for T in lengths)
    seen += (L - everything) * sum(float(T) * min(T, 2 * config.window + 1) for T in lengths)
    forward = notes * L * (8.0 * D * D + 6.0 * D * W) + 4.0 * D * seen
    forward += 2.0 * V * config.embedding_width * D
    forward += 2.0 * D * (selected * V + notes * config.roll_outputs)
    return 3.0 * forward

"""MusicBERT on cells of notes: the objectives of M2BERT on MusicBERT's encoder and heads.

Legend: ``B`` pieces, ``T`` notes, ``F`` columns of a note, ``D`` width, ``N`` notes whose columns are wanted,
``V_f`` ids of column f.

Cells become ids of the shared vocabulary between a row of ``<s>`` and one of ``</s>``, as MusicBERT always
sees them. The masked-LM head is used as it is, with a softmax over the values of each column, PAD and MASK
instead of the whole vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import nn

from musicbert.model.backbones.musicbert import MusicBert
from musicbert.model.blocks.attention import mixed_precision
from musicbert.model.blocks.embedding import PAD
from musicbert.model.blocks.masked_positions import NoteOutputs
from musicbert.objectives.note_fields import NoteFields

BOS, EOS = 0, 2


def _table(columns: NoteFields) -> torch.Tensor:
    """Token of each cell [shape=(F, most ids of a column), int64]."""
    table = torch.full((len(columns), max(columns.sizes)), PAD)
    for column, (count, first) in enumerate(zip(columns.values, columns.offsets, strict=True)):
        table[column, :count] = torch.arange(first, first + count)
        table[column, count + 1] = columns.vocabulary_size - 1
    return table


def cells_to_tokens(
    cells: torch.Tensor, padding_mask: torch.Tensor | None, columns: NoteFields
) -> torch.Tensor:
    """Token ids of cells with special rows around each piece [shape=(B, (T + 2) * F), int64].

    Note t is row t + 1. ``cells`` [shape=(B, T, F), int64]; ``padding_mask``: True at padding [shape=(B, T),
    bool], or None.
    """
    B, T, fields = cells.shape
    number = torch.arange(fields, device=cells.device)
    tokens = cells.new_full((B, T + 2, fields), PAD)
    tokens[:, 0] = BOS
    tokens[:, 1:-1] = _table(columns).to(cells.device)[number, cells]
    if padding_mask is None:
        tokens[:, -1] = EOS
    else:
        tokens[:, 1:-1].masked_fill_(padding_mask[..., None], PAD)
        ends = (~padding_mask).sum(1) + 1
        tokens[torch.arange(B, device=cells.device), ends] = EOS
    return tokens.flatten(1)


def column_outputs(
    model: MusicBert,
    cells: torch.Tensor,
    padding_mask: torch.Tensor | None,
    note_index: torch.Tensor | None,
    columns: NoteFields,
    roll_head: nn.Module | None = None,
) -> NoteOutputs:
    """Run a MusicBERT with the fields and vocabulary of ``columns`` on cells.

    ``cells``, ``padding_mask``, ``note_index``: as for :class:`musicbert.model.backbones.m2bert.M2Bert`;
    ``roll_head``: linear layer D -> R over the hidden states.
    """
    encoder, lm_head = model.encoder.sentence_encoder, model.encoder.lm_head
    tokens = cells_to_tokens(cells, padding_mask, columns)
    with mixed_precision(model, tokens):
        out = encoder(tokens, padded=padding_mask is not None)
        flat = out.hidden[:, 1:-1].flatten(0, 1)  # (B*T, D)
        wanted = flat if note_index is None else flat[note_index]  # (N, D)
        x = encoder.up(wanted[None]).view(len(wanted), len(columns), -1)  # (N, F, D)
        x = lm_head.layer_norm(F.gelu(lm_head.dense(x)))  # (N, F, D)
        logits = []
        for column, (count, first) in enumerate(zip(columns.values, columns.offsets, strict=True)):
            rows = [slice(first, first + count), slice(PAD, PAD + 1), slice(-1, None)]
            weight, bias = (
                torch.cat([whole[row] for row in rows]) for whole in (lm_head.weight, lm_head.bias)
            )
            logits.append(F.linear(x[:, column], weight, bias))  # (N, V_f)
        return NoteOutputs(logits, None if roll_head is None else roll_head(flat))

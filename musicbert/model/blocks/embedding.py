"""From eight tokens to one vector per note: the compound embedding, in three equal forms.

Legend: ``B`` pieces, ``T`` notes, ``F`` fields of a note, ``D`` width, ``V`` vocabulary.

MusicBERT embeds the F tokens of a note and projects the concatenated F*D numbers to D. The projection is
linear: with ``W = [W_0 ... W_{F-1}]`` the result is ``sum_f E[token_f] @ W_f.T``, that is, look-ups in F
tables ``E @ W_f.T``. The forms are equal up to rounding and differ in work:

* ``direct``: one row of F*D numbers per note: ``B * T * F`` products with a D x D matrix.
* ``table``: all tables: ``V * F`` products, whatever the batch, without synchronising a GPU.
* ``present``: only (field, token) pairs of the batch: never more than ``direct``, usually a few hundred.

``auto`` is ``present`` on a CPU; elsewhere ``table`` if the batch has more notes than the vocabulary has
tokens, else ``direct`` (measured by ``benchmarks/model_step.py``).
"""

from typing import Literal

import torch
import torch.nn.functional as F

from musicbert.model.blocks.by_field import linear_by_field

#: id of ``<pad>``: zero in every table, and its row gets no gradient
PAD = 1

DownForm = Literal["auto", "direct", "table", "present"]


def compound_embedding(
    tokens: torch.Tensor,
    embedding: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    fields: int = 8,
    form: DownForm = "auto",
) -> torch.Tensor:
    """Embed the tokens of each note and project them to one vector [shape=(B, T, D)].

    ``tokens`` [shape=(B, T*F), int64]; ``embedding``: token embeddings [shape=(V, D)]; ``weight``, ``bias``:
    the down-projection [shape=(D, F*D)] and [shape=(D,)]; ``form``: see the module.
    """
    B, T, D = tokens.shape[0], tokens.shape[1] // fields, embedding.shape[1]
    if form == "auto":
        small = embedding.shape[0] >= B * T
        form = "present" if tokens.device.type == "cpu" else "direct" if small else "table"
    if form == "direct":
        x = F.embedding(tokens, embedding, padding_idx=PAD)  # (B, T*F, D)
        return F.linear(x.view(B, T, fields * D), weight, bias)  # (B, T, D)
    columns = weight.view(weight.shape[0], fields, D).transpose(0, 1)  # (F, D, D)
    notes = tokens.view(B * T, fields)
    if form == "table":
        every = torch.arange(embedding.shape[0], device=tokens.device)
        rows = F.embedding(every, embedding, padding_idx=PAD)  # (V, D), no gradient into the row of <pad>
        table = torch.cat([F.linear(rows, column) for column in columns.unbind(0)])  # (F*V, D)
        index = notes + torch.arange(fields, device=tokens.device) * embedding.shape[0]  # (B*T, F)
    else:
        index, token, counts = _present_pairs(notes, embedding.shape[0])
        rows = F.embedding(token, embedding, padding_idx=PAD)  # (N, D)
        table = linear_by_field(rows, columns, None, counts)  # (N, D)
    x = F.embedding_bag(index, table, mode="sum")  # (B*T, D)
    return (x if bias is None else x + bias.to(x.dtype)).view(B, T, -1)  # (B, T, D)


def _present_pairs(notes: torch.Tensor, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Number the (field, token) pairs that occur: index of each token, tokens, counts by field."""
    fields = notes.shape[1]
    key = notes + torch.arange(fields, device=notes.device) * vocabulary  # (B*T, F)
    present = torch.zeros(fields * vocabulary, dtype=torch.bool, device=notes.device)
    present[key.view(-1)] = True
    number = present.cumsum(0) - 1  # (F*V,)
    counts = present.view(fields, vocabulary).sum(1).tolist()
    token = present.nonzero().view(-1) % vocabulary  # (N,), in the order of the fields
    return number[key], token, counts


def note_positions(padding: torch.Tensor) -> torch.Tensor:
    """Rows of the position table: 2, 3, ... for notes, 1 for padding [shape=(B, T), int64].

    fairseq's convention: padding is not counted. A note whose first token is ``<pad>`` therefore shifts all
    later ones by one row. ``padding``: True at padding [shape=(B, T), bool].
    """
    real = (~padding).long()
    return real.cumsum(1) * real + PAD

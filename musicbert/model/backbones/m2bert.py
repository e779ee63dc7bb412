"""M2BERT: compound embedding of a note, ModernBERT blocks, one linear head per column and a piano roll.

Legend: ``B`` pieces, ``T`` notes, ``F`` columns of a note, ``D`` width, ``E`` width of a column's embedding,
``N`` notes whose columns are wanted, ``V_f`` ids of column f, ``R`` outputs of the piano-roll head.

Cells (B, T, F) hold the ids of :mod:`musicbert.objectives.note_fields`. Each column is embedded in E numbers,
multiplied by ``sqrt(E)``, and the F * E numbers of a note are projected to D. The same model reads octuples,
with eight columns instead of four.

State-dict names: ``encoder.`` before those of the published ``state_dict``, ``mask_lm.`` before those of its
heads.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from musicbert.config import M2BertConfig
from musicbert.model.blocks.attention import mixed_precision
from musicbert.model.blocks.masked_positions import NoteOutputs
from musicbert.model.blocks.modernbert import ModernBert


class ColumnTable(nn.Module):
    """Embedding of one column, under its published name."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.lut = nn.Embedding(size, width)


def embed_columns(
    cells: torch.Tensor, tables: nn.ModuleList, linear: nn.Linear, *, by_table: bool
) -> torch.Tensor:
    """Embed notes column by column and project them to one vector [shape=(B, T, D)].

    ``cells`` [shape=(B, T, F), int64]; ``tables``: F modules with an embedding ``lut``, V_f x E; ``linear``:
    F * E -> D; ``by_table``: project the tables (176 rows for compound words) instead of every note: equal up
    to rounding, since the projection is linear, and faster where gradients are needed.
    """
    B, T, fields = cells.shape
    sizes, width = [table.lut.num_embeddings for table in tables], tables[0].lut.embedding_dim
    if not by_table:
        looked_up = [table.lut(cells[..., column]) for column, table in enumerate(tables)]
        return linear(torch.cat(looked_up, dim=-1) * width**0.5)  # (B, T, D)
    columns = linear.weight.unflatten(1, (fields, width)).unbind(1)  # F x (D, E)
    first = torch.tensor([sum(sizes[:column]) for column in range(fields)], device=cells.device)
    # a table of a few hundred rows costs nothing, and gradients of thousands of notes meet in each row
    with torch.autocast(cells.device.type, enabled=False):
        parts = zip(tables, columns, strict=True)
        projected = torch.cat([F.linear(table.lut.weight, column) for table, column in parts])  # (sum V_f, D)
        x = F.embedding_bag((cells + first).view(B * T, fields), projected * width**0.5, mode="sum")
        return (x + linear.bias).view(B, T, -1)  # (B, T, D)


class M2BertEncoder(nn.Module):
    """Compound embedding and blocks."""

    def __init__(self, config: M2BertConfig) -> None:
        super().__init__()
        self.config = config
        self.note_bert1 = ModernBert(config)
        self.word_emb = nn.ModuleList(
            ColumnTable(size, config.embedding_width) for size in config.field_sizes
        )
        self.in_linear = nn.Linear(len(config.field_sizes) * config.embedding_width, config.width)
        #: how notes are embedded: ``direct``, ``table``, or ``auto`` (tables in training)
        self.form: Literal["auto", "direct", "table"] = "auto"

    def embed(self, cells: torch.Tensor) -> torch.Tensor:
        """Embed notes: cells [shape=(B, T, F), int64] -> [shape=(B, T, D)]."""
        by_table = self.training if self.form == "auto" else self.form == "table"
        return embed_columns(cells, self.word_emb, self.in_linear, by_table=by_table)

    def forward(
        self,
        cells: torch.Tensor,
        padding_mask: torch.Tensor | None = None,
        *,
        lengths: torch.Tensor | None = None,
        all_states: bool = False,
        depth: int | None = None,
    ) -> tuple[torch.Tensor, list[torch.Tensor] | None]:
        """Encode notes (see :meth:`ModernBert.forward`)."""
        x = self.embed(cells)
        return self.note_bert1(x, padding_mask, lengths=lengths, all_states=all_states, depth=depth)


class NoteHeads(nn.Module):
    """One linear layer a column, and one for the piano roll."""

    def __init__(self, config: M2BertConfig) -> None:
        super().__init__()
        outputs = [*config.field_sizes, *([config.roll_outputs] if config.roll_outputs else [])]
        self.fields = len(config.field_sizes)
        self.proj = nn.ModuleList(nn.Linear(config.width, size) for size in outputs)

    def columns(self, hidden: torch.Tensor) -> list[torch.Tensor]:
        """Logits of every column: [shape=(..., D)] -> F x [shape=(..., V_f)]."""
        return [head(hidden) for head in self.proj[: self.fields]]

    def roll(self, hidden: torch.Tensor) -> torch.Tensor | None:
        """Piano roll: [shape=(..., D)] -> [shape=(..., R)], or None without the head."""
        return self.proj[self.fields](hidden) if len(self.proj) > self.fields else None


def cells_of_notes(
    tokens: torch.Tensor, padding_mask: torch.Tensor | None, pads: tuple[int, ...], *, look: bool = True
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Cells [shape=(B, T, F)] of tokens [shape=(B, T, F) or (B, T*F)], and their padding mask.

    Without a `padding_mask`, padding is where the first column is PAD (checking this synchronises a GPU);
    with ``look=False`` nothing is padded then.

    Raises `ValueError` (not a whole number of notes).
    """
    fields = len(pads)
    if tokens.dim() == 2:
        if tokens.shape[1] % fields:
            raise ValueError(f"{tokens.shape[1]} cells are not a whole number of notes of {fields}")
        tokens = tokens.unflatten(1, (-1, fields))
    if tokens.shape[2] != fields:
        raise ValueError(f"notes of {tokens.shape[2]} columns for a model of {fields}")
    if padding_mask is None and look:
        padding = tokens[..., 0].eq(pads[0])  # (B, T)
        padding_mask = padding if padding.any() else None
    return tokens, padding_mask


class M2Bert(nn.Module):
    """The whole model."""

    def __init__(self, config: M2BertConfig) -> None:
        super().__init__()
        self.config = config
        #: multiply in bfloat16, keep float32 weights
        self.autocast_bf16 = False
        self.encoder = M2BertEncoder(config)
        self.mask_lm = NoteHeads(config)

    def compile_blocks(self, backend: str = "inductor", *, dynamic: bool = True) -> None:
        """Compile each block (see :meth:`ModernBert.compile_blocks`)."""
        self.encoder.note_bert1.compile_blocks(backend, dynamic=dynamic)

    def forward(
        self,
        src_tokens: torch.Tensor,
        padding_mask: torch.Tensor | None = None,
        features_only: bool = False,
        return_all_hiddens: bool = False,
        note_index: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
        depth: int | None = None,
        **_: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """Run the model.

        ``src_tokens``, ``padding_mask``: see `cells_of_notes`; ``features_only``: return the hidden states
        instead of logits; ``return_all_hiddens``: put the states between the blocks into
        ``extra["inner_states"]``; ``note_index``: notes whose columns are wanted, counted over the whole
        batch [shape=(N,), int64], or None for all; ``lengths``: notes of each piece if all padding comes
        after them [shape=(B,), int64], which saves masks and GPU synchronisation; with them, ``padding_mask``
        None means that nothing is padded; ``depth``: see :meth:`ModernBert.forward`.

        Returns ``output``: hidden states [shape=(B, T, D)] or `NoteOutputs`; ``extra``: ``hidden``,
        ``padding_mask`` and ``inner_states``.
        """
        src_tokens, padding_mask = cells_of_notes(
            src_tokens, padding_mask, self.config.field_pads, look=lengths is None
        )
        with mixed_precision(self, src_tokens):
            hidden, states = self.encoder(
                src_tokens, padding_mask, lengths=lengths, all_states=return_all_hiddens, depth=depth
            )
            extra = {"hidden": hidden, "padding_mask": padding_mask, "inner_states": states}
            if features_only:
                return hidden, extra
            flat = hidden.flatten(0, 1)  # (B*T, D)
            wanted = flat if note_index is None else flat[note_index]  # (N, D)
            return NoteOutputs(self.mask_lm.columns(wanted), self.mask_lm.roll(flat)), extra

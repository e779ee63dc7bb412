"""The OctupleEncoder of MusicBERT: one position per note, between a down- and an up-projection.

Legend: ``B`` pieces, ``T`` notes (the two special octuples included), ``F`` fields of a note, ``D`` width,
``V`` vocabulary, ``P`` performance inputs, ``N`` selected tokens.

tokens (B, T*F) -> compound embedding (B, T, D) [+ performance inputs] + positions -> LayerNorm -> dropout ->
padding to zero -> blocks -> hidden (B, T, D). The up-projection to F vectors per note, (B, T*F, D), is
computed only where it is read: :meth:`OctupleEncoder.up` (all tokens), :meth:`OctupleEncoder.up_first`
(sentence heads) and :meth:`OctupleEncoder.up_selected` (masked tokens). Zeng et al. 2021, "MusicBERT:
Symbolic Music Understanding with Large-Scale Pre-Training".
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from musicbert.config import ModelConfig
from musicbert.model.blocks.attention import SelfAttention, without_cudnn
from musicbert.model.blocks.dropout import NARROW, dropped, dropped_sum
from musicbert.model.blocks.embedding import PAD, DownForm, compound_embedding, note_positions
from musicbert.model.blocks.masked_positions import MaskedPlaces, Queries, up_project_places
from musicbert.model.blocks.packed_attention import Segments

#: ids below are ``<s>``, ``<pad>`` and ``</s>``; this is the empty cell of a note in the CP-like form
UNK = 3


@dataclass
class EncoderOutput:
    """Output of the encoder.

    ``hidden``: last hidden states, one per note, not up-projected [shape=(B, T, D)]; ``padding_mask``: True
    at padding [shape=(B, T), bool], or None if nothing is padded; ``special``: True at ``<s>``, ``</s>`` and
    padding, by the first field [shape=(B, T), bool]; ``inner_states``: input of the first block and output of
    each block, each [shape=(B, T, D)], or None.
    """

    hidden: torch.Tensor
    padding_mask: torch.Tensor | None
    special: torch.Tensor
    inner_states: list[torch.Tensor] | None = None


class OctupleEncoder(nn.Module):
    """Embedding, blocks and projections; parameter names are those of the published checkpoints.

    ``config.performance_features`` > 0 adds ``performance_projection`` and, for hidden inputs,
    ``performance_hidden_projection``. Both start at zero: until they are trained, the outputs are those of
    the model without them.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        D, fields = config.width, config.fields
        self.embed_tokens = nn.Embedding(config.vocabulary_size, D, padding_idx=PAD)
        self.embed_positions = nn.Embedding(config.max_positions + PAD + 1, D, padding_idx=PAD)
        self.emb_layer_norm = nn.LayerNorm(D, eps=config.norm_eps)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.downsampling = nn.Sequential(nn.Linear(fields * D, D)) if fields > 1 else None
        self.upsampling = nn.Sequential(nn.Linear(D, fields * D)) if fields > 1 else None
        inputs = config.performance_features
        self.performance_projection = nn.Linear(inputs, D, bias=False) if inputs else None
        self.performance_hidden_projection = nn.Linear(inputs, D, bias=False) if inputs else None
        #: blocks that stay as they are, with all before them, and have no dropout
        self.frozen = 0
        #: whether `reads_few` may say so; compiled blocks would be compiled anew for each batch
        self.narrows = True
        #: how the down-projection is computed (see :mod:`musicbert.model.blocks.embedding`)
        self.down_form: DownForm = "auto"

    def train(self, mode: bool = True) -> "OctupleEncoder":
        """Switch training on or off; frozen blocks stay in evaluation mode."""
        super().train(mode)
        self.layers[: self.frozen].eval()
        return self

    def forward(
        self,
        tokens: torch.Tensor,
        *,
        token_embeddings: torch.Tensor | None = None,
        performance: torch.Tensor | None = None,
        performance_hidden: torch.Tensor | None = None,
        return_all_hiddens: bool = False,
        padded: bool | None = None,
        segments: Segments | None = None,
        depth: int | None = None,
        only_first: bool = False,
        only: torch.Tensor | None = None,
    ) -> EncoderOutput:
        """Encode token ids.

        ``tokens`` [shape=(B, T*F), int64]; ``token_embeddings``: used instead of looking up ``tokens``
        [shape=(B, T*F, D)] (``tokens`` still decides what is padding); ``performance``: performance inputs,
        zero at special octuples and padding [shape=(B, T, P)]; ``performance_hidden``: True where a
        performance input is hidden, to be predicted [shape=(B, T, P), bool]; ``return_all_hiddens``: keep the
        states between the blocks; ``padded``: whether any first field is ``<pad>`` (None: check the data,
        which synchronises a GPU); ``segments``: ``tokens`` is one row of several sequences, which have their
        own positions and do not see each other; ``<pad>`` is an ordinary token there; ``depth``: run only so
        many blocks (None: all); ``only_first``: of the last of them only the first row
        [shape=(B, 1, D)]; ``only``: of the last of them only these notes, sorted indices into all notes of
        the batch [shape=(M,), int64], and ``hidden`` has the shape (1, M, D).

        Raises `ValueError` if T*F is not a multiple of F, if the input is longer than the position table, or
        if performance inputs are given to a model without them.
        """
        fields = self.config.fields
        if tokens.shape[1] % fields:
            raise ValueError(f"{tokens.shape[1]} tokens are not a whole number of notes of {fields} fields")
        first = tokens[:, ::fields]  # (B, T)
        longest = first.shape[1] if segments is None else segments.longest
        if longest > self.config.max_positions:
            raise ValueError(f"{longest} notes, but the model has {self.config.max_positions} positions")
        padding = first.eq(PAD)
        if padded is None:
            padded = segments is None and bool(padding.any())
        padding_mask = padding if padded else None

        x = self._embed(tokens, token_embeddings)  # (B, T, D)
        if performance is not None:
            if self.performance_projection is None:
                raise ValueError("performance inputs were given to a model that has none")
            x = x + self._performance(performance, performance_hidden)
        if segments is not None:
            x = x + self.embed_positions(segments.positions())
        elif padding_mask is None:
            x = x + self.embed_positions.weight[PAD + 1 : PAD + 1 + x.shape[1]]
        else:
            x = x + self.embed_positions(note_positions(padding))
        x = dropped(self.emb_layer_norm(x), self.config.dropout, self.training and not self.frozen)
        if padding_mask is not None:
            x = x.masked_fill(padding_mask[..., None], 0.0)

        inner_states = [x] if return_all_hiddens else None
        with without_cudnn():
            layers = list(self.layers)[:depth]
            queries = None if only is None else Queries.of(only, first.shape, segments)
            for number, layer in enumerate(layers, 1):
                last = number == len(layers)
                x = layer(x, padding_mask, segments, only_first and last, queries if last else None)
                if inner_states is not None:
                    inner_states.append(x)
        return EncoderOutput(x, padding_mask, first < UNK, inner_states)

    def reads_few(self, tokens: torch.Tensor) -> bool:
        """Whether the last block is to be computed only where the masked-LM head reads it (on a CPU).

        Narrow models with dropout are not: a seed draws their masks as ever.
        """
        config, drops = self.config, self.training and self.frozen < len(self.layers)
        random = drops and bool(config.dropout or config.attention_dropout or config.activation_dropout)
        return self.narrows and tokens.device.type == "cpu" and not (random and config.width < NARROW)

    def _performance(self, inputs: torch.Tensor, hidden: torch.Tensor | None) -> torch.Tensor:
        """Performance inputs (B, T, P) as a vector a note (B, T, D)."""
        inputs = inputs.to(self.performance_projection.weight.dtype)
        if hidden is None:
            return self.performance_projection(inputs)
        shown = self.performance_projection(inputs.masked_fill(hidden, 0.0))
        return shown + self.performance_hidden_projection(hidden.to(inputs.dtype))

    def _embed(self, tokens: torch.Tensor, token_embeddings: torch.Tensor | None) -> torch.Tensor:
        if self.downsampling is None:
            return self.embed_tokens(tokens) if token_embeddings is None else token_embeddings
        down, fields = self.downsampling[0], self.config.fields
        if token_embeddings is not None:
            return down(token_embeddings.unflatten(1, (-1, fields)).flatten(2))  # (B, T, D)
        table = self.embed_tokens.weight
        return compound_embedding(tokens, table, down.weight, down.bias, fields=fields, form=self.down_form)

    def up(self, hidden: torch.Tensor) -> torch.Tensor:
        """Up-project every note: [shape=(B, T, D)] -> [shape=(B, T*F, D)]."""
        if self.upsampling is None:
            return hidden
        return self.upsampling[0](hidden).view(hidden.shape[0], -1, hidden.shape[2])  # (B, T*F, D)

    def up_first(self, hidden: torch.Tensor) -> torch.Tensor:
        """Vector of the first token, by a slice of the projection: [shape=(B, T, D)] -> [shape=(B, D)]."""
        first = hidden[:, 0]  # (B, D)
        if self.upsampling is None:
            return first
        D, linear = hidden.shape[2], self.upsampling[0]
        return F.linear(first, linear.weight[:D], linear.bias[:D])  # (B, D)

    def up_selected(self, hidden: torch.Tensor, selected: torch.Tensor) -> torch.Tensor:
        """Vectors of the selected tokens, equal to ``up(hidden)[selected]`` [shape=(N, D)].

        ``hidden`` [shape=(B, T, D)]; ``selected``: True at the wanted tokens [shape=(B, T*F), bool].
        """
        if self.upsampling is None:
            return hidden[selected]
        places = MaskedPlaces.of(selected, self.config.fields)
        return self.up_places(hidden, places)[places.order()]  # (N, D), in the order of the tokens

    def up_places(self, hidden: torch.Tensor, places: MaskedPlaces) -> torch.Tensor:
        """Vectors of the listed tokens, in their order: [shape=(B, T, D)] -> [shape=(N, D)]."""
        return up_project_places(hidden, None if self.upsampling is None else self.upsampling[0], places)


class EncoderLayer(nn.Module):
    """Post-norm transformer block; parameter names are those of the published checkpoints."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.activation_dropout = config.activation_dropout
        self.self_attn = SelfAttention(config.width, config.heads, config.attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.fc1 = nn.Linear(config.width, config.ffn_width)
        self.fc2 = nn.Linear(config.ffn_width, config.width)
        self.final_layer_norm = nn.LayerNorm(config.width, eps=config.norm_eps)

    def forward(
        self,
        x: torch.Tensor,
        padding_mask: torch.Tensor | None = None,
        segments: Segments | None = None,
        first: bool = False,
        queries: Queries | None = None,
    ) -> torch.Tensor:
        """Transform hidden states [shape=(B, T, D)]; ``padding_mask`` [shape=(B, T)] is True at padding.

        ``first``: only those of the first row [shape=(B, 1, D)]; ``queries``: only those of some notes
        [shape=(1, M, D)].
        """
        y = self.self_attn(x, padding_mask, segments, first, queries)  # (B, T, D)
        x = x[:, :1] if first else x if queries is None else queries.rows(x)
        x = self.self_attn_layer_norm(dropped_sum(x, y, self.dropout, self.training))
        y = F.gelu(self.fc1(x))  # (B, T, ffn_width)
        y = self.fc2(dropped(y, self.activation_dropout, self.training))  # (B, T, D)
        return self.final_layer_norm(dropped_sum(x, y, self.dropout, self.training))

"""MusicBERT: the encoder with its masked-LM head and any number of sentence heads.

Legend: ``B`` pieces, ``T`` notes, ``F`` fields of a note, ``D`` width, ``V`` vocabulary, ``P`` performance
inputs, ``N`` selected tokens, ``C`` outputs of a head.

State-dict names are those of the published checkpoints: ``encoder.sentence_encoder.*``,
``encoder.lm_head.*``, ``classification_heads.<name>.*``, and ``regression_heads.<name>.*`` beside them.
"""

from typing import Any, Literal, get_args

import torch
from torch import nn

from musicbert.config import ModelConfig
from musicbert.model.backbones.encoder import EncoderOutput, OctupleEncoder
from musicbert.model.blocks.attention import compile_in_place, mixed_precision
from musicbert.model.blocks.embedding import PAD
from musicbert.model.blocks.masked_positions import MaskedPlaces
from musicbert.model.blocks.packed_attention import Segments
from musicbert.model.heads.notes import pooled
from musicbert.model.heads.sentence import LMHead, SentenceHead

Pooling = Literal["first", "mean", "mean+sd"]

#: standard deviation of new weights (Devlin et al. 2019)
INIT_STD = 0.02


class MusicBertEncoder(nn.Module):
    """Container that gives the encoder and the masked-LM head their published names."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.sentence_encoder = OctupleEncoder(config)
        self.lm_head = LMHead(config.width, config.vocabulary_size, config.norm_eps)
        #: says what hidden performance inputs were
        self.performance_head = (
            nn.Linear(config.width, config.performance_features) if config.performance_features else None
        )


class MusicBert(nn.Module):
    """The whole model.

    ``pooling``: what the sentence heads read: ``first`` (published): the up-projected first token; ``mean``:
    the mean of the hidden states over the notes of a piece (without padding and special octuples), not
    up-projected; ``mean+sd``: that and their standard deviation, 2 D numbers.
    """

    def __init__(self, config: ModelConfig, *, pooling: Pooling = "first") -> None:
        super().__init__()
        if pooling not in get_args(Pooling):
            raise ValueError(f"pooling {pooling!r} is none of {get_args(Pooling)}")
        self.config = config
        self.pooling = pooling
        #: whether new heads have spectral norm, by kind
        self.spectral = {"classification": False, "regression": False}
        #: multiply in bfloat16, keep float32 weights: mixed precision on a CPU too
        self.autocast_bf16 = False
        self.encoder = MusicBertEncoder(config)
        self.classification_heads = nn.ModuleDict()
        self.regression_heads = nn.ModuleDict()
        initialise(self)

    def register_classification_head(
        self,
        name: str,
        num_classes: int,
        inner_dim: int | None = None,
        *,
        dropout: float | None = None,
        spectral: bool | None = None,
    ) -> SentenceHead:
        """Add (or replace) the classification head ``name`` with ``num_classes`` outputs."""
        return self._register("classification", name, num_classes, inner_dim, dropout, spectral)

    def register_regression_head(
        self,
        name: str,
        num_outputs: int,
        inner_dim: int | None = None,
        *,
        dropout: float | None = None,
        spectral: bool | None = None,
    ) -> SentenceHead:
        """Add (or replace) the regression head ``name`` with ``num_outputs`` outputs."""
        return self._register("regression", name, num_outputs, inner_dim, dropout, spectral)

    def _register(
        self,
        kind: str,
        name: str,
        outputs: int,
        inner_width: int | None,
        dropout: float | None,
        spectral: bool | None,
    ) -> SentenceHead:
        if outputs < 1:
            raise ValueError(f"head {name!r} needs at least one output, not {outputs}")
        width = self.config.width
        head = SentenceHead(
            2 * width if self.pooling == "mean+sd" else width,
            outputs,
            inner_width=inner_width or width,
            dropout=self.config.pooler_dropout if dropout is None else dropout,
            spectral=self.spectral[kind] if spectral is None else spectral,
        )
        getattr(self, f"{kind}_heads")[name] = head.to(
            self.encoder.lm_head.weight
        )  # device and type of the rest
        return head

    def compile_blocks(self, backend: str = "inductor") -> None:
        """Compile each block in place (see `compile_in_place`); one compilation serves all."""
        encoder = self.encoder.sentence_encoder
        compile_in_place(encoder.layers, backend, dynamic=True)
        encoder.narrows = False

    def embed_tokens(self, src_tokens: torch.Tensor) -> torch.Tensor:
        """Token embeddings, to be disturbed and given back as ``token_embeddings`` [shape=(B, T*F, D)]."""
        return self.encoder.sentence_encoder.embed_tokens(src_tokens)

    def pool(self, output: EncoderOutput) -> torch.Tensor:
        """One vector a piece, by ``self.pooling`` [shape=(B, D) or (B, 2 D)]."""
        if self.pooling == "first":
            return self.encoder.sentence_encoder.up_first(output.hidden)
        return pooled(output.hidden, ~output.special, deviation=self.pooling == "mean+sd")

    def freeze(self, blocks: int) -> None:
        """Keep the embeddings and the first ``blocks`` blocks as they are, without dropout; 0: nothing.

        Raises `ValueError` (there are fewer blocks).
        """
        encoder = self.encoder.sentence_encoder
        if not 0 <= blocks <= len(encoder.layers):
            raise ValueError(f"0 to {len(encoder.layers)} blocks can be frozen, not {blocks}")
        encoder.frozen = blocks
        before = (part for name, part in encoder.named_children() if name not in ("layers", "upsampling"))
        for part in (*before, *encoder.layers[:blocks]) if blocks else ():
            part.requires_grad_(False)
        encoder.train(encoder.training)

    def sentence_features(
        self,
        src_tokens: torch.Tensor,
        *,
        token_embeddings: torch.Tensor | None = None,
        performance: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Vectors that the sentence heads read (see `pool`)."""
        encode = self.encoder.sentence_encoder
        with mixed_precision(self, src_tokens):
            out = encode(src_tokens, token_embeddings=token_embeddings, performance=performance)
            features = self.pool(out)
        return features.float() if self.autocast_bf16 else features

    def forward(
        self,
        src_tokens: torch.Tensor,
        features_only: bool = False,
        return_all_hiddens: bool = False,
        classification_head_name: str | None = None,
        regression_head_name: str | tuple[str, ...] | None = None,
        token_embeddings: torch.Tensor | None = None,
        performance: torch.Tensor | None = None,
        performance_hidden: torch.Tensor | None = None,
        masked_tokens: torch.Tensor | None = None,
        masked_places: MaskedPlaces | None = None,
        padded: bool | None = None,
        segments: Segments | None = None,
        **_: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """Run the model.

        ``src_tokens`` [shape=(B, T*F), int64]; ``features_only``: return features instead of logits;
        ``return_all_hiddens``: put the states between the blocks into ``extra["inner_states"]``;
        ``classification_head_name``, ``regression_head_name`` (one or several): sentence heads to run instead
        of the masked-LM head; ``token_embeddings``, ``performance``, ``performance_hidden``, ``padded``,
        ``segments``: see `OctupleEncoder.forward`; ``masked_tokens``: tokens whose logits are wanted
        [shape=(B, T*F), bool], or None for all; ``masked_places``: the same as a list sorted by field, in
        whose order logits come, without synchronising a GPU.

        Returns ``output``: with several heads named ``(class logits, regression, ...)``, with one its output
        [shape=(B, C)]; otherwise features [shape=(B, T*F, D)] or logits [shape=(B, T*F, V)], or [shape=(N,
        V)] of the masked tokens; and ``extra``: ``hidden`` (None where only masked tokens were wanted and the
        last block was computed for their notes alone, see `OctupleEncoder.reads_few`), ``padding_mask`` and
        ``inner_states`` (see `EncoderOutput`); with ``performance_hidden`` also ``performance``, the
        predicted inputs [shape=(B, T, P)].
        """
        encoder = self.encoder.sentence_encoder
        named = classification_head_name is not None or regression_head_name is not None
        few = not (named or features_only or return_all_hiddens) and performance_hidden is None
        places, order, only = masked_places, None, None
        if few and encoder.reads_few(src_tokens) and (places is not None or masked_tokens is not None):
            if places is None:
                places = MaskedPlaces.of(masked_tokens, self.config.fields)
                order = places.order()
            if len(places.notes):
                only, places = places.narrowed()
        with mixed_precision(self, src_tokens):
            out = encoder(
                src_tokens,
                only=only,
                token_embeddings=token_embeddings,
                performance=performance,
                performance_hidden=performance_hidden,
                return_all_hiddens=return_all_hiddens,
                padded=padded,
                segments=segments,
            )
            hidden = out.hidden if only is None else None
            extra = {"hidden": hidden, "padding_mask": out.padding_mask, "inner_states": out.inner_states}
            if performance_hidden is not None:
                extra["performance"] = self.encoder.performance_head(out.hidden)
            if named:
                return self._sentence_outputs(out, classification_head_name, regression_head_name), extra
            return self._token_outputs(out, features_only, masked_tokens, places, order), extra

    def _sentence_outputs(
        self, out: EncoderOutput, classification: str | None, regression: str | tuple[str, ...] | None
    ) -> Any:
        features = self.pool(out)  # (B, D)
        several = (regression,) if isinstance(regression, str) else regression or ()
        heads = [self.regression_heads[name] for name in several]
        heads = heads if classification is None else [self.classification_heads[classification], *heads]
        outputs = tuple(head(features) for head in heads)  # (B, C) each
        if self.autocast_bf16:
            outputs = tuple(output.float() for output in outputs)
        return outputs if len(outputs) > 1 else outputs[0]

    def _token_outputs(
        self,
        out: EncoderOutput,
        features_only: bool,
        selected: torch.Tensor | None,
        places: MaskedPlaces | None,
        order: torch.Tensor | None,
    ) -> torch.Tensor:
        encoder, lm_head = self.encoder.sentence_encoder, self.encoder.lm_head
        if places is not None:
            x = encoder.up_places(out.hidden, places)  # (N, D)
            return lm_head(x if order is None else x[order])  # (N, V)
        if features_only:
            return encoder.up(out.hidden)  # (B, T*F, D)
        if selected is None:
            return lm_head(encoder.up(out.hidden))  # (B, T*F, V)
        return lm_head(encoder.up_selected(out.hidden, selected))  # (N, V)


@torch.no_grad()
def initialise(model: MusicBert) -> None:
    """Initialise as BERT does: normal(0, 0.02); biases, rows of ``<pad>`` and performance inputs zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.normal_(0.0, INIT_STD)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(0.0, INIT_STD)
            module.weight[PAD].zero_()
    head = model.encoder.lm_head.weight
    head.normal_(0.0, INIT_STD)
    head[PAD].zero_()
    encoder = model.encoder.sentence_encoder
    for projection in (encoder.performance_projection, encoder.performance_hidden_projection):
        if projection is not None:
            projection.weight.zero_()

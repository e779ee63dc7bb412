"""`Network`: a target whose outputs have gradients, down to the summed embedding of each note.

Legend: ``B`` windows, ``T`` rows, ``F`` fields, ``D`` width, ``P`` performance inputs, ``C`` outputs.

A network embeds the fields of a note, projects each and adds them up, with the performance inputs where it
has any. This sum, before the first LayerNorm and the blocks, is where gradients are taken: it is linear in
fields and inputs, so what a note contributes splits into them without a remainder.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from musicbert.encoding.clock import in_phase
from musicbert.explanation.target import HeadTarget, TaggerTarget
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.model.backbones.midibert import MidiBert
from musicbert.model.backbones.musicbert import MusicBert
from musicbert.model.tagger import Tagger
from musicbert.predict.embedding import Embedder
from musicbert.predict.pieces import Piece
from musicbert.predict.runner import Runner
from musicbert.predict.windows import Window

Forward = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]
#: scores from the mean of outputs [shape=(..., C)], by activation of a head or kind of a task
_SCORES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "softmax": lambda outputs: outputs.softmax(-1),
    "classes": lambda outputs: outputs.softmax(-1),
    "sigmoid": torch.sigmoid,
    "multilabel": torch.sigmoid,
}


@dataclass(frozen=True, eq=False)
class Network:
    """A network that reads windows of notes.

    ``forward``: tokens and performance inputs to outputs [shape=(B, C)], averaged over the windows of a piece
    (``votes``: each counts once, not by its notes); ``activation``: makes scores of these means; ``phases``:
    see `musicbert.weights.Bundle`; ``names``: of the outputs. A function of your own, such as a number read
    from the states of a masked language model, is a `Network`, too (`of_embedder`).
    """

    runner: Runner
    backbone: nn.Module
    forward: Forward
    names: tuple[str, ...]
    activation: str = "none"
    phases: int = 1
    votes: bool = False

    @classmethod
    def of(cls, target: Any) -> "Network | None":
        """Network behind a target, or None for one without gradients."""
        if isinstance(target, Network):
            return target
        if isinstance(target, HeadTarget):
            model = target.model
            module, head = model.module, model.heads[target.head]
            layer = getattr(module, f"{head.kind}_heads")[head.name]

            def of_head(tokens: torch.Tensor, performance: torch.Tensor | None) -> torch.Tensor:
                return layer(module.sentence_features(tokens, performance=performance))  # type: ignore[no-any-return]

            return cls(
                model.runner, module, of_head, target.names, head.activation, phases=model._bundle.phases
            )
        if isinstance(target, TaggerTarget):
            model = target.model
            tagger: Tagger = model.tagger
            regression = model.kind == "regression"

            def of_tagger(tokens: torch.Tensor, performance: torch.Tensor | None) -> torch.Tensor:
                outputs = tagger(tokens, performance)
                return tagger.values(outputs) if regression else outputs

            return cls(model.runner, tagger.backbone, of_tagger, target.names, model.kind, votes=True)
        return None

    @classmethod
    def of_embedder(cls, model: Embedder, function: Forward, names: tuple[str, ...]) -> "Network":
        """Network of any function of tokens and performance inputs, such as one of the states of ``model``.

        ``function``: tokens, performance inputs -> [shape=(B, C)], C = number of ``names``.
        """
        return cls(model.runner, model.module, function, names)

    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """Scores from mean outputs [shape=(..., C)]."""
        return _SCORES.get(self.activation, lambda outputs: outputs)(outputs)

    def windows(self, piece: Piece, baseline: Piece) -> list["Pair"]:
        """Windows of a piece in all phases, each with the same notes of the baseline."""
        pairs = []
        for phase in range(self.phases):
            moved, other = (
                replace(each, rows=in_phase(each.rows, phase, self.phases, last_bar=None))
                for each in (piece, baseline)
            )
            windows = self.runner.windows([moved])
            weights = [1.0 if self.votes else float(window.share.sum()) for window in windows]
            for window, weight in zip(windows, weights, strict=True):
                first = int(other.rows[window.start : window.stop, 0].min())
                last = int(other.rows[window.start : window.stop, 0].max())
                there = replace(window, first_bar=0 if last < 256 else first)
                here = self.runner.collate([(moved, window)])
                pairs.append(
                    Pair(phase, window, weight / sum(weights), *here, *self.runner.collate([(other, there)]))
                )
        return pairs

    @property
    def projection(self) -> torch.Tensor | None:
        """What a performance input adds to the summed embedding [shape=(D, P)]."""
        if isinstance(self.backbone, MusicBert) and self.runner.performance:
            weight: torch.Tensor = self.backbone.encoder.sentence_encoder.performance_projection.weight
            return weight
        return None

    @torch.no_grad()
    def embedded(self, tokens: torch.Tensor, performance: torch.Tensor | None) -> torch.Tensor:
        """Summed embedding of a window [shape=(B, T, D)]; positions are in it, where a network adds them."""
        kept: list[torch.Tensor] = []

        def keep(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            kept.append(arguments[0])
            raise _EnoughError

        with _hooked(_entry(self.backbone), keep), suppress(_EnoughError):
            self.forward(tokens, performance)
        return kept[0]

    def outputs(
        self, tokens: torch.Tensor, performance: torch.Tensor | None, embedded: torch.Tensor
    ) -> torch.Tensor:
        """Outputs [shape=(B, C)] where the summed embeddings of one window are these [shape=(B, T, D)]."""
        count = len(embedded)
        inputs = None if performance is None else performance.expand(count, -1, -1)

        def put(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
            return (embedded, *arguments[1:])

        with _hooked(_entry(self.backbone), put):
            return self.forward(tokens.repeat(count, *[1] * (tokens.dim() - 1)), inputs).float()


@dataclass(frozen=True, eq=False)
class Pair:
    """A window of one phase and its baseline; ``weight``: its share of the mean of the phase's outputs."""

    phase: int
    window: Window
    weight: float
    tokens: torch.Tensor
    performance: torch.Tensor | None
    baseline_tokens: torch.Tensor
    baseline_performance: torch.Tensor | None


class _EnoughError(Exception):
    """The embedding is known; the blocks need not run."""


def _entry(backbone: nn.Module) -> nn.Module:
    """Module that reads the summed embeddings."""
    if isinstance(backbone, MusicBert):
        return backbone.encoder.sentence_encoder.emb_layer_norm
    if isinstance(backbone, M2Bert):
        return backbone.encoder.note_bert1
    if isinstance(backbone, MidiBert):
        return backbone.bert
    raise TypeError(f"where {type(backbone).__name__} adds up its fields is not known")


@contextmanager
def _hooked(module: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()

"""`Model`: a MusicBERT to use on music; `M2BertModel`: an M2BERT or MidiBERT; `from_pretrained` opens either.

>>> model = from_pretrained("musicbert_small")  # doctest: +SKIP
>>> model.embed("piece.mid").shape  # doctest: +SKIP
(512,)

A source is a path, bytes, an open file, a `Score`, `BeatNotes`, or rows of the model's encoding as an array
[shape=(n, F)]; a list is several sources and gives a list. Pieces of any length are taken: windows of 1,000
notes and 256 bars (M2BERT 1,024 notes, MidiBERT 512) overlap, and their results are stitched
(:mod:`musicbert.predict.windows`). Results are float32 arrays, equal for any batch or order up to rounding
(on a GPU the rounding is that of bfloat16).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
import torch

from musicbert.arrays import Bools, Floats, Ints
from musicbert.config import ModelConfig
from musicbert.corpus.files.folders import read_steadily
from musicbert.encoding import N_FIELDS, Policies
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.encoding.clock import in_phase
from musicbert.encoding.policies import WHOLE
from musicbert.errors import CheckpointError
from musicbert.midi import Score, read_bytes, read_score
from musicbert.midi.reader import ChannelPrograms, name_of
from musicbert.predict.embedding import Embedder, stitch_windows
from musicbert.predict.fill import fill_piece
from musicbert.predict.masked_notes import Filled, FillOptions, Original, choose_mask, replace_programs
from musicbert.predict.pieces import Piece, Source
from musicbert.predict.prediction import Prediction, activate
from musicbert.predict.runner import Precision
from musicbert.predict.tagger import load_tagger_model
from musicbert.predict.windows import OVERLAP, WINDOW
from musicbert.weights import Head, read_bundle, resolve
from musicbert.weights import Source as DownloadSource
from musicbert.weights.tagger_folder import is_tagger_folder

logger = logging.getLogger(__name__)


class M2BertModel(Embedder):
    """An M2BERT or a MidiBERT, ready for music; for its parameters see `Embedder`."""

    #: these families have no sentence heads
    heads: dict[str, Any] = {}  # noqa: RUF012 - never changed

    def __repr__(self) -> str:
        kind = f"{self._bundle.family.name}, {self.fields.encoding}"
        return (
            f"M2BertModel({kind}, layers={self.config.layers}, width={self.config.width}, on {self.device})"
        )

    def rows(self, source: Source) -> Ints:
        """Rows of one source [shape=(n, F), int64] (see :func:`~musicbert.predict.read_piece`)."""
        return self.read(source).rows


class Model(Embedder):
    """A MusicBERT with its heads, ready for music; for its parameters see `Embedder`."""

    WINDOW, OVERLAP = WINDOW, OVERLAP
    #: heads whose outputs were said to have no names
    _unnamed: frozenset[str] = frozenset()

    @classmethod
    def from_pretrained(cls, name: str | PathLike[str], **options: Any) -> Model:
        """See :func:`from_pretrained`."""
        model: Model = from_pretrained(name, **options)
        return model

    @property
    def heads(self) -> dict[str, Head]:
        """Sentence heads by name."""
        return {head.name: head for head in self._bundle.heads}

    def __repr__(self) -> str:
        config, heads = self.config, ", ".join(self.heads) or "none"
        return f"Model(layers={config.layers}, width={config.width}, heads: {heads}, on {self.device})"

    def predict(
        self,
        source: Source | Sequence[Source],
        *,
        heads: Sequence[str] | None = None,
        policies: Policies = WHOLE,
    ) -> Any:
        """Run sentence heads (all if ``heads`` is None) on a source or a list of sources.

        Scores are the means over the model's phases (`Bundle.phases`). Returns a dictionary, head ->
        `Prediction`; for a list of sources, a list of these. Outputs without names are numbered, which is
        said once.
        Raises `MidiError` for a source that cannot be read or encoded, and `ValueError` for an unknown head
        or a model without heads.
        """
        names = list(self.heads) if heads is None else list(heads)
        unknown = [name for name in names if name not in self.heads]
        if not self.heads:
            raise ValueError("the model is only pre-trained, not fine-tuned: see docs/finetuning.md")
        if unknown or not names:
            wanted = ", ".join(map(repr, unknown)) or "to run"
            raise ValueError(f"no head {wanted}; the model has {', '.join(self.heads)}")
        chosen = [self.heads[name] for name in names]
        self._warn_of_numbers(chosen)
        single, pieces = self._read(source, policies)
        phases = self._bundle.phases
        encode, first = self.module.encoder.sentence_encoder, self._bundle.pooling == "first"
        modules = [getattr(self.module, f"{head.kind}_heads")[head.name] for head in chosen]

        def forward(tokens: torch.Tensor, performance: torch.Tensor | None) -> torch.Tensor:
            features = self.module.pool(encode(tokens, performance=performance, only_first=first))  # (B, D)
            return torch.cat([module(features) for module in modules], dim=1)  # (B, C of all heads)

        ends = np.cumsum([head.outputs for head in chosen])
        items = [np.zeros(len(piece.rows), np.int64) for piece in pieces]

        def of_phase(phase: int) -> list[Floats]:
            moved = [
                replace(piece, rows=in_phase(piece.rows, phase, phases, last_bar=None)) for piece in pieces
            ]
            stitch = stitch_windows(self.runner, moved, forward, items=items, width=int(ends[-1]))
            return [mean[0] for mean in stitch.means()]

        results = []
        for logits in zip(*map(of_phase, range(phases)), strict=True):  # of one piece
            of_heads = zip(chosen, np.split(np.stack(logits), ends[:-1], axis=1), strict=True)
            results.append({head.name: _mean(head, table) for head, table in of_heads})
        return results[0] if single else results

    def _warn_of_numbers(self, heads: Sequence[Head]) -> None:
        """Say once of each head that its outputs have numbers for names."""
        unnamed = [h for h in heads if not h.names and h.name not in self._unnamed]
        if unnamed:
            self._unnamed |= {head.name for head in unnamed}
            logger.warning(
                "the checkpoint has no names of the outputs of %s: numbered from 0; give the classes.json of "
                "its training data (labels=..., --labels), or keep it with `musicbert checkpoint convert`",
                ", ".join(f"{head.name} ({head.outputs})" for head in unnamed),
            )

    def fill(
        self,
        source: Source,
        *,
        mask: Bools | None = None,
        fields: Sequence[str] = ("pitch",),
        notes: Sequence[int] | None = None,
        bars: tuple[int, int] | None = None,
        programs: Sequence[int] | None = None,
        tracks: Sequence[int] | None = None,
        share: float = 1.0,
        seed: int = 0,
        instruments: Mapping[int, int] | None = None,
        options: FillOptions | None = None,
        policies: Policies = WHOLE,
        channel_programs: ChannelPrograms = "track",
    ) -> Filled:
        """Hide parts of a piece and let the model fill them in.

        Returns a `Filled`, whose ``.save(path)`` and ``.score()`` are the source with new values of the
        hidden fields, and otherwise as it was. Raises `MidiError` (a source that cannot be
        read or encoded; ``nothing-masked``) and `ValueError` (unknown fields, or a mask of another shape).

        Parameters
        ----------
        mask
            True at the tokens to hide [shape=(n, 8), bool], by the rows of ``encode``. Without it, the next
            six arguments choose (:func:`~musicbert.predict.choose_mask`).
        fields
            Fields to hide: ``bar``, ``position``, ``program``, ``pitch``, ``duration``, ``velocity``,
            ``time_signature``, ``tempo``.
        notes, bars, programs, tracks
            Only these rows; only bars from the first to the second number, both included; only these
            programs (128 is percussion); only these tracks (`Score.track`). None: all.
        share
            Share of the remaining notes to hide, in 0-1, drawn with ``seed``.
        seed
            Of the choice of notes and of tokens.
        instruments
            Program -> the one that plays in its place in these notes, bars and tracks, before anything is
            filled in (0-127).
        options
            How tokens are chosen: order, temperature, top-k, top-p, allowed values, penalty for repetition.
        channel_programs
            How a file is read (`musicbert.read_score`).
        """
        data = None if isinstance(source, np.ndarray | Piece | BeatNotes) else read_bytes(source)
        if data is not None:
            source = read_score(data, name=name_of(source), channel_programs=channel_programs)
            data = None if source.notation else data
        piece = self.read(source, policies=policies, masked=True)
        known = isinstance(source, Score) and piece.note_index is not None
        track = source.track[piece.note_index] if known else None
        where: dict[str, Any] = {"notes": notes, "bars": bars, "tracks": tracks, "track": track}
        if mask is None:
            mask = choose_mask(piece.rows, fields=fields, programs=programs, share=share, seed=seed, **where)
        played = replace(piece, rows=replace_programs(piece.rows, instruments or {}, **where))
        filled = fill_piece(self.runner, played, mask, options or FillOptions(), seed=seed)
        if isinstance(source, Score) and piece.note_index is not None:
            whole = Original(source, piece.rows, piece.note_index, policies, data)
            filled = replace(filled, original=whole)
        return filled


def _mean(head: Head, logits: Floats) -> Prediction:
    """Mean over phases of the logits, and of the scores, of a head [shape=(phases, C)]."""
    scores = activate(logits, head.activation).mean(axis=0)
    return Prediction(head, logits.mean(axis=0).astype(np.float32), scores)


def from_pretrained(
    name: str | PathLike[str],
    *,
    device: str | torch.device | None = None,
    precision: Precision = "auto",
    labels: str | PathLike[str] | None = None,
    folders: Sequence[str | PathLike[str]] | None = None,
    cache: str | PathLike[str] | None = None,
    sources: Mapping[str, DownloadSource] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Any:
    """Open a model: a :class:`Model`, or an :class:`M2BertModel` for a checkpoint of M2BERT or MidiBERT.

    Parameters as of :class:`Model` (``device``, ``precision``) and :func:`~musicbert.weights.resolve`
    (``name``: a folder, a checkpoint file in any container, a name, or ``owner/name`` of the Hub;
    ``folders``, ``cache``, ``sources``, ``progress``). ``labels``: a ``classes.json`` that names the outputs
    of heads. A folder that fine-tuning on labels of notes or pieces wrote gives a
    `musicbert.predict.TaggerModel`.

    Raises `CheckpointError` (``other-encoding``; those of ``resolve`` and ``read_bundle``).
    """

    def read() -> tuple[Any, Any]:
        path = resolve(name, folders=folders, cache=cache, sources=sources, progress=progress)
        return path, None if is_tagger_folder(path) else read_bundle(path, labels=labels)

    path, bundle = read_steadily(name, read)
    if bundle is None:
        if labels is not None:
            raise ValueError(f"{path} names its outputs itself: leave labels out")
        return load_tagger_model(
            path, device=device, precision="float32" if precision == "auto" else precision
        )
    config = bundle.config
    if not isinstance(config, ModelConfig):
        return M2BertModel(bundle, device=device, precision=precision)
    if config.fields != N_FIELDS or bundle.view != "octuple":
        raise CheckpointError(
            "other-encoding",
            f"The model reads {config.fields} token(s) a position in the encoding {bundle.view!r}, "
            f"not octuples of {N_FIELDS}",
            path=path,
            hint="ablations are compared in fairseq; the library reads OctupleMIDI",
        )
    return Model(bundle, device=device, precision=precision)

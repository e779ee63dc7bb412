"""`TaggerModel`: a fine-tuned tagger for use on music (folders of `musicbert.weights.tagger_folder`).

>>> model = load_tagger_model("runs/model")  # doctest: +SKIP
>>> model.predict(["a.mid"])[0].best  # doctest: +SKIP
'calm'

A model that learned several labels gives a result for each (`TaggerModel.predict_labels`).

Pieces of any length are cut into the windows of training. Outputs of a note that lies in several windows are
averaged by the windows' shares; those of a piece are the mean over its windows. The numbers are the same
whatever the batch or order.

Legend: ``n`` notes, ``B`` windows of a batch, ``T`` rows, ``C`` outputs.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch

from musicbert.arrays import Floats, Ints
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.encoding.codecs import get_codec
from musicbert.encoding.policies import WHOLE, Policies
from musicbert.midi import Score, read_score
from musicbert.model.tagger import Tagger
from musicbert.predict.embedding import stitch_windows
from musicbert.predict.pieces import Piece, read_piece
from musicbert.predict.prediction import TagResult, activate
from musicbert.predict.runner import Precision, Runner
from musicbert.predict.windows import Layout
from musicbert.weights import Head
from musicbert.weights.tagger_folder import load_tagger_folder, output_of, tasks_of

#: largest number of rows in a batch, padding included
BATCH_ROWS = 1 << 13


class TaggerModel:
    """A tagger from `load_tagger_folder` on a device (None: a GPU if there is one)."""

    def __init__(
        self,
        tagger: Tagger,
        settings: dict[str, Any],
        *,
        device: str | torch.device | None = None,
        precision: Precision = "float32",
    ) -> None:
        self.settings = settings
        #: what each output means, by label
        self.heads: dict[str, Head] = {head.name: head for head in map(output_of, tasks_of(settings))}
        task = tasks_of(settings)[0]
        self.kind: str = task["kind"]
        self.level: str = task["level"]
        self.label: str = task.get("name") or task["label"]
        self.head = self.heads[self.label]
        self.classes: tuple[str, ...] = self.head.names
        self.codec = get_codec(settings["codec"])
        self.layout = Layout(settings["codec"], cells=settings["family"] != "musicbert")
        self.tagger = tagger
        longest = getattr(tagger.backbone.config, "max_positions", settings["window"] + self.layout.special)
        window = min(int(settings["window"]), int(longest) - self.layout.special)
        self.runner = Runner(
            tagger,
            self.layout,
            performance=int(settings["architecture"].get("performance_features", 0)),
            window=window,
            overlap=min(int(settings["overlap"]), window - 1),
            choice=settings.get("windows", "all"),
            device=device,
            precision=precision,
        )
        self.device = self.runner.device

    def __repr__(self) -> str:
        outputs = sum(head.outputs for head in self.heads.values())
        return f"TaggerModel({', '.join(self.heads)}: {self.kind} of {self.level}, {outputs} outputs)"

    def predict(
        self,
        sources: Sequence[Any],
        *,
        batch_rows: int = BATCH_ROWS,
        policies: Policies = WHOLE,
    ) -> list[TagResult]:
        """Label pieces or their notes; a source is a `Piece` or anything that `read_score` takes.

        ``batch_rows`` is the largest number of rows in a batch, padding included; ``policies`` are those of
        `encode` (OctupleMIDI only).
        Raises `MidiError` for a source that cannot be read or encoded, and `ValueError` where the model has
        several labels.
        """
        if len(self.heads) > 1:
            raise ValueError(f"the model has the labels {', '.join(self.heads)}: use predict_labels")
        results = self.predict_labels(sources, batch_rows=batch_rows, policies=policies)
        return [result[self.label] for result in results]

    def predict_labels(
        self,
        sources: Sequence[Any],
        *,
        batch_rows: int = BATCH_ROWS,
        policies: Policies = WHOLE,
    ) -> list[dict[str, TagResult]]:
        """Results of `predict` by label, for a model of one label or several.

        Notes in beats are taken, too. Raises `MidiError` for a source that cannot be read or encoded.
        """
        kept = Score | BeatNotes | Piece
        scores = [source if isinstance(source, kept) else read_score(source) for source in sources]
        runner = self.runner
        runner.batch_rows = batch_rows
        pieces = [
            read_piece(score, codec=self.codec.name, performance=runner.performance, policies=policies)
            for score in scores
        ]
        note_level = self.level == "note"
        items = [np.arange(len(piece.rows)) * note_level for piece in pieces]

        def forward(tokens: torch.Tensor, performance: torch.Tensor | None) -> torch.Tensor:
            logits = self.tagger(tokens, performance)  # (B, T, C) or (B, C)
            return self.tagger.values(logits) if self.kind == "regression" else logits

        width = sum(head.outputs for head in self.heads.values())
        stitch = stitch_windows(runner, pieces, forward, items=items, width=width, votes=True)
        means, covered = stitch.means(), stitch.covered()
        if not note_level:
            scored = (activate(mean[0], self.kind) for mean in means)
            return [
                {self.label: TagResult(self.kind, self.classes, values, head=self.head)} for values in scored
            ]
        return [
            self._of_notes(mean[known], piece.note_index[known], _notes(score))
            for mean, known, piece, score in zip(means, covered, pieces, scores, strict=True)
            if piece.note_index is not None
        ]

    def _of_notes(self, outputs: Floats, index: Ints, notes: int) -> dict[str, TagResult]:
        """Results for all notes of a score, of which some were labelled."""
        known = np.zeros(notes, bool)
        known[index] = True
        results, begin = {}, 0
        for label, head in self.heads.items():
            scores = np.full((notes, head.outputs), np.nan, np.float32)
            scores[index] = activate(outputs[:, begin : begin + head.outputs], self.kind)
            begin += head.outputs
            results[label] = TagResult(self.kind, head.names, scores, known, head)
        return results


def _notes(source: Score | BeatNotes | Piece) -> int:
    if isinstance(source, Score | BeatNotes):
        return len(source)
    return 0 if source.note_index is None else int(source.note_index.max()) + 1


def load_tagger_model(
    folder: str | PathLike[str],
    *,
    device: str | torch.device | None = None,
    precision: Precision = "float32",
) -> TaggerModel:
    """Open a folder that fine-tuning wrote; raises as `load_tagger_folder`."""
    return TaggerModel(*load_tagger_folder(folder), device=device, precision=precision)

"""`TaggerModel`: a fine-tuned tagger to use on music (folders of `musicbert.weights.tagger_folder`).

>>> model = load_tagger_model("runs/model")  # doctest: +SKIP
>>> model.predict(["a.mid"])[0].best  # doctest: +SKIP
'calm'

Pieces of any length are cut into the windows of training; what is said about a note that lies in several is
averaged by the windows' shares, and what is said about a piece is the mean over its windows. The same numbers
whatever the batch or order.

Legend: ``n`` notes, ``B`` windows of a batch, ``T`` rows, ``C`` outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from musicbert.encoding.codec import get_codec
from musicbert.encoding.performance import performance_inputs
from musicbert.midi import Score, read_score
from musicbert.model.heads.tagger import Tagger
from musicbert.predict.tagging_windows import Layout, TagWindow, cut
from musicbert.weights.tagger_folder import load_tagger_folder

__all__ = ["TagResult", "TaggerModel", "load_tagger_model"]

#: rows of a batch, padding included, at most
BATCH_ROWS = 1 << 13


@dataclass(frozen=True, eq=False)
class TagResult:
    """What a tagger says about one piece.

    Attributes
    ----------
    kind, classes
        See `musicbert.corpus.labelled.pieces.Task`.
    scores
        Of the piece [shape=(C,), float32], or of each of its notes [shape=(n, C)], in the order of the score:
        probabilities of classes or labels, or values.
    known
        Whether the encoding kept the note [shape=(n,), bool]; the scores of others are NaN. None for pieces.
    """

    kind: str
    classes: tuple[str, ...]
    scores: NDArray[np.float32]
    known: NDArray[np.bool_] | None = None

    @property
    def best(self) -> Any:
        """Class with the highest score, names of the labels above a half, or values by name.

        Of notes a list, None where a note is not known.
        """
        if self.known is None:
            return self._best(self.scores)
        return [
            self._best(row) if known else None for row, known in zip(self.scores, self.known, strict=True)
        ]

    def _best(self, row: NDArray[np.float32]) -> Any:
        if self.kind == "classes":
            return self.classes[int(row.argmax())]
        if self.kind == "multilabel":
            return [name for name, value in zip(self.classes, row, strict=True) if value > 0.5]
        return dict(zip(self.classes, row.tolist(), strict=True))

    def as_dict(self) -> dict[str, Any]:
        """Scores by name; of notes a list for each name (None where a note is not known)."""
        if self.known is None:
            return dict(zip(self.classes, self.scores.tolist(), strict=True))
        columns = np.where(self.known[:, None], self.scores, np.nan).T.tolist()
        return {
            name: [None if value != value else value for value in column]
            for name, column in zip(self.classes, columns, strict=True)
        }


class TaggerModel:
    """A tagger on a device.

    Parameters
    ----------
    tagger, settings
        As `musicbert.weights.tagger_folder.load_tagger_folder` gives them.
    device
        ``cpu``, ``cuda``, ...; a GPU if there is one when None.
    """

    def __init__(
        self, tagger: Tagger, settings: dict[str, Any], *, device: str | torch.device | None = None
    ) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.tagger = tagger.to(self.device).eval()
        self.settings = settings
        task = settings["task"]
        self.kind: str = task["kind"]
        self.level: str = task["level"]
        self.label: str = task.get("name") or task["label"]
        self.classes: tuple[str, ...] = tuple(task["classes"])
        self.codec = get_codec(settings["codec"])
        self.layout = Layout(settings["codec"], cells=settings["family"] != "musicbert")
        self.performance = int(settings["architecture"].get("performance_features", 0))

    def __repr__(self) -> str:
        return f"TaggerModel({self.label}: {self.kind} of {self.level}, {len(self.classes)} outputs)"

    def predict(self, sources: Sequence[Any], *, batch_rows: int = BATCH_ROWS) -> list[TagResult]:
        """Label pieces or their notes.

        Parameters
        ----------
        sources
            Whatever `read_score` takes; `Score` too.
        batch_rows
            Rows of a batch, padding included, at most.

        Raises
        ------
        MidiError
            For a source that cannot be read or encoded.
        """
        scores = [s if isinstance(s, Score) else read_score(s) for s in sources]
        encoded = [self.codec.encode(score) for score in scores]
        windows = [
            window
            for piece, (rows, _) in enumerate(encoded)
            for window in cut(
                piece,
                rows,
                self.codec.name,
                window=int(self.settings["window"]),
                overlap=int(self.settings["overlap"]),
                choice=self.settings.get("windows", "all"),
            )
        ]
        found = [self._blank(len(rows)) for rows, _ in encoded]
        order = sorted(range(len(windows)), key=lambda index: -len(windows[index]))
        at = 0
        while at < len(order):
            longest = len(windows[order[at]]) + self.layout.special
            chosen = [windows[index] for index in order[at : at + max(batch_rows // longest, 1)]]
            at += len(chosen)
            for window, values in zip(chosen, self._run(chosen, scores, encoded), strict=True):
                self._add(found[window.piece], window, values)
        return [
            self._result(total, weight, score, index)
            for (total, weight), score, (_, index) in zip(found, scores, encoded, strict=True)
        ]

    def _blank(self, rows: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        items = rows if self.level == "note" else 1
        return np.zeros((items, len(self.classes))), np.zeros(items)

    def _run(
        self, windows: Sequence[TagWindow], scores: Sequence[Score], encoded: Sequence[Any]
    ) -> NDArray[np.float32]:
        tokens = [self.layout.tokens(encoded[w.piece][0][w.start : w.stop], w.first_bar) for w in windows]
        inputs = {"src_tokens": self.layout.collate(tokens).to(self.device)}
        if self.performance:
            longest = max(len(each) for each in tokens)
            table = torch.zeros(len(windows), longest, self.performance)  # (B, T, P)
            for row, window in zip(table, windows, strict=True):
                index = encoded[window.piece][1]
                found = performance_inputs(scores[window.piece], index)[window.start : window.stop]
                row[self.layout.lead : self.layout.lead + len(found)] = torch.from_numpy(found)
            inputs["performance"] = table.to(self.device)
        with torch.inference_mode():
            logits = self.tagger(**inputs)
            return (self.tagger.values(logits) if self.kind == "regression" else logits).cpu().numpy()

    def _add(self, found: Any, window: TagWindow, values: NDArray[np.float32]) -> None:
        total, weight = found
        if self.level == "note":
            lead = self.layout.lead
            total[window.start : window.stop] += window.share[:, None] * values[lead : lead + len(window)]
            weight[window.start : window.stop] += window.share
        else:
            total[0] += values
            weight[0] += 1

    def _result(
        self,
        total: NDArray[np.float64],
        weight: NDArray[np.float64],
        score: Score,
        index: NDArray[np.int64],
    ) -> TagResult:
        logits = total / np.maximum(weight, 1e-12)[:, None]
        if self.kind == "classes":
            powers = np.exp(logits - logits.max(axis=1, keepdims=True))
            values = powers / powers.sum(axis=1, keepdims=True)
        elif self.kind == "multilabel":
            values = 0.5 * (1 + np.tanh(logits / 2))
        else:
            values = logits
        if self.level != "note":
            return TagResult(self.kind, self.classes, values[0].astype(np.float32))
        by_note = np.full((len(score), len(self.classes)), np.nan, np.float32)
        covered = weight > 0
        by_note[index[covered]] = values[covered]
        known = np.zeros(len(score), bool)
        known[index[covered]] = True
        return TagResult(self.kind, self.classes, by_note, known)


def load_tagger_model(
    folder: str | PathLike[str], *, device: str | torch.device | None = None
) -> TaggerModel:
    """Open a folder that fine-tuning wrote.

    Raises
    ------
    CheckpointError
        See `musicbert.weights.tagger_folder.load_tagger_folder`.
    """
    return TaggerModel(*load_tagger_folder(folder), device=device)

"""`M2BertModel`: an M2BERT to use on music.

>>> model = from_pretrained("checkpoints/m2bert_mini")  # doctest: +SKIP
>>> model.embed("piece.mid", level="note").shape  # doctest: +SKIP
(815, 256)

A source is a path, bytes, an open file, a `Score`, `BeatNotes`, or rows of the model's encoding as an array
[shape=(n, F)]; a list is several sources and gives a list. Windows of 1,024 notes overlap and are stitched
as for MusicBERT (:mod:`musicbert.predict.spans`). A MidiBERT is used the same way, in windows of 512 notes.

Legend: ``n`` notes, ``F`` columns of a note, ``D`` width, ``L`` blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from musicbert.config import M2BertConfig, MidiBertConfig
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.encoding.codec import get_codec
from musicbert.errors import MidiError
from musicbert.midi import Score, read_score
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.model.backbones.midibert import MidiBert
from musicbert.predict.runner import Precision, multiplies_in_bfloat16
from musicbert.predict.spans import Span, cover
from musicbert.weights.m2bert.folder import M2BertBundle, build_m2bert, save_m2bert_folder

__all__ = ["M2BertModel"]

#: notes of a crop in training
WINDOW = 1024
#: share of a window that the next one sees too
OVERLAP = 0.25
Level = Literal["piece", "note", "bar"]
#: windows of one length that go through the model together
BATCH = 8


class M2BertModel:
    """An M2BERT or a MidiBERT, ready for music.

    Parameters
    ----------
    bundle
        What :func:`~musicbert.weights.read_m2bert` reads.
    device
        ``cpu``, ``cuda``, ...; a GPU if there is one when None.
    precision
        ``auto`` (float32 on a CPU, bfloat16 on a GPU), ``float32`` or ``bfloat16``.
    """

    #: it has no sentence heads
    heads: dict[str, Any] = {}  # noqa: RUF012 - never changed

    def __init__(
        self,
        bundle: M2BertBundle,
        *,
        device: str | torch.device | None = None,
        precision: Precision = "auto",
    ) -> None:
        module, self.report = build_m2bert(bundle)
        self._bundle = bundle
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.module: M2Bert | MidiBert = module.to(self.device)
        self.window = min(WINDOW, getattr(bundle.config, "max_positions", WINDOW))
        half = multiplies_in_bfloat16(precision, self.device)
        self.module.autocast_bf16 = half
        self.fields = bundle.columns
        self.codec = get_codec(self.fields.encoding)

    @property
    def config(self) -> M2BertConfig | MidiBertConfig:
        """Architecture."""
        return self._bundle.config

    def __repr__(self) -> str:
        kind = f"{self._bundle.model_type}, {self.fields.encoding}"
        return (
            f"M2BertModel({kind}, layers={self.config.layers}, width={self.config.width}, on {self.device})"
        )

    def save(self, folder: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the weights as they are now as a folder."""
        weights = {name: value.cpu() for name, value in self.module.state_dict().items()}
        bundle = replace(self._bundle, weights={**self._bundle.weights, **weights})
        return save_m2bert_folder(bundle, folder, overwrite=overwrite)

    def rows(self, source: Any) -> NDArray[np.int64]:
        """Rows of one source [shape=(n, F), int64].

        Raises
        ------
        MidiError
            For a source that cannot be read or encoded; ``bad-value`` for rows out of range.
        """
        if not isinstance(source, np.ndarray):
            notes = source if isinstance(source, Score | BeatNotes) else read_score(source)
            return self.codec.encode(notes)[0]
        rows = source
        values = np.asarray(self.fields.values)
        if self.fields.encoding == "octuple":
            values = np.append(1 << 16, values[1:])  # bars are moved, window by window
        shaped = rows.ndim == 2 and rows.shape[1] == len(values) and rows.dtype.kind in "iu"
        if not shaped or (rows < 0).any() or (rows >= values).any():
            raise MidiError(
                "bad-value", f"An array of shape {rows.shape} is no rows of {self.fields.encoding}"
            )
        if len(rows) == 0:
            raise MidiError("no-notes", "there are no rows")
        checked: NDArray[np.int64] = rows.astype(np.int64)
        return checked

    def embed(self, source: Any, *, level: Level = "piece", layer: int = -1) -> Any:
        """Embed pieces, their bars or their notes.

        Parameters
        ----------
        source
            A source, or a list of them.
        level
            ``piece``: the mean over the notes. ``note``: one vector a row of the encoding, in its order
            (:meth:`rows`). ``bar``: the mean over the notes of each bar that has some.
        layer
            State after block ``layer``; 0 is the input of the first block, negative numbers count from the
            end. The last one is what fine-tuning reads, before ``final_norm``.

        Returns
        -------
        numpy.ndarray
            [shape=(D,)], [shape=(n, D)] or [shape=(bars, D)], float32; for a list of sources a list of these.

        Raises
        ------
        MidiError
            As :meth:`rows`.
        ValueError
            For another level or layer.
        """
        if level not in get_args(Level):
            raise ValueError(f"level is one of {get_args(Level)}, not {level!r}")
        depth = self.config.layers
        if not -depth - 1 <= layer <= depth:
            raise ValueError(f"layer is in {-depth - 1} to {depth}, not {layer}")
        single = not isinstance(source, list | tuple)
        pieces = [self.rows(each) for each in ([source] if single else source)]
        results = []
        for rows, notes in zip(pieces, self._notes(pieces, layer % (depth + 1)), strict=True):
            if level == "note":
                results.append(notes.astype(np.float32))
            elif level == "piece":
                results.append(notes.mean(0).astype(np.float32))
            else:
                bar = self.fields.bars(rows)
                sums = np.zeros((bar[-1] + 1, notes.shape[1]))
                np.add.at(sums, bar, notes)
                results.append((sums / np.bincount(bar)[:, None]).astype(np.float32))
        return results[0] if single else results

    @torch.inference_mode()
    def _notes(self, pieces: Sequence[NDArray[np.int64]], number: int) -> list[NDArray[np.float64]]:
        """States of all notes, windows stitched by their shares, each [shape=(n, D)]."""
        found = [np.zeros((len(rows), self.config.width)) for rows in pieces]
        windows: list[tuple[int, Span]] = []
        octuple = self.fields.encoding == "octuple"
        for piece, rows in enumerate(pieces):
            # only octuples number their bars, and have ids for 256 of them
            bars = rows[:, 0] if octuple else np.zeros(len(rows), np.int64)
            windows += [
                (piece, span) for span in cover(bars, window=self.window, overlap=int(OVERLAP * self.window))
            ]
        windows.sort(key=lambda window: window[1].stop - window[1].start)  # stable
        at = 0
        while at < len(windows):
            length = windows[at][1].stop - windows[at][1].start
            chosen = [w for w in windows[at : at + BATCH] if w[1].stop - w[1].start == length]
            batch = []
            for piece, span in chosen:
                cells = pieces[piece][span.start : span.stop].copy()
                if octuple:
                    cells[:, 0] -= span.first_bar
                batch.append(cells)
            tokens = torch.from_numpy(np.stack(batch)).to(self.device)  # (B, T, F)
            _, extra = self.module(tokens, features_only=True, return_all_hiddens=True)
            states = extra["hidden"] if number == self.config.layers else extra["inner_states"][number]
            for (piece, span), state in zip(chosen, states.float().cpu().numpy(), strict=True):
                found[piece][span.start : span.stop] += state * span.share[:, None]
            at += len(chosen)
        return found

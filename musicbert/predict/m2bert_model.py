"""`M2BertModel`: an M2BERT to use on music.

>>> model = from_pretrained("checkpoints/m2bert_mini")  # doctest: +SKIP
>>> model.embed("piece.mid", level="note").shape  # doctest: +SKIP
(815, 256)

A source is a path, bytes, an open file, a `Score`, `BeatNotes`, or rows of the model's encoding as an array
[shape=(n, F)]; a list is several sources and gives a list. Windows of 1,024 notes overlap and are stitched
as for MusicBERT (:mod:`musicbert.predict.windows`). A MidiBERT is used the same way, in windows of 512 notes.

Legend: ``n`` notes, ``F`` columns of a note, ``D`` width, ``L`` blocks.
"""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from musicbert.config import M2BertConfig, MidiBertConfig
from musicbert.encoding.codec import get_codec
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.model.backbones.midibert import MidiBert
from musicbert.predict.embedding import Level, check_layer, embed_pieces
from musicbert.predict.pieces import Piece, read_piece
from musicbert.predict.runner import Precision, Runner
from musicbert.predict.windows import Layout
from musicbert.weights import Bundle, build_model, save_folder

__all__ = ["M2BertModel"]

#: notes of a crop in training
WINDOW = 1024


class M2BertModel:
    """An M2BERT or a MidiBERT, ready for music.

    Parameters
    ----------
    bundle
        What :func:`~musicbert.weights.read_bundle` reads.
    device
        ``cpu``, ``cuda``, ...; a GPU if there is one when None.
    precision
        ``auto`` (float32 on a CPU, bfloat16 on a GPU), ``float32`` or ``bfloat16``.
    """

    #: it has no sentence heads
    heads: dict[str, Any] = {}  # noqa: RUF012 - never changed

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str | torch.device | None = None,
        precision: Precision = "auto",
    ) -> None:
        module, self.report = build_model(bundle)
        self._bundle = bundle
        self.fields = bundle.columns
        self.codec = get_codec(self.fields.encoding)
        self.window = min(WINDOW, getattr(bundle.config, "max_positions", WINDOW))
        self._runner = Runner(
            module,
            Layout(self.codec.name, cells=True),
            window=self.window,
            overlap=self.window // 4,
            device=device,
            precision=precision,
        )
        self.module: M2Bert | MidiBert = module
        self.device = self._runner.device

    @property
    def config(self) -> M2BertConfig | MidiBertConfig:
        """Architecture."""
        config: M2BertConfig | MidiBertConfig = self._bundle.config  # type: ignore[assignment]
        return config

    def __repr__(self) -> str:
        kind = f"{self._bundle.family.name}, {self.fields.encoding}"
        return (
            f"M2BertModel({kind}, layers={self.config.layers}, width={self.config.width}, on {self.device})"
        )

    def save(self, folder: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the weights as they are now as a folder."""
        weights = {name: value.cpu() for name, value in self.module.state_dict().items()}
        bundle = replace(self._bundle, weights={**self._bundle.weights, **weights})
        return save_folder(bundle, folder, overwrite=overwrite)

    def read(self, source: Any) -> Piece:
        """Read one source.

        Raises
        ------
        MidiError
            For a source that cannot be read or encoded; ``bad-value`` for rows out of range.
        """
        return read_piece(source, codec=self.codec.name)

    def rows(self, source: Any) -> NDArray[np.int64]:
        """Rows of one source [shape=(n, F), int64] (see :meth:`read`)."""
        return self.read(source).rows

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
            As :meth:`read`.
        ValueError
            For another level or layer.
        """
        number = check_layer(layer, self.config.layers)
        last = number == self.config.layers

        def forward(tokens: torch.Tensor, _: torch.Tensor | None) -> torch.Tensor:
            _, extra = self.module(tokens, features_only=True, return_all_hiddens=not last)
            states: torch.Tensor = extra["hidden"] if last else extra["inner_states"][number]
            return states

        single = not isinstance(source, list | tuple)
        pieces = [self.read(entry) for entry in ([source] if single else source)]
        vectors = embed_pieces(
            self._runner, pieces, forward, level=level, width=self.config.width, bars=self.fields.bars
        )
        return vectors[0] if single else vectors

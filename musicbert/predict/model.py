"""`Model`: a MusicBERT to use on music.

>>> model = from_pretrained("musicbert_small")  # doctest: +SKIP
>>> model.embed("piece.mid").shape  # doctest: +SKIP
(512,)

A source is a path, bytes, an open file, a `Score`, or rows as an array [shape=(n, 8)]; a list is several
sources and gives a list. Pieces of any length are taken: windows of 1,000 notes and 256 bars overlap, and
their results are stitched (:mod:`musicbert.predict.windows`). Results are float32 arrays, equal for any batch
or order up to rounding (on a GPU the rounding is that of bfloat16).

Legend: ``n`` notes, ``D`` width, ``L`` blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from musicbert.config import ModelConfig
from musicbert.encoding import FIELDS, Policies
from musicbert.encoding.policies import COMPATIBLE
from musicbert.errors import CheckpointError
from musicbert.model import MusicBert
from musicbert.predict.embedding import Level, Stitch, TokenPooling, check_layer, embed_pieces
from musicbert.predict.fill import fill_piece
from musicbert.predict.gaps import Filled, FillOptions, choose_mask
from musicbert.predict.m2bert_model import M2BertModel
from musicbert.predict.pieces import Piece, Source, read_piece
from musicbert.predict.prediction import Prediction, activate
from musicbert.predict.runner import Precision, Runner
from musicbert.predict.windows import OVERLAP, WINDOW, Layout
from musicbert.weights import Bundle, Head, build_model, read_bundle, resolve, save_folder
from musicbert.weights import Source as DownloadSource

__all__ = ["Model", "from_pretrained"]


class Model:
    """A MusicBERT with its heads, ready for music.

    Parameters
    ----------
    bundle
        What :func:`~musicbert.weights.read_bundle` reads.
    device
        ``cpu``, ``cuda``, ...; a GPU if there is one when None.
    precision
        ``auto`` (float32 on a CPU, bfloat16 on a GPU), ``float32`` or ``bfloat16``.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str | torch.device | None = None,
        precision: Precision = "auto",
    ) -> None:
        module, self.report = build_model(bundle)
        self._bundle = bundle
        #: notes of a window: those of training, or fewer where the position table is shorter
        self.window = min(WINDOW, bundle.config.max_positions - 2)
        self.overlap = min(OVERLAP, self.window // 4)
        self._runner = Runner(
            module,
            Layout("octuple", cells=False),
            performance=bundle.config.performance_features,
            window=self.window,
            overlap=self.overlap,
            device=device,
            precision=precision,
        )
        #: the network, a ``torch.nn.Module``
        self.module: MusicBert = module

    @classmethod
    def from_pretrained(cls, name: str | PathLike[str], **options: Any) -> Model:
        """See :func:`from_pretrained`."""
        return from_pretrained(name, **options)

    @property
    def config(self) -> ModelConfig:
        """Architecture."""
        config: ModelConfig = self._bundle.config  # type: ignore[assignment]
        return config

    @property
    def heads(self) -> dict[str, Head]:
        """Sentence heads by name."""
        return {head.name: head for head in self._bundle.heads}

    def __repr__(self) -> str:
        config = self.config
        heads = ", ".join(self.heads) or "none"
        return (
            f"Model(layers={config.layers}, width={config.width}, heads: {heads}, on {self._runner.device})"
        )

    def save(self, folder: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the weights as they are now as a folder (:func:`~musicbert.weights.save_folder`)."""
        weights = {name: value.cpu() for name, value in self.module.state_dict().items()}
        bundle = replace(self._bundle, weights={**self._bundle.weights, **weights})
        return save_folder(bundle, folder, overwrite=overwrite)

    def embed(
        self,
        source: Source | Sequence[Source],
        *,
        level: Level = "piece",
        pooling: TokenPooling = "first",
        layer: int = -1,
        policies: Policies = COMPATIBLE,
    ) -> Any:
        """Embed pieces, their bars or their notes.

        Parameters
        ----------
        source
            A source, or a list of them.
        level
            ``piece``: one vector. ``note``: one a row of ``encode``, in its order. ``bar``: the mean of the
            notes of each bar that has some, in the order of ``numpy.unique(rows[:, 0])``.
        pooling
            For a piece. ``first``: the state of the first token, for the last layer up-projected as
            published (what fine-tuned heads read). ``mean``: the mean over the notes.
        layer
            State after block ``layer``; 0 is the input of the first block, negative numbers count from the
            end.
        policies
            See ``encode``.

        Returns
        -------
        numpy.ndarray
            [shape=(D,)], [shape=(n, D)] or [shape=(bars, D)], float32; for a list of sources a list of these.

        Raises
        ------
        MidiError
            For a source that cannot be read or encoded.
        ValueError
            For another level, pooling or layer.
        """
        if pooling not in get_args(TokenPooling):
            raise ValueError(f"level is one of {get_args(Level)} and pooling of {get_args(TokenPooling)}")
        number = check_layer(layer, self.config.layers)
        last = number == self.config.layers
        encode = self.module.encoder.sentence_encoder

        def forward(tokens: torch.Tensor, performance: torch.Tensor | None) -> torch.Tensor:
            output = encode(tokens, performance=performance, return_all_hiddens=not last)
            states: torch.Tensor = output.hidden if last else output.inner_states[number]  # (B, T, D)
            if level != "piece" or pooling == "mean":
                return states
            return encode.up_first(states) if last else states[:, 0]

        single, pieces = self._read(source, policies)
        vectors = embed_pieces(
            self._runner,
            pieces,
            forward,
            level=level,
            width=self.config.width,
            bars=lambda rows: np.unique(rows[:, 0], return_inverse=True)[1],
        )
        return vectors[0] if single else vectors

    def predict(
        self,
        source: Source | Sequence[Source],
        *,
        heads: Sequence[str] | None = None,
        policies: Policies = COMPATIBLE,
    ) -> Any:
        """Run the sentence heads.

        Parameters
        ----------
        source
            A source, or a list of them.
        heads
            Names of heads; all if None.
        policies
            See ``encode``.

        Returns
        -------
        dict of str to Prediction
            By head; for a list of sources a list of these.

        Raises
        ------
        MidiError
            For a source that cannot be read or encoded.
        ValueError
            Where the model has no such head, or none at all.
        """
        names = list(self.heads) if heads is None else list(heads)
        unknown = [name for name in names if name not in self.heads]
        if unknown or not names:
            have = ", ".join(self.heads) or "none: it is not fine-tuned"
            raise ValueError(f"no head {', '.join(map(repr, unknown)) or 'to run'}; the model has {have}")
        chosen_heads = [self.heads[name] for name in names]
        single, pieces = self._read(source, policies)
        windows = self._runner.windows(pieces)
        one_item = [np.zeros(len(piece.rows), np.int64) for piece in pieces]
        stitches = [Stitch(one_item, head.outputs) for head in chosen_heads]

        def forward(tokens: torch.Tensor, performance: torch.Tensor | None) -> list[torch.Tensor]:
            encode = self.module.encoder.sentence_encoder
            features = self.module.pool(encode(tokens, performance=performance))  # (B, D)
            return [
                getattr(self.module, f"{head.kind}_heads")[head.name](features)  # (B, C)
                for head in chosen_heads
            ]

        def take(chosen: list[int], outputs: list[torch.Tensor]) -> None:
            for stitch, output in zip(stitches, outputs, strict=True):
                for index, logits in zip(chosen, output.float().cpu().numpy(), strict=True):
                    stitch.add(windows[index], logits)

        self._runner.run(pieces, windows, forward, take)
        results: list[dict[str, Prediction]] = [{} for _ in pieces]
        for head, stitch in zip(chosen_heads, stitches, strict=True):
            for result, mean in zip(results, stitch.means(), strict=True):
                scores = activate(mean[0], head.activation)
                result[head.name] = Prediction(head, mean[0].astype(np.float32), scores)
        return results[0] if single else results

    def fill(
        self,
        source: Source,
        *,
        mask: NDArray[np.bool_] | None = None,
        fields: Sequence[str] = ("pitch",),
        notes: Sequence[int] | None = None,
        bars: tuple[int, int] | None = None,
        programs: Sequence[int] | None = None,
        share: float = 1.0,
        seed: int = 0,
        options: FillOptions | None = None,
        policies: Policies = COMPATIBLE,
    ) -> Filled:
        """Hide parts of a piece and let the model fill them in.

        Parameters
        ----------
        source
            One source.
        mask
            True at the tokens to hide [shape=(n, 8), bool], by the rows of ``encode``. Without it, the next
            five arguments choose (:func:`~musicbert.predict.choose_mask`).
        fields
            Fields to hide: ``bar``, ``position``, ``program``, ``pitch``, ``duration``, ``velocity``,
            ``time_signature``, ``tempo``.
        notes
            Rows to hide them in; all if None.
        bars
            Only notes in bars from the first to the second number, both included.
        programs
            Only notes of these programs; 128 is percussion.
        share
            Share of the notes that are left to be hidden, in 0-1, drawn with ``seed``.
        seed
            Of the choice of notes and of tokens.
        options
            How tokens are chosen: order, temperature, top-k, top-p, allowed values.
        policies
            See ``encode``.

        Returns
        -------
        Filled
            Rows, probabilities; ``.score()`` is music again.

        Raises
        ------
        MidiError
            For a source that cannot be read or encoded; ``nothing-masked``.
        ValueError
            For unknown fields, or a mask of another shape.
        """
        piece = self.read(source, policies=policies, masked=True)
        if mask is None:
            mask = choose_mask(
                piece.rows, fields=fields, notes=notes, bars=bars, programs=programs, share=share, seed=seed
            )
        return fill_piece(self._runner, piece, mask, options or FillOptions(), seed=seed)

    def read(self, source: Source, *, policies: Policies = COMPATIBLE, masked: bool = False) -> Piece:
        """Read one source (see :func:`~musicbert.predict.read_piece`)."""
        inputs = self.config.performance_features
        return read_piece(source, performance=inputs, masked=masked, policies=policies)

    def _read(self, source: Source | Sequence[Source], policies: Policies) -> tuple[bool, list[Piece]]:
        """Whether there was one source only, and the pieces."""
        single = not isinstance(source, list | tuple)
        sources: Sequence[Any] = source if isinstance(source, list | tuple) else [source]
        return single, [self.read(entry, policies=policies) for entry in sources]


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
    """Open a model: a :class:`Model`, or an :class:`M2BertModel` where the checkpoint is one of M2BERT.

    Parameters
    ----------
    name
        A folder, a checkpoint file in any container, or a name
        (:mod:`musicbert.weights.names` says where names are looked for).
    device, precision
        See :class:`Model`.
    labels
        A ``classes.json`` that names the outputs of the heads.
    folders, cache, sources, progress
        See :func:`~musicbert.weights.resolve`.

    Raises
    ------
    CheckpointError
        ``other-encoding``, and as ``resolve`` and ``read_bundle``.
    """
    path = resolve(name, folders=folders, cache=cache, sources=sources, progress=progress)
    bundle = read_bundle(path, labels=labels)
    config = bundle.config
    if not isinstance(config, ModelConfig):
        return M2BertModel(bundle, device=device, precision=precision)
    if config.fields != len(FIELDS) or bundle.view != "octuple":
        raise CheckpointError(
            "other-encoding",
            f"The model reads {config.fields} token(s) a position in the encoding {bundle.view!r}, "
            f"not octuples of {len(FIELDS)}",
            path=path,
            hint="ablations are compared in fairseq; the library reads OctupleMIDI",
        )
    return Model(bundle, device=device, precision=precision)

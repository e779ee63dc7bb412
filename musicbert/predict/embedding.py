"""`Stitch` combines the results of windows; `Embedder` is a backbone that turns music into vectors.

Only sums over windows are kept, so that memory does not grow with the number of windows.

Legend: ``n`` notes, ``B`` windows, ``T`` rows, ``D`` width, ``L`` blocks.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from musicbert.arrays import Bools, Floats, Ints, Singles
from musicbert.encoding import Policies
from musicbert.encoding.codecs import get_codec
from musicbert.encoding.policies import WHOLE
from musicbert.model.backbones.note_states import first_row, note_states
from musicbert.predict.pieces import Piece, Source, read_piece
from musicbert.predict.runner import Precision, Runner
from musicbert.predict.windows import Layout, Window, trained_positions
from musicbert.weights import Bundle, build_model, save_folder

Level = Literal["piece", "note", "bar"]
TokenPooling = Literal["first", "mean"]


class Stitch:
    """Means over windows for the items (notes, bars or the whole) of pieces.

    ``items``: for each piece, the item of each note, ascending from 0 [shape=(n,), int64]. ``width``: numbers
    of an item, ``D``. ``votes``: every window counts once, not by its notes (for results of whole windows).
    """

    def __init__(self, items: Sequence[Ints], width: int, *, votes: bool = False) -> None:
        self.items, self.votes = items, votes
        self.sums = [np.zeros((int(at[-1]) + 1, width)) for at in items]
        self.weights = [np.zeros(len(total)) for total in self.sums]

    def add(self, window: Window, values: Singles) -> None:
        """Add the result of a window, for each note [shape=(n, D)] or for all of it [shape=(D,)]."""
        sums, weights = self.sums[window.piece], self.weights[window.piece]
        if values.ndim == 1:
            weight = 1.0 if self.votes else float(window.share.sum())
            sums[0] += weight * values
            weights[0] += weight
            return
        at = self.items[window.piece][window.start : window.stop]
        first = np.flatnonzero(np.diff(at, prepend=-1))  # first note of each item
        sums[at[first]] += np.add.reduceat(values * window.share[:, None], first)
        weights[at[first]] += np.add.reduceat(window.share, first)

    def covered(self) -> list[Bools]:
        """For each piece, whether a window had a result for each item [shape=(items,)]."""
        return [weights > 0 for weights in self.weights]

    def means(self) -> list[Floats]:
        """Means of each piece [shape=(items, D)]; zeros for items without a result."""
        return [
            total / np.where(weights > 0, weights, 1)[:, None]
            for total, weights in zip(self.sums, self.weights, strict=True)
        ]


def stitch_windows(
    runner: Runner,
    pieces: Sequence[Piece],
    forward: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor],
    *,
    items: Sequence[Ints],
    width: int,
    votes: bool = False,
) -> Stitch:
    """Run all windows of pieces and combine the results.

    ``forward`` makes results of rows [shape=(B, T, D)] or of windows [shape=(B, D)] from tokens and
    performance inputs (:meth:`Runner.run`); for the other arguments see `Stitch`.
    """
    stitch, windows, lead = Stitch(items, width, votes=votes), runner.windows(pieces), runner.layout.lead

    def take(chosen: list[int], output: torch.Tensor) -> None:
        for index, values in zip(chosen, output.float().cpu().numpy(), strict=True):
            window = windows[index]
            stitch.add(window, values if values.ndim == 1 else values[lead : lead + len(window)])

    runner.run(pieces, windows, forward, take)
    return stitch


class Embedder:
    """A backbone of any family on a device; `Model` and `M2BertModel` build on it.

    ``bundle`` comes from :func:`~musicbert.weights.read_bundle`. ``device``: ``cpu``, ``cuda``, ...; None: a
    GPU if there is one. ``precision``: ``auto`` (float32 on a CPU, bfloat16 on a GPU), ``float32`` or
    ``bfloat16``.
    """

    #: notes of a window in training, and those that neighbours share
    WINDOW, OVERLAP = 1024, 256

    def __init__(
        self, bundle: Bundle, *, device: str | torch.device | None = None, precision: Precision = "auto"
    ) -> None:
        module, self.report = build_model(bundle)
        self._bundle = bundle
        config: Any = bundle.config
        self.fields = bundle.columns
        self.codec = get_codec(self.fields.encoding)
        layout = Layout(self.codec.name, cells=bundle.family.name != "musicbert")
        longest = getattr(config, "max_positions", self.WINDOW + layout.special)
        positions = next((v for k, v in bundle.weights.items() if k.endswith("embed_positions.weight")), None)
        if positions is not None:  # the first rows are not of positions
            table = positions[-longest:].double().cpu().numpy()
            longest = trained_positions(table) or longest
        #: notes of a window: as in training, or fewer if the model has fewer positions, or has learned fewer
        self.window = min(self.WINDOW, longest - layout.special)
        self.overlap = min(self.OVERLAP, self.window // 4)
        self.runner = Runner(
            module,
            layout,
            performance=getattr(config, "performance_features", 0),
            window=self.window,
            overlap=self.overlap,
            device=device,
            precision=precision,
        )
        #: the network, a ``torch.nn.Module``
        self.module: Any = module
        self.device = self.runner.device

    @property
    def config(self) -> Any:
        """Architecture."""
        return self._bundle.config

    def save(self, folder: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the weights as they are now as a folder (:func:`~musicbert.weights.save_folder`)."""
        weights = {name: value.cpu() for name, value in self.module.state_dict().items()}
        bundle = replace(self._bundle, weights={**self._bundle.weights, **weights})
        return save_folder(bundle, folder, overwrite=overwrite)

    def read(self, source: Source, *, policies: Policies = WHOLE, masked: bool = False) -> Piece:
        """Read one source (see :func:`~musicbert.predict.read_piece`)."""
        return read_piece(
            source,
            codec=self.codec.name,
            performance=self.runner.performance,
            masked=masked,
            policies=policies,
        )

    def _read(self, source: Source | Sequence[Source], policies: Policies) -> tuple[bool, list[Piece]]:
        """Whether a single source was given, and the pieces."""
        single = not isinstance(source, list | tuple)
        sources: Sequence[Any] = source if isinstance(source, list | tuple) else [source]
        return single, [self.read(entry, policies=policies) for entry in sources]

    def embed(
        self,
        source: Source | Sequence[Source],
        *,
        level: Level = "piece",
        pooling: TokenPooling | None = None,
        layer: int = -1,
        policies: Policies = WHOLE,
    ) -> Any:
        """Embed a source or a list of sources: whole pieces, their bars or their notes.

        ``level``: ``piece``: one vector; ``note``: one for each row, in order; ``bar``: for each bar with
        notes, their mean, in order. ``pooling`` of a piece: ``first`` (default of MusicBERT): the state of
        the first token, for the last layer up-projected as published (what fine-tuned heads read); ``mean``
        over the notes (the only one of the other families). ``layer``: state after this block; 0 is the input
        of the first block, negative numbers count from the end. M2BERT's last one is before ``final_norm``,
        as fine-tuning reads it. ``policies``: see ``encode``.

        Returns an array [shape=(D,)], [shape=(n, D)] or [shape=(bars, D)], float32; for a list of sources, a
        list of arrays.
        Raises `MidiError` for a source that cannot be read or encoded, and `ValueError` for an unknown level,
        pooling or layer.
        """
        has_first = self.runner.layout.special > 0
        poolings = get_args(TokenPooling)[0 if has_first else 1 :]
        pooling = pooling or poolings[0]
        if level not in get_args(Level) or pooling not in poolings:
            raise ValueError(f"level is one of {get_args(Level)} and pooling of {poolings}")
        depth = self.config.layers
        if not -depth - 1 <= layer <= depth:
            raise ValueError(f"layer is in {-depth - 1} to {depth}, not {layer}")
        number = layer % (depth + 1)
        last, only_first = number == depth, level == "piece" and pooling == "first"

        def forward(tokens: torch.Tensor, performance: torch.Tensor | None) -> torch.Tensor:
            wanted: dict[str, Any] = {"depth": None if last else number, "first": only_first}
            (state,) = note_states(self.module, tokens, performance=performance, **wanted).states  # (B, T, D)
            if not only_first:
                return state
            return first_row(self.module, state) if last else state[:, 0]  # (B, D)

        single, pieces = self._read(source, policies)
        items: list[Ints] = [
            self.fields.bars(piece.rows) if level == "bar" else np.arange(len(piece.rows)) * (level == "note")
            for piece in pieces
        ]
        stitch = stitch_windows(self.runner, pieces, forward, items=items, width=self.config.width)
        means = [mean.astype(np.float32) for mean in stitch.means()]
        vectors = [mean[0] for mean in means] if level == "piece" else means
        return vectors[0] if single else vectors

    def moments(
        self, sources: Sequence[Source], *, layer: int | None = None, policies: Policies = WHOLE
    ) -> Floats:
        """Describe pieces by mean and deviation over their notes [shape=(n, layers, 2D), float64].

        Row ``k`` is of the states after block ``k + 1``. ``layer``: only those after this block, counted from
        1 [shape=(n, 1, 2D)]; no later one is computed. Raises `MidiError` as `embed` does.
        """
        depth, width = 1 if layer else self.config.layers, self.config.width

        def forward(tokens: torch.Tensor, performance: torch.Tensor | None) -> torch.Tensor:
            wanted: dict[str, Any] = {"depth": layer} if layer else {"all_layers": True}
            found = note_states(self.module, tokens, performance=performance, **wanted)
            states = torch.cat(found.states[0 if layer else 1 :], dim=-1).float()  # (B, T, L*D)
            return torch.cat([states, states.square()], dim=-1)

        pieces = [self.read(source, policies=policies) for source in sources]
        items = [np.zeros(len(piece.rows), np.int64) for piece in pieces]
        stitch = stitch_windows(self.runner, pieces, forward, items=items, width=2 * depth * width)
        means = np.stack([mean[0] for mean in stitch.means()]).reshape(len(pieces), 2, depth, width)
        deviation = np.sqrt(np.maximum(means[:, 1] - means[:, 0] ** 2, 0.0))
        return np.concatenate([means[:, 0], deviation], axis=2)

"""`remix`: versions of a piece, in which the model wrote the chosen parts anew, ranked by the model.

Versions differ by their seeds alone. They are ranked by their pseudo-log-likelihood per note: the mean, over
the notes written anew, of the log-probability of their new fields given all other notes, in nats
(`musicbert.predict.fill.log_likelihood`). The original's stands beside them. A likely version is a usual one,
not necessarily a good one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from musicbert.arrays import Bools
from musicbert.encoding import Policies
from musicbert.encoding.metre import bar_table
from musicbert.encoding.policies import WHOLE
from musicbert.encoding.quantise import POSITIONS_PER_BEAT, positions
from musicbert.midi import Score, read_bytes, read_score
from musicbert.midi.reader import ChannelPrograms, name_of
from musicbert.predict import Filled, FillOptions, Model, Piece, from_pretrained
from musicbert.predict.fill import fill_piece, log_likelihood
from musicbert.predict.masked_notes import Original
from musicbert.remixing.choice import Choice, Drums

#: how notes are written unless asked otherwise; 8 passes of the model a version
DEFAULTS = FillOptions(order="confident", temperature=1.0, top_p=0.95, distinct=True, context=200)


@dataclass(frozen=True, eq=False)
class Remix:
    """A version of a piece.

    ``number`` counts from 1; ``likelihood`` is the pseudo-log-likelihood per note (see the head of this
    module), ``original`` that of the same notes as they were; ``rank`` 1 is the likeliest version.
    """

    filled: Filled
    number: int
    seed: int
    likelihood: float
    original: float
    rank: int = 0

    def __repr__(self) -> str:
        return (
            f"Remix({self.number}, rank {self.rank}, {self.notes} notes written anew, "
            f"{self.likelihood:.2f} nats a note)"
        )

    @property
    def notes(self) -> int:
        """Number of notes that were written anew."""
        return int(self.filled.mask.any(axis=1).sum())

    @property
    def changed(self) -> int:
        """Number of notes that came out other than they were."""
        assert self.filled.original is not None
        return int((self.filled.rows != self.filled.original.rows).any(axis=1).sum())

    def score(self) -> Score:
        """Return the music."""
        return self.filled.score()

    def save(self, path: str | PathLike[str]) -> None:
        """Write the MIDI file, whole or not at all; what was not chosen is as it was (`Filled.save`)."""
        self.filled.save(path)


class Remixer:
    """A piece, a model and a choice, from which versions are drawn.

    For the parameters see `remix`. ``version(k)`` depends on k and the seed alone.
    """

    def __init__(
        self,
        source: Any,
        *,
        model: Model | str | PathLike[str] = "musicbert-mini",
        choice: Choice | None = None,
        options: FillOptions = DEFAULTS,
        seed: int = 0,
        rank_passes: int = 8,
        policies: Policies = WHOLE,
        channel_programs: ChannelPrograms = "track",
    ) -> None:
        self.model = model if isinstance(model, Model) else from_pretrained(model)
        self.choice, self.seed, self.rank_passes = choice or Choice(), seed, rank_passes
        data = read_bytes(source)
        score = read_score(
            source if data is None else data, name=name_of(source), channel_programs=channel_programs
        )
        self.score = score
        piece = self.model.read(score, policies=policies, masked=True)
        assert piece.note_index is not None
        rows, self.mask = self.choice.apply(score, piece.rows, piece.note_index, seed)
        self.original = Original(
            score, piece.rows, piece.note_index, policies, None if score.notation else data
        )
        self._before, self._piece = piece, replace(piece, rows=rows)
        self.options = options
        if self.choice.bars is not None and "bar" in self.choice.hidden_fields:
            bars = range(self.choice.bars[0] - 1, self.choice.bars[1])
            inside = [bar for bar in options.allow.get("bar", bars) if bar in bars]
            self.options = replace(options, allow={**options.allow, "bar": inside or [*bars]})

    def version(self, number: int) -> Remix:
        """Draw version ``number``, from 1."""
        seed = self.seed + number - 1
        filled = fill_piece(self.model.runner, self._piece, self.mask, self.options, seed=seed)
        filled = replace(filled, original=self.original)
        likelihood = self.likelihood(replace(self._piece, rows=filled.rows))
        return Remix(filled, number, seed, likelihood, self.original_likelihood)

    def seconds(self, version: Score) -> tuple[float | None, float | None]:
        """Where the chosen bars begin and end in a version, one bar before and after included.

        None: with the piece. Bars are those of the original, at the tempi of the version.
        """
        if self.choice.bars is None:
            return None, None
        first, last = max(self.choice.bars[0] - 2, 0), self.choice.bars[1]  # from 0
        bar, whole = self.original.rows[:, 0], self.original
        near = whole.note_index[(bar >= first) & (bar <= last)]
        table = bar_table(self.score, int(positions(self.score.onset, self.score.ticks_per_beat).max()) + 1,
                          whole.policies)  # fmt: skip
        lines = table.start(np.array([first, last + 1])) * self.score.ticks_per_beat / POSITIONS_PER_BEAT
        start, end = np.rint(lines).astype(np.int64).tolist()
        if bar.max() <= last:
            end = max(end, int(self.score.offset[near].max()))
        ends = version.seconds(np.array([min(start, int(self.score.onset[near].min())), end]))
        return float(ends[0]), float(ends[1])

    @property
    def replaced(self) -> int:
        """Number of notes that another instrument plays."""
        return int((self._piece.rows[:, 2] != self.original.rows[:, 2]).sum())

    def chosen_notes(self) -> Bools:
        """Notes of the original that are written anew [shape=(n,), bool]."""
        chosen = np.zeros(len(self.score), bool)
        chosen[self.original.note_index[self.mask.any(axis=1)]] = True
        return chosen

    def new_notes(self, version: Score) -> Bools:
        """Notes of a version that were written anew [shape=(n,), bool]: all but those kept."""

        def keys(score: Score) -> Iterator[tuple[int, ...]]:
            columns = (score.onset, score.offset, score.pitch, score.velocity, score.drum)
            return zip(*(column.tolist() for column in columns), strict=True)

        kept = Counter(key for key, new in zip(keys(self.score), self.chosen_notes(), strict=True) if not new)
        new = []
        for key in keys(version):
            new.append(kept[key] <= 0)
            kept[key] -= 1
        return np.array(new, bool)

    @property
    def original_likelihood(self) -> float:
        """Pseudo-log-likelihood per note of the chosen notes as they were, in nats."""
        if not hasattr(self, "_original_likelihood"):
            self._original_likelihood = self.likelihood(self._before)
        return self._original_likelihood

    def likelihood(self, piece: Piece) -> float:
        """Pseudo-log-likelihood per note of the chosen notes of a piece with these notes, in nats."""
        table = log_likelihood(
            self.model.runner, piece, self.mask, passes=self.rank_passes, context=self.options.context
        )
        return float(np.nansum(table) / self.mask.any(axis=1).sum())


def ranked(versions: Sequence[Remix]) -> list[Remix]:
    """Versions from the likeliest on, with their ranks."""
    order = sorted(versions, key=lambda each: (-each.likelihood, each.number))
    return [replace(each, rank=rank) for rank, each in enumerate(order, 1)]


def remix(
    source: Any,
    *,
    model: Model | str | PathLike[str] = "musicbert-mini",
    bars: tuple[int, int] | None = None,
    tracks: Sequence[int | str] | None = None,
    instruments: Sequence[int | str] | None = None,
    share: float = Choice.share,
    fields: Sequence[str] = ("pitch",),
    drums: Drums = "keep",
    replace_instruments: Mapping[int | str, int | str] | None = None,
    options: FillOptions = DEFAULTS,
    versions: int = 3,
    seed: int = 0,
    rank_passes: int = 8,
    policies: Policies = WHOLE,
    channel_programs: ChannelPrograms = "track",
    progress: Callable[[int, int], None] | None = None,
) -> list[Remix]:
    """Let the model write parts of a piece anew, in several versions, the likeliest first.

    Parameters
    ----------
    source
        MIDI file (path, bytes or file object) or `Score`. Versions of a file keep all of it that is not
        chosen, bit for bit (`musicbert.midi.edit_midi`).
    model
        A `Model`, or what `from_pretrained` takes.
    bars, tracks, instruments, share, fields, drums, replace_instruments
        See `Choice`; bars and tracks are counted from 1.
    options
        How tokens are chosen (`FillOptions`).
    versions
        How many are drawn.
    seed
        Of the notes that are chosen; version k draws its tokens with ``seed + k - 1``.
    rank_passes
        Passes of the model for the ranking of a version; more are nearer to hiding every note alone.
    policies, channel_programs
        How the file is read (`encode`, `read_score`).
    progress
        Called with the number of versions done and of all versions.

    Raises `MidiError` (a file that cannot be read or encoded, or cannot hold the changes when it is saved),
    `ConfigError` (``bad-choice``, ``bad-instrument``) and `CheckpointError` (see `from_pretrained`).
    """
    if versions < 1:
        raise ValueError("versions is at least 1")
    remixer = Remixer(
        source,
        model=model,
        choice=Choice(bars, tracks, instruments, share, fields, drums, replace_instruments or {}),
        options=options,
        seed=seed,
        rank_passes=rank_passes,
        policies=policies,
        channel_programs=channel_programs,
    )
    result = []
    for number in range(1, versions + 1):
        result.append(remixer.version(number))
        if progress is not None:
            progress(number, versions)
    return ranked(result)

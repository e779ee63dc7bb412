"""Masked tokens filled in by the language model, with probabilities.

The logits of a hidden token are restricted to the tokens of its own field, so a pitch is always a pitch;
every program is possible, percussion (128) too. The rules of the encoding hold: drums, and only drums, have a
pitch of 128 or more, and a position lies inside the bar of its time signature; where no allowed value keeps
them, the rules win, and a warning says how often. Each hidden token is predicted by the window in which its
note is farthest from an edge.

Orders, fastest first (midiformers calls the last two "octuple" and "vanilla"):

``once``
    All hidden tokens from one pass, independently.
``confident``
    ``steps`` passes; after each, the most probable choices are kept, and the other tokens are predicted again
    given these (Ghazvininejad et al. 2019, "Mask-Predict").
``notes``
    From left to right, all hidden tokens of a note in one pass.
``tokens``
    From left to right, one token a pass.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import torch
from scipy.special import log_softmax, softmax

from musicbert.arrays import Bools, Floats, Ints, Singles
from musicbert.encoding import FIELD_OFFSETS, FIELD_SIZES, FIELDS, N_FIELDS
from musicbert.encoding.octuple import DRUM_PITCH, DRUM_PROGRAM
from musicbert.encoding.quantise import BAR_LENGTHS
from musicbert.errors import MidiError
from musicbert.predict.masked_notes import REPETITION_NOTES, Filled, FillOptions, Order
from musicbert.predict.pieces import Piece
from musicbert.predict.runner import Runner
from musicbert.predict.windows import Window

BAR, POSITION, PROGRAM, PITCH, METRE = 0, 1, 2, 3, 6
#: fields that two notes may not have in common (`FillOptions.distinct`)
_PLACE = [BAR, POSITION, PROGRAM, PITCH]

logger = logging.getLogger(__name__)


def fill_piece(runner: Runner, piece: Piece, mask: Bools, options: FillOptions, *, seed: int = 0) -> Filled:
    """Fill the hidden tokens of one piece.

    ``mask``: true at what to hide [shape=(n, 8), bool]; ``seed``: with the same seed a piece is filled in the
    same way, whatever was filled before it.
    Raises `MidiError` (``nothing-masked``); `ValueError` (for a mask of another shape).
    """
    mask = np.asarray(mask, bool)
    if mask.shape != piece.rows.shape:
        raise ValueError(f"the mask has shape {mask.shape}, the rows {piece.rows.shape}")
    if not mask.any():
        raise MidiError("nothing-masked", "no token is hidden", hint="choose other notes, bars or programs")
    digest = blake2b(piece.rows.tobytes() + mask.tobytes(), digest_size=8).digest()
    rng = np.random.default_rng([seed, int.from_bytes(digest, "little")])
    work = _Work(runner, piece, mask, options, rng)
    if options.order == "confident":
        work.by_confidence()
    else:
        for group in _groups(mask, options.order):
            work.keep(*work.draw(group))
    if work.outside:
        logger.warning(
            "no allowed value fits the rest of the note for %d of %d tokens: others that fit were taken",
            work.outside,
            int(mask.sum()),
        )
    tables = {}
    for number, name in enumerate(FIELDS):
        rows = np.flatnonzero(mask[:, number])
        if len(rows):
            tables[name] = (rows, np.stack([work.tables[int(row), number] for row in rows]))
    return Filled(work.rows, mask, work.probability, tables)


def log_likelihood(
    runner: Runner, piece: Piece, mask: Bools, *, passes: int = 8, context: int | None = None
) -> Singles:
    """Log-probability of each masked token of a piece, given the rest [shape=(n, 8), float32, nats].

    The notes with masked tokens are dealt into ``passes`` groups, as cards are: of each group in turn, the
    masked tokens are hidden and all others seen. With as many passes as notes this is the pseudo-log-
    likelihood of Salazar et al. 2020 with the tokens of a note hidden together; fewer passes are faster.
    Probabilities are among all values of the field. NaN where nothing is masked. ``context``: see
    `FillOptions`.
    Raises `ValueError` (passes below 1).
    """
    if passes < 1:
        raise ValueError("passes is at least 1")
    result = np.full(mask.shape, np.nan, np.float32)
    notes = np.flatnonzero(mask.any(axis=1))
    for first in range(min(passes, len(notes))):
        hidden = np.zeros_like(mask)
        hidden[notes[first::passes]] = mask[notes[first::passes]]
        work = _Work(runner, piece, hidden, FillOptions(context=context), np.random.default_rng(0))
        tokens = np.argwhere(hidden)
        for (row, number), line in zip(tokens, work.logits(tokens), strict=True):
            base = work.windows[work.owner[row]].first_bar if number == BAR else 0
            value = min(max(int(piece.rows[row, number]) - base, 0), FIELD_SIZES[number] - 1)
            own = line[FIELD_OFFSETS[number] : FIELD_OFFSETS[number] + FIELD_SIZES[number]].astype(np.float64)
            result[row, number] = log_softmax(own)[value]
    return result


def _groups(mask: Bools, order: Order) -> Iterator[Ints]:
    """Hidden tokens (row, field) [shape=(m, 2)], in groups that are chosen together."""
    hidden = np.argwhere(mask)
    if order == "once":
        yield hidden
    elif order == "tokens":
        yield from hidden[:, None]
    else:
        yield from np.split(hidden, np.flatnonzero(np.diff(hidden[:, 0])) + 1)


class _Work:
    """A piece while it is filled: rows, hidden tokens, and the window that predicts each note."""

    def __init__(
        self, runner: Runner, piece: Piece, mask: Bools, options: FillOptions, rng: np.random.Generator
    ) -> None:
        self.runner, self.piece, self.options, self.rng = runner, piece, options, rng
        self.windows = _windows(runner, piece, mask, options.context)
        self.outside = 0  # tokens for which no allowed value was possible
        self.rows = piece.rows.copy()
        self.hidden = mask.copy()
        self.probability = np.full(mask.shape, np.nan, np.float32)
        self.tables: dict[tuple[int, int], Singles] = {}
        deepest = np.full(len(piece.rows), -1.0)
        self.owner = np.zeros(len(piece.rows), np.int64)
        for index, window in enumerate(self.windows):
            notes = np.arange(window.start, window.stop)
            better = window.share > deepest[notes]
            self.owner[notes[better]] = index
            deepest[notes[better]] = window.share[better]

    def by_confidence(self) -> None:
        """Keep the most probable choices of each of ``steps`` passes."""
        left = np.argwhere(self.hidden)
        for step in range(self.options.steps):
            if not len(left):
                return
            tokens, values, chances, tables = self.draw(left)
            count = -(-len(left) // (self.options.steps - step))  # an equal part, rounded up
            best = np.zeros(len(left), bool)
            best[np.argsort(-chances, kind="stable")[:count]] = True
            kept = np.flatnonzero(best)
            self.keep(tokens[kept], values[kept], chances[kept], [tables[index] for index in kept])
            left = np.argwhere(self.hidden)

    def keep(self, tokens: Ints, values: Ints, chances: Singles, tables: Sequence[Singles]) -> None:
        """Put choices into the piece."""
        for (row, number), value, chance, table in zip(tokens, values, chances, tables, strict=True):
            self.rows[row, number] = value
            self.probability[row, number] = chance
            self.tables[int(row), int(number)] = table
            self.hidden[row, number] = False

    def draw(self, tokens: Ints) -> tuple[Ints, Ints, Singles, list[Singles]]:
        """Predict and choose hidden tokens: the tokens, values, probabilities, and distributions."""
        logits = self.logits(tokens)
        rows, hidden = self.rows.copy(), self.hidden.copy()
        values, chances, tables = [], [], []
        for (row, number), line in zip(tokens, logits, strict=True):
            offset, size = FIELD_OFFSETS[number], FIELD_SIZES[number]
            base = self.windows[self.owner[row]].first_bar if number == BAR else 0
            possible = self._possible(rows, hidden, int(row), int(number), base)
            table = softmax(np.where(possible, line[offset : offset + size], -np.inf).astype(np.float64))
            penalty = self.options.penalty(int(number))
            weights = table
            if penalty != 1:
                weights = table / penalty ** _repeated(rows, hidden, int(row), int(number), base)
                weights /= weights.sum()
            value = self._choose(weights, self.options.heat(int(number)))
            values.append(value + base)
            chances.append(table[value])
            tables.append(table.astype(np.float32))
            rows[row, number], hidden[row, number] = value, False  # later fields of the note agree with it
        return tokens, np.array(values, np.int64), np.array(chances, np.float32), tables

    def logits(self, tokens: Ints) -> Singles:
        """Logits of hidden tokens [shape=(m, V)], each by the window in which its note lies deepest."""
        numbers = np.unique(self.owner[tokens[:, 0]])
        index = np.full(self.rows.shape, -1)  # of each wanted token, its place among the results
        index[tokens[:, 0], tokens[:, 1]] = np.arange(len(tokens))
        encoder = self.runner.model.encoder
        result = np.zeros((len(tokens), self.runner.model.config.vocabulary_size), np.float32)

        def forward(ids: torch.Tensor, performance: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
            return encoder.sentence_encoder(ids, performance=performance).hidden, ids

        def take(chosen: list[int], output: tuple[torch.Tensor, torch.Tensor]) -> None:
            hidden, ids = output
            places = np.full((len(chosen), ids.shape[1] // N_FIELDS, N_FIELDS), -1)  # (B, T, F)
            for row, number in zip(places, numbers[chosen], strict=True):
                part = slice(self.windows[number].start, self.windows[number].stop)
                owned = (self.owner[part] == number)[:, None]
                row[1 : 1 + len(owned)] = np.where(owned, index[part], -1)  # after the special octuple
            flat = places.reshape(len(chosen), -1)
            where = torch.from_numpy(flat >= 0).to(ids.device)
            logits = encoder.lm_head(encoder.sentence_encoder.up_selected(hidden, where))  # (N, V)
            result[flat[flat >= 0]] = logits.float().cpu().numpy()

        piece = replace(self.piece, rows=self.rows, hidden=self.hidden)
        self.runner.run([piece], [self.windows[number] for number in numbers], forward, take)
        return result

    def _possible(self, rows: Ints, hidden: Bools, place: int, number: int, base: int) -> Bools:
        """Values of a field that agree with what is known, and that are allowed; bars count from ``base``."""
        size, row = FIELD_SIZES[number], rows[place]
        possible = np.ones(size, bool)
        if number == PROGRAM and not hidden[place, PITCH]:
            possible = (np.arange(size) == DRUM_PROGRAM) == (row[PITCH] >= DRUM_PITCH)
        elif number == PITCH and not hidden[place, PROGRAM]:
            possible = (np.arange(size) >= DRUM_PITCH) == (row[PROGRAM] == DRUM_PROGRAM)
        elif number == POSITION and not hidden[place, METRE]:
            possible = np.arange(size) < BAR_LENGTHS[row[METRE]]
        elif number == METRE and not hidden[place, POSITION]:
            possible = row[POSITION] < BAR_LENGTHS
        allowed = self.options.allow.get(FIELDS[number])
        if allowed is not None:
            both = possible & np.isin(np.arange(size) + base, allowed)
            self.outside += not both.any()
            possible = both if both.any() else possible
        others = [field for field in _PLACE if field != number]
        if self.options.distinct and number in _PLACE and not hidden[place, others].any():
            same = (rows[:, others] == row[others]).all(axis=1) & ~hidden[:, _PLACE].any(axis=1)
            same[place] = False
            free = possible & ~np.isin(np.arange(size) + base, rows[same, number])
            possible = free if free.any() else possible
        return possible

    def _choose(self, table: Floats, heat: float) -> int:
        """Choose a value by its probability."""
        if heat == 0:
            return int(table.argmax())
        with np.errstate(divide="ignore"):
            table = softmax(np.log(table) / heat)
        order = np.argsort(-table, kind="stable")
        ranked = table[order]
        keep = np.cumsum(ranked) - ranked < self.options.top_p  # the first is always kept
        if self.options.top_k:
            keep[self.options.top_k :] = False
        ranked = np.where(keep, ranked, 0.0)
        return int(order[np.searchsorted(np.cumsum(ranked) / ranked.sum(), self.rng.random(), side="right")])


def _windows(runner: Runner, piece: Piece, mask: Bools, context: int | None) -> list[Window]:
    """Windows of a piece, or of the part of it that holds the hidden notes and ``context`` notes around."""
    if context is None:
        return runner.windows([piece])
    hidden = np.flatnonzero(mask.any(axis=1))
    start = max(int(hidden[0]) - context, 0)
    part = replace(piece, rows=piece.rows[start : int(hidden[-1]) + 1 + context])
    return [
        replace(window, start=window.start + start, stop=window.stop + start)
        for window in runner.windows([part])
    ]


def _repeated(rows: Ints, hidden: Bools, place: int, number: int, base: int) -> Ints:
    """How many of the last notes of its program have each value of a field [shape=(values,), int64]."""
    own = np.flatnonzero(rows[:place, PROGRAM] == rows[place, PROGRAM])[-REPETITION_NOTES:]
    values = rows[own[~hidden[own, number]], number] - base
    size = FIELD_SIZES[number]
    return np.bincount(values[(values >= 0) & (values < size)], minlength=size)

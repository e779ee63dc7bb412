"""Which notes speak for a score: contributions of notes against three baselines, and where these disagree.

======= ====================================================================================================
masked  every note is hidden, as in pre-training: what the notes say at all
neutral the same notes with all factors of the playing neutral (`playing_factors`): what the playing says
others  the same notes as other performances play them, aligned note for note; the mean over the performances
======= ====================================================================================================

A contribution holds against its baseline only. So the rank correlation of each two baselines is given, and
notes on whose sign they disagree are marked. The rows of a baseline keep the order of the music's notes, so
what the network sees there may be in another order than if it had been encoded on its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from musicbert.arrays import Bools, Floats, Ints
from musicbert.encoding import PERFORMANCE_INPUTS
from musicbert.errors import ConfigError, MidiError
from musicbert.explanation.gradients import STEPS, Contributions, hidden, integrated_gradients
from musicbert.explanation.networks import Network
from musicbert.explanation.playing_factors import neutral
from musicbert.features.against_score.alignment import align, written
from musicbert.features.playing import playing
from musicbert.midi import Score
from musicbert.predict.pieces import Piece, read_piece

BASELINES = ("masked", "neutral", "others")
#: share of the notes that another performance may lack; they count as played alike
MOST_MISSING = 0.05
#: contributions below this share of the largest one have no sign
_NO_SIGN = 0.01


@dataclass(frozen=True, eq=False)
class NoteReasons:
    """Contributions of the notes of one piece to one output.

    ``note_index`` [shape=(n,), int64]: the score's note of each row; ``maps``: baseline -> `Contributions`;
    ``correlation``: rank correlation (Spearman) of the notes' contributions for each two baselines;
    ``disputed`` [shape=(n,), bool]: the sign depends on the baseline; ``unmatched``: notes that the other
    performances lack, in all.
    """

    output: str
    note_index: Ints
    fields: tuple[str, ...]
    inputs: tuple[str, ...]
    maps: Mapping[str, Contributions]
    correlation: Mapping[tuple[str, str], float]
    disputed: Bools
    unmatched: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        return {
            "output": self.output,
            "note_index": self.note_index.tolist(),
            "baselines": {
                name: {
                    "score": each.score,
                    "baseline_score": each.reference,
                    "notes": each.notes.tolist(),
                    "fields": dict(zip(self.fields, each.fields.sum(axis=0).tolist(), strict=True)),
                    "performance_inputs": dict(
                        zip(self.inputs, each.inputs.sum(axis=0).tolist(), strict=True)
                    ),
                    "completeness_gap": each.gap,
                    "steps": each.steps,
                }
                for name, each in self.maps.items()
            },
            "rank_correlation": {
                f"{a} and {b}": None if np.isnan(value) else value
                for (a, b), value in self.correlation.items()
            },
            "disputed": np.flatnonzero(self.disputed).tolist(),
            "unmatched": self.unmatched,
        }


def note_reasons(
    target: Any,
    score: Score,
    outputs: Sequence[int],
    *,
    baselines: Sequence[str] = ("masked", "neutral"),
    against: Sequence[Score] = (),
    steps: int = STEPS,
) -> list[NoteReasons]:
    """Contributions of notes to some outputs of a network, by number.

    ``target``: a `HeadTarget`, a `TaggerTarget` or a `Network`; ``against``: other performances of the same
    bars (adds the baseline ``others``); ``steps``: of the first attempt at the integral.
    Raises `ConfigError` (``no-gradients``: not a network), `MidiError` (those of reading; ``not-aligned``:
    other notes).
    """
    network = Network.of(target)
    if network is None:
        raise ConfigError(
            "no-gradients",
            "Notes are explained through gradients, which this model does not have",
            hint="hide whole bars or voices instead (occlusion)",
        )
    names = [*baselines, *(["others"] if against else [])]
    if unknown := [name for name in names if name not in BASELINES]:
        raise ConfigError("bad-value", f"There is no baseline {unknown[0]!r}", hint=", ".join(BASELINES))
    piece = _read(network, score)
    found: dict[str, list[Contributions]] = {}
    unmatched = 0
    for name in dict.fromkeys(names):
        if name == "masked":
            others = [hidden(piece)]
        elif name == "neutral":
            others = [_in_order(piece, _read(network, neutral(score)), np.arange(len(score)))]
        else:
            matches = [aligned(score, other) for other in against]
            unmatched = sum(int((match < 0).sum()) for match in matches)
            others = [
                _in_order(piece, _read(network, other), match)
                for other, match in zip(against, matches, strict=True)
            ]
        each = [integrated_gradients(network, piece, other, outputs, steps=steps) for other in others]
        found[name] = [_mean(parts) for parts in zip(*each, strict=True)]
    results = []
    for number in range(len(outputs)):
        maps = {name: parts[number] for name, parts in found.items()}
        notes = {name: each.notes for name, each in maps.items()}
        correlation = {(a, b): _rank_correlation(notes[a], notes[b]) for a, b in combinations(notes, 2)}
        signs = np.stack([_signs(values) for values in notes.values()])
        disputed = (signs.min(axis=0) < 0) & (signs.max(axis=0) > 0)
        index = piece.note_index if piece.note_index is not None else np.arange(len(piece.rows))
        field_names = tuple(network.runner.layout.names)
        inputs = PERFORMANCE_INPUTS[: network.runner.performance]
        results.append(
            NoteReasons(
                maps[names[0]].output, index, field_names, inputs, maps, correlation, disputed, unmatched
            )
        )
    return results


def replaced(network: Network, score: Score) -> dict[str, Callable[[Bools], Piece]]:
    """Functions that put something in the place of notes [shape=(n,), bool] for a network.

    ``gone``: they are hidden; ``neutral``: their rows and inputs are those of the neutral performance.
    """
    piece = _read(network, score)
    other = _in_order(piece, _read(network, neutral(score)), np.arange(len(score)))
    index = piece.note_index if piece.note_index is not None else np.arange(len(piece.rows))

    def gone(notes: Bools) -> Piece:
        return replace(piece, hidden=np.repeat(notes[index][:, None], piece.rows.shape[1], axis=1))

    def neutrally(notes: Bools) -> Piece:
        chosen = notes[index][:, None]
        rows = np.where(chosen, other.rows, piece.rows)
        if piece.performance is None or other.performance is None:
            return replace(piece, rows=rows)
        return replace(piece, rows=rows, performance=np.where(chosen, other.performance, piece.performance))

    return {"gone": gone, "neutral": neutrally}


def aligned(score: Score, other: Score) -> Ints:
    """Find the note of another performance that each note plays [shape=(n,), int64], -1 if there is none.

    Raises `MidiError` (``not-aligned``: more than 5 % of the notes have no partner, or the other has that
    many more; those of `align`).
    """
    match = np.full(len(score), -1)
    here, there = (_by_onset(each) for each in (score, other))
    found = align(playing(other), written(score))
    match[here] = np.where(found >= 0, there[found], -1)
    lacking, more = int((match < 0).sum()), len(other) - int((match >= 0).sum())
    if max(lacking, more) > MOST_MISSING * len(score):
        raise MidiError(
            "not-aligned",
            f"{lacking} of {len(score)} notes are not played there, and {more} others are",
            hint="give performances of the same bars of the same edition",
        )
    return match


def _by_onset(score: Score) -> Ints:
    """Pitched notes by onset, then pitch, as alignment counts them."""
    keep = np.flatnonzero(~score.drum)
    return keep[np.lexsort((score.pitch[keep], score.seconds(score.onset[keep])))]


def _read(network: Network, score: Score) -> Piece:
    runner = network.runner
    return read_piece(score, codec=runner.layout.codec, performance=runner.performance)


def _in_order(piece: Piece, other: Piece, match: Ints) -> Piece:
    """Rows and inputs of another performance in the order of a piece; own ones where there is no partner."""
    if piece.note_index is None or other.note_index is None:
        raise ValueError("rows alone have no other performance")
    place = np.full(max(int(other.note_index.max()), int(match.max())) + 2, -1)
    place[other.note_index] = np.arange(len(other.rows))
    at = place[match[piece.note_index]]  # of -1 the last place, which is -1
    known = at >= 0
    rows = np.where(known[:, None], other.rows[at], piece.rows)
    if piece.performance is None or other.performance is None:
        return Piece(rows, note_index=piece.note_index)
    inputs = np.where(known[:, None], other.performance[at], piece.performance)
    return Piece(rows, inputs, piece.note_index)


def _mean(parts: Sequence[Contributions]) -> Contributions:
    """Mean over several performances; the largest gap and number of steps."""
    if len(parts) == 1:
        return parts[0]
    return Contributions(
        parts[0].output,
        parts[0].score,
        float(np.mean([each.reference for each in parts])),
        np.mean([each.fields for each in parts], axis=0),
        np.mean([each.inputs for each in parts], axis=0),
        max(each.gap for each in parts),
        max(each.steps for each in parts),
    )


def _rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation, NaN where one of them is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first, second)[0])


def _signs(values: Floats) -> Floats:
    """Signs, 0 for what is small beside the largest."""
    small = np.abs(values) < _NO_SIGN * np.abs(values).max(initial=0.0)
    return np.where(small, 0.0, np.sign(values))

"""Corruptions of notes for pre-training: token denoising (M2BERT) and masking (MidiBERT, MusicBERT) of cells.

Arrays: ``cells`` [shape=(T, F), int64] of one crop, as `musicbert.objectives.note_fields` describes them;
rows of PAD at the end are allowed. Functions do not change their input and draw from the given generator
only.

Denoising, RC_{4,12,12} (M2BERT)
    ``round(0.3 n)`` of the n notes, drawn without repetition. Position, pitch and duration of each are
    replaced by independent uniform draws from ``[x - r, x + r)`` within the legal range, with
    half-widths of 4 sixteenths, 12 semitones and 12 steps of duration. The upper end is exclusive as in the
    published program; ``symmetric=True`` includes it. The bar stays, no MASK is used, and a value may stay
    the same. All columns of a corrupted note are to be predicted.
Masking
    15 % of the cells; 80 % of these become MASK, 10 % a random value of the column, 10 % stay.

    ``midibert``
        whole notes, exactly ``round(0.15 T)`` of all T positions, PAD included; of these exactly
        ``round(0.8 k)`` become MASK and ``round(0.1 k)`` random ids, which may be PAD or MASK (published).
    ``compound``
        the same without these faults: notes are independent, PAD is never selected, random ids are values.
    ``element``
        every cell independently.
    ``bar``
        the cells of one column in one bar (and of one program, where there are programs) together, as
        MusicBERT does. ``a+b`` draws one strategy for each crop.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from musicbert.arrays import Bools, Floats, Ints
from musicbert.errors import ConfigError
from musicbert.objectives.masking import check_policy
from musicbert.objectives.note_fields import NoteFields

CELL_STRATEGIES = ("element", "compound", "bar", "midibert")
#: columns that may be disturbed, in the order of ``--noise-radius``
NOISY = ("position", "pitch", "duration", "velocity")
#: positions of OctupleMIDI in a sixteenth
_POSITIONS_PER_SIXTEENTH = 4


def noise_radii(fields: NoteFields, widths: Sequence[int]) -> tuple[int, ...]:
    """Half-widths by column, in ids.

    ``widths``: of position (sixteenths), pitch (semitones), duration (ids) and optionally velocity (ids). 0
    leaves a column as it is.
    Raises `ConfigError` (``bad-options``: not three or four numbers from 0, or a velocity where the encoding
    has none).
    """
    if len(widths) not in (3, 4) or any(width < 0 for width in widths):
        raise ConfigError(
            "bad-options", f"Noise has three or four half-widths from 0 ({', '.join(NOISY)}), not {widths}"
        )
    radii = [0] * len(fields)
    for name, width in zip(NOISY, widths, strict=False):
        if width and name not in fields.names:
            raise ConfigError("bad-options", f"{fields.encoding} has no {name} to disturb")
        if width:
            finer = fields.encoding == "octuple" and name == "position"
            radii[fields.index(name)] = width * (_POSITIONS_PER_SIXTEENTH if finer else 1)
    return tuple(radii)


@dataclass(frozen=True)
class NoisePolicy:
    """How notes are disturbed.

    ``radii``: half-width of each column (see `noise_radii`); ``prob``: share of the notes, 0-1;
    ``symmetric``: include the upper end of the range.
    """

    radii: tuple[int, ...]
    prob: float = 0.3
    symmetric: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.prob <= 1.0:
            raise ConfigError("bad-options", f"The share of disturbed notes is within 0-1, not {self.prob}")


def add_noise(
    cells: Ints, rng: np.random.Generator, fields: NoteFields, policy: NoisePolicy
) -> tuple[Ints, Bools]:
    """Disturb some notes of ``cells`` [shape=(T, F), int64].

    Returns the model's input [shape=(T, F), int64] and the cells that it predicts: all of a disturbed note
    [shape=(T, F), bool].
    """
    real = np.flatnonzero(cells[:, 0] != fields.pads[0])
    notes = rng.choice(real, round(policy.prob * len(real)), replace=False)
    selected = np.zeros(cells.shape, bool)
    selected[notes] = True
    source = cells.copy()
    chosen = cells[notes]  # (N, F)
    low, high = fields.bounds(chosen)
    for column, radius in enumerate(policy.radii):
        if radius:
            value = chosen[:, column]
            above = value + radius + int(policy.symmetric)
            first = np.maximum(value - radius, low[:, column])
            source[notes, column] = rng.integers(first, np.minimum(above, high[:, column]))
    return source, selected


@dataclass(frozen=True)
class CellMaskPolicy:
    """How cells are masked.

    ``strategy``: one of `CELL_STRATEGIES`, or several of them joined by ``+``; ``mask_prob``: share of the
    cells, 0-1; ``random_prob``, ``leave_prob``: share of the selected cells that become random, or stay, 0-1.
    Raises `ConfigError` (``bad-options``: an unknown strategy, or probabilities out of range).
    """

    strategy: str = "compound"
    mask_prob: float = 0.15
    random_prob: float = 0.1
    leave_prob: float = 0.1

    def __post_init__(self) -> None:
        check_policy(self.strategies, CELL_STRATEGIES, self.mask_prob, self.random_prob, self.leave_prob)

    @property
    def strategies(self) -> tuple[str, ...]:
        """Strategies to choose from, one a crop."""
        return tuple(self.strategy.split("+"))

    @property
    def selects_padding(self) -> bool:
        """Whether a crop has to be padded before it is masked."""
        return "midibert" in self.strategies


def mask_cells(
    cells: Ints, rng: np.random.Generator, fields: NoteFields, policy: CellMaskPolicy
) -> tuple[Ints, Bools]:
    """Mask some cells; arguments and result as for `add_noise`."""
    strategy = policy.strategies[int(rng.integers(len(policy.strategies)))]
    if strategy == "midibert":
        return _mask_as_midibert(cells, rng, fields, policy)
    draw = _draw(cells, rng, fields, strategy)  # (T, F)
    draw[cells[:, 0] == fields.pads[0]] = 1.0
    randomised = policy.mask_prob * policy.random_prob
    left = randomised + policy.mask_prob * policy.leave_prob
    selected = draw < policy.mask_prob
    source = np.where(selected & (draw >= left), np.asarray(fields.masks), cells)
    row, column = np.nonzero(draw < randomised)
    source[row, column] = rng.integers(0, np.asarray(fields.values)[column])
    return source, selected


def _draw(cells: Ints, rng: np.random.Generator, fields: NoteFields, strategy: str) -> Floats:
    """Uniform numbers [shape=(T, F), 0-1], equal for cells that are masked together."""
    if strategy == "element":
        return rng.random(cells.shape)
    if strategy == "compound":
        return np.repeat(rng.random((len(cells), 1)), len(fields), axis=1)
    group = fields.bars(cells)
    if "program" in fields.names:
        column = fields.index("program")
        group = group * fields.sizes[column] + cells[:, column]
    groups, number = np.unique(group, return_inverse=True)
    drawn: Floats = rng.random((len(groups), len(fields)))[number]
    return drawn


def _mask_as_midibert(
    cells: Ints, rng: np.random.Generator, fields: NoteFields, policy: CellMaskPolicy
) -> tuple[Ints, Bools]:
    count = round(policy.mask_prob * len(cells))
    places = rng.permutation(len(cells))[:count]
    masked = round((1 - policy.random_prob - policy.leave_prob) * count)
    randomised = places[masked : masked + round(policy.random_prob * count)]
    source = cells.copy()
    source[places[:masked]] = fields.masks
    source[randomised] = rng.integers(0, fields.sizes, (len(randomised), len(fields)))
    selected = np.zeros(cells.shape, bool)
    selected[places] = True
    return source, selected

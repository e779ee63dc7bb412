"""Masks of masked-language-model training: which tokens are hidden, and by what they are replaced.

Arrays: a block is ``tokens`` [shape=(T*8,), integers], one or more pieces, each an octuple of ``<s>``, its
notes and an octuple of ``</s>``. 15 % of the tokens are selected; of these 80 % become ``<mask>``, 10 % a
random token and 10 % stay (Devlin et al. 2019). Which tokens are masked together depends on the strategy
(Zeng et al. 2021, section 3.3):

``element``
    every token independently.
``compound``
    the eight tokens of a note.
``bar``
    tokens of one field, of all notes of one program in one bar: a model cannot copy them from a neighbour.
``expression``
    durations and velocities, of all notes of one program in one bar: how the given notes are played. The
    other fields stay; the probability is that of a bar.

``a+b`` draws one strategy per block. The tokens of the first octuple of a block are masked together, and so
are those of the last.

The default keeps three properties of the published code: a random token is any of the 1,237 (specials and
tokens of other fields included); the pieces of a block share their groups; and octuples of specials inside a
block are grouped like notes, those of ``<s>`` with bar 255 of program 81. ``random_tokens="field"`` and
``per_piece=True`` avoid this. Numbers are drawn only for groups that occur.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Bools, Floats, Ints
from musicbert.encoding.vocabulary import (
    EOS,
    FIELD_OFFSETS,
    FIELD_SIZES,
    FIELDS,
    MASK,
    N_FIELDS,
    PAD,
    UNK,
    VOCABULARY_SIZE,
)
from musicbert.errors import ConfigError

STRATEGIES = ("element", "compound", "bar", "expression")
#: fields of the strategy ``expression``
PLAYED = tuple(FIELDS.index(name) for name in ("duration", "velocity"))
BAR, POSITION, PROGRAM = (FIELDS.index(name) for name in ("bar", "position", "program"))
#: what becomes of a token, in the order of the uniform numbers: the smallest become a random token
RANDOM, UNCHANGED, MASKED, UNSELECTED = range(4)
#: largest table that is faster than sorting the keys of a block
DENSE_KEYS = 1 << 17
#: rows of the published code's table of groups: 256 bars of 256 ids, and room for the largest id
GROUP_ROWS = 256 * 256 + VOCABULARY_SIZE
FIRST_BAR_ID = FIELD_OFFSETS[BAR]


def check_policy(
    strategies: Sequence[str], known: Sequence[str], mask_prob: float, random_prob: float, leave_prob: float
) -> None:
    """Check options that all ways of masking share; raises `ConfigError` (``bad-options``)."""
    unknown = [name for name in strategies if name not in known]
    if unknown:
        raise ConfigError(
            "bad-options",
            f"The mask strategy {'+'.join(unknown)!r} is none of {', '.join(known)}",
            hint="name one of them, or join several by +",
        )
    shares = (mask_prob, random_prob, leave_prob, random_prob + leave_prob)
    if not all(0.0 <= share <= 1.0 for share in shares):
        raise ConfigError(
            "bad-options",
            f"The share masked is {mask_prob}; of it {random_prob} become random and {leave_prob} stay",
            hint="shares, and the sum of the last two, are within 0-1",
        )


@dataclass(frozen=True)
class MaskPolicy:
    """How a block is masked.

    ``strategy``: one of `STRATEGIES`, or several joined by ``+``; ``mask_prob``: share of the tokens (of
    bars, for ``expression``) that are selected, 0-1; ``random_prob``, ``leave_prob``: share of the selected
    tokens that become a random token, or stay as they are, 0-1; ``random_tokens``: ``any`` token of the
    vocabulary (published), or one of the same ``field``; ``per_piece``: keep the groups of the pieces in a
    block apart, and decide every octuple of specials as one.
    Raises `ConfigError` (``bad-options``: an unknown strategy, or probabilities out of range).
    """

    strategy: str = "bar"
    mask_prob: float = 0.15
    random_prob: float = 0.1
    leave_prob: float = 0.1
    random_tokens: Literal["any", "field"] = "any"
    per_piece: bool = False

    def __post_init__(self) -> None:
        check_policy(self.strategies, STRATEGIES, self.mask_prob, self.random_prob, self.leave_prob)
        if self.random_tokens not in ("any", "field"):
            raise ConfigError(
                "bad-options", f"random tokens are 'any' or 'field', not {self.random_tokens!r}"
            )

    @property
    def strategies(self) -> tuple[str, ...]:
        """Strategies to choose from, one per block."""
        return tuple(self.strategy.split("+"))

    def drawn(self, rng: np.random.Generator) -> "MaskPolicy":
        """The policy with the one strategy of a block; masking with it draws the same as with all."""
        names = self.strategies
        return self if len(names) == 1 else replace(self, strategy=names[int(rng.integers(len(names)))])


def mask_tokens(
    tokens: Ints, rng: np.random.Generator, policy: MaskPolicy = MaskPolicy()
) -> tuple[Ints, Ints]:
    """Mask one block of token ids [shape=(T*8,), integers].

    Returns input and target of the model [shape=(T*8,), int64]; the target is ``<pad>`` where a token was not
    selected.
    Raises `ValueError` (the length is not a multiple of 8).
    """
    tokens = np.asarray(tokens, dtype=np.int64)
    if tokens.ndim != 1 or len(tokens) % N_FIELDS:
        raise ValueError(f"tokens of shape {tokens.shape} are not a whole number of octuples")
    octuples = tokens.reshape(-1, N_FIELDS)
    blocks = np.zeros(len(octuples), dtype=bool)
    blocks[:1] = blocks[-1:] = True
    if policy.per_piece:
        blocks |= octuples[:, BAR] <= EOS
    fates = _fates(octuples, blocks, rng, policy)
    return _replace(tokens, fates.reshape(-1), rng, policy)


def mask_cells(cells: Ints, rng: np.random.Generator, policy: MaskPolicy = MaskPolicy()) -> tuple[Ints, Ints]:
    """Mask pieces in the CP-like form (see `musicbert.encoding.views`); empty cells stay empty.

    As `mask_tokens`, with a row in place of a note. Cells of a bar or a position belong to no program and
    form separate groups; the cells of a row of specials are masked together.

    ``cells``: ``<unk>`` where empty [shape=(m, 8), int64], as is the result.
    """
    blocks = cells[:, BAR] < UNK  # <s>, </s>
    # bar and program of every row
    filled, rows = cells[:, [BAR, PROGRAM]] != UNK, np.arange(len(cells))[:, None]
    begins = filled[:, 0] | (cells[:, POSITION] != UNK)  # a bar or a position: no program yet
    reset = np.stack([blocks, begins], axis=1)
    last = np.maximum.accumulate(np.where(filled | reset, rows, 0), axis=0)
    group = np.where(filled, cells[:, [BAR, PROGRAM]], UNK)[last, [0, 1]]
    keys = group[:, 0] * (VOCABULARY_SIZE + 1) + group[:, 1]
    if policy.per_piece:
        keys += (VOCABULARY_SIZE + 1) ** 2 * np.cumsum(blocks)
    fates = _fates(cells, blocks, rng, policy, keys)
    fates[cells == UNK] = UNSELECTED
    source, target = _replace(cells.reshape(-1), fates.reshape(-1), rng, policy)
    return source.reshape(cells.shape), target.reshape(cells.shape)


def _fates(
    octuples: Ints, blocks: Bools, rng: np.random.Generator, policy: MaskPolicy, keys: Ints | None = None
) -> NDArray[np.uint8]:
    """Return the fate of each token [shape=(T, 8)], equal for tokens that are masked together.

    Fates are drawn group by group and then copied, eight at a time, so the work is that of the groups.
    """
    n = len(octuples)
    randomised = policy.mask_prob * policy.random_prob
    left = randomised + policy.mask_prob * policy.leave_prob

    def fate(draw: Floats) -> NDArray[np.uint8]:
        fates = (draw >= randomised).view(np.uint8)
        fates += draw >= left
        fates += draw >= policy.mask_prob
        return fates

    strategy = policy.strategies[int(rng.integers(len(policy.strategies)))]
    if strategy == "element":
        fates = fate(rng.random((n, N_FIELDS)))
    elif strategy == "compound":
        fates = np.repeat(fate(rng.random((n, 1))), N_FIELDS, axis=1)
    else:
        keys = group_keys(octuples, policy.per_piece) if keys is None else keys
        groups, group = _number(keys)
        if strategy == "expression":
            decided = np.full((groups, N_FIELDS), UNSELECTED, np.uint8)
            decided[:, PLAYED] = fate(rng.random((groups, 1)))
        else:
            decided = fate(rng.random((groups, N_FIELDS)))
        fates = decided.view(np.uint64)[group].view(np.uint8)
    fates[blocks] = fate(rng.random((int(blocks.sum()), 1)))
    return fates


def _number(keys: Ints) -> tuple[int, Ints]:
    """Number of different keys, and for each key its rank among them (as `numpy.unique`)."""
    limit = int(keys.max(initial=0)) + 1
    if limit > DENSE_KEYS:
        groups, group = np.unique(keys, return_inverse=True)
        return len(groups), group
    seen = np.zeros(limit, bool)  # a table is faster than sorting while it is small
    seen[keys] = True
    present = np.flatnonzero(seen)
    rank = np.empty(limit, np.int64)
    rank[present] = np.arange(len(present))
    return len(present), rank[keys]


def _replace(
    tokens: Ints, fates: NDArray[np.uint8], rng: np.random.Generator, policy: MaskPolicy
) -> tuple[Ints, Ints]:
    """Input and target [shape=(T*8,) each] from the fate of each token."""
    source = np.where(fates == MASKED, MASK, tokens)
    places = np.flatnonzero(fates == RANDOM)
    if policy.random_tokens == "any":
        source[places] = rng.integers(0, VOCABULARY_SIZE, len(places))
    else:
        field = places % N_FIELDS
        source[places] = np.asarray(FIELD_OFFSETS)[field] + rng.integers(0, np.asarray(FIELD_SIZES)[field])
    return source, np.where(fates == UNSELECTED, PAD, tokens)


def group_keys(octuples: Ints, per_piece: bool) -> Ints:
    """One number for each bar and program [shape=(T,), int64]: the row of the published code's table.

    With `per_piece` the pieces of a block (each begins with octuples of specials) have different numbers.
    """
    keys = ((octuples[:, BAR] - FIRST_BAR_ID) * 256 + octuples[:, PROGRAM] - FIRST_BAR_ID) % GROUP_ROWS
    if per_piece:
        keys += GROUP_ROWS * np.cumsum(octuples[:, BAR] < FIRST_BAR_ID)
    return keys

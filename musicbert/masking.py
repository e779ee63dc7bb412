"""Masks of masked-language-model training: which tokens are hidden, and by what they are replaced.

Arrays: a block is ``tokens`` [shape=(T*8,), integers], one or more pieces, each an octuple of ``<s>``, its
notes and an octuple of ``</s>``. 15 % of the tokens are selected; of these 80 % become ``<mask>``, 10 % a
random token and 10 % stay (Devlin et al. 2019). What is decided together depends on the strategy (Zeng et al.
2021, section 3.3):

``element``
    every token for itself.
``compound``
    the eight tokens of a note.
``bar``
    tokens of one field, of all notes of one program in one bar: a model cannot copy them from a neighbour.

``a+b`` draws one strategy per block. The first and the last octuple of a block are decided as one each.

Compatible mode (the default) keeps three habits of the published code: a random token is any of the 1,237
(specials and tokens of other fields included); the pieces of a block share their groups; and octuples of
specials inside a block are grouped like notes, those of ``<s>`` with bar 255 of program 81.
``random_tokens="field"`` and ``per_piece=True`` mend them.

Numbers are drawn only for groups that occur. The distribution is measured in ``tests/unit/test_masking.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from musicbert.encoding.vocabulary import (
    EOS,
    FIELD_OFFSETS,
    FIELD_SIZES,
    FIELDS,
    MASK,
    PAD,
    VOCABULARY_SIZE,
)

__all__ = ["STRATEGIES", "MaskPolicy", "group_keys", "mask_tokens"]

Ints = NDArray[np.int64]

STRATEGIES = ("element", "compound", "bar")
WIDTH = len(FIELDS)
BAR, PROGRAM = FIELDS.index("bar"), FIELDS.index("program")
#: rows of the published code's table of groups: 256 bars of 256 ids, and room for the largest id
GROUP_ROWS = 256 * 256 + VOCABULARY_SIZE
FIRST_BAR_ID = FIELD_OFFSETS[BAR]


@dataclass(frozen=True)
class MaskPolicy:
    """How a block is masked.

    Attributes
    ----------
    strategy
        ``element``, ``compound``, ``bar``, or several joined by ``+``.
    mask_prob
        Share of tokens that are selected, 0-1.
    random_prob, leave_prob
        Share of the selected tokens that become a random token, or stay as they are, 0-1.
    random_tokens
        ``any`` token of the vocabulary (published), or one of the same ``field``.
    per_piece
        Keep the groups of the pieces in a block apart, and decide every octuple of specials as one.

    Raises
    ------
    ValueError
        For an unknown strategy or probabilities out of range.
    """

    strategy: str = "bar"
    mask_prob: float = 0.15
    random_prob: float = 0.1
    leave_prob: float = 0.1
    random_tokens: Literal["any", "field"] = "any"
    per_piece: bool = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.strategies if name not in STRATEGIES]
        if unknown:
            raise ValueError(f"mask strategy {'+'.join(unknown)!r} is none of {', '.join(STRATEGIES)}")
        if self.random_tokens not in ("any", "field"):
            raise ValueError(f"random tokens are 'any' or 'field', not {self.random_tokens!r}")
        shares = (self.mask_prob, self.random_prob, self.leave_prob, self.random_prob + self.leave_prob)
        if not all(0.0 <= share <= 1.0 for share in shares):
            raise ValueError(f"probabilities are within 0-1, not {shares}")

    @property
    def strategies(self) -> tuple[str, ...]:
        """Strategies to choose from, one per block."""
        return tuple(self.strategy.split("+"))


def mask_tokens(
    tokens: Ints, rng: np.random.Generator, policy: MaskPolicy = MaskPolicy()
) -> tuple[Ints, Ints]:
    """Mask one block; the input is left as it is.

    Parameters
    ----------
    tokens
        Token ids [shape=(T*8,), integers].
    rng
        Where the random numbers come from.
    policy
        How to mask.

    Returns
    -------
    source, target
        What the model sees and what it is to say [shape=(T*8,), int64]; the target is ``<pad>`` where a token
        was not selected.

    Raises
    ------
    ValueError
        If the length is no multiple of 8.
    """
    tokens = np.asarray(tokens, dtype=np.int64)
    if tokens.ndim != 1 or len(tokens) % WIDTH:
        raise ValueError(f"tokens of shape {tokens.shape} are no whole number of octuples")
    octuples = tokens.reshape(-1, WIDTH)
    draw = _draw(octuples, rng, policy).reshape(-1)
    randomised = policy.mask_prob * policy.random_prob
    left = randomised + policy.mask_prob * policy.leave_prob

    selected = draw < policy.mask_prob
    source = tokens.copy()
    source[selected & (draw >= left)] = MASK
    places = np.flatnonzero(draw < randomised)
    if policy.random_tokens == "any":
        source[places] = rng.integers(0, VOCABULARY_SIZE, len(places))
    else:
        field = places % WIDTH
        source[places] = np.asarray(FIELD_OFFSETS)[field] + rng.integers(0, np.asarray(FIELD_SIZES)[field])
    return source, np.where(selected, tokens, PAD)


def _draw(octuples: Ints, rng: np.random.Generator, policy: MaskPolicy) -> NDArray[np.float64]:
    """Uniform numbers [shape=(T, 8), 0-1], equal where tokens are decided together."""
    n = len(octuples)
    blocks = np.zeros(n, dtype=bool)
    blocks[:1] = blocks[-1:] = True
    if policy.per_piece:
        blocks |= octuples[:, BAR] <= EOS
    strategy = policy.strategies[int(rng.integers(len(policy.strategies)))]
    if strategy == "element":
        draw = rng.random((n, WIDTH))
    elif strategy == "compound":
        draw = np.repeat(rng.random((n, 1)), WIDTH, axis=1)
    else:
        groups, group = np.unique(group_keys(octuples, policy.per_piece), return_inverse=True)
        draw = rng.random((len(groups), WIDTH))[group]
    draw[blocks] = rng.random((int(blocks.sum()), 1))
    return draw


def group_keys(octuples: Ints, per_piece: bool) -> Ints:
    """One number for each bar and program [shape=(T,), int64]: the row of the published code's table.

    With `per_piece` the pieces of a block (each begins with octuples of specials) have their own numbers.
    """
    keys = ((octuples[:, BAR] - FIRST_BAR_ID) * 256 + octuples[:, PROGRAM] - FIRST_BAR_ID) % GROUP_ROWS
    if per_piece:
        keys += GROUP_ROWS * np.cumsum(octuples[:, BAR] < FIRST_BAR_ID)
    return keys

"""Which performance inputs are hidden in masked-language-model training, to be predicted like the tokens.

A performance input may give away a masked token (the continuous velocity, for example). So where a token is
selected, the columns that reveal it are hidden. Columns that correspond to no token (pedals) are hidden for
all notes of a program in a bar, with the same probability, as in bar masking, so that no neighbour can be
copied.

=================  ============================================================
selected field     hidden columns
=================  ============================================================
bar                time
position           ioi_previous, ioi_next, legato, asynchrony
pitch              pitch
duration           duration, sounding, legato
velocity           velocity
(drawn by bar)     sustain_*, soft_onset, sostenuto_onset
=================  ============================================================

With the strategy ``expression`` everything but pitch and time is hidden beside a selected note, pedals too.
What comes from the score (`SCORE_INPUTS`) is a condition and never hidden.
"""

from typing import Final

import numpy as np

from musicbert.arrays import Bools, Ints
from musicbert.encoding.performance import KNOWN_INPUTS, PERFORMANCE_INPUTS
from musicbert.encoding.vocabulary import EOS, FIELDS, N_FIELDS, PAD
from musicbert.objectives.masking import group_keys

#: field -> columns that reveal its token
TOLD_BY: Final[dict[str, tuple[str, ...]]] = {
    "bar": ("time",),
    "position": ("ioi_previous", "ioi_next", "legato", "asynchrony"),
    "pitch": ("pitch",),
    "duration": ("duration", "sounding", "legato"),
    "velocity": ("velocity",),
}
_TOLD = {
    FIELDS.index(field): [PERFORMANCE_INPUTS.index(name) for name in names]
    for field, names in TOLD_BY.items()
}
#: columns of how a note is played
_EXPRESSION = [k for k, name in enumerate(PERFORMANCE_INPUTS) if name not in ("pitch", "time")]
#: columns that correspond to no token
_PEDALS = sorted(set(range(len(PERFORMANCE_INPUTS))) - {column for told in _TOLD.values() for column in told})
_BAR = FIELDS.index("bar")


def hide_performance(
    tokens: Ints,
    target: Ints,
    rng: np.random.Generator,
    share: float = 0.15,
    width: int = len(PERFORMANCE_INPUTS),
    *,
    expression: bool = False,
) -> Bools:
    """Decide which performance inputs of a block are hidden.

    ``tokens``: token ids before masking [shape=(T*8,)], special octuples included. ``target``: as from
    `mask_tokens` [shape=(T*8,)]. ``share``: probability that the pedals of a bar and program are hidden, 0-1.
    ``width``: ``P``. Inputs other than `KNOWN_INPUTS` are hidden if any token of the note is selected.
    ``expression``: the block was masked by this strategy. Returns [shape=(T, P), bool], False at special
    octuples.
    """
    octuples = np.asarray(tokens, np.int64).reshape(-1, N_FIELDS)
    selected = np.asarray(target).reshape(octuples.shape) != PAD
    hidden = np.zeros((len(octuples), width), bool)
    if width not in KNOWN_INPUTS:
        hidden |= selected.any(axis=1, keepdims=True)
    elif expression:
        hidden[:, _EXPRESSION] = selected.any(axis=1, keepdims=True)
    else:
        for field, columns in _TOLD.items():
            hidden[:, columns] |= selected[:, field, None]
        groups, group = np.unique(group_keys(octuples, per_piece=True), return_inverse=True)
        hidden[:, _PEDALS] = (rng.random(len(groups)) < share)[group][:, None]
    hidden[octuples[:, _BAR] <= EOS] = False
    return hidden

"""Whether changed music is like real performances: the masked loss of a pre-trained network.

A share of the notes is hidden in the fields that factors of the playing change, and the loss is the mean
negative log probability (nats) of what stood there. Music that the network finds harder, or easier, to guess
than nearly all real performances is not like them. The music is read on a clock of its own, as in
`musicbert.analysis.passages`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from musicbert.analysis.passages import played
from musicbert.encoding import FIELDS
from musicbert.midi import Score
from musicbert.predict.masked_notes import choose_mask
from musicbert.predict.model import from_pretrained

#: the network that judges, and what is hidden of how many notes, in so many draws
NETWORK, HIDDEN, SHARE, DRAWS = "musicbert-mini-performance", ("position", "duration", "velocity"), 0.15, 4


def masked_loss(score: Score, model: Any = None, *, fields: Sequence[str] = HIDDEN) -> float:
    """Masked loss of a performance (nats a token), the same in every call.

    ``model``: an opened network, by default `NETWORK`; ``fields``: what of a note is hidden at once.
    Raises `CheckpointError` (those of ``from_pretrained``) and `MidiError`.
    """
    network = from_pretrained(NETWORK, device="cpu") if model is None else model
    music = played(score)
    rows = network.read(music).rows
    losses = []
    for seed in range(DRAWS):
        mask = choose_mask(rows, fields=fields, share=SHARE, seed=seed)
        if not mask.any():
            continue
        filled = network.fill(music, mask=mask)
        for name, (at, table) in filled.distributions.items():
            true = rows[at, FIELDS.index(name)]
            losses.append(-np.log(np.maximum(table[np.arange(len(at)), true], 1e-9)))
    return float(np.mean(np.concatenate(losses))) if losses else float("nan")

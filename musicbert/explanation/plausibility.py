"""Whether changed music is like real performances: measures, each with the range of real performances.

velocity loss
    The mean negative log probability (nats) that a pre-trained network gives the velocities of hidden notes,
    all else being known. Music with its dynamics taken away is easier to guess than nearly all real
    performances, music with doubled dynamics often harder.
distance
    To the nearest rated performances, over the features of the playing, as `musicbert analyse` measures it.
unevenness
    Standard deviation of the times from chord to chord against estimated note values at a steady tempo (log2;
    `musicbert.explanation.note_values`). Nobody plays as evenly as music whose timing was taken away.

Onsets and durations are not asked of the network: their losses hardly differ between real and neutral playing
(`results/explanations/losses.md`). The music is read on a clock of its own, as in
`musicbert.analysis.passages`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from musicbert.analysis.model import ProfileModel, load_profile_model
from musicbert.analysis.passages import played
from musicbert.arrays import Floats
from musicbert.encoding import FIELDS
from musicbert.explanation.playing_factors import coordinates
from musicbert.midi import Score

#: the network that judges, the share of the notes that is hidden, in so many draws
NETWORK, SHARE, DRAWS = "musicbert-mini-performance", 0.15, 4


def masked_loss(score: Score, model: Any = None, *, fields: Sequence[str] = ("velocity",)) -> float:
    """Masked loss of a performance (nats a token), the same in every call.

    ``model``: an opened network, by default `NETWORK`; ``fields``: what of a note is hidden at once.
    Raises `CheckpointError` (those of ``from_pretrained``) and `MidiError`.
    """
    from musicbert.predict.masked_notes import choose_mask  # torch takes seconds to import
    from musicbert.predict.model import from_pretrained

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


def unevenness(score: Score) -> float:
    """How uneven the tempo of a performance is (log2); 0 where there are fewer than two intervals."""
    parts = coordinates(played(score))
    apart: Floats = parts.interval - parts.steady
    return float(apart.std()) if len(apart) > 1 else 0.0


def measures(score: Score, network: Any = None, profile: ProfileModel | None = None) -> dict[str, float]:
    """All measures of a performance (see the module), by name."""
    profile = (load_profile_model() if profile is None else profile).explained  # as far, without a network
    return {
        "velocity loss": masked_loss(score, network),
        "distance": float(profile.rate([score]).distance[0]),
        "unevenness": unevenness(score),
    }


def unlike(found: Mapping[str, float], real: Mapping[str, Sequence[float]]) -> str:
    """Say which measures leave the ranges of real performances; nothing where none does."""
    outside = [
        f"{name} {found[name]:.2f}, theirs {low:.2f} to {high:.2f}"
        for name, (low, high) in real.items()
        if not low <= found[name] <= high
    ]
    return f"the changed music is unlike real performances ({'; '.join(outside)})" if outside else ""

"""What each factor of the playing contributes to a prediction: exact Shapley values by intervention.

All subsets of the factors are made neutral in the music itself (`playing_factors`), and the model judges each
result. So the values are about the model and this performance, whatever the model is made of, and they add up
to the prediction minus that of the neutral performance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from musicbert.arrays import Floats, Ints
from musicbert.explanation.playing_factors import FACTORS, coordinates, with_strengths
from musicbert.explanation.shapley import coalitions, shapley_values
from musicbert.explanation.target import Poles, Target
from musicbert.midi import Score

#: performances that a target is given at once: all of seven factors, which have much in common
BATCH = 128
#: columns of a score that an intervention may change
_CHANGED = ("onset", "offset", "velocity", "control_tick", "control_number", "control_value")


@dataclass(frozen=True, eq=False)
class FactorEffects:
    """Contributions of factors to the prediction for one performance.

    ``prediction``, ``neutral``: for the performance, and with all factors neutral [shape=(d,)]; ``effects``:
    Shapley values [shape=(k, d)], whose sum is the difference; ``alone``: how the prediction changes where
    only this factor is as played [shape=(k, d)], ``last``: where only this one is neutral, turned round;
    ``noise``: standard deviation of an effect over refits of the model [shape=(k, d)], None where unknown;
    ``offered``: whether effects on a dimension were better than random on real ratings, None where unknown.
    """

    names: tuple[str, ...]
    poles: Poles
    factors: tuple[str, ...]
    prediction: Floats
    neutral: Floats
    effects: Floats
    alone: Floats
    last: Floats
    noise: Floats | None = None
    offered: tuple[bool, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: by dimension, and there by factor."""
        return {
            name: {
                "prediction": float(self.prediction[d]),
                "neutral": float(self.neutral[d]),
                "factors": {
                    factor: {
                        "effect": float(self.effects[k, d]),
                        "alone": float(self.alone[k, d]),
                        "last": float(self.last[k, d]),
                        **({} if self.noise is None else {"noise": float(self.noise[k, d])}),
                    }
                    for k, factor in enumerate(self.factors)
                },
            }
            for d, name in enumerate(self.names)
            if self.offered is None or self.offered[d]
        }


def factor_effects(
    target: Target,
    score: Score,
    *,
    factors: Sequence[str] = FACTORS,
    refits: Sequence[Target] = (),
    noise: Mapping[str, Mapping[str, float]] | None = None,
    batch: int = BATCH,
) -> FactorEffects:
    """Explain a prediction by factors of the playing.

    Parameters
    ----------
    target
        What is explained.
    score
        The performance.
    factors
        Some of `FACTORS`, at least one; the others stay as played.
    refits
        The same model trained again (seeds, or bootstrap samples of its training set), two or more: the
        standard deviation of their effects is the noise.
    noise
        Dimension -> factor -> noise, where it was measured before.
    batch
        Performances that the target gets at once.

    Raises `ValueError` for unknown or repeated factors, or one refit.
    """
    unknown = [name for name in factors if name not in FACTORS]
    if unknown or not factors or len(set(factors)) != len(factors):
        raise ValueError(f"factors are some of {', '.join(FACTORS)}, each once, not {', '.join(factors)!r}")
    if len(refits) == 1:
        raise ValueError("one refit has no spread: give two or more")
    variants, of_subset = factor_variants(score, factors)
    subsets = _judged(target, variants, batch)[of_subset]
    effects = shapley_values(subsets)
    spread: Floats | None = None
    if refits:
        each = np.stack([shapley_values(_judged(refit, variants, batch)[of_subset]) for refit in refits])
        spread = np.asarray(each.std(0, ddof=1))
    elif noise is not None:
        spread = np.array([[noise[name][factor] for name in target.names] for factor in factors])
    bits = 1 << np.arange(len(factors))
    return FactorEffects(
        names=target.names,
        poles=target.poles,
        factors=tuple(factors),
        prediction=subsets[-1],
        neutral=subsets[0],
        effects=effects,
        alone=subsets[bits] - subsets[0],
        last=subsets[-1] - subsets[len(subsets) - 1 - bits],
        noise=spread,
    )


def mean_effects(parts: Sequence[tuple[float, FactorEffects]]) -> FactorEffects:
    """Effects on a mean over passages, from those of each with its weight.

    The noise is that of one passage: passages are judged by the same model, so errors add up alike.
    """

    def mean(name: str) -> Floats:
        return np.asarray(sum(weight * getattr(each, name) for weight, each in parts))

    names = ("prediction", "neutral", "effects", "alone", "last")
    first = parts[0][1]
    noise = None if first.noise is None else mean("noise")
    return replace(first, noise=noise, **{name: mean(name) for name in names})


def factor_variants(score: Score, factors: Sequence[str]) -> tuple[list[Score], Ints]:
    """Performances of all subsets of factors, each once, and which is that of a subset [shape=(2^k,)]."""
    parts = coordinates(score)
    found: dict[bytes, int] = {}
    variants: list[Score] = []
    of_subset = np.zeros(1 << len(factors), np.int64)
    for row, present in enumerate(coalitions(len(factors))):
        strengths = {name: 0.0 for name, keep in zip(factors, present, strict=True) if not keep}
        made = with_strengths(parts, strengths)
        key = b"".join(getattr(made, name).tobytes() for name in _CHANGED)
        if key not in found:
            found[key] = len(variants)
            variants.append(made)
        of_subset[row] = found[key]
    return variants, of_subset


def _judged(target: Target, performances: Sequence[Score], batch: int) -> Floats:
    """Scores of performances, in batches [shape=(m, d)]."""
    parts = [target.scores(performances[k : k + batch]) for k in range(0, len(performances), batch)]
    return np.concatenate(parts)

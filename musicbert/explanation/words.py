"""Effects of factors and of measured properties as sentences, and silence where there is nothing to say.

An effect is named where it is at least `CLEAR` times its noise (the standard deviation over refits of the
model), and at least `SMALL` where no noise is known. Numbers in a sentence count towards the pole that it
names.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from musicbert.arrays import Floats
from musicbert.explanation.factors import FactorEffects
from musicbert.explanation.properties import NOTES, PropertyEffects

#: an effect of so many standard deviations over refits is not noise (about one in twenty by chance)
CLEAR = 2.0
#: effects below this are not named (half of what is printed as 0.01)
SMALL = 0.005
#: what is named for and against, and the share of all that speaks for it which is enough
MOST_FOR, MOST_AGAINST, ENOUGH = 3, 2, 0.8


@dataclass(frozen=True)
class _Kind:
    """Words for one kind of reason: in the plural, one of them, and what comes before a name."""

    reasons: str
    one: str
    article: str


_FACTORS = _Kind("factors", "factor of the playing", "the ")
_PROPERTIES = _Kind("properties", "measured property of the playing", "")


def sentence(effects: FactorEffects, dimension: int, *, scale: float = 1.0) -> str:
    """Say why the prediction of a dimension is what it is, by factors.

    ``scale``: by what numbers are multiplied in words, 7 for ratings from 1 to 7.
    """
    middle = float(effects.neutral[dimension])
    compared = f"played neutrally {scale * middle:.2f}"
    return _said(effects, dimension, middle, compared, effects.factors, _FACTORS, scale)


def property_sentence(effects: PropertyEffects, dimension: int, *, scale: float = 1.0) -> str:
    """Say which measured properties of the playing speak for a prediction and against it (see `sentence`)."""
    base = float(effects.base[dimension])
    words = [
        "" if name == NOTES else f"{effects.words(k)}" for k, name in enumerate(effects.properties)
    ]  # faithfulness was measured for the playing only, so nothing is said of the notes
    compared = f"rated performances {scale * base:.2f}"
    return _said(effects, dimension, base, compared, words, _PROPERTIES, scale)


def _said(
    effects: FactorEffects | PropertyEffects,
    dimension: int,
    middle: float,
    compared: str,
    words: Sequence[str],
    kind: _Kind,
    scale: float,
) -> str:
    prediction = float(effects.prediction[dimension])
    value = f"{scale * prediction:.2f}"
    if effects.offered is not None and not effects.offered[dimension]:
        return (
            f"{value}; no {kind.reasons} are named: on real ratings of this dimension "
            f"they agree no better than random {kind.reasons}"
        )
    up = prediction >= middle
    low, high = effects.poles[dimension]
    side = high if up else low
    named = side or f"{effects.names[dimension]} {'up' if up else 'down'}"
    noise = None if effects.noise is None else effects.noise[:, dimension]
    clear = [
        (word, scale * effect)
        for word, effect in _clear((1.0 if up else -1.0) * effects.effects[:, dimension], noise, words)
    ]
    speaks, against = [e for e in clear if e[1] > 0], [e for e in clear if e[1] < 0]
    start = f"{value}, {compared}"
    if not clear:
        return f"{start}: no {kind.one} has a clear effect"
    if not speaks:
        return (
            f"{start}: no {kind.one} speaks for {named} clearly, against it "
            f"{_list(against[:MOST_AGAINST], kind.article)}"
        )
    shown = _enough(speaks)
    mostly = "mostly " if len(shown) < len(clear) else ""
    text = f"{start}: {named}, {mostly}because of {_list(shown, kind.article)}"
    if against:
        text += f"; against it {_list(against[:MOST_AGAINST], kind.article)}"
    return text


def _clear(effects: Floats, noise: Floats | None, words: Sequence[str]) -> list[tuple[str, float]]:
    """What has words and an effect [shape=(k,)] that is not noise, the largest first."""
    least = np.maximum(SMALL, 0.0 if noise is None else CLEAR * noise)
    found = [
        (word, float(effect))
        for word, effect, clear in zip(words, effects, np.abs(effects) >= least, strict=True)
        if word and clear
    ]
    return sorted(found, key=lambda each: -abs(each[1]))


def _enough(speaks: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The strongest, until they are enough."""
    total, shown = sum(effect for _, effect in speaks), []
    for name, effect in speaks[:MOST_FOR]:
        shown.append((name, effect))
        if sum(value for _, value in shown) >= ENOUGH * total:
            break
    return shown


def _list(effects: Sequence[tuple[str, float]], article: str) -> str:
    """Reasons with their effects: `the pedal (+0.12) and the timing (+0.05)`."""
    words = [f"{article}{name} ({effect:+.2f})" for name, effect in effects]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

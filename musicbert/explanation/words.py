"""Effects of factors as a sentence, and silence where there is nothing to say.

An effect is named where it is at least `CLEAR` times its noise (the standard deviation over refits of the
model), and at least `SMALL` where no noise is known. Numbers in a sentence count towards the pole that it
names.
"""

from collections.abc import Sequence

from musicbert.explanation.factors import FactorEffects

#: an effect of so many standard deviations over refits is not noise (about one in twenty by chance)
CLEAR = 2.0
#: effects below this are not named (half of what is printed as 0.01)
SMALL = 0.005
#: factors named for and against, and the share of all that speaks for it which is enough
MOST_FOR, MOST_AGAINST, ENOUGH = 3, 2, 0.8


def sentence(effects: FactorEffects, dimension: int) -> str:
    """Say why the prediction of a dimension is what it is."""
    if effects.offered is not None and not effects.offered[dimension]:
        return (
            f"{effects.prediction[dimension]:.2f}; no factors are named: on real ratings of this dimension "
            "they agree no better than random factors"
        )
    prediction, middle = float(effects.prediction[dimension]), float(effects.neutral[dimension])
    up = prediction >= middle
    low, high = effects.poles[dimension]
    side = high if up else low
    named = side or f"{effects.names[dimension]} {'up' if up else 'down'}"
    sign = 1.0 if up else -1.0
    clear: list[tuple[str, float]] = []
    for k, factor in enumerate(effects.factors):
        effect = sign * float(effects.effects[k, dimension])
        noise = 0.0 if effects.noise is None else float(effects.noise[k, dimension])
        if abs(effect) >= max(SMALL, CLEAR * noise):
            clear.append((factor, effect))
    clear.sort(key=lambda each: -abs(each[1]))
    speaks, against = [e for e in clear if e[1] > 0], [e for e in clear if e[1] < 0]
    start = f"{prediction:.2f}, played neutrally {middle:.2f}"
    if not clear:
        return f"{start}: no factor of the playing has a clear effect"
    if not speaks:
        return f"{start}: no factor speaks for {named} clearly, against it {_list(against[:MOST_AGAINST])}"
    shown = _enough(speaks)
    text = f"{start}: {named}, {'mostly ' if len(shown) < len(clear) else ''}because of {_list(shown)}"
    if against:
        text += f"; against it {_list(against[:MOST_AGAINST])}"
    return text


def _enough(speaks: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The strongest factors, until they are enough."""
    total, shown = sum(effect for _, effect in speaks), []
    for factor, effect in speaks[:MOST_FOR]:
        shown.append((factor, effect))
        if sum(value for _, value in shown) >= ENOUGH * total:
            break
    return shown


def _list(effects: Sequence[tuple[str, float]]) -> str:
    """Factors with their effects: `the pedal (+0.12) and the timing (+0.05)`."""
    words = [f"the {factor} ({effect:+.2f})" for factor, effect in effects]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

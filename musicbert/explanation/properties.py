"""Which measured properties of the playing speak for a rating, compared with the rated performances.

The features that a committee of ratings reads (`musicbert.features`) are grouped into properties that have a
name in plain words. The effect of a property is its exact Shapley value: the mean, over all orders, of what
the prediction changes where this property of the performance takes the place of that of a rated one, over
`BACKGROUND` performances of the training set. Effects add up to the prediction minus the mean prediction of
those performances.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from musicbert.analysis.passages import played
from musicbert.arrays import Floats, Ints
from musicbert.evaluation.baselines.committee_file import RatingModel
from musicbert.explanation.product_games import committee_effects
from musicbert.explanation.target import CommitteeTarget, Poles, ProfileTarget, Target
from musicbert.features import FEATURES, features
from musicbert.midi import Score

#: performances of the training set with which one is compared, evenly over its order
BACKGROUND = 64
#: of 100 rated performances, so many have less of a property that is high, and at most so many of a low one
HIGH, LOW = 60, 40
#: what is played, not how: its features have an effect, but are no property of the playing
NOTES = "the notes themselves"


class Property(NamedTuple):
    """A property: words where its ``measure``, a feature, is high and where it is low.

    ``features``: prefixes of the names of all features that belong to it.
    """

    high: str
    low: str
    measure: str
    features: tuple[str, ...]


#: name -> property; a feature belongs to the first property that has a prefix of its name
PROPERTIES: dict[str, Property] = {
    "pace": Property("many notes a second", "few notes a second", "note_rate_log",
        ("span_log", "note_rate", "chord_rate", "ioi_p")),
    "pauses": Property("long pauses", "no long pauses", "longest_ioi_log", ("longest_ioi", "pause_share")),
    "rhythm": Property("uneven intervals between notes", "even intervals between notes", "ioi_log_sd",
        ("ioi_", "npvi")),
    "runs": Property("uneven runs", "even runs", "even_jitter", ("even_",)),
    "density of notes": Property("changing density of notes", "constant density of notes", "local_rate_cv",
        ("local_rate",)),
    "slowing down": Property("slowing down at the end", "no slowing down at the end", "final_slowing",
        ("tempo_slope", "final_slowing", "opening_slowing")),
    "spread of chords": Property("spread chords", "chords struck together", "asynchrony_mean",
        ("asynchrony", "together")),
    "melody lead": Property("melody ahead of its chords", "melody together with its chords",
        "melody_lead_mean", ("melody_lead", "bass_lead")),
    "loudness": Property("loud playing", "soft playing", "velocity_mean",
        ("velocity_mean", "velocity_p5", "velocity_p25", "velocity_p50", "velocity_p75", "velocity_p95",
         "melody_velocity_mean", "soft_share", "loud_share")),
    "dynamic range": Property("wide dynamic range", "narrow dynamic range", "velocity_range",
        ("velocity_sd", "velocity_range", "velocity_skew", "velocity_levels", "envelope", "phrase_sd",
         "melody_velocity_sd")),
    "accents": Property("chords of different loudness", "chords of similar loudness",
        "velocity_step",
        ("velocity_step", "melody_velocity_step", "velocity_ioi", "velocity_size")),
    "course of loudness": Property("growing louder", "growing softer", "velocity_slope",
        ("velocity_slope", "velocity_arch")),
    "voicing": Property("melody brought out", "melody not brought out", "melody_emphasis",
        ("melody_emphasis", "bass_emphasis", "chord_velocity", "velocity_pitch", "low_velocity",
         "middle_velocity", "high_velocity")),
    "length of notes": Property("long-held keys", "briefly held keys", "duration_p50_log",
        ("duration", "short_note")),
    "legato": Property("legato", "detached notes", "hold_p50",
        ("hold", "legato", "staccato", "overlap", "melody_hold", "melody_legato", "bass_hold",
         "key_polyphony")),
    "rests": Property("many rests", "few rests", "rest_share", ("rest", "silence")),
    "contrast of pedal": Property("alternating pedal", "steady pedal", "sustain_sd",
        ("sustain_sd", "sustain_at_onset_sd")),
    "amount of pedal": Property("much pedal", "little pedal", "sustain_touched_share",
        ("sustain_mean", "sustain_p25", "sustain_p50", "sustain_p75", "sustain_p95",
         "sustain_down", "sustain_half", "sustain_full", "sustain_touched", "sustain_at_onset",
         "sustain_after")),
    "length of pedals": Property("long pedals", "short pedals", "sustain_press_length_p50_log",
        ("sustain_press_length", "sustain_chords")),
    "pedal changes": Property("frequent pedal changes", "rare pedal changes", "sustain_press_rate",
        ("sustain_",)),
    "resonance": Property("many tones ringing together", "few tones ringing together", "blur_mean",
        ("sounding", "blur", "clash")),
    "soft pedal": Property("soft pedal used", "little or no soft pedal", "soft_mean", ("soft_", "sostenuto")),
    NOTES: Property("", "", "pitch_mean", tuple(n for n, group in FEATURES.items() if group == "pitch")),
}  # fmt: skip


def property_of(names: Sequence[str] = tuple(FEATURES)) -> Ints:
    """Number of the property of each feature [shape=(k,), int64]."""
    table = list(PROPERTIES.values())
    return np.array([next(g for g, each in enumerate(table) if n.startswith(each.features)) for n in names])


@dataclass(frozen=True, eq=False)
class PropertyEffects:
    """Contributions of measured properties to the prediction for one performance.

    ``prediction``, ``base``: for the performance, and the mean of those it is compared with [shape=(d,)];
    ``effects``: Shapley values [shape=(G, d)], whose sum is the difference; ``place``: how many of 100 rated
    performances have less of each property [shape=(G,)]; ``noise``: standard error of an effect
    [shape=(G, d)], None where unknown; ``offered``: whether effects on a dimension were better than random on
    real ratings, None where unknown.
    """

    names: tuple[str, ...]
    poles: Poles
    properties: tuple[str, ...]
    prediction: Floats
    base: Floats
    effects: Floats
    place: Floats
    noise: Floats | None = None
    offered: tuple[bool, ...] | None = None

    def of(self, dimensions: Sequence[int]) -> "PropertyEffects":
        """Effects on some dimensions, by number."""
        at = list(dimensions)
        return replace(
            self,
            names=tuple(self.names[d] for d in at),
            poles=tuple(self.poles[d] for d in at),
            prediction=self.prediction[at],
            base=self.base[at],
            effects=self.effects[:, at],
            noise=None if self.noise is None else self.noise[:, at],
            offered=None if self.offered is None else tuple(self.offered[d] for d in at),
        )

    def words(self, number: int) -> str:
        """What is said of a property: ``wide dynamic range``, ``the loudness`` where that is like most."""
        name, place = self.properties[number], float(self.place[number])
        if name == NOTES:
            return name
        each = PROPERTIES[name]
        return each.high if place >= HIGH else each.low if place <= LOW else f"the {name}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: by dimension, and there by property."""
        return {
            name: {
                "prediction": float(self.prediction[d]),
                "rated performances": float(self.base[d]),
                "properties": {
                    each: {
                        "words": self.words(k),
                        "place": round(float(self.place[k]), 1),
                        "effect": float(self.effects[k, d]),
                        **({} if self.noise is None else {"noise": float(self.noise[k, d])}),
                    }
                    for k, each in enumerate(self.properties)
                },
            }
            for d, name in enumerate(self.names)
            if self.offered is None or self.offered[d]
        }


def reads_features(target: Target) -> bool:
    """Whether a model is a committee of features of the playing alone, whose properties have effects."""
    model = _committee(target)
    return model is not None and not model.about["network"] and not model.about["inputs"]


def _committee(target: Target) -> RatingModel | None:
    if isinstance(target, ProfileTarget):
        return target.model.committee
    return target.predictor.model if isinstance(target, CommitteeTarget) else None


def property_effects(
    target: Target,
    score: Score | Sequence[tuple[float, Score]],
    *,
    refits: Sequence[Target] = (),
    noise: Mapping[str, Mapping[str, float]] | None = None,
) -> PropertyEffects:
    """Explain a rating by measured properties of the playing.

    ``target``: one that `reads_features`; ``score``: the performance, or its passages with their weights,
    over which the rating is a mean (the noise is that of one: they are judged by the same model);
    ``refits``: trained again, two or more, the standard deviation of whose effects is the noise; ``noise``:
    dimension -> property -> noise, where it was measured before.
    Raises `ValueError` for another model.
    """
    model = _committee(target)
    if model is None or not reads_features(target):
        raise ValueError("only committees that read features of the playing alone have measured properties")
    weights, parts = zip(*([(1.0, score)] if isinstance(score, Score) else score), strict=True)
    weight = np.array(weights)
    inputs = np.stack([features(played(e) if isinstance(target, ProfileTarget) else e) for e in parts])
    names = tuple(map(str, model.about["classes"]))
    shown = [names.index(name) for name in target.names]
    prediction, base, effects = effects_of(model, inputs)
    mean = np.tensordot(weight, effects, axes=1)
    spread: Floats | None = None
    if refits:
        again = [_committee(each) for each in refits]
        found = [np.tensordot(weight, effects_of(each, inputs)[2], axes=1) for each in again if each]
        spread = np.std(found, axis=0, ddof=1)[:, shown]
    elif noise is not None:
        spread = np.array([[noise[name][each] for name in target.names] for each in PROPERTIES])
    return PropertyEffects(
        names=target.names,
        poles=target.poles,
        properties=tuple(PROPERTIES),
        prediction=(weight @ prediction)[shown],
        base=base[shown],
        effects=mean[:, shown],
        place=weight @ np.stack([_places(model, each) for each in inputs]),
        noise=spread,
    )


def effects_of(model: RatingModel, inputs: Floats) -> tuple[Floats, Floats, Floats]:
    """Explain items by their features [shape=(m, k)].

    Returns predictions [shape=(m, d)], the mean one of those they are compared with [shape=(d,)], and effects
    [shape=(m, G, d)].
    """
    items, group = model.scale.apply(inputs), property_of()
    count = len(model.error)
    prediction, base = np.full((len(items), count), np.nan), np.full(count, np.nan)
    effects = np.full((len(items), len(PROPERTIES), count), np.nan)
    for columns, committee in model.parts:
        known = np.asarray(committee.kernels.inputs, np.float64)
        background = known[np.unique(np.linspace(0, len(known) - 1, BACKGROUND).round().astype(int))]
        at = list(columns)
        prediction[:, at] = committee.predict(items)
        base[at] = committee.predict(background).mean(0)
        effects[:, :, at] = committee_effects(committee, items, background, group)
    return prediction, base, effects


def _places(model: RatingModel, inputs: Floats) -> Floats:
    """Per cent of the training performances with less of each property [shape=(G,)]; equal ones half."""
    known, columns = np.asarray(model.parts[0][1].kernels.inputs, np.float64), list(FEATURES)
    item = model.scale.apply(inputs[None])[0]
    result = []
    for each in PROPERTIES.values():
        column = columns.index(each.measure)
        # training items are saved in single precision
        here, there = np.float32(item[column]), known[:, column].astype(np.float32)
        result.append(100 * float(((there < here) + 0.5 * (there == here)).mean()))
    return np.array(result)

"""`explain`: reasons for the predictions of a model about one performance."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from musicbert.analysis.model import load_profile_model
from musicbert.arrays import Floats
from musicbert.atomic import write_json
from musicbert.errors import ConfigError, nearest
from musicbert.explanation.change import Change, smallest_change
from musicbert.explanation.factors import FactorEffects, factor_effects, mean_effects
from musicbert.explanation.measured import measured, measured_properties, real_ranges
from musicbert.explanation.plausibility import NETWORK, measures
from musicbert.explanation.playing_factors import FACTORS
from musicbert.explanation.properties import (
    PropertyEffects,
    property_effects,
    reads_features,
)
from musicbert.explanation.target import CallableTarget, ProfileTarget, Target, open_target
from musicbert.explanation.words import property_sentence, sentence
from musicbert.midi import Score, read_score

if TYPE_CHECKING:
    from musicbert.explanation.passages import Passages

Part = Literal["factors", "properties", "notes", "change"]
PARTS: tuple[Part, ...] = ("factors", "properties", "notes", "change")
#: passages of a long piece that are explained, and on which changes are tried; notes of a piece that other
#: models judge as a whole while changes are tried
MOST_PASSAGES, MOST_TRIED, MOST_NOTES = 12, 4, 1000


@dataclass(frozen=True, eq=False)
class Explanation:
    """Reasons for the predictions about one performance.

    ``names``, ``poles``, ``values`` [shape=(d,)]: of the dimensions that are explained; ``factors``: what
    each factor of the playing contributes; ``properties``: what each measured property contributes;
    ``words``: sentences of each dimension; ``warnings``: what to know before these numbers are believed.
    Parts that were not asked for are None.
    """

    names: tuple[str, ...]
    poles: tuple[tuple[str, str], ...]
    values: Floats
    score: Score = field(repr=False)
    factors: FactorEffects | None = None
    properties: PropertyEffects | None = None
    notes: "Passages | None" = None
    changes: tuple[Change, ...] | None = None
    words: dict[str, list[str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        parts = {"factors": self.factors, "properties": self.properties, "notes": self.notes}
        changes = {"changes": [each.to_dict() for each in self.changes]} if self.changes is not None else {}
        return {
            "dimensions": {
                name: {"value": float(value), "low": low, "high": high, "words": self.words.get(name, [])}
                for name, value, (low, high) in zip(self.names, self.values, self.poles, strict=True)
            },
            **{name: part.to_dict() for name, part in parts.items() if part is not None},
            **changes,
            "warnings": list(self.warnings),
        }

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write `to_dict` to a file, whole or not at all."""
        write_json(path, self.to_dict())

    def __str__(self) -> str:
        """Return the reasons in words, a dimension a paragraph."""
        lines = []
        for name in self.names:
            lines += [f"{name}", *(f"  {text}" for text in self.words.get(name, []))]
        return "\n".join([*lines, *(f"note: {text}" for text in self.warnings)])


def explain(
    source: Any,
    dimension: str | Sequence[str] | None = None,
    *,
    model: Any = None,
    parts: Sequence[Part] | None = None,
    factors: Sequence[str] = FACTORS,
    refits: Sequence[Any] = (),
    against: Sequence[Any] = (),
    by: float | None = None,
    head: str | None = None,
    written: Any = None,
    network: Any = None,
    device: str | None = None,
) -> Explanation:
    """Explain what a model predicts for a performance.

    Parameters
    ----------
    source
        The performance: anything that `musicbert.read_score` takes.
    dimension
        Names of dimensions, or a unique part of one; all by default.
    model
        A model, its file, folder or name (`musicbert.explanation.open_target`), or a `Target`. None: the
        profile of `musicbert analyse`.
    parts
        What is wanted: ``factors``; ``properties`` (committees of features of the playing alone); ``notes``
        (with bars and voices; at most four dimensions); ``change`` (the smallest change that moves a
        dimension, up and down). By default factors, and properties where the model has them.
    factors
        Some of `FACTORS`.
    refits
        The same model trained again, two or more: effects below their spread are not named.
    against
        Other performances of the same bars, with which the part ``notes`` compares a network's notes.
    by
        How far ``change`` is to move a dimension; by default one rater's standard error.
    head
        Head of a MusicBERT that has several.
    written
        The written music, for committees that compare a performance with it.
    network
        The network whose states a committee reads (default: as the committee names it).
    device
        Of a network: ``cpu``, ``cuda``, ... (a GPU if there is one).

    Raises `MidiError` (music that cannot be read), `CheckpointError` and `DatasetError` (models that cannot
    be opened or have no outputs), and `ConfigError` (``unknown-dimension``, ``bad-option``,
    ``no-gradients``).
    """
    wanted = ("factors",) if parts is None else tuple(parts)
    if by is not None and not ("change" in wanted and by > 0):
        raise ConfigError(
            "bad-option", "by is how far a change moves a dimension: above 0, with the part 'change'"
        )
    unknown = [part for part in wanted if part not in PARTS]
    if unknown or not wanted:
        raise ConfigError("bad-option", f"parts are some of {', '.join(PARTS)}, not {', '.join(wanted)!r}")
    score = source if isinstance(source, Score) else read_score(source)
    text = written if written is None or isinstance(written, Score) else read_score(written)

    def opened(each: Any) -> Target:
        return open_target(each, head=head, written=text, network=network, device=device)

    if against and "notes" not in wanted:
        raise ConfigError("bad-option", "other performances are compared with in the part 'notes' only")
    whole = target = opened(model)
    if parts is None and reads_features(whole):
        wanted = ("factors", "properties")
    if "properties" in wanted and not reads_features(whole):
        raise ConfigError(
            "bad-option",
            "measured properties are those of committees that read features of the playing alone",
            hint="leave the part 'properties' out",
        )
    chosen = choose_dimensions(target.names, dimension)
    refitted = [opened(each) for each in refits]
    target, again = _part(target, chosen), [_part(each, chosen) for each in refitted]
    known = measured() if isinstance(whole, ProfileTarget) else {}
    warnings: list[str] = []
    if "change" in wanted:
        amounts = _amounts(whole, target, score, by)
    parts_of = rated = [(1.0, score)]
    scale = 1.0  # of numbers in words
    if isinstance(whole, ProfileTarget):
        scale = float(whole.model.about["scale"][1])
        rated = whole.passages(score)
        if apart := [whole.apart[name] for name in target.names if name in whole.apart]:
            warnings.append(
                "explained is the committee on measured features alone; the profile of musicbert analyse "
                "also reads a network: on music outside training they differ by at most "
                f"{scale * max(apart):.2f} in these dimensions (root mean square, of 1 to {scale:g})"
            )
        parts_of, more = _fewer(rated, MOST_PASSAGES, "explained are")
        warnings += more
    words: dict[str, list[str]] = {name: [] for name in target.names}
    found: FactorEffects | None = None
    if "factors" in wanted:
        noise = {name: known[name]["noise"] for name in target.names} if known and not again else None
        options: dict[str, Any] = {"factors": factors, "refits": again, "noise": noise}
        found = mean_effects([(weight, factor_effects(target, part, **options)) for weight, part in parts_of])
        if known:
            found = replace(found, offered=tuple(known[name]["offered"] for name in target.names))
        for d, name in enumerate(target.names):
            words[name].append(sentence(found, d, scale=scale))
        if found.noise is None:
            warnings.append(
                "how much effects differ between trainings of the model is not known: small ones may be noise"
            )
    of_properties: PropertyEffects | None = None
    if "properties" in wanted:
        of_properties = _properties(whole, parts_of, refitted).of(chosen)
        for d, name in enumerate(target.names):
            words[name].append(property_sentence(of_properties, d, scale=scale))
    of_notes: Passages | None = None
    if "notes" in wanted:
        from musicbert.explanation.passages import passages

        others = [each if isinstance(each, Score) else read_score(each) for each in against]
        of_notes, more = passages(whole, score, chosen, against=others)
        warnings += more
        for d, name in enumerate(target.names):
            words[name] += of_notes.sentences(d)
    changes: list[Change] = []
    if "change" in wanted:
        some, more = _fewer(rated, MOST_TRIED, "changes were tried on")
        warnings += more
        changes = _changes(target, score, amounts, some if isinstance(whole, ProfileTarget) else None)
        changes = [replace(each, scale=scale) for each in changes]
        for each in changes:
            words[each.name].append(str(each))
    values = np.sum([weight * target.scores([part])[0] for weight, part in parts_of], axis=0)
    return Explanation(
        names=target.names,
        poles=target.poles,
        values=values,
        score=score,
        factors=found,
        properties=of_properties,
        notes=of_notes,
        changes=tuple(changes) if "change" in wanted else None,
        words=words,
        warnings=tuple(warnings),
    )


def _properties(
    whole: Target, parts: Sequence[tuple[float, Score]], refits: Sequence[Target]
) -> PropertyEffects:
    """Effects of measured properties on all dimensions, with what was measured of the profile's."""
    known = measured_properties() if isinstance(whole, ProfileTarget) else {}
    noise = {name: known[name]["noise"] for name in whole.names} if known and not refits else None
    found = property_effects(whole, parts, refits=refits, noise=noise)
    offered = tuple(bool(known[name]["offered"]) for name in whole.names) if known else None
    return replace(found, offered=offered)


def _fewer(
    parts: list[tuple[float, Score]], most: int, what: str
) -> tuple[list[tuple[float, Score]], list[str]]:
    """At most so many passages, evenly chosen, with a warning where some are left out."""
    if len(parts) <= most:
        return parts, []
    some = [parts[k] for k in np.linspace(0, len(parts) - 1, most).round().astype(int).tolist()]
    total = sum(weight for weight, _ in some)
    text = f"{what} {most} of {len(parts)} passages, evenly over the music"
    return [(weight / total, part) for weight, part in some], [text]


def _amounts(whole: Target, target: Target, score: Score, by: float | None) -> list[float]:
    """How far changes are to move each dimension."""
    if len(score) > MOST_NOTES and not isinstance(whole, ProfileTarget):
        raise ConfigError(
            "bad-option",
            f"changes of {len(score)} notes at once, more than {MOST_NOTES}",
            hint="cut the piece into sections",
        )
    for name in target.names:
        if by is None and name not in measured():
            raise ConfigError(
                "bad-option",
                f"how far {name!r} is to move is not known: it has no standard error of one rater",
                hint="say how far: by=0.1, --by 0.1",
            )
    return [float(measured()[name]["rater_error"]) if by is None else by for name in target.names]


def _changes(
    target: Target, score: Score, amounts: Sequence[float], parts: list[tuple[float, Score]] | None
) -> list[Change]:
    """The smallest changes up and down of each dimension, judged on parts of the music or the whole."""
    from musicbert.predict.model import from_pretrained

    network, profile = from_pretrained(NETWORK, device="cpu"), load_profile_model()
    return [
        smallest_change(
            target,
            d,
            score,
            amount,
            up=up,
            judge=lambda music: measures(music, network, profile),
            real=real_ranges(),
            passages=parts,
        )
        for d, amount in enumerate(amounts)
        for up in (True, False)
    ]


def choose_dimensions(names: Sequence[str], wanted: str | Sequence[str] | None) -> list[int]:
    """Indices of dimensions by their names, in any case, or by parts of names that only one has.

    Raises `ConfigError` (``unknown-dimension``).
    """
    if wanted is None:
        return list(range(len(names)))
    folded = [name.casefold() for name in names]
    chosen: list[int] = []
    for word in [wanted] if isinstance(wanted, str) else wanted:
        key = word.casefold()
        found = [folded.index(key)] if key in folded else [k for k, name in enumerate(folded) if key in name]
        if len(found) != 1 or not key:
            several = ", ".join(names[k] for k in found)
            raise ConfigError(
                "unknown-dimension",
                f"{word!r} could be any of: {several}" if several else f"there is no dimension {word!r}",
                hint=nearest(word, names) or f"dimensions are {', '.join(names)}",
            )
        chosen += [k for k in found if k not in chosen]
    return chosen


def _part(target: Target, chosen: Sequence[int]) -> Target:
    """A target with some dimensions."""
    if list(chosen) == list(range(len(target.names))):
        return target

    def some(performances: Sequence[Score]) -> Floats:
        return np.asarray(target.scores(performances)[:, list(chosen)])

    return CallableTarget(some, [target.names[k] for k in chosen], [target.poles[k] for k in chosen])

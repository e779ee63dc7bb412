"""`explain`: reasons for the predictions of a model about one performance."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Literal

import numpy as np

from musicbert.arrays import Floats
from musicbert.atomic import write_json
from musicbert.errors import ConfigError, nearest
from musicbert.explanation.factors import FactorEffects, factor_effects
from musicbert.explanation.passages import Passages, passages
from musicbert.explanation.playing_factors import FACTORS
from musicbert.explanation.target import CallableTarget, Target, open_target
from musicbert.explanation.words import sentence
from musicbert.midi import Score, read_score

Part = Literal["factors", "notes"]
PARTS: tuple[Part, ...] = ("factors", "notes")


@dataclass(frozen=True, eq=False)
class Explanation:
    """Reasons for the predictions about one performance.

    ``names``, ``poles``, ``values`` [shape=(d,)]: of the dimensions that are explained; ``factors``: what
    each factor of the playing contributes; ``words``: sentences of each dimension; ``warnings``: what to know
    before these numbers are believed. Parts that were not asked for are None.
    """

    names: tuple[str, ...]
    poles: tuple[tuple[str, str], ...]
    values: Floats
    score: Score = field(repr=False)
    factors: FactorEffects | None = None
    notes: Passages | None = None
    changes: Any = None
    words: dict[str, list[str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        parts = {"factors": self.factors, "notes": self.notes, "changes": self.changes}
        return {
            "dimensions": {
                name: {"value": float(value), "low": low, "high": high, "words": self.words.get(name, [])}
                for name, value, (low, high) in zip(self.names, self.values, self.poles, strict=True)
            },
            **{name: part.to_dict() for name, part in parts.items() if part is not None},
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
    model: Any,
    parts: Sequence[Part] = ("factors",),
    factors: Sequence[str] = FACTORS,
    refits: Sequence[Any] = (),
    against: Sequence[Any] = (),
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
        A model, its file, folder or name (`musicbert.explanation.open_target`), or a `Target`.
    parts
        What is wanted: ``factors``, ``notes`` (with bars and voices; at most four dimensions).
    factors
        Some of `FACTORS`.
    refits
        The same model trained again, two or more: effects below their spread are not named.
    against
        Other performances of the same bars, with which the part ``notes`` compares a network's notes.
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
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise ConfigError("bad-option", f"parts are some of {', '.join(PARTS)}, not {', '.join(parts)!r}")
    score = source if isinstance(source, Score) else read_score(source)
    text = written if written is None or isinstance(written, Score) else read_score(written)

    def opened(each: Any) -> Target:
        return open_target(each, head=head, written=text, network=network, device=device)

    if against and "notes" not in parts:
        raise ConfigError("bad-option", "other performances are compared with in the part 'notes' only")
    whole = target = opened(model)
    chosen = choose_dimensions(target.names, dimension)
    target, again = _part(target, chosen), [_part(opened(each), chosen) for each in refits]
    found: FactorEffects | None = None
    words: dict[str, list[str]] = {name: [] for name in target.names}
    warnings: list[str] = []
    if "factors" in parts:
        found = factor_effects(target, score, factors=factors, refits=again)
        for d, name in enumerate(target.names):
            words[name].append(sentence(found, d))
        if found.noise is None:
            warnings.append(
                "how much effects differ between trainings of the model is not known: small ones may be noise"
            )
    of_notes: Passages | None = None
    if "notes" in parts:
        others = [each if isinstance(each, Score) else read_score(each) for each in against]
        of_notes, more = passages(whole, score, chosen, against=others)
        warnings += more
        for d, name in enumerate(target.names):
            words[name] += of_notes.sentences(d)
    values = target.scores([score])[0] if found is None else found.prediction
    return Explanation(
        target.names, target.poles, values, score, found, of_notes, words=words, warnings=tuple(warnings)
    )


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

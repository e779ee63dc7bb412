"""Which notes, bars and voices speak for a prediction, as far as that was measured to be faithful.

`offered.json` is written by ``results/tools/explanations_faithful.py``: for each kind of model (``network``;
``features``: a committee; ``profile``: that of `musicbert analyse`) and method, the replacements under which
it names what matters better than random notes, notes in a row and the loudest notes do, on held-out music.
What is better under no replacement is left out, and a warning says so. What was not measured for a model,
such as a function of your own, is shown with a warning.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

import numpy as np

from musicbert.errors import ConfigError
from musicbert.explanation.gradients import GAP
from musicbert.explanation.networks import Network
from musicbert.explanation.notes import NoteReasons, note_reasons
from musicbert.explanation.occlusion import REPLACEMENTS, By, Occlusion, occlude
from musicbert.explanation.target import CommitteeTarget, ProfileTarget, Target
from musicbert.midi import Score

#: dimensions that are explained note by note in one call: each takes some seconds
MOST_DIMENSIONS = 4
#: notes of music whose notes, or else whose bars, are hidden in turn to be lit
MOST_LIT, MOST_LIT_BARS = 4000, 40_000
#: bars and voices that are named
_NAMED = 3


@dataclass(frozen=True, eq=False)
class Passages:
    """Contributions of notes (networks only), bars and voices; parts that are not offered are missing."""

    notes: tuple[NoteReasons, ...]
    bars: Occlusion | None
    voices: Occlusion | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        parts = {"bars": self.bars, "voices": self.voices}
        found = {name: None if part is None else part.to_dict() for name, part in parts.items()}
        return {"notes": {each.output: each.to_dict() for each in self.notes}, **found}

    def sentences(self, number: int) -> list[str]:
        """What there is to say about one of the dimensions."""
        lines = []
        for part in (self.bars, self.voices):
            if part is not None:
                replacement, table = next(iter(part.effects.items()))
                order = [k for k in np.argsort(-np.abs(table[:, number])) if np.isfinite(table[k, number])]
                said = [f"{part.groups[k]} ({table[k, number]:+.3f})" for k in order[:_NAMED]]
                lines.append(f"without these notes ({replacement}) it changes most: {', '.join(said)}")
        if self.notes:
            reasons = self.notes[number]
            for (a, b), value in reasons.correlation.items():
                lines.append(f"notes against {a} and against {b}: rank correlation {value:.2f}")
            count = int(reasons.disputed.sum())
            if len(reasons.maps) > 1:
                lines.append(
                    f"{count} of {len(reasons.disputed)} notes speak for it or against it by what they are "
                    "compared with"
                )
            if reasons.unmatched:
                lines.append(f"{reasons.unmatched} notes are not in the other performances")
            if gaps := [each.gap for each in reasons.maps.values() if each.gap >= GAP]:
                lines.append(f"contributions of notes do not add up: {100 * max(gaps):.1f} % are missing")
        return lines


def offered() -> dict[str, dict[str, list[str]]]:
    """Kind of model -> method -> replacements under which it is better than a random order."""
    text = files("musicbert.explanation").joinpath("offered.json").read_text(encoding="utf-8")
    table: dict[str, dict[str, list[str]]] = json.loads(text)
    return table


def lit(notes: int) -> tuple[Literal["note", "bar", ""], str]:
    """What of music with so many notes is hidden in turn to find what matters to the profile, in words, too.

    Only what `offered` has for it: notes, else bars, else nothing ("").
    """
    known = offered()["profile"]
    single, bars = ("gone" in known.get(f"{name} gone", ()) for name in ("notes", "bars"))
    if single and notes <= MOST_LIT:
        return "note", "Each note was left out in turn: lit ones change the answer most."
    if bars and notes <= MOST_LIT_BARS:
        why = "the music is too long for notes" if single else "notes were not measured to be right"
        return "bar", f"Each bar was left out in turn ({why}): lit ones change the answer most."
    if bars or single:
        what = "bars" if bars else "notes"
        return "", f"Nothing is lit: the music is too long to leave out its {what} in turn."
    return "", "Nothing is lit: neither notes nor bars were measured to be right."


def passages(
    target: Target, score: Score, dimensions: Sequence[int], *, against: Sequence[Score] = ()
) -> tuple[Passages, list[str]]:
    """Explain some dimensions, by number, by notes, bars and voices; return warnings too.

    ``against``: other performances of the same bars (networks only).
    Raises `ConfigError` (``bad-option``: too many dimensions; ``no-gradients``: other performances for a
    model that is not a network) and what `note_reasons` and `occlude` raise.
    """
    network = Network.of(target)
    if len(dimensions) > MOST_DIMENSIONS:
        raise ConfigError(
            "bad-option",
            f"notes of {len(dimensions)} dimensions at once, more than {MOST_DIMENSIONS}",
            hint="choose dimensions",
        )
    if against and network is None:
        raise ConfigError(
            "no-gradients",
            "Only networks compare notes with other performances",
            hint="leave the other performances out",
        )
    kinds = {CommitteeTarget: "features", ProfileTarget: "profile"}
    kind = "network" if network else kinds.get(type(target), "")
    known = offered().get(kind)
    warnings: list[str] = []
    if network is not None:
        warnings.append("whether notes are named faithfully was measured for ratings of piano performances")
    if known is None:
        warnings.append("whether notes, bars and voices are named faithfully was not measured for this model")

    def allowed(method: str, names: Sequence[str]) -> list[str]:
        chosen = [name for name in names if known is None or known.get(f"{method} {name}")]
        if missing := [name for name in names if name not in chosen]:
            warnings.append(
                f"{method} ({', '.join(missing)}) are left out: on held-out music they name what matters "
                "no better than random, neighbouring or the loudest notes (docs/explanations-notes.md)"
            )
        return chosen

    notes: list[NoteReasons] = []
    if network is not None:
        baselines = allowed("notes", ("masked", "neutral"))
        if against:
            warnings.append("contributions against other performances: their faithfulness was not measured")
        if baselines or against:
            notes = note_reasons(network, score, dimensions, baselines=baselines, against=against)
    parts: dict[str, Occlusion | None] = {}
    by: By
    for name, by in (("bars", "bar"), ("voices", "voice")):
        replacements = allowed(name, REPLACEMENTS)
        found = occlude(target, score, by, replacements=replacements) if replacements else None
        parts[name] = None if found is None else found.of(dimensions)
    return Passages(tuple(notes), parts["bars"], parts["voices"]), warnings

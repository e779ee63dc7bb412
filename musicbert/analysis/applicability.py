"""Whether a profile of a performance means anything for this music: measures, thresholds, reasons in words.

Listeners rated piano performances that were recorded from keyboards. Where a file holds something else, a
number would still come out of the model; so each measure here is compared with what rated performances and
other music have (`results/profile/applicability.json`), and a file outside gets reasons in place of a
profile.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from musicbert.midi.score import Score

#: General MIDI programs of pianos: acoustic and electric, harpsichord, clavinet
PIANOS = range(8)
#: share of notes that may be of other instruments
OTHERS = 0.02
#: fewest notes and seconds of music
FEWEST_NOTES, FEWEST_SECONDS = 50, 4.5
#: share of onsets on the grid from which on a file counts as quantised: 16 places of a quarter note
ON_GRID = 0.9
GRID = np.unique([*(np.arange(13) / 12), *(np.arange(9) / 8)])
#: share of a quarter note within which an onset is on the grid
NEAR = 1 / 480
#: milliseconds of a tick: a coarser clock cannot hold the timing of a performance
COARSEST = 10.0
#: changes of tempo in a quarter note of a file that has its timing in them
TEMPO_TIMING = 0.2
#: milliseconds of a chord struck together, and share of such chords that no keyboard gives
TOGETHER, TOGETHER_SHARE = 2.0, 0.9
#: fewest different velocities, and lowest deviation of velocity
FEWEST_VELOCITIES, FLAT = 12, 4.0


@dataclass(frozen=True)
class Reason:
    """Why there is no profile: ``code``, words, and the ``measure`` with its ``value`` and ``limit``."""

    code: str
    text: str
    measure: str
    value: float
    limit: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return dict(vars(self))


def measures(score: Score) -> dict[str, float]:
    """Measure what the reasons are about (see the names; shares are of notes, or of chords)."""
    onset = score.seconds(score.onset)
    pitched = ~score.drum
    beats = score.onset[pitched] / score.ticks_per_beat
    away = np.abs((beats % 1.0)[:, None] - GRID).min(1) if len(beats) else np.zeros(0)
    quarters = max(float(np.ptp(beats)) if len(beats) else 0.0, 1.0)
    tempi = len(np.unique(score.tempo_tick)) - 1
    seconds = float(score.seconds(score.offset).max() - onset.min())
    bpm = float(np.median(score.tempo_bpm)) if len(score.tempo_bpm) else 120.0
    together, chords = _together(onset[pitched])
    velocity = score.velocity[pitched]
    return {
        "written": float(bool(score.notation)),
        "notes": float(pitched.sum()),
        "seconds": seconds,
        "drum_share": float(score.drum.mean()),
        "other_instrument_share": float(np.mean(~np.isin(score.program, PIANOS) & pitched)),
        "on_grid_share": float(np.mean(away <= NEAR)) if len(away) else 1.0,
        "milliseconds_per_tick": 60e3 / (bpm * score.ticks_per_beat),
        "tempo_changes_per_quarter": max(tempi, 0) / quarters,
        "chords": float(chords),
        "together_share": together,
        "velocities": float(len(np.unique(velocity))),
        "velocity_sd": float(velocity.std()) if len(velocity) else 0.0,
    }


def _together(onset: np.ndarray) -> tuple[float, int]:
    """Share of chords whose notes all begin within `TOGETHER`, and how many chords there are."""
    onset = np.sort(onset)
    first = np.flatnonzero(np.diff(onset, prepend=-np.inf) > 0.035)
    size = np.diff(np.append(first, len(onset)))
    many = size > 1
    if not many.any():
        return 0.0, 0
    spread = onset[(first + size - 1)[many]] - onset[first[many]]
    return float(np.mean(spread * 1e3 <= TOGETHER)), int(many.sum())


def reasons_against(score: Score) -> list[Reason]:
    """Reasons why this music has no profile as a piano performance; none where it may have one."""
    m = measures(score)
    found = []

    def add(code: str, measure: str, limit: float, text: str) -> None:
        found.append(Reason(code, text, measure, round(m[measure], 4), limit))

    if score.notation:
        add(
            "written-score", "written", 0.0,
            f"It is a written score ({score.notation}), without expression: the timing and the dynamics of a "
            "performer are not in it.",
        )  # fmt: skip
        return found
    if m["drum_share"] > 0:
        share = f"{m['drum_share']:.0%}" if m["drum_share"] >= 0.01 else "under 1%"
        add(
            "drums",
            "drum_share",
            0.0,
            f"It has drums ({share} of the notes): the ratings are of piano alone.",
        )
    if m["other_instrument_share"] > OTHERS:
        add(
            "other-instruments", "other_instrument_share", OTHERS,
            f"{m['other_instrument_share']:.0%} of the notes are of instruments other than a piano: "
            "the ratings are of piano alone.",
        )  # fmt: skip
    if m["notes"] < FEWEST_NOTES:
        add(
            "few-notes", "notes", FEWEST_NOTES,
            f"It has {m['notes']:.0f} notes; rated passages have at least {FEWEST_NOTES}.",
        )  # fmt: skip
    elif m["seconds"] < FEWEST_SECONDS:
        add(
            "short", "seconds", FEWEST_SECONDS,
            f"It lasts {m['seconds']:.1f} s; rated passages last at least {FEWEST_SECONDS:g} s.",
        )  # fmt: skip
    if found:  # the measures below are of piano music of some length
        return found
    tempo_map = m["tempo_changes_per_quarter"] >= TEMPO_TIMING
    if m["milliseconds_per_tick"] > COARSEST:
        add(
            "coarse-clock", "milliseconds_per_tick", COARSEST,
            f"A tick of its clock lasts {m['milliseconds_per_tick']:.0f} ms: too coarse to hold the "
            "timing of a performance.",
        )  # fmt: skip
    elif m["on_grid_share"] >= ON_GRID and not tempo_map:
        add(
            "quantised", "on_grid_share", ON_GRID,
            f"{m['on_grid_share']:.0%} of the notes begin exactly on the beat or a fixed part of it: "
            "this is a written score, or "
            "timing made even by a computer, and there is no performer's timing to hear.",
        )  # fmt: skip
    elif m["chords"] >= 10 and m["together_share"] >= TOGETHER_SHARE and not tempo_map:
        add(
            "mechanical", "together_share", TOGETHER_SHARE,
            f"In {m['together_share']:.0%} of the chords all notes begin within {TOGETHER:g} ms, as no "
            "hand plays.",
        )  # fmt: skip
    if m["velocities"] < FEWEST_VELOCITIES or m["velocity_sd"] < FLAT:
        measure, limit = (
            ("velocities", FEWEST_VELOCITIES)
            if m["velocities"] < FEWEST_VELOCITIES
            else ("velocity_sd", FLAT)
        )
        add(
            "no-dynamics", measure, limit,
            (
                "All its notes have the same velocity"
                if m["velocities"] == 1
                else f"It has {m['velocities']:.0f} different key velocities (deviation "
                f"{m['velocity_sd']:.1f} of 127)"
            )
            + ": the dynamics of a performer are not in this file.",
        )  # fmt: skip
    return found

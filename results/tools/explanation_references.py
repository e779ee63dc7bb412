r"""Factors of playing in real performances, and how well a steady tempo finds the written rhythm.

Example: python results/tools/explanation_references.py --data data --output results/explanations/references

The folder of --data holds percepiano/segment_midi.zip. Writes OUTPUT.json and OUTPUT.md: percentiles of pace,
loudness and release over the performances, whose medians are the neutral values of
`musicbert.explanation.playing_factors`; and for performances whose score is there, the intervals between
matched chords over the written ones (log2, against their median), as played and with neutral timing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from program import make_parser, report_errors

from musicbert.annotation.names import parse_segment, segment_id
from musicbert.atomic import write_json, write_text
from musicbert.corpus.files.archive import MidiSource
from musicbert.evaluation.baselines.rated_examples import SCORE
from musicbert.evaluation.tables import markdown_table
from musicbert.explanation.playing_factors import coordinates, neutral
from musicbert.features.against_score.alignment import align, written
from musicbert.features.playing import playing
from musicbert.midi import Score, read_score
from musicbert.provenance import provenance

__all__ = ["measure", "rhythm"]

RANKS = (2.5, 25, 50, 75, 97.5)
#: an interval this close to the written one (log2) has its note value: half way to the nearest other ratio
CLOSE = 0.2


def measure(score: Score) -> dict[str, float]:
    """Pace (chords a second), loudness (mean velocity) and release (median share of an interval)."""
    parts = coordinates(score)
    known = parts.release[parts.end >= 0]
    release = float(np.median(known)) if len(known) else float("nan")
    return {"pace": parts.pace, "loudness": parts.level, "release": release}


def rhythm(performance: Score, score: Score) -> np.ndarray:
    """Intervals between matched chords over the written ones (log2), against their median [shape=(k,)]."""
    play, text = playing(performance), written(score)
    at = align(play, text)
    time = np.full(len(text.beat), np.nan)
    for chord, note in zip(text.chord[at >= 0].tolist(), at[at >= 0].tolist(), strict=True):
        time[chord] = np.fmin(time[chord], play.onset[note])
    known = np.isfinite(time)
    played, beats = np.diff(time[known]), np.diff(text.beat[known])
    ratio = np.log2(np.maximum(played, 1e-3) / beats)
    return np.asarray(ratio - np.median(ratio)) if len(ratio) else ratio


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments, measure, write."""
    make = make_parser(__doc__)
    make.add_argument("--data", type=Path, required=True, help="folder of data sets")
    make.add_argument("--output", type=Path, required=True, help="result without its suffix")
    options = make.parse_args(arguments)
    given = sys.argv[1:] if arguments is None else arguments
    command = ["python", "results/tools/explanation_references.py", *given]
    return report_errors(lambda: _measure_all(options.data, options.output, command))


def _measure_all(data: Path, output: Path, command: list[str]) -> str:
    archive = data / "percepiano" / "segment_midi.zip"
    with MidiSource(archive) as source:
        music = {
            segment_id(member.name): read_score(source.read(member), name=member.path)
            for member in source.members
        }
    names = {name: parse_segment(name) for name in music}
    scores = {each.region: music[name] for name, each in names.items() if each.performer == SCORE}
    played = [name for name, each in names.items() if not each.performer.startswith(SCORE)]
    rows = [measure(music[name]) for name in played]
    values = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    result: dict[str, Any] = {
        key: dict(zip(map(str, RANKS), np.nanpercentile(column, RANKS).tolist(), strict=True))
        for key, column in values.items()
    }
    compared = [name for name in played if names[name].region in scores]
    for how in ("as played", "neutral timing"):
        apart = []
        for name in compared:
            performance = music[name] if how == "as played" else neutral(music[name], "timing")
            apart.append(rhythm(performance, scores[names[name].region]))
        result[f"rhythm, {how}"] = {
            "performances": len(apart),
            "deviation": float(np.median([np.std(each) for each in apart])),
            "close": float(np.mean([np.mean(np.abs(each) < CLOSE) for each in apart if len(each)])),
        }
    about = provenance(command, inputs={"midi": archive}, seed=0)
    write_json(output.with_suffix(".json"), {"about": about, "performances": len(played), **result})
    table = "\n".join(
        markdown_table(
            ["", *(f"{rank:g} %" for rank in RANKS)],
            [[key, *(f"{value:.3f}" for value in result[key].values())] for key in values],
        )
    )
    lines = [
        f"{how}: deviation (log2, median of {entry['performances']} performances) {entry['deviation']:.3f}; "
        f"intervals within {CLOSE} of the written ones {entry['close']:.1%}"
        for how, entry in result.items()
        if how.startswith("rhythm")
    ]
    head = f"# Factors of playing in {len(played)} performances of PercePiano\n\n`{about['command']}`\n\n"
    write_text(output.with_suffix(".md"), head + table + "\n\n" + "".join(f"- {e}\n" for e in lines))
    return "\n".join([table, *lines])


if __name__ == "__main__":
    sys.exit(main())

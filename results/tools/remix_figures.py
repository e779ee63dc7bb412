r"""Sanity figures of remixes: four bars of songs written anew, beside the original and random weights.

Example: python results/tools/remix_figures.py SONGS --songs 20 --output results/remix/figures

SONGS is a folder of MIDI files; the first ``--songs`` of them by name are taken whose middle has four bars
with at least 30 notes that are no drums. Half of these notes get a new pitch, or position, pitch and
duration. Each figure is of the notes written anew, averaged over songs, with 95 % bootstrap intervals over
songs.

Rows: ``default`` (order confident, temperature 1, top-p 0.95, 200 notes of context); ``once`` and ``notes``
(other orders); ``penalty`` (1.5, for repetition); ``whole`` (all context); ``random`` (random weights).
Figures:

- in key: share of notes in the major scale that holds most of the other notes of these and the four bars
  before and after (12 scales; the natural minor is one of them);
- repeated: share of notes with the pitch of the note before them of their instrument;
- range: share of pitches between the lowest and the highest pitch of their instrument in the whole piece;
- onsets: different onsets a beat in the four bars, all instruments together;
- move: mean distance from the original pitch, in semitones;
- likelihood: pseudo-log-likelihood per note of the pre-trained network, in nats;
- seconds: processor time of one version, without its ranking.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from program import make_parser, report_errors

from musicbert.atomic import write_json, write_text
from musicbert.encoding.octuple import DRUM_PROGRAM
from musicbert.encoding.quantise import BAR_LENGTHS, POSITIONS_PER_BEAT
from musicbert.errors import DatasetError, MusicBertError
from musicbert.evaluation.metrics.bootstrap import divide, interval, resample
from musicbert.evaluation.tables import interval_cell, markdown_table
from musicbert.midi import read_score
from musicbert.predict import from_pretrained
from musicbert.predict.fill import fill_piece
from musicbert.provenance import provenance
from musicbert.remixing import Choice, Remixer
from musicbert.remixing.versions import DEFAULTS

BARS, LEAST = 4, 30
FIELDS = {"pitch": ("pitch",), "position, pitch and duration": ("position", "pitch", "duration")}
FIGURES = ("in key", "repeated", "range", "onsets", "move", "likelihood", "seconds")
#: row -> options, and whether the network has random weights
ROWS: dict[str, tuple[Any, bool]] = {
    "default": (DEFAULTS, False),
    "once": (replace(DEFAULTS, order="once"), False),
    "notes": (replace(DEFAULTS, order="notes"), False),
    "penalty": (replace(DEFAULTS, repetition_penalty=1.5), False),
    "whole": (replace(DEFAULTS, context=None), False),
    "random": (DEFAULTS, True),
}
_MAJOR = (0, 2, 4, 5, 7, 9, 11)


def key_of(rows: Any) -> set[int]:
    """Pitch classes of the major scale that holds most of the notes."""
    counts = np.bincount(rows[:, 3] % 12, minlength=12)
    best = max(range(12), key=lambda tonic: sum(counts[(tonic + step) % 12] for step in _MAJOR))
    return {(best + step) % 12 for step in _MAJOR}


def figures(rows: Any, before: Any, mask: Any, bars: tuple[int, int]) -> dict[str, float]:
    """Figures of rows in which the masked notes are written anew (all but likelihood and seconds)."""
    new = mask.any(axis=1)
    near = (before[:, 0] >= bars[0] - BARS) & (before[:, 0] <= bars[1] + BARS) & ~new
    key = key_of(before[near & (before[:, 2] != DRUM_PROGRAM)])
    order = np.lexsort((rows[:, 1], rows[:, 0], rows[:, 2]))  # by instrument, then time
    played, fresh = rows[order], new[order]
    same = np.append(False, (played[1:, 2] == played[:-1, 2]) & (played[1:, 3] == played[:-1, 3]))
    ranges = {
        program: np.percentile(before[before[:, 2] == program, 3], (0, 100))
        for program in np.unique(before[:, 2])
    }
    inside = [ranges[program][0] <= pitch <= ranges[program][1] for program, pitch in rows[new][:, [2, 3]]]
    here = (rows[:, 0] >= bars[0]) & (rows[:, 0] <= bars[1])
    beats = sum(
        BAR_LENGTHS[before[before[:, 0] == bar, 6][0]] / POSITIONS_PER_BEAT
        for bar in np.unique(before[here, 0])
    )
    return {
        "in key": float(np.mean([pitch % 12 in key for pitch in rows[new, 3]])),
        "repeated": float(same[fresh].mean()),
        "range": float(np.mean(inside)),
        "onsets": len(np.unique(rows[here, :2], axis=0)) / beats,
        "move": float(np.abs(rows[new, 3] - before[new, 3]).mean()),
    }


def of_song(
    path: Path, model: Any, random: Any, *, seed: int, rows_: list[str], rank_passes: int
) -> list[dict[str, Any]]:
    """Figures of each row for a song; none where its middle has too few notes."""
    score = read_score(path)
    piece = model.read(score)
    middle = int(piece.rows[len(piece.rows) // 2, 0])
    bars = (middle, middle + BARS - 1)
    here = (piece.rows[:, 0] >= bars[0]) & (piece.rows[:, 0] <= bars[1]) & (piece.rows[:, 2] != DRUM_PROGRAM)
    if here.sum() < LEAST:
        return []
    found = []
    for what, fields in FIELDS.items():
        choice = Choice((bars[0] + 1, bars[1] + 1), fields=fields)
        judge = Remixer(score, model=model, choice=choice, seed=seed, rank_passes=rank_passes)
        before, mask = judge.original.rows, judge.mask
        about = {"song": path.name, "fields": what}
        original = figures(before, before, mask, bars) | {"likelihood": judge.original_likelihood}
        found.append({**about, "row": "original", **original})
        for row in rows_:
            options, untrained = ROWS[row]
            runner = (random if untrained else model).runner
            started = time.process_time()
            rows = fill_piece(runner, piece, mask, options, seed=seed).rows
            seconds = time.process_time() - started
            likelihood = judge.likelihood(replace(piece, rows=rows))
            found.append({**about, "row": row, **figures(rows, before, mask, bars)})
            found[-1] |= {"likelihood": likelihood, "seconds": seconds}
    return found


def summary(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over songs with intervals."""
    songs = sorted({entry["song"] for entry in found})
    weights = resample(len(songs))
    lines = []
    for what in FIELDS:
        for row in dict.fromkeys(entry["row"] for entry in found):
            mine = {e["song"]: e for e in found if (e["fields"], e["row"]) == (what, row)}
            line: dict[str, Any] = {"fields": what, "row": row}
            for name in FIGURES:
                values = np.array([mine[song].get(name, np.nan) for song in songs])
                if np.isfinite(values).all():
                    line[name] = interval(divide(weights @ values, weights.sum(axis=1))).as_dict()
            lines.append(line)
    return lines


def main() -> str:
    """Parse the arguments, remix and report. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument("data", type=Path, help="folder of MIDI files")
    parser.add_argument("--songs", type=int, default=20, help="how many")
    parser.add_argument("--model", default="musicbert-mini", help="network")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=[*ROWS], help="rows")
    parser.add_argument("--rank-passes", type=int, default=8, help="passes of the network for a likelihood")
    parser.add_argument("--seed", type=int, default=0, help="of the notes, the tokens and the random weights")
    parser.add_argument("--output", type=Path, required=True, help="OUTPUT.json and OUTPUT.md")
    options = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    model, random = from_pretrained(options.model), from_pretrained(options.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        random.module.load_state_dict(type(random.module)(random.config).state_dict(), strict=False)
    found: list[dict[str, Any]] = []
    used: list[Path] = []
    for path in sorted(options.data.rglob("*.mid")):
        if len(used) == options.songs:
            break
        try:
            entries = of_song(
                path, model, random, seed=options.seed, rows_=options.rows, rank_passes=options.rank_passes
            )
        except MusicBertError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            continue
        if entries:
            used.append(path)
            found += entries
            print(f"{len(used)}: {path.name}", file=sys.stderr, flush=True)
    if len(used) < options.songs:
        raise DatasetError("too-few", f"Only {len(used)} songs have four such bars", path=options.data)
    lines = summary(found)
    source = provenance(sys.argv, inputs={path.name: path for path in used}, seed=options.seed)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(f"{options.output}.json", {"provenance": source, "rows": lines, "songs": found})
    head = ["written anew", "row", *FIGURES]
    cells = [
        [
            line["fields"],
            line["row"],
            *(interval_cell(line[name], 2) if name in line else "–" for name in FIGURES),
        ]
        for line in lines
    ]
    about = __doc__.partition("\n\n")[2].partition("\n\n")[2]
    text = ["# Remixes of four bars", "", about, f"{len(used)} songs; `{source['command']}`", ""]
    write_text(f"{options.output}.md", "\n".join([*text, *markdown_table(head, cells), ""]))
    return "\n".join(markdown_table(head, cells))


if __name__ == "__main__":
    sys.exit(report_errors(main))

r"""Score ``next`` and ``acc`` apart for songs that a pre-training has seen and for those that it has not.

Example: python results/tools/eval_nsp_seen.py results/downstream/next next_data_bin \
    --songs context_next/songs.txt --midi lmd_a lmd_b --ledger chosen/choice.jsonl

The first argument is what scripts/eval_nsp.py wrote (its .npz files); seen.json and seen.md go there.

PiRhDy's files name the songs of a part (``songs.txt``: a name, a tab, ``train`` or ``test``) in the order of
their pairs, but not which pair is of which song. So the first phrase of each query is searched in the songs'
MIDI files, as the intervals of its highest notes. A phrase that occurs in one song only fixes where that
song's queries lie; those between two fixed ones are of the same song or of one in between.
"""

from __future__ import annotations

import argparse
import bisect
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from program import make_parser, report_errors

from musicbert.arrays import Ints
from musicbert.atomic import write_json, write_text
from musicbert.corpus.bins.databin import read_index, read_tokens
from musicbert.corpus.labelled.sentence_bin import SentenceBin
from musicbert.encoding import FIELDS, N_FIELDS
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.sentences import pair_baselines
from musicbert.evaluation.metrics.bootstrap import interval, resample
from musicbert.evaluation.metrics.ranking import ranking_draws
from musicbert.evaluation.predictions import load_predictions, probabilities
from musicbert.midi import Score, read_score
from musicbert.provenance import provenance

__all__ = [
    "phrase_intervals",
    "queries_of_songs",
    "query_phrases",
    "read_songs",
    "seen_queries",
    "track_intervals",
]

_BAR, _POSITION, _PITCH = (FIELDS.index(name) for name in ("bar", "position", "pitch"))


def read_songs(path: str | PathLike[str], part: str = "test") -> list[str]:
    """Read the names of the songs of a part, in their order.

    Raises
    ------
    DatasetError
        ``not-found``, ``bad-songs`` where a line is no name and part.
    """
    file = Path(path)
    if not file.is_file():
        raise DatasetError("not-found", "There is no such list of songs", path=path)
    lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if any(len(words) != 2 for words in lines):
        raise DatasetError("bad-songs", "Each line has to be the name of a song and its part", path=path)
    return [name for name, where in lines if where == part]


def phrase_intervals(place: Ints, pitch: Ints) -> bytes:
    """Intervals in semitones between the highest notes at successive places, a byte each."""
    order = np.lexsort((-pitch, place))
    place, pitch = place[order], pitch[order]
    highest = pitch[np.r_[True, place[1:] != place[:-1]]] if len(place) else pitch
    return bytes((np.diff(highest) + 128).astype(np.uint8))


def track_intervals(score: Score) -> list[bytes]:
    """`phrase_intervals` of each track."""
    return [
        phrase_intervals(score.onset[score.track == track], score.pitch[score.track == track])
        for track in np.unique(score.track)
    ]


def query_phrases(folder: str | PathLike[str], part: str = "test") -> list[bytes]:
    """`phrase_intervals` of the first phrase of each query, in the order of the queries.

    Raises
    ------
    DatasetError
        Those of `SentenceBin`; ``no-queries`` where the data do not name queries and phrases.
    """
    about = SentenceBin(folder, parts=[part])
    if about.queries is None or about.firsts is None:
        raise DatasetError(
            "no-queries", "The data do not say which pairs belong to a query", path=str(folder)
        )
    place = Path(folder) / "input0" / part
    tokens, ends = read_tokens(place), np.cumsum(read_index(place))
    phrases = []
    for at in np.unique(about.queries, return_index=True)[1].tolist():
        begin = int(ends[at - 1]) if at else 0
        rows = tokens[begin : begin + int(about.firsts[at])].reshape(-1, N_FIELDS)[1:].astype(np.int64)
        phrases.append(phrase_intervals(rows[:, _BAR] * 4096 + rows[:, _POSITION], rows[:, _PITCH]))
    return phrases


def queries_of_songs(
    phrases: Sequence[bytes], tracks: Sequence[Sequence[bytes]], *, shortest: int = 8
) -> Ints:
    """First and last song that each query can be of.

    Parameters
    ----------
    phrases
        Of the queries, in the order of their songs.
    tracks
        Of each song, in the same order.
    shortest
        Intervals that have to agree, at least.

    Returns
    -------
    [shape=(queries, 2), int64]
    """
    fixed: list[tuple[int, int]] = []
    for number, phrase in enumerate(phrases):
        for length in (len(phrase), 12, 8):
            if not shortest <= length <= len(phrase):
                continue
            songs = [
                song for song, lines in enumerate(tracks) if any(phrase[:length] in line for line in lines)
            ]
            if len(songs) == 1:
                fixed.append((number, songs[0]))
            if songs:
                break
    fixed = _rising(fixed)
    result = np.empty((len(phrases), 2), np.int64)
    for number in range(len(phrases)):
        before = bisect.bisect_right(fixed, (number, len(tracks))) - 1
        after = bisect.bisect_left(fixed, (number, -1))
        result[number, 0] = fixed[before][1] if before >= 0 else 0
        result[number, 1] = fixed[after][1] if after < len(fixed) else len(tracks) - 1
    return result


def _rising(found: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Longest part of what was found in which songs follow one another: the rest are chance finds."""
    tails: list[int] = []
    last: list[int] = []
    previous: list[int] = []
    for number, (_, song) in enumerate(found):
        at = bisect.bisect_right(tails, song)
        previous.append(last[at - 1] if at else -1)
        tails[at : at + 1] = [song]
        last[at : at + 1] = [number]
    kept = []
    number = last[-1] if last else -1
    while number >= 0:
        kept.append(found[number])
        number = previous[number]
    return kept[::-1]


def seen_queries(
    folder: str | PathLike[str],
    songs: Sequence[str],
    midi: Mapping[str, str | PathLike[str]],
    seen: Collection[str],
    part: str = "test",
) -> dict[str, Ints]:
    """Queries by whether a pre-training has seen their song.

    Parameters
    ----------
    folder
        Data-bin of ``next`` or ``acc``.
    songs
        Of the part (`read_songs`).
    midi
        Name of a song -> its file; a song without one can only be found by its neighbours.
    seen
        Names of the songs of the pre-training.

    Returns
    -------
    ``seen``, ``unseen`` and ``unknown`` -> positions of queries
    """
    tracks = [track_intervals(read_score(midi[name])) if name in midi else [] for name in songs]
    bounds = queries_of_songs(query_phrases(folder, part), tracks)
    known = np.array([name in seen for name in songs])
    share = np.array([known[low : high + 1].mean() for low, high in bounds])
    return {
        "seen": np.flatnonzero(share == 1),
        "unseen": np.flatnonzero(share == 0),
        "unknown": np.flatnonzero((share > 0) & (share < 1)),
    }


def main() -> int:
    """Parse the arguments, score and report. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument("results", type=Path, help="folder with the predictions")
    parser.add_argument("data", type=Path, help="data-bin, such as next_data_bin")
    parser.add_argument("--songs", type=Path, required=True, help="songs.txt of the PiRhDy files")
    parser.add_argument(
        "--midi", type=Path, nargs="+", required=True, help="folders with the songs' MIDI files"
    )
    parser.add_argument(
        "--ledger", type=Path, required=True, help="choice.jsonl of the pre-training's pieces"
    )
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap")
    given = parser.parse_args()
    return report_errors(lambda: _report(given))


def _report(given: argparse.Namespace) -> str:
    """Write ``seen.json`` and ``seen.md`` and return the latter."""
    songs = read_songs(given.songs)
    midi = {path.stem: path for folder in given.midi for path in folder.rglob("*.mid")}
    lines = map(json.loads, given.ledger.read_text(encoding="utf-8").splitlines())
    seen = {Path(line["file"]).stem for line in lines if line["reason"] is None}
    queries = {name: at for name, at in seen_queries(given.data, songs, midi, seen).items() if len(at)}
    files = sorted(given.results.glob("*.npz"))
    if not files:
        raise DatasetError("not-found", "There are no predictions", path=given.results)
    networks = {path.stem: load_predictions(path)["label"] for path in files}
    first = networks[files[0].stem]
    true = first.classes.index("1")
    labels, of_query = first.target == true, first.groups.astype(np.int64)
    scores = dict(pair_baselines(given.data, "test"))
    scores |= {name: probabilities(network.outputs, "classes")[:, true] for name, network in networks.items()}
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for name, chosen in queries.items():
        pairs = np.isin(of_query, np.unique(of_query)[chosen])
        weights = resample(len(chosen), n_resamples=given.resamples, seed=0)
        for row, values in scores.items():
            draws = ranking_draws(values[pairs], labels[pairs], of_query[pairs], weights=weights)
            rows.setdefault(row, {})[name] = interval(draws["map"]).as_dict()
    counts = {name: len(chosen) for name, chosen in queries.items()}
    songs_seen = sum(name in seen for name in songs)
    inputs = {"songs": given.songs, "ledger": given.ledger}
    record = {
        "songs": {"test": len(songs), "seen": songs_seen},
        "queries": counts,
        "map": rows,
        "provenance": provenance(sys.argv, inputs=inputs, seed=0),
    }
    write_json(given.results / "seen.json", record)
    text = [
        f"# {given.data.name}: songs of the test part that the pre-training has seen",
        "",
        f"{songs_seen} of {len(songs)} songs are among its pieces (as music, without labels). Mean average",
        "precision, brackets: 95 % bootstrap interval over queries. `unknown`: queries whose song is one of",
        "several.",
        "",
        "| row | " + " | ".join(f"{name} ({count})" for name, count in counts.items()) + " |",
        "|---" * (1 + len(counts)) + "|",
    ]
    for row, cells in rows.items():
        shown = (f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" for cell in cells.values())
        text.append(f"| {row} | " + " | ".join(shown) + " |")
    write_text(given.results / "seen.md", "\n".join([*text, ""]))
    return "\n".join(text)


if __name__ == "__main__":
    sys.exit(main())

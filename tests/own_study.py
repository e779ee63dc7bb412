"""A made study of one's own: 6 dimensions on 1..9, 20 raters, as wide, long and survey tables."""

import csv
import json

import numpy as np

from musicbert.midi import midi_bytes
from musicbert.synthesis import PARAMETERS, make_set

#: column, name, low pole, high pole, reversed, expressive parameter behind it
ITEMS = (
    ("tempo", "Speed", "slow", "fast", False, "tempo"),
    ("loud", "Loudness", "soft", "loud", False, "loudness"),
    ("pedal", "Pedal", "dry", "wet", False, "pedal"),
    ("stac", "Articulation", "staccato", "legato", True, "legato"),
    ("expr", "Expressive", "stiff", "expressive", False, "rubato"),
    ("mood", "Mood", "dark", "bright", False, "register"),
)
RATERS = 20
HEADS = ("StartDate", "EndDate", "Status", "Finished", "ResponseId")


def make_study(folder, *, performers=4, segments=8, raters=RATERS, per_piece=6, seed=3):
    """Write ``midi/``, ``dimensions.yaml``, ``pieces.csv`` and the same ratings as three tables."""
    made = make_set(seed, performers=performers, segments=segments, movements=1)
    rng = np.random.default_rng(seed)
    (folder / "midi").mkdir(parents=True)
    pieces = []  # file, work, player, code
    ratings = {}  # rater, piece -> six numbers as they were given
    bias = rng.normal(0, 0.5, (raters, len(ITEMS)))
    for number, (name, score) in enumerate(made.scores.items(), 1):
        player, work = name.split("_")[-2:]
        file = f"Étude {work}, player {player}"
        (folder / "midi" / f"{file}.mid").write_bytes(midi_bytes(score))
        pieces.append((file, f"etude {work}", f"player {player}", str(number)))
        played = dict(zip(PARAMETERS, made.parameters[name], strict=True))
        for rater in rng.choice(raters, per_piece, replace=False).tolist():
            true = [5 + 2 * played[each[-1]] for each in ITEMS] + bias[rater] + rng.normal(0, 0.7, len(ITEMS))
            given = np.clip(np.rint(true), 1, 9).astype(int).tolist()
            ratings[f"r{rater:02d}", file] = [
                10 - v if i[4] else v for v, i in zip(given, ITEMS, strict=True)
            ]
    ratings[next(iter(ratings))][2] = 99  # "don't know"
    lines = ["dimensions:"]
    for column, name, low, high, turned, _ in ITEMS:
        more = ", reversed: yes" if turned else ""
        lines.append(f"- {{column: {column}, name: {name}, low: {low}, high: {high}{more}}}")
    (folder / "dimensions.yaml").write_text("\n".join(lines) + "\n")
    write(folder / "pieces.csv", [["file", "work", "player", "piece"], *pieces])
    code = {file: number for file, *_, number in pieces}
    about = {file: row for file, *row, _ in pieces}
    columns = [each[0] for each in ITEMS]
    write(
        folder / "wide.csv",
        [
            ["rater", "stimulus", "work", "player", *columns, "age"],
            *([rater, f"{file}.wav", *about[file], *given, 30] for (rater, file), given in ratings.items()),
        ],
    )
    write(
        folder / "long.csv",
        [
            ["who", "piece", "question", "answer"],
            *(
                [rater, code[file], column, value]
                for (rater, file), given in ratings.items()
                for column, value in zip(columns, given, strict=True)
            ),
        ],
        separator=";",
    )
    names = [f"{number}_Q{k}" for number in code.values() for k in range(1, 1 + len(ITEMS))]
    of_raters = dict.fromkeys(rater for rater, _ in ratings)
    rows = [
        [*HEADS, *names],
        [*(f"text of {n}" for n in (*HEADS, *names))],
        [json.dumps({"ImportId": n}) for n in (*HEADS, *names)],
    ]
    for rater in of_raters:
        cells = [v for file in code for v in ratings.get((rater, file), [""] * len(ITEMS))]
        rows.append(["2026-01-01", "2026-01-01", "IP Address", "True", rater, *cells])
    rows.append(["2026-01-01", "2026-01-01", "Survey Preview", "True", "test", *["1"] * len(names)])
    write(folder / "survey.csv", rows)
    survey = [
        f"- {{column: Q{k}, name: {i[1]}, low: {i[2]}, high: {i[3]}, reversed: {'yes' if i[4] else 'no'}}}"
        for k, i in enumerate(ITEMS, 1)
    ]
    (folder / "questions.yaml").write_text("\n".join(survey) + "\n")
    return pieces, ratings


def write(path, rows, separator=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows(rows)

"""BPS-motif (MNID): which notes of 32 first movements of Beethoven's piano sonatas belong to a motif.

``csv_notes/NN-1.csv`` (also ``notes_for_mnid/``): onset and duration in quarter notes, midi_number, type (the
motif's name, empty where there is none); ``<N>/dBeats.xlsx`` of BPS-FH: downbeats in quarter notes in its
first column, without a heading. Each bar is stretched to 4 beats, notes without duration are left out.

BPS-FH has a hole of 202 quarter notes in sonata 3, which the published program takes for one bar
(``compatible=True``); here it is filled with regular bars. ``published`` and ``clean`` are the same five
folds, whole sonatas: [0-6], [7-13], [14-19], [20-25], [26-31].
"""

import zipfile
from functools import partial
from io import BytesIO

import numpy as np

from musicbert.arrays import Floats
from musicbert.corpus.readers.beats import fill_gaps, times_to_beats
from musicbert.corpus.readers.contract import Item, Loaded, Source
from musicbert.corpus.readers.files import SourceFiles
from musicbert.corpus.readers.tnua import read_table
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.errors import DatasetError

_NOTES = r"(?:^|/)(?P<number>\d{2})-1\.csv$"
_BARS = r"(?:^|/)(?P<number>\d{1,2})/d[Bb]eats\.xlsx$"
#: First sonata (from 0) of each fold after the first.
_FOLDS = (7, 14, 20, 26)
NO_MOTIF, MOTIF = 1, 2


def _items(files: SourceFiles, compatible: bool) -> list[Item]:
    bars = {int(match["number"]): match.string for match in files.find(_BARS)}
    items = []
    for match in files.require(_NOTES, "<NN>-1.csv with the notes of sonata NN"):
        number, path = int(match["number"]), match.string
        fold = str(int(np.searchsorted(_FOLDS, number - 1, side="right")))
        name = f"{number:02d}-1"
        items.append(
            Item(
                name,
                path,
                f"sonata{number:02d}",
                {"published": fold, "clean": fold},
                partial(_load, files, path, name, bars.get(number), compatible),
            )
        )
    return items


def _load(files: SourceFiles, path: str, name: str, bars: str | None, compatible: bool) -> list[Loaded]:
    if bars is None:
        raise DatasetError(
            "no-bars",
            "There is no dBeats.xlsx for this sonata",
            path=path,
            hint="put BPS_FH_Dataset of Tsung-Ping/functional-harmony beside the notes",
        )
    table = read_table(files, path, ("onset", "midi_number", "duration"))
    if "type" not in table:
        raise DatasetError("no-column", "The table has no column type", path=path)
    table = table[table["duration"] > 0]
    lines = _downbeats(files, bars)
    lines = lines if compatible else fill_gaps(lines)
    # one bar more on either side, as long as its neighbour, is what `times_to_beats` does anyway; a pickup
    # then lies at negative beats, and the published program counts from the bar before
    shift = 4.0 if compatible else 0.0
    onset, duration = (table[column].to_numpy(np.float64) for column in ("onset", "duration"))
    notes = BeatNotes(
        onset=times_to_beats(onset, lines) + shift,
        offset=times_to_beats(onset + duration, lines) + shift,
        pitch=table["midi_number"].to_numpy(np.int64),
        velocity=np.full(len(table), 64, np.int64),
    )
    return [(name, notes, {"mnid": np.where(table["type"].isna(), NO_MOTIF, MOTIF).astype(np.int64)})]


def _downbeats(files: SourceFiles, path: str) -> Floats:
    """First column of the first sheet [shape=(bars,), quarter notes]."""
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = load_workbook(BytesIO(files.read(path)), read_only=True, data_only=True)
        column = [row[0] for row in book.worksheets[0].iter_rows(max_col=1, values_only=True) if row]
        lines = np.array([value for value in column if value is not None], np.float64)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, IndexError, ValueError, TypeError) as error:
        raise DatasetError("bad-bars", f"The downbeats cannot be read: {error}", path=path) from error
    return lines


BPS_MOTIF = Source(
    name="bps_motif",
    about="motifs in 32 first movements of Beethoven's piano sonatas",
    origin="github.com/Wiilly07/Beethoven_motif and github.com/Tsung-Ping/functional-harmony",
    licence="none stated (notes), GPL-3.0 (downbeats)",
    layout="csv_notes/<NN>-1.csv and BPS_FH_Dataset/<N>/dBeats.xlsx (32 each)",
    wanted=rf"{_NOTES}|{_BARS}".replace("(?P<number>", "(?:"),
    items=_items,
    versions=False,
)

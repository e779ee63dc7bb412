"""Notes of MusicXML and Humdrum scores, by music21: what the published benchmark reads of AugmentedNet.

music21 is an extra (``pip install musicbert[scores]``), imported when a score is read. Verified in
``tests/unit/corpus/readers/test_details.py`` and ``tests/parity/test_readers_shared.py``.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.errors import DatasetError

__all__ = ["score_notes"]

#: Largest uncompressed score: the longest of AugmentedNet's has about 20 MB.
_MOST_BYTES = 256 << 20
_ROOT = re.compile(rb'full-path="([^"]+)"')


def score_notes(
    content: bytes, path: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the notes of a score, chords note by note and tied notes apart, without those of no duration.

    Parameters
    ----------
    content
        The file: ``.mxl``, ``.musicxml``, ``.xml`` or ``.krn``.
    path
        Its name, whose suffix says what it is.

    Returns
    -------
    onset, offset
        [shape=(n,), float64, quarter notes], by onset, pitch and duration.
    pitch
        [shape=(n,), int64].

    Raises
    ------
    DatasetError
        ``no-music21``, ``bad-score``.
    """
    try:
        from music21 import converter
    except ImportError as error:
        raise DatasetError(
            "no-music21", "Notes of scores need music21", path=path, hint="pip install 'musicbert[scores]'"
        ) from error
    suffix = PurePosixPath(path).suffix.lower()
    try:
        content = _unpacked(content) if suffix == ".mxl" else content
        text = content.decode("utf-8-sig") if _is_utf8(content) else content.decode("latin-1")
        parsed: Any = converter.parseData(text, format="humdrum" if suffix == ".krn" else "musicxml")
        table = [
            (float(note.offset), pitch.midi, float(note.quarterLength))
            for note in parsed.flatten().notes
            if note.quarterLength > 0
            for pitch in note.pitches
        ]
    except DatasetError:
        raise
    except Exception as error:  # music21 raises whatever its parsers meet
        raise DatasetError("bad-score", f"music21 cannot read the score: {error!r}", path=path) from error
    rows = np.array(sorted(table), np.float64).reshape(-1, 3)
    return rows[:, 0], rows[:, 0] + rows[:, 2], rows[:, 1].astype(np.int64)


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _unpacked(content: bytes) -> bytes:
    """Score of a compressed MusicXML file (its container names it)."""
    if not content.startswith(b"PK"):  # some files carry the suffix and are not compressed
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        found = (
            _ROOT.search(archive.read("META-INF/container.xml"))
            if "META-INF/container.xml" in names
            else None
        )
        scores = [
            name for name in names if name.endswith((".xml", ".musicxml")) and not name.startswith("META-INF")
        ]
        name = found[1].decode("utf-8") if found else scores[0]
        if archive.getinfo(name).file_size > _MOST_BYTES:
            raise DatasetError("too-large", "The score unpacks to more than a score would")
        return archive.read(name)

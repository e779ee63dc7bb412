"""Real scores against music21's own list of notes: its `stripTies` joins ties in another way than we do."""

import tarfile
from collections import Counter
from fractions import Fraction

import pytest

from musicbert.midi import read_score

pytestmark = [pytest.mark.shared, pytest.mark.slow]
SUFFIXES = {".mxl": 2, ".krn": 1, ".musicxml": 2}


def smallest(archive: str) -> list[tuple[str, bytes]]:
    """Some scores of each format."""
    with tarfile.open(archive) as tar:  # in one pass: it is packed
        files = {
            info.name: tar.extractfile(info).read() for info in tar if info.name.endswith(tuple(SUFFIXES))
        }
    order = sorted((name for name in files if len(files[name]) > 2000), key=lambda name: len(files[name]))
    return [
        (name, files[name])
        for suffix, count in SUFFIXES.items()
        for name in [each for each in order if each.endswith(suffix)][:count]
    ]


def test_notes_are_those_of_music21(shared, tmp_path):
    music21 = pytest.importorskip("music21")
    for number, (name, data) in enumerate(smallest(shared / "data" / "tasks" / "cr_lk_augmentednet.tar.xz")):
        path = tmp_path / f"{number}.{name.rpartition('.')[2]}"
        path.write_bytes(data)
        score = read_score(path)
        quarter = score.ticks_per_beat
        rows = zip(score.onset.tolist(), score.offset.tolist(), score.pitch.tolist(), strict=True)
        ours = Counter((Fraction(on, quarter), Fraction(off - on, quarter), pitch) for on, off, pitch in rows)
        theirs: Counter = Counter()
        for part in music21.converter.parse(path, forceSource=True).parts:
            for note in part.stripTies().flatten().notes:
                if note.quarterLength > 0 and not isinstance(note, music21.harmony.Harmony):
                    at, length = Fraction(note.offset), Fraction(note.quarterLength)
                    theirs.update((at, length, pitch.midi) for pitch in note.pitches)
        shift = min(ours)[0] - min(theirs)[0]  # of a pickup
        moved = Counter({(at + shift, length, pitch): n for (at, length, pitch), n in theirs.items()})
        assert ours == moved, name

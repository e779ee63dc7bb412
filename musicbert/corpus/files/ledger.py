"""The ledger of outcomes: one line of JSON for every file that was asked for or found.

An outcome is ``ok`` or a stable reason in kebab case; nothing is left out silently. The lines hold only what
the input determines (no clock times), so the same input gives the same bytes. Verified in
``tests/unit/corpus/files/test_ledger.py``.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from os import PathLike

from musicbert.atomic import write_text
from musicbert.corpus.files.folders import read_whole
from musicbert.errors import DatasetError

OK = "ok"
#: A rated segment of which no MIDI file was found.
NO_MIDI = "no-midi"
#: A MIDI file that nobody rated.
NO_LABEL = "no-label"


@dataclass(frozen=True)
class Outcome:
    """What became of one file: ``outcome`` is ``"ok"`` or the reason why it is not in the data set.

    ``notes`` were read, ``notes_written`` are in the data set (fewer where a piece is longer than one
    window); ``seconds`` from the first onset to the last offset; ``copy_of`` names the file with the same
    bytes (in a corpus: the path of the one with the same notes); ``content`` is
    `musicbert.encoding.content_md5`; ``group`` is the path that names the group of near-duplicates;
    ``source`` is the archive, folder or list as given; ``beyond_limit`` counts the notes that octuples leave
    out because they begin after 1,024 bars of 4/4 (None: none), ``programs_elsewhere`` those whose program
    another track of their channel sets (`musicbert.midi.channels`); ``beats`` is the hash of the annotations
    beside the file (`musicbert.corpus.files.beats`), where they were asked for; ``notation`` is the format of
    a written score (`musicbert.midi.notation`), of which ``detail`` says what reading it left out or assumed.
    """

    name: str
    outcome: str
    path: str | None = None
    notes: int | None = None
    notes_written: int | None = None
    seconds: float | None = None
    sha256: str | None = None
    copy_of: str | None = None
    detail: str | None = None
    source: str | None = None
    content: str | None = None
    group: str | None = None
    split: str | None = None
    beyond_limit: int | None = None
    programs_elsewhere: int | None = None
    beats: str | None = None
    notation: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the file is in the data set."""
        return self.outcome == OK

    def to_line(self) -> str:
        """Return the outcome as one line of JSON without its empty fields."""
        return json.dumps({k: v for k, v in vars(self).items() if v is not None})


def count(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Count outcomes by reason, the most frequent first and ties by name."""
    counted = Counter(outcome.outcome for outcome in outcomes)
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def write_ledger(path: str | PathLike[str], outcomes: Iterable[Outcome]) -> None:
    """Write a ledger atomically, one line a file, in the order given."""
    write_text(path, "".join(outcome.to_line() + "\n" for outcome in outcomes))


def read_ledger(path: str | PathLike[str]) -> list[Outcome]:
    """Read a ledger.

    Raises `DatasetError`: ``not-found``, or ``bad-ledger`` for a line that is not an outcome.
    """
    text = read_whole(path, "The ledger", most=None).decode("utf-8")  # it grows with the data set
    known = {field.name for field in fields(Outcome)}
    outcomes = []
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        try:
            record = json.loads(line)
            # fields that a later version added are passed over
            outcomes.append(Outcome(**{key: value for key, value in record.items() if key in known}))
        except (ValueError, TypeError, AttributeError) as error:
            raise DatasetError(
                "bad-ledger", f"Line {number} is not an outcome", path=path, hint="make the data set again"
            ) from error
    return outcomes

"""What a training cost: seconds and notes, over all the processes of a run that was cut off and resumed.

fairseq's clock (``train_wall`` of an epoch, ``wall`` of the lines within it) counts the seconds of a process,
from its start; a resumed run writes several processes into one log. A process begins with fairseq's dump of
its configuration and says at which update it goes on (``Loaded checkpoint ... @ 400 updates``). Work that a
process did after the checkpoint from which the next one went on is no part of the run. Where a run goes on
from a checkpoint, fairseq's clock stands still at 0 (the meter is loaded, and not started again); then the
times of the lines count, from the dump of the configuration on. The seconds are right to the lines of the
log: to ``--log-interval`` updates a process. Verified in ``tests/results_tools/test_training_effort.py``
and, on a run that was cut off, in ``tests/integration/test_pretraining_recipe.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from musicbert.encoding.vocabulary import N_FIELDS
from musicbert.evaluation.training_log import Curves

__all__ = ["SPECIAL_ROWS", "STATE", "notes_seen", "training_seconds"]

_BEGUN = re.compile(r"fairseq_cli\.train\s*[|:]\s*\{'_name'")
_LOADED = re.compile(r"Loaded checkpoint .* @ (\d+) updates\)")
#: line of a training's state, as JSON
STATE = re.compile(r"(?:\| |INFO:)train(?:_inner)?(?: \| |:)(\{.*\})\s*$")
#: special octuples at the ends of a row, of which fairseq's log counts the tokens
SPECIAL_ROWS = 2


@dataclass
class _Process:
    """Points (update, seconds) of a process, and the update from which it went on where that is known."""

    start: float | None
    begun: datetime | None = None
    points: list[tuple[float, float]] = field(default_factory=list)
    times: list[datetime | None] = field(default_factory=list)

    def began_at(self) -> float:
        # a point stands for at least one update
        return self.points[0][0] - 1 if self.start is None else self.start

    def seconds_at(self, number: int) -> float:
        """Seconds at a point, by the times of the lines where the clock stands still."""
        now = self.times[number]
        if self.begun is None or now is None or any(seconds for _, seconds in self.points):
            return self.points[number][1]
        return (now - self.begun).total_seconds()


def training_seconds(lines: Iterable[str]) -> float:
    """Return the seconds that a training took, of all its processes.

    Parameters
    ----------
    lines
        Log of fairseq-train with ``--log-format json``.

    Returns
    -------
    Seconds by fairseq's clocks (or the times of the lines, see the module), up to the last update of each
    process that counts; 0 where the log has none.
    """
    total, limit = 0.0, float("inf")
    for process in reversed(_processes(lines)):
        began = process.began_at()
        kept = [i for i, (update, _) in enumerate(process.points) if began < update <= limit]
        if kept:
            total += process.seconds_at(kept[-1])
            limit = process.began_at()
    return total


def _processes(lines: Iterable[str]) -> list[_Process]:
    processes = [_Process(None)]
    for line in lines:
        current = processes[-1]
        if _BEGUN.search(line):
            processes.append(_Process(0.0, _time(line)))
        elif loaded := _LOADED.search(line):
            if not current.points:
                current.start = float(loaded[1])
        elif state := STATE.search(line):
            try:
                body = json.loads(state[1])
            except ValueError:  # a process was killed while it wrote, and the next one wrote on
                continue
            update = body.get("train_num_updates", body.get("num_updates"))
            # within an epoch, train_wall is the time of the steps alone
            seconds = body.get("train_wall") if "train_num_updates" in body else body.get("wall")
            if update is None or seconds is None:
                continue
            if current.points and float(seconds) < current.points[-1][1]:  # its beginning is not in the log
                current = _Process(None)
                processes.append(current)
            current.points.append((float(update), float(seconds)))
            current.times.append(_time(line))
    return [process for process in processes if process.points]


def _time(line: str) -> datetime | None:
    """When a line was written, as Python's logging says it; None where it does not."""
    try:
        return datetime.strptime(line[:19], "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None


def notes_seen(curves: Curves, *, octuples: bool) -> float | None:
    """Return the notes that a training saw, summed over its epochs.

    Parameters
    ----------
    curves
        Of a log, over updates; ``wpb`` are the words of an update and ``bsz`` its rows.
    octuples
        Whether a word is a token of an octuple (MusicBERT: eight are a note, and a row has two special
        octuples), in place of a column of cells (M2BERT: a note).

    Returns
    -------
    None where the log does not say.
    """
    words, rows = (dict(curves.get(name, {}).get("train", [])) for name in ("wpb", "bsz"))
    if not words or (octuples and words.keys() - rows.keys()):
        return None
    seen, before = 0.0, 0.0
    for update, count in sorted(words.items()):
        notes = count / N_FIELDS - SPECIAL_ROWS * rows[update] if octuples else count
        seen, before = seen + (update - before) * notes, update
    return seen

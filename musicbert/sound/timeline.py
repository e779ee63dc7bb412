"""What is played when: a score as events in samples, the pedals already applied to its notes.

The sustain pedal (controller 64, down from 64) keeps a note sounding to its release; the sostenuto pedal (66)
those whose keys are down when it is pressed. A key that is struck again ends its earlier note, as the string
of a piano does. Not heard: the soft pedal (67), pitch bends and pressure, which a `Score` does not hold.
"""

from dataclasses import dataclass

import numpy as np

from musicbert.arrays import Bools, Floats, Ints
from musicbert.midi import Score

#: controllers that are played
VOLUME, PAN, EXPRESSION, SUSTAIN, SOSTENUTO = 7, 10, 11, 64, 66
#: kinds of events beside the controllers
NOTE_OFF, NOTE_ON = 0x80, 0x90
#: order of events at one sample: of controllers, ends of notes, beginnings, ends of notes of no length
_CONTROL, _END, _BEGIN, _ZERO_END = range(4)
#: seconds after the last key is up in which pedals still hold notes
HELD = 10.0


@dataclass(frozen=True, eq=False)
class Timeline:
    """Events in the order of time.

    Attributes
    ----------
    sample, kind, where, value
        When, what (`NOTE_ON`, `NOTE_OFF` or a controller), on which channel (for a controller: track), and
        the pitch or value [shape=(events,), int64 each].
    channels
        Track, program, whether percussion, and velocity of each channel [shape=(channels, 4), int64].
    end
        Sample at which the last key goes up, or the part ends; what still sounds is the tail.
    """

    sample: Ints
    kind: Ints
    where: Ints
    value: Ints
    channels: Ints
    end: int


def timeline(score: Score, notes: Bools, *, begin: float, end: float | None, sample_rate: int) -> Timeline:
    """Events of some notes of a score [shape=(n,), bool] between two times in seconds.

    Without ``end`` the music ends by itself; otherwise notes and pedals end there.
    """
    notes = notes & (score.velocity > 0)
    onset, offset = (np.maximum(score.seconds(ticks[notes]), begin) for ticks in (score.onset, score.offset))
    last = float(offset.max(initial=begin)) if end is None else end
    offset = _held(score, notes, onset, np.minimum(offset, last), last + HELD if end is None else last)
    columns = (score.track, score.program, score.drum, score.velocity)
    of_notes = np.stack([column[notes].astype(np.int64) for column in columns], axis=1).reshape(-1, 4)
    channels, channel = np.unique(of_notes, axis=0, return_inverse=True)
    channel = channel.reshape(-1)
    controls = _controls(score, begin, last, channels[:, 0])
    at = score.seconds(score.control_tick[controls])

    def samples(seconds: Floats) -> Ints:
        return np.rint((np.maximum(seconds, begin) - begin) * sample_rate).astype(np.int64)

    on, off = samples(onset), samples(offset)
    n, m = len(on), len(at)
    sample = np.concatenate([samples(at), on, off])
    order = np.concatenate([np.full(m, _CONTROL), np.full(n, _BEGIN), np.where(off > on, _END, _ZERO_END)])
    kind = np.concatenate([score.control_number[controls], np.full(n, NOTE_ON), np.full(n, NOTE_OFF)])
    where = np.concatenate([score.control_track[controls], channel, channel])
    value = np.concatenate([score.control_value[controls], score.pitch[notes], score.pitch[notes]])
    sorted_ = np.lexsort((order, sample))  # stable: controllers of one sample stay in order
    end_sample = int(samples(np.array([last]))[0])
    return Timeline(sample[sorted_], kind[sorted_], where[sorted_], value[sorted_], channels, end_sample)


def _controls(score: Score, begin: float, last: float, tracks: Ints) -> Ints:
    """Controllers to be played: those of the part, and the last of each kind before it."""
    mine = np.isin(score.control_number, (VOLUME, PAN, EXPRESSION)) & np.isin(score.control_track, tracks)
    at = score.seconds(score.control_tick)
    earlier = np.flatnonzero(mine & (at < begin))
    key = score.control_track[earlier] * 128 + score.control_number[earlier]
    latest = {int(k): int(index) for k, index in zip(key, earlier, strict=True)}
    inside = np.flatnonzero(mine & (at >= begin) & (at <= last))
    return np.concatenate([np.array(sorted(latest.values()), np.int64), inside])


def _held(score: Score, notes: Bools, onset: Floats, offset: Floats, most: float) -> Floats:
    """Ends of notes in seconds, with the pedals; none sounds beyond ``most``."""
    result, track, pitch = offset.copy(), score.track[notes], score.pitch[notes]
    pitched = ~score.drum[notes]
    for number in (SOSTENUTO, SUSTAIN):
        for mine in np.unique(score.control_track[score.control_number == number]):
            own = np.flatnonzero((track == mine) & pitched)
            down, up = _presses(score, number, int(mine), most)
            if not len(own) or not len(down):
                continue
            k = np.searchsorted(down, result[own], side="right" if number == SUSTAIN else "left") - 1
            holds = (k >= 0) & (result[own] < up[k])
            if number == SOSTENUTO:
                holds &= down[k] >= onset[own]
            result[own[holds]] = up[k[holds]]
    order = np.lexsort((onset, pitch, track))
    same = (np.diff(track[order]) == 0) & (np.diff(pitch[order]) == 0)
    again = np.full(len(order), np.inf)  # when the key of each note is struck again
    again[:-1][same] = onset[order][1:][same]
    ends = result[order]
    result[order] = np.where(ends > offset[order], np.maximum(np.minimum(ends, again), offset[order]), ends)
    return np.minimum(result, most)


def _presses(score: Score, number: int, track: int, most: float) -> tuple[Floats, Floats]:
    """Times in seconds at which a pedal goes down, and up again."""
    mine = (score.control_number == number) & (score.control_track == track)
    at, down = score.seconds(score.control_tick[mine]), score.control_value[mine] >= 64
    change = np.flatnonzero(np.diff(down, prepend=False))  # down, up, down, ...
    times = at[change]
    ups = times[1::2]
    return times[::2], np.append(ups, most) if len(times) % 2 else ups

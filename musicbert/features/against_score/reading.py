"""`Reading`: a performance aligned with its score, note by note, and its timing."""

from dataclasses import dataclass

import numpy as np

from musicbert.arrays import Bools, Floats, Ints
from musicbert.errors import MidiError
from musicbert.features.against_score.alignment import Written, align
from musicbert.features.playing import Playing

#: Seconds by which the onset of a chord must follow the one before it to count in the course of time, and the
#: fewest chords of a course.
LATER, FEWEST = 0.005, 3
#: Quarter notes of the longest score: its course is read at fixed steps.
MAX_BEATS = 1_000_000
#: Lower bounds of a note's written length (quarter notes) and played length (seconds).
SHORTEST_WRITTEN, SHORTEST_PLAYED = 0.05, 0.01


#: Written times at which a score is looked at; a score that lasts longer is looked at more coarsely.
MAX_POINTS = 1 << 17


def coarse_enough(step: float, span: float) -> float:
    """Return the step, or the larger one that keeps a span of written time within `MAX_POINTS`."""
    return max(step, float(span) / MAX_POINTS)


@dataclass(frozen=True, eq=False)
class Reading:
    """Matched notes of a performance and its score: m notes in k chords.

    Attributes
    ----------
    missing, extra
        Share of the written notes that are not played, and of the played notes that are not written [0-1].
    chord
        Written chord of each note [shape=(m,), int64].
    beat, length, onset, duration, velocity, pitch
        Of each note: written onset and length [quarter notes], played onset and duration [seconds], velocity
        [0-1], MIDI pitch [shape=(m,), float64].
    top, bottom
        Whether a note is the highest or lowest played one of its chord [shape=(m,), bool].
    course_beat, course_time
        Course of time: chords [quarter notes] and when they were played (mean of their notes) [seconds],
        both strictly rising [shape=(k,), float64].
    course_chord
        Written chord of each point of the course [shape=(k,), int64].
    """

    play: Playing
    score: Written
    missing: float
    extra: float
    chord: Ints
    beat: Floats
    length: Floats
    onset: Floats
    duration: Floats
    velocity: Floats
    pitch: Floats
    top: Bools
    bottom: Bools
    course_beat: Floats
    course_time: Floats
    course_chord: Ints

    def grid(self, step: float) -> tuple[Floats, Floats]:
        """Return written times every ``step`` quarter notes [shape=(g + 1,)] and the tempo between them.

        Tempo is log2 of seconds a quarter note [shape=(g,)].
        """
        first, last = self.course_beat[0], self.course_beat[-1]
        points = np.arange(first, last + 1e-6, coarse_enough(step, last - first))
        if len(points) < 4:
            points = np.linspace(first, last, 5)
        seconds = np.diff(np.interp(points, self.course_beat, self.course_time))
        return points, np.log2(np.maximum(seconds, 1e-3) / np.diff(points))

    def period(self, beat: Floats) -> Floats:
        """Return the seconds that a quarter note takes around some written times [shape=(j,), float64]."""
        points, slow = self.grid(1.0)
        middle = points[:-1] + 0.5
        return np.interp(beat, middle, 2.0**slow)

    def in_chords(self, values: Floats) -> Floats:
        """Return the mean of a note column at each point of the course [shape=(k,), float64]."""
        size = np.bincount(self.chord, minlength=len(self.score.beat))
        total = np.bincount(self.chord, values, minlength=len(self.score.beat))
        return np.asarray((total / np.maximum(size, 1))[self.course_chord])


def _extreme(chord: Ints, pitch: Floats, *, highest: bool) -> Bools:
    """Mark the highest (lowest) note of each chord."""
    order = np.lexsort((-pitch if highest else pitch, chord))
    first = np.diff(chord[order], prepend=-1) != 0
    marks = np.zeros(len(chord), bool)
    marks[order[first]] = True
    return marks


def reading(play: Playing, score: Written) -> Reading:
    """Align a performance with its score.

    Raises `MidiError` (``"no-match"``: fewer than three written chords were played, so these are not the same
    bars; ``"too-many-notes"`` of :func:`align`; ``"too-large"``: a score of more than ``MAX_BEATS``).
    """
    beats = float(np.ptp(score.beat))
    if beats > MAX_BEATS:
        raise MidiError("too-large", f"the score has {beats:,.0f} quarter notes, more than {MAX_BEATS:,}")
    match = align(play, score)
    matched = match >= 0
    chord, note = score.chord[matched], match[matched]
    size = np.bincount(chord, minlength=len(score.beat))
    time = np.bincount(chord, play.onset[note], minlength=len(score.beat)) / np.maximum(size, 1)
    course: list[int] = []
    for j in np.flatnonzero(size).tolist():
        if not course or time[j] > time[course[-1]] + LATER:
            course.append(j)
    if len(course) < FEWEST:
        raise MidiError(
            "no-match",
            f"only {len(course)} chords of the score occur in the performance",
            hint="are these the same bars?",
        )
    return Reading(
        play=play,
        score=score,
        missing=float(1 - matched.mean()),
        extra=float(1 - matched.sum() / len(play.onset)),
        chord=chord,
        beat=score.onset[matched],
        length=np.maximum(score.length[matched], SHORTEST_WRITTEN),
        onset=play.onset[note],
        duration=np.maximum(play.offset[note] - play.onset[note], SHORTEST_PLAYED),
        velocity=play.velocity[note] / 127.0,
        pitch=play.pitch[note],
        top=_extreme(chord, play.pitch[note], highest=True),
        bottom=_extreme(chord, play.pitch[note], highest=False),
        course_beat=score.beat[course],
        course_time=time[course],
        course_chord=np.array(course, np.int64),
    )

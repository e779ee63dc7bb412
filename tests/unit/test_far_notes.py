"""A note far away is a line of a file, not memory: nothing here is laid out moment by moment."""

import subprocess
import sys

import numpy as np
import pytest

from musicbert.corpus.readers.beats import fill_gaps
from musicbert.errors import DatasetError

#: everything that reads a `Score`, on scores whose last note lies at the last tick that can be
PROGRAM = """
import resource
import numpy as np
from musicbert.encoding import Policies, decode, encode, encode_notes, performance_inputs
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.encoding.codecs import CODECS, get_codec
from musicbert.errors import MusicBertError
from musicbert.features import features
from musicbert.features.against_score import score_features
from musicbert.midi import Score, read_score
from musicbert.objectives.note_fields import CP
from musicbert.objectives.pianoroll import roll_target
from musicbert.predict.pieces import read_piece

def far(ticks_per_beat, last):
    onset = np.array([0, 480, 960, last], np.int64)
    return Score(ticks_per_beat=ticks_per_beat, onset=onset, offset=onset + 1,
                 pitch=np.array([60, 62, 64, 65]), velocity=np.full(4, 64), program=np.zeros(4, np.int64),
                 drum=np.zeros(4, bool), track=np.zeros(4, np.int64), tempo_tick=np.array([0]),
                 tempo_bpm=np.array([4.0]))

near = far(480, 1440)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for score in (far(1, 2**31 - 2), far(480, 2**31 - 2), far(32767, 2**31 - 2)):
    rows, index = encode_notes(score)
    calls = [
        lambda: features(score), lambda: score_features(near, score), lambda: score_features(score, score),
        lambda: score_features(score, near), lambda: performance_inputs(score, index),
        lambda: read_score(score.to_bytes() if hasattr(score, "to_bytes") else score),
        lambda: decode(rows), lambda: roll_target(get_codec("cp").encode(score)[0], CP),
        *(lambda name=name: get_codec(name).encode(score) for name in CODECS),
        *(lambda name=name: read_piece(score, codec=name) for name in CODECS),
        lambda: encode(score, policies=Policies(beyond_limit="error")),
    ]
    beats = BeatNotes(*(column / score.ticks_per_beat for column in (score.onset, score.offset)),
                      score.pitch, score.velocity)
    calls += [lambda name=name: get_codec(name).encode(beats) for name in CODECS]
    for call in calls:
        try:
            call()
        except MusicBertError:
            pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before >> 10)
"""


def test_far_notes_take_no_memory():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 500


def test_a_hole_of_any_length_in_an_annotation_is_an_error():
    assert len(fill_gaps([0, 4, 4000])) == 1001
    with pytest.raises(DatasetError, match="hole"):
        fill_gaps(np.array([0, 4, 1e15]))

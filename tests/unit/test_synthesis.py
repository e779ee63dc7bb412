"""Made performances: reproducible, readable, and worth learning from."""

import numpy as np
import pytest

from musicbert.midi import read_score
from musicbert.synthesis import PARAMETERS, make_set, write_made_set


@pytest.fixture(scope="module")
def made():
    return make_set(3, performers=4, segments=4, movements=1)


def test_the_same_seed_gives_the_same_bytes(tmp_path, made):
    first = [path.read_bytes() for path in write_made_set(made, tmp_path / "a")]
    again = make_set(3, performers=4, segments=4, movements=1)
    second = [path.read_bytes() for path in write_made_set(again, tmp_path / "b")]
    assert first == second
    other = make_set(4, performers=4, segments=4, movements=1)
    assert write_made_set(other, tmp_path / "c")[1].read_bytes() != first[1]


def test_performances_survive_a_midi_file(made, tmp_path):
    name, score = next(iter(made.scores.items()))
    score.save(tmp_path / f"{name}.mid")
    back = read_score(tmp_path / f"{name}.mid")
    assert sorted(zip(back.onset, back.pitch, back.velocity, strict=True)) == sorted(
        zip(score.onset, score.pitch, score.velocity, strict=True)
    )
    assert (back.control_number == 64).sum() == len(score.control_tick)


def test_parameters_are_audible_and_rated(made):
    """Tempo shows in the notes a second, and "Fast paced" (a low answer) follows it."""
    header, *rows = made.rating_rows
    column = header.index("Question_6_1_1")
    ids = list(made.scores)
    tempo = np.array([made.parameters[i][PARAMETERS.index("tempo")] for i in ids])
    rate = [len(made.scores[i]) / made.scores[i].seconds(made.scores[i].offset).max() for i in ids]
    answers = [np.mean([float(r[column]) for r in rows if r[2] == f"{i}.wav"]) for i in ids]
    assert np.corrcoef(tempo, rate)[0, 1] > 0.8
    assert np.corrcoef(tempo, answers)[0, 1] < -0.7


def test_ratings_hold_what_real_tables_hold(made):
    header, *rows = made.rating_rows
    assert len(header) == 33
    answers = {cell for row in rows for cell in row[3:31]}
    assert answers <= {"", *"01234567"}
    assert {"", "0"} <= answers

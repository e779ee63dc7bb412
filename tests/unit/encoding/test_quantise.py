"""Every table equals the published one."""

import json

import numpy as np
import pytest

from musicbert.encoding import quantise
from musicbert.encoding.quantise import (
    BAR_LENGTHS,
    METRES,
    duration_code,
    duration_value,
    metre_code,
    positions,
    reduce_metre,
    tempo_code,
    tempo_value,
    velocity_code,
    velocity_value,
)


@pytest.fixture(scope="module")
def tables(fixtures):
    return json.loads((fixtures / "musicbert" / "tables.json").read_text())


def test_durations(tables):
    assert duration_code(np.arange(len(tables["d2e"]))).tolist() == tables["d2e"]
    assert duration_value(np.arange(128)).tolist() == tables["e2d"]
    assert duration_code(10**9) == 127


def test_velocities(tables):
    assert velocity_code(np.arange(128)).tolist() == tables["v2e"]
    assert velocity_value(np.arange(32)).tolist() == tables["e2v"]


def test_tempi(tables):
    bpm, codes = np.array(tables["b2e"]).T
    assert tempo_code(bpm).tolist() == codes.tolist()
    np.testing.assert_allclose(tempo_value(np.arange(49)), tables["e2b"], rtol=0, atol=5.1e-7)  # 6 decimals
    assert tempo_code([1e-9, 1e9]).tolist() == [0, 48]


def test_metres(tables):
    assert [list(metre) for metre in METRES] == tables["ts_list"]
    assert BAR_LENGTHS.tolist() == tables["bar_length"]
    for numerator, denominator, reduced_n, reduced_d, code in tables["time_signature_reduce"]:
        assert reduce_metre(numerator, denominator) == (reduced_n, reduced_d)
        assert metre_code(reduced_n, reduced_d) == code


def test_large_prime_numerators_take_no_time():
    assert reduce_metre(2**31 - 1, 4) == (1, 4)


@pytest.mark.parametrize(("tick", "expected"), [(14, 0), (15, 0), (16, 1), (45, 2), (75, 2), (105, 4)])
def test_positions_round_half_to_even(tick, expected):
    assert positions([tick], 480).tolist() == [expected]
    assert expected == round(tick * 16 / 480)


def test_positions_equal_pythons_rounding():
    ticks = np.arange(5000)
    for ticks_per_beat in (1, 7, 10, 96, 220, 480, 1024, 32767):
        assert positions(ticks, ticks_per_beat).tolist() == [
            round(t * 16 / ticks_per_beat) for t in range(5000)
        ]
    assert quantise.POSITIONS_PER_BEAT == 16

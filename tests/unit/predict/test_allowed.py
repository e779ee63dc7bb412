"""Values in the units of musicians become codes, or one error says what is wrong."""

import pytest

from musicbert.encoding import FIELDS
from musicbert.errors import ConfigError
from musicbert.midi.instruments import INSTRUMENTS, instrument_name, instrument_number
from musicbert.predict.allowed import allowed_values, numbers_by_field, scale_pitches


@pytest.mark.parametrize(
    ("field", "text", "codes"),
    [
        ("pitch", "60-62,72", [60, 61, 62, 72]),
        ("pitch", "C4-D4,Bb3,f#-1", [6, 58, 60, 61, 62]),
        ("pitch", "C-1-C#-1", [0, 1]),
        ("pitch", "60-66:3", [60, 63, 66]),
        ("pitch", "164", [164]),
        ("velocity", "0,64-71,127", [0, 16, 17, 31]),
        ("duration", "0.25,0.5,1", [4, 8, 16]),
        ("duration", "1-1.125", [16, 17]),
        ("position", "0-1:0.25", [0, 4, 8, 12, 16]),
        ("tempo", "120", [35]),
        ("tempo", "16,256", [0, 48]),
        ("program", "violin, 41-42,drums", [40, 41, 42, 128]),
        ("program", "honky tonk piano", [3]),
        ("time_signature", "3/4,4/4", [8, 9]),
        ("bar", "1,5-6", [0, 4, 5]),
    ],
)
def test_values(field, text, codes):
    assert allowed_values(field, text) == codes


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("colour", "1"), ("pitch", "256"), ("pitch", "C"), ("pitch", "62-60"), ("pitch", "60.5"),
        ("pitch", ""),
        ("pitch", "60-64:0"), ("pitch", "60-64:1.5"), ("velocity", "128"), ("velocity", "-1"),
        ("duration", "-1"), ("duration", "inf"), ("position", "9"), ("tempo", "300"), ("tempo", "nan"),
        ("program", "kazoo"),
        ("program", "129"), ("time_signature", "3/4-4/4"), ("time_signature", "3/128"),
        ("time_signature", "waltz"),
        ("bar", "0"),
    ],
)  # fmt: skip
def test_wrong_values(field, text):
    with pytest.raises(ConfigError, match=r"bad-value|bad-instrument"):
        allowed_values(field, text)


def test_scales():
    assert [pitch for pitch in scale_pitches("C") if 60 <= pitch < 72] == [60, 62, 64, 65, 67, 69, 71]
    assert [pitch for pitch in scale_pitches("f#-Minor-Pentatonic") if 66 <= pitch < 78] == [
        66,
        69,
        71,
        73,
        76,
    ]
    assert scale_pitches("Bb major") == scale_pitches("A#-major")
    assert set(range(128, 256)) <= set(scale_pitches("E-blues"))
    for wrong in ("H-major", "C4-major", "C-locrian", "", "major"):
        with pytest.raises(ConfigError, match="is not a scale"):
            scale_pitches(wrong)


def test_numbers_of_fields():
    assert numbers_by_field(["0.8"]) == 0.8
    assert numbers_by_field(["pitch=1.1", "velocity=0.8"]) == {"pitch": 1.1, "velocity": 0.8}
    assert numbers_by_field(["velocity=0", "1"]) == {**dict.fromkeys(FIELDS, 1.0), "velocity": 0.0}
    assert numbers_by_field(["2", "velocity=3"], alone=["pitch"]) == {"pitch": 2.0, "velocity": 3.0}
    for wrong in (["hot"], ["colour=1"], ["pitch="]):
        with pytest.raises(ConfigError, match="bad-value"):
            numbers_by_field(wrong)


def test_instruments_have_numbers_and_names():
    assert len(set(INSTRUMENTS)) == 128
    for number in range(129):
        assert instrument_number(instrument_name(number)) == instrument_number(str(number)) == number
    assert instrument_number("Pizzicato") == 45
    assert instrument_number("Pan-Flute") == 75
    for wrong, said in (
        ("piano", "acoustic grand piano"),
        ("vilin", "did you mean violin"),
        ("129", "0-127"),
    ):
        with pytest.raises(ConfigError, match=said):
            instrument_number(wrong)

import pytest

from musicbert.annotation.names import natural_key, parse_segment, performer_of, piece_of, segment_id
from musicbert.errors import RatingError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Schubert_D960_mv2_8bars_1_08.wav", "Schubert_D960_mv2_8bars_1_08"),
        ("segmented_midi/Schubert_D960_mv3_16bars_12_18.mid", "Schubert_D960_mv3_16bars_12_18"),
        ("folder\\Schubert_D960_mv3_16bars_12_18.MIDI", "Schubert_D960_mv3_16bars_12_18"),
        ("Schubert_D960_mv2_8bars_score_01", "Schubert_D960_mv2_8bars_Score_01"),
        ("Schubert_D960_mv2_8bars_SCORE_01", "Schubert_D960_mv2_8bars_Score_01"),
        ("x_var5_8bars_score2_7.mid", "x_var5_8bars_Score2_7"),
        (" Schubert_D935_no.3_4bars_2_1.mid", "Schubert_D935_no.3_4bars_2_1"),
        ("Schubert_D935_no.3_4bars_2_1", "Schubert_D935_no.3_4bars_2_1"),
    ],
)
def test_id_cuts_only_folder_blanks_and_one_extension(given, expected):
    assert segment_id(given) == expected
    assert segment_id(expected) == expected


def test_a_piece_called_score_keeps_its_spelling():
    assert segment_id("The_score_op1_8bars_3_1.mid") == "The_score_op1_8bars_3_1"


def test_parts():
    segment = parse_segment("Schubert_D935_no.3_4bars_Score2_25.mid")
    assert (segment.work, segment.movement, segment.piece) == ("Schubert_D935", "no.3", "Schubert_D935_no.3")
    assert (segment.bars, segment.performer, segment.number, segment.copy) == (4, "Score2", 25, 0)
    assert segment.region == "Schubert_D935_no.3_4bars_25"


def test_browser_copies_are_told_apart():
    copy = parse_segment("Schubert_D960_mv2_8bars_8_03(1).mid")
    assert (copy.number, copy.copy, copy.id) == (3, 1, "Schubert_D960_mv2_8bars_8_03(1)")
    assert copy.region == parse_segment("Schubert_D960_mv2_8bars_8_03").region


def test_variations_are_one_piece_and_movements_are_not():
    assert piece_of("Beethoven_WoO80_var27_8bars_3_15") == piece_of("Beethoven_WoO80_thema_8bars_3_1")
    assert piece_of("Schubert_D960_mv2_8bars_1_01") != piece_of("Schubert_D960_mv3_8bars_1_01")


@pytest.mark.parametrize(
    "bad", ["", "song.mid", "Schubert_D960_mv2_8bars_4.wav", "a_8bars_4_x.wav", "_8bars_4_1"]
)
def test_other_names_are_refused(bad):
    with pytest.raises(RatingError) as caught:
        performer_of(bad)
    assert caught.value.reason == "bad-name"
    assert caught.value.hint


def test_natural_order():
    assert sorted(["Score", "10", "2", "0", "12"], key=natural_key) == ["0", "2", "10", "12", "Score"]

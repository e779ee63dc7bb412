"""Written scores: five notations give the same notes, what is lost is said, and bad files are one error."""

import contextlib
import threading
import time
from fractions import Fraction

import pytest
from written_scores import (
    FILES,
    LOWER,
    MUSICXML,
    UPPER,
    attributes,
    compressed,
    mei,
    mei_measure,
    musicxml,
    note,
)

from musicbert import encode
from musicbert.errors import MidiError
from musicbert.midi import ReadLimits, Score, midi_bytes, read_score
from musicbert.midi.notation import VELOCITY, notation_format, reader

pytest.importorskip("music21")


def notes(score: Score, start: int | Fraction = 0) -> list[tuple[Fraction, Fraction, int, int]]:
    """Onset from ``start`` and duration [quarter notes], pitch, track, in the order of the score."""
    quarter = score.ticks_per_beat
    rows = zip(
        score.onset.tolist(), score.offset.tolist(), score.pitch.tolist(), score.track.tolist(), strict=True
    )
    return [
        (Fraction(on, quarter) - start, Fraction(off - on, quarter), pitch, track)
        for on, off, pitch, track in rows
    ]


def read(text: str, name: str = "a.musicxml", **options) -> Score:
    return read_score(text.encode(), name=name, **options)


def metres(score: Score) -> list[tuple[Fraction, int, int]]:
    columns = (score.metre_tick.tolist(), score.metre_numerator.tolist(), score.metre_denominator.tolist())
    return [(Fraction(at, score.ticks_per_beat), a, b) for at, a, b in zip(*columns, strict=True)]


@pytest.mark.parametrize("name", FILES)
def test_five_notations_give_the_same_notes(name):
    score = read_score(FILES[name], name=name)
    tracks = {track: sorted(row[:3] for row in notes(score, 4) if row[3] == track) for track in (0, 1)}
    assert sorted(map(str, tracks.values())) == sorted(
        str(sorted((Fraction(on), Fraction(length), pitch) for on, length, pitch in each))
        for each in (UPPER, LOWER)
    )
    assert metres(score) == [(0, 4, 4), (12, 3, 4)]
    assert (score.tempo_tick.tolist(), score.tempo_bpm.tolist()) == ([0], [90.0])
    assert set(score.velocity) == {VELOCITY}
    assert not score.drum.any()
    assert any("grace note" in remark for remark in score.remarks)
    assert score.notation in ("MusicXML", "compressed MusicXML", "ABC", "Humdrum", "MEI")


@pytest.mark.parametrize("name", FILES)
def test_the_rows_of_a_score_counted_by_hand(name):
    """Bar, position of 64, program, pitch, duration, velocity / 4, time signature, tempo: `docs/encoding.md`.

    Time signature 9 is 4/4 and 8 is 3/4 (`encoding/vocabulary.py`); 90 a minute is tempo 30; durations are
    coded as in the paper: 16 for a quarter, 24 for a half, 28 for three quarters, 36 for a whole note, and
    a third of a quarter is 5 of 16 places.
    """
    rows = encode(FILES[name])
    four, three = (9, 30), (8, 30)
    upper = [
        (0, 48, 0, 60, 16, 20, *four), (1, 0, 0, 62, 16, 20, *four), (1, 16, 0, 64, 16, 20, *four),
        (1, 32, 0, 65, 16, 20, *four), (1, 48, 0, 67, 16, 20, *four), (2, 0, 0, 69, 32, 20, *four),
        (2, 48, 0, 72, 16, 20, *four), (3, 0, 0, 74, 5, 20, *three), (3, 5, 0, 76, 6, 20, *three),
        (3, 11, 0, 77, 5, 20, *three), (3, 16, 0, 76, 16, 20, *three), (3, 32, 0, 74, 16, 20, *three),
    ]  # fmt: skip
    lower = [
        (0, 48, 0, 48, 16, 20, *four), (1, 0, 0, 48, 36, 20, *four), (2, 0, 0, 43, 24, 20, *four),
        (2, 32, 0, 52, 24, 20, *four), (2, 32, 0, 55, 24, 20, *four), (3, 0, 0, 48, 32, 20, *three),
    ]  # fmt: skip
    assert rows.tolist() == sorted(map(list, upper + lower))


def test_a_score_is_the_same_after_midi():
    score = read_score(FILES["scale.musicxml"])
    again = read_score(midi_bytes(score))
    assert notes(again) == notes(score)
    assert metres(again) == metres(score)
    assert again.notation == ""


@pytest.mark.parametrize("divisor", [3, 5, 7, 9, 11])
def test_tuplets_are_exact(divisor):
    bars = [attributes(divisions=divisor) + note("C4", 1 / divisor, divisions=divisor) * (4 * divisor)] * 2
    found = notes(read(musicxml(*bars)))
    assert [row[:2] for row in found] == [
        (Fraction(k, divisor), Fraction(1, divisor)) for k in range(8 * divisor)
    ]


def test_times_that_no_tick_holds_are_rounded_and_that_is_said():
    bar = (
        attributes(divisions=17 * 19 * 23)
        + note("C4", 4 / 17, divisions=7429)
        + note("C4", 4 / 19, divisions=7429)
    )
    score = read(musicxml(bar, bar + note("D4", 4 / 23, divisions=7429)))
    assert any("rounded" in remark for remark in score.remarks)
    assert abs((score.offset - score.onset)[0] / score.ticks_per_beat - 4 / 17) < 1e-4


WHOLE = note("C4", 4)


@pytest.mark.parametrize(
    ("measures", "starts", "found"),
    [
        ((attributes() + note("C4", 1), WHOLE, WHOLE), [3, 4, 8], [(0, 4, 4)]),  # a pickup
        (
            (attributes() + WHOLE, note("C4", 3), note("C4", 1), WHOLE),
            [0, 4, 7, 8],
            [(0, 4, 4)],
        ),  # a split bar
        ((attributes() + WHOLE, note("C4", 3), WHOLE), [0, 4, 7], [(0, 4, 4), (4, 3, 4), (7, 4, 4)]),  # short
        ((attributes() + WHOLE, note("C4", 5), WHOLE), [0, 4, 9], [(0, 4, 4), (4, 5, 4), (9, 4, 4)]),  # long
        ((attributes(6, 8) + note("C4", 3), attributes(2, 2) + WHOLE), [0, 3], [(0, 6, 8), (3, 2, 2)]),
    ],
)
def test_bar_lines_stay_where_the_score_has_them(measures, starts, found):
    score = read(musicxml(*measures))
    assert [row[0] for row in notes(score)] == starts
    assert metres(score) == found


def test_what_is_heard_of_musicxml():
    heard = lambda *bars, **more: notes(read(musicxml(*bars, **more)))  # noqa: E731
    transpose = "<transpose><diatonic>-1</diatonic><chromatic>-2</chromatic></transpose>"
    assert [row[2] for row in heard(attributes(more=transpose) + WHOLE, WHOLE)] == [58, 58]
    cue = note("G5", 2, "<cue/>")
    assert [row[:3] for row in heard(attributes() + cue + note("C4", 2))] == [(2, 2, 60)]
    harmony = "<harmony><root><root-step>C</root-step></root><kind>major</kind></harmony>"
    assert len(heard(attributes() + harmony + WHOLE)) == 1
    gap = note("C4", 1) + "<forward><duration>6</duration></forward>" + note("E4", 2)
    assert [row[:3] for row in heard(attributes() + gap)] == [(0, 1, 60), (2, 2, 64)]
    sounding = '<sound tempo="72"/>'
    words = (
        '<direction><direction-type><words>Allegro</words></direction-type><sound tempo="140"/></direction>'
    )
    score = read(musicxml(attributes() + sounding + WHOLE, words + WHOLE))
    assert (score.tempo_tick.tolist(), score.tempo_bpm.tolist()) == ([0, 4 * score.ticks_per_beat], [72, 140])


CLARINET = (
    "<part-name>Clarinet</part-name><midi-instrument id='I'><midi-program>72</midi-program></midi-instrument>"
)


def test_only_the_transpositions_of_the_file_count():
    """music21 transposes instruments that it knows by their names, whatever the file says."""
    assert read(musicxml(attributes() + WHOLE, part=CLARINET)).pitch.tolist() == [60]
    down = "<transpose><diatonic>-1</diatonic><chromatic>-2</chromatic></transpose>"
    assert read(musicxml(attributes(more=down) + WHOLE, part=CLARINET)).pitch.tolist() == [58]
    other = musicxml(attributes(more=down) + WHOLE).replace(
        "</part-list>", f"<score-part id='P2'>{CLARINET}</score-part></part-list>"
    )
    other = other.replace(
        "</score-partwise>",
        f"<part id='P2'><measure number='1'>{attributes()}{WHOLE}</measure></part></score-partwise>",
    )
    assert read(other).pitch.tolist() == [58, 60]
    assert read("**kern\n*Icbass\n*M4/4\n=1\n1C\n==\n*-\n", "a.krn").pitch.tolist() == [48]
    one = mei_measure('<note pname="c" oct="4" dur="1"/>', '<note pname="c" oct="4" dur="1"/>')
    label = 'label="Clarinet in Bb"'
    assert read(mei(one, staff=label), "a.mei").pitch.tolist() == [60, 60]
    some = mei(one, staff=label).replace('n="2" lines', 'n="2" trans.semi="-2" trans.diat="-1" lines')
    assert sorted(read(some, "a.mei").pitch.tolist()) == [58, 60]


def test_percussion_has_the_keys_that_the_file_names():
    kit = "".join(
        f'<midi-instrument id="I{key}"><midi-channel>10</midi-channel><midi-unpitched>{key}</midi-unpitched>'
        "</midi-instrument>"
        for key in (37, 39)
    )

    def hit(key: str, more: str = "") -> str:
        display = "<unpitched><display-step>F</display-step><display-octave>4</display-octave></unpitched>"
        return f"<note>{more}{display}<duration>6</duration><instrument id='{key}'/></note>"

    score = read(musicxml(attributes() + hit("I37") + hit("I39", "<chord/>") + hit("I39"), part=kit))
    assert [row[:3] for row in notes(score)] == [(0, 1, 36), (0, 1, 38), (1, 1, 38)]
    assert score.drum.all()
    without = read(musicxml(attributes() + hit("none") + note("C4", 1)))
    assert len(without) == 1
    assert any("1 unpitched note " in remark for remark in without.remarks)


def test_each_note_has_the_program_of_its_own_instrument():
    band = "".join(
        f'<midi-instrument id="I{n}"><midi-program>{n}</midi-program></midi-instrument>' for n in (41, 42)
    )
    one, other = (note("C4", 2).replace("</note>", f'<instrument id="I{n}"/></note>') for n in (41, 42))
    assert read(musicxml(attributes() + one + other, part=band)).program.tolist() == [40, 41]


def test_a_score_by_measures_is_one_by_parts():
    parts = "".join(
        f'<part id="P{n}">{attributes()}{note(name, 4)}</part>' for n, name in ((1, "C4"), (2, "C3"))
    )
    names = "".join(f'<score-part id="P{n}"><part-name>{n}</part-name></score-part>' for n in (1, 2))
    bars = "".join(f'<measure number="{n}">{parts}</measure>' for n in (1, 2))
    text = f"<score-timewise><part-list>{names}</part-list>{bars}</score-timewise>"
    assert [row[:3] for row in notes(read(text, "a.xml"))] == [(0, 4, 60), (4, 4, 60), (0, 4, 48), (4, 4, 48)]


HEAD = "X:1\nM:4/4\nL:1/4\nK:C\n"


@pytest.mark.parametrize(
    ("tune", "found"),
    [
        ("CDEF|[L:1/8]CDEFGABc|", [1] * 4 + [Fraction(1, 2)] * 8),
        ("[CE]2-[CE]2|[CE]4|", [4, 4, 4, 4]),  # a tied chord
        ("C2-C2-|C2 C2|", [6, 2]),
        ("(C>D) E<(F|)", [Fraction(3, 2), Fraction(1, 2), Fraction(1, 2), Fraction(3, 2)]),
        ("(3CDE F2|(5CDEFG C2|", [Fraction(2, 3)] * 3 + [2] + [Fraction(2, 5)] * 5 + [2]),
        ('"Am"C!f!D [r:remark] y E{g}F|$', [1, 1, 1, 1]),
        ("HCTD .E vF|", [1, 1, 1, 1]),
        ("CDEF::GABc:|", [1] * 8),
        ("C-<E F>-D|", [Fraction(1, 2), Fraction(3, 2), Fraction(3, 2), Fraction(1, 2)]),
        ("(3{e}CDE F2|", [Fraction(2, 3)] * 3 + [2]),
    ],
)
def test_lengths_in_abc(tune, found):
    assert [row[1] for row in notes(read(HEAD + tune, "a.abc"))] == found


@pytest.mark.parametrize(
    ("tune", "starts"),
    [
        ("CDEF|Z2|C4|", [0, 1, 2, 3, 12]),
        ("Cx2D|E4|", [0, 3, 4]),
        ("[M:6/8]C3/2D3/2|[M:3/4]CDE|[M:4/4]C4|", [0, Fraction(3, 2), 3, 4, 5, 6]),
        ("CDEFG|C4|", [0, 1, 2, 3, 4, 5]),  # a bar that is too long
        ("V:1\nC4|\nV:T2\nE4|\nV:1\nD4|\nV:T2\nF4|", [0, 4, 0, 4]),
        ("[V:1]C4|[V:2]E4|\n[V:1]D4|[V:2]F4|", [0, 4, 0, 4]),
    ],
)
def test_places_in_abc(tune, starts):
    assert [row[0] for row in notes(read(HEAD + tune, "a.abc"))] == starts


def test_accidentals_and_keys_in_abc():
    pitches = lambda tune: [row[2] for row in notes(read(HEAD + tune, "a.abc"))]  # noqa: E731
    assert pitches("^CC cC|C4|") == [61, 61, 73, 61, 60]
    assert pitches("[E_G]2[EG]2|[EG]4|") == [64, 66, 64, 66, 64, 67]  # a flat in a chord
    assert pitches("^C4-|C2C2|") == [61, 60]  # a tie keeps it over the bar
    assert pitches("^C2[EG]2-|[EG]2 C2|") == [61, 64, 67, 60]
    assert pitches("[C^E]4-|[CE]2 E2|") == [60, 65, 64]
    assert pitches("CDEF|[K:D]CDEF|") == [60, 62, 64, 65, 61, 62, 64, 66]
    score = read(
        HEAD.replace("K:C", "K:C clef=treble-8") + "CDEF|\nQ:1/4=60\n%%MIDI program 40\nCDEF|", "a.abc"
    )
    said = " ".join(score.remarks)
    assert all(each in said for each in ("clef=treble-8", "%%MIDI", "changes of tempo"))
    ended = read(HEAD + "CDEF|\n\nA tune from a book\n", "a.abc")
    assert len(ended) == 4
    assert "empty line" in " ".join(ended.remarks)


def test_what_music21_passes_over_in_mei():
    whole = '<note pname="{}" oct="4" dur="1"/>'
    one = [mei_measure(whole.format(name), "<mRest/>") for name in "cde"]
    ending = mei(one[0], f"<ending>{one[1]}</ending>", one[2])
    assert [row[:3] for row in notes(read(ending, "a.mei"))] == [(0, 4, 60), (4, 4, 62), (8, 4, 64)]
    rests = mei(mei_measure('<multiRest num="2"/>', '<multiRest num="2"/>'), one[0])
    assert [row[0] for row in notes(read(rests, "a.mei"))] == [8]
    metre = mei(
        one[0].replace('dur="1"', 'dur="2" dots="1"'), metre="", inside='<meterSig count="3" unit="4"/>'
    )
    assert metres(read(metre, "a.mei")) == [(0, 3, 4)]
    sounding = mei(one[0].replace('oct="4"', 'oct="4" oct.ges="5"'))
    assert read(sounding, "a.mei").pitch.tolist() == [72]
    with pytest.raises(MidiError, match="mRpt") as caught:
        read(mei(one[0], mei_measure("<mRpt/>", "<mRest/>")), "a.mei")
    assert caught.value.reason == "unsupported-notation"
    supplied = mei(one[0].replace("<note", "<supplied><note").replace('dur="1"/>', 'dur="1"/></supplied>'))
    assert read(supplied, "a.mei").pitch.tolist() == [60]
    with pytest.raises(MidiError, match="music21 reads 0 of the 1 notes"):
        read(supplied.replace("supplied", "unknown"), "a.mei")
    keyed = read(mei(one[0], inside='<keySig sig="2s"/>'), "a.mei")
    assert any("accid.ges" in remark for remark in keyed.remarks)


def test_repeats_come_once_or_as_played():
    sign = '<barline location="right"><repeat direction="backward"/></barline>'
    text = musicxml(attributes() + note("C4", 4) + sign, note("D4", 4))
    once = read(text)
    assert once.pitch.tolist() == [60, 62]
    assert any("repeats are not played" in remark for remark in once.remarks)
    played = read(text, repeats="played")
    assert [row[:3] for row in notes(played)] == [(0, 4, 60), (4, 4, 60), (8, 4, 62)]
    assert not any("repeats" in remark for remark in played.remarks)


@pytest.mark.parametrize(
    ("data", "name", "reason", "message"),
    [
        (MUSICXML[:-300].encode(), "a.musicxml", "bad-score", "is damaged"),
        (b"", "a.musicxml", "empty-file", "no bytes"),
        (b"rubbish", "a.krn", "bad-score", r"no \*\*kern"),
        (b"**kern\n4c\t4d\n*-", "a.krn", "bad-score", "music21 cannot read"),
        (b"**kern\n4c\n4d\n", "a.krn", "bad-score", "cut off"),
        (b"**kern\n4c\n*-\n**kern\n4d\n*-\n", "a.krn", "several-pieces", "2 pieces"),
        (b"PKrubbish", "a.mxl", "bad-score", "not a zip file"),
        (b"<svg/>", "a.musicxml", "bad-score", "not a score in MusicXML"),
        (b"X:1\nK:C\nC\n\nX:2\nK:C\nD\n", "a.abc", "several-pieces", "2 tunes"),
        (b"X:1\nL:1/4\nK:C\nCDEF & G4|", "a.abc", "unsupported-notation", "overlays"),
        (b"X:1\nK:C\n", "a.abc", "no-notes", "no notes"),
        (musicxml(attributes(), "").encode(), "a.musicxml", "no-notes", "no notes"),
        (
            b'<!DOCTYPE score-partwise [<!ENTITY a "aaaaaaaa">]>' + MUSICXML.split("\n")[-1].encode(),
            "a.musicxml", "bad-score", "entity",
        ),
        (compressed(MUSICXML, container="<container/>"), "a.mxl", "bad-score", "does not say which score"),
        (compressed(" " * (80 << 20)), "bomb.mxl", "too-large", "unpacks to more than"),
    ],
)  # fmt: skip
def test_bad_files_are_one_error_with_a_reason(data, name, reason, message):
    with pytest.raises(MidiError, match=message) as caught:
        read_score(data, name=name)
    assert caught.value.reason == reason
    assert caught.value.path == name


def test_no_address_in_a_file_is_opened(tmp_path):
    """A document type elsewhere is not fetched, and an entity that names a file is refused."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    body = MUSICXML.split("\n")[-1]
    assert len(read(f'<!DOCTYPE score-partwise SYSTEM "{secret.as_uri()}">{body}')) == len(UPPER + LOWER)
    declared = f'<!DOCTYPE score-partwise [<!ENTITY x SYSTEM "{secret.as_uri()}">]>'
    with pytest.raises(MidiError, match="entity"):
        read(declared + body.replace("Piano", "&x;"))


def test_reading_is_bounded_in_time(monkeypatch):
    def slow(*_: object, **__: object) -> None:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            with contextlib.suppress(Exception):  # as music21 does
                time.sleep(0.01)

    monkeypatch.setattr(reader, "_parsed", slow)
    with pytest.raises(MidiError) as caught:
        read(MUSICXML, limits=ReadLimits(timeout=0.05))
    assert caught.value.reason == "timeout"


def test_in_a_thread_large_files_are_refused(monkeypatch):
    monkeypatch.setattr(reader, "_UNTIMED_BYTES", 100)
    caught: list[MidiError] = []

    def run() -> None:
        try:
            read(MUSICXML)
        except MidiError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert [error.reason for error in caught] == ["too-large"]


def test_without_music21_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "music21", None)
    with pytest.raises(MidiError, match=r"musicbert\[scores\]") as caught:
        read(MUSICXML)
    assert caught.value.reason == "no-music21"


@pytest.mark.parametrize(
    ("data", "name", "found"),
    [
        (MUSICXML.encode(), None, "MusicXML"),
        (MUSICXML.replace("UTF-8", "UTF-16").encode("utf-16"), None, "MusicXML"),
        (b"<?xml version='1.0'?>" + b"<!-- -->" * 1000 + b"<score-partwise/>", None, "MusicXML"),
        (compressed(MUSICXML), None, "compressed MusicXML"),
        (b"!! remark\n**kern\n", None, "Humdrum"),
        (b"% remark\nX: 1\n", None, "ABC"),
        (b"MThd rest", "a.mxl", None),
        (b"%PDF-1.4", "a.krn", None),
        (b"hello", "a.txt", None),
        (b"<html/>", "a.xml", None),
    ],
)
def test_what_a_file_is(data, name, found):
    assert notation_format(data, name) == found


def test_utf_16_and_latin_1_are_read():
    assert len(read_score(MUSICXML.replace("UTF-8", "UTF-16").encode("utf-16"))) == len(UPPER + LOWER)
    assert len(read_score("X:1\nT:Käse\nL:1/4\nK:C\nCDEF|".encode("latin-1"))) == 4

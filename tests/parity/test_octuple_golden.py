"""Rows, text, segments and decoding are those of the published preprocessing code, number for number."""

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import musicbert
from musicbert.encoding import (
    Policies,
    content_md5,
    decode,
    dictionary_text,
    encode,
    encoding_to_str,
    rows_to_line,
    segments,
)
from musicbert.midi import read_score

HERE = Path(__file__).resolve()
FIXTURES = HERE.parents[1] / "fixtures" / "musicbert"
SHARED = HERE.parents[3] / "shared" / "golden"
OWN = sorted(FIXTURES.glob("s*.json"))
REAL = sorted((SHARED / "musicbert").glob("r*.json")) if SHARED.is_dir() else []
DRAWS = {"low": lambda a, b: a, "mid": lambda a, b: (a + b) // 2, "high": lambda a, b: b}
REASONS = {
    "s08b_ts_3_128_unsupported": "unsupported-metre",
    "s11_empty_no_notes": "no-notes",
    "s19_corrupt": "unreadable",
    "s20_zero_bytes": "empty-file",
}


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def loaded(path):
    golden = json.loads(path.read_text())
    folder = FIXTURES if path.parent == FIXTURES else path.parent / "midi"
    return golden, folder / f"{path.stem}.mid"


def by_name(paths):
    return pytest.mark.parametrize("path", paths, ids=[path.stem for path in paths])


def check_rows(path, reader):
    golden, midi = loaded(path)
    if path.stem in REASONS:
        assert not golden.get("encoding")
        with pytest.raises(musicbert.MidiError) as caught:
            encode(midi, reader=reader)
        assert caught.value.reason == REASONS[path.stem]
        return
    rows = encode(midi, reader=reader)
    assert rows.dtype == np.int64
    assert rows.tolist() == golden["encoding"]
    assert content_md5(rows) == golden["content_md5"]
    text = encoding_to_str(rows)
    assert md5(text) == golden["encoding_to_str_md5"]
    assert len(text.split()) == golden["encoding_to_str_ntokens"]


def notes_of(score):
    columns = (score.program, score.drum, score.onset, score.offset, score.pitch, score.velocity)
    return sorted([int(value) for value in note] for note in zip(*columns, strict=True))


def check_decoded(path, tmp_path):
    golden, _ = loaded(path)
    rows = np.array(golden["encoding"])
    expected, score = golden["decoded"], decode(rows)
    assert score.ticks_per_beat == expected["ticks_per_beat"]
    assert md5(json.dumps(notes_of(score))) == expected["notes_md5"]
    tempi = [[round(bpm, 6), tick] for tick, bpm in zip(score.tempo_tick, score.tempo_bpm, strict=True)]
    assert tempi == expected["tempos"]
    metres = zip(score.metre_numerator, score.metre_denominator, score.metre_tick, strict=True)
    assert [list(metre) for metre in metres] == expected["time_signatures"]
    score.save(tmp_path / "decoded.mid")
    for again in (encode(score), encode(tmp_path / "decoded.mid")):
        assert np.array_equal(again, rows) is golden["reencode_equal"]


def check_segments(path):
    golden, _ = loaded(path)
    for name, draw in DRAWS.items():
        expected = golden["pipeline"][name]
        made = list(segments(golden["encoding"], draw))
        lines = [rows_to_line(segment.rows) for segment in made]
        assert [len(line.split()) for line in lines] == expected["segment_ntokens"]
        assert md5("\n".join(lines)) == expected["segments_md5"]
        for segment in made:  # the start says which notes they are
            source = np.array(golden["encoding"])[segment.start : segment.start + len(segment.rows)]
            assert np.array_equal(source[:, 1:], segment.rows[:, 1:])


with_rows = [path for path in OWN if path.stem not in REASONS]


def test_the_set_is_complete():
    assert len(OWN) == 30
    assert len(with_rows) == 26


@pytest.mark.parametrize("reader", ["symusic", "miditoolkit"])
@by_name(OWN)
def test_rows(path, reader):
    check_rows(path, reader)


@by_name(with_rows)
def test_decode(path, tmp_path):
    check_decoded(path, tmp_path)


@by_name(with_rows)
def test_segments(path):
    check_segments(path)


@pytest.mark.shared
@by_name(REAL)
def test_real_files(path, tmp_path):
    for reader in ("symusic", "miditoolkit"):
        check_rows(path, reader)
    check_decoded(path, tmp_path)
    check_segments(path)


def test_zero_ticks_dropped_as_miditoolkit_0_1_did():
    golden, midi = loaded(FIXTURES / "s10_zero_and_tiny_durations.json")
    old = golden["miditoolkit_0.1.16"]["encoding"]
    rows = encode(midi, policies=Policies(zero_ticks="drop"))
    # the last note differs in its pairing (the old version closed both overlapping notes at once)
    assert rows[:-1].tolist() == old[:-1]
    assert [*rows[-1, :4], *rows[-1, 5:]] == [*old[-1][:4], *old[-1][5:]]


def test_dictionary_is_byte_identical():
    assert md5(dictionary_text()) == "f9d2a3a9e9a1816733bf4f834afe13ae"


def test_the_loop_encoder_of_the_benchmark_agrees(root):
    import miditoolkit

    spec = importlib.util.spec_from_file_location("loop_encoder", root / "benchmarks" / "loop_encoder.py")
    loops = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loops)
    for path in with_rows:
        golden, midi = loaded(path)
        assert [list(row) for row in loops.encode(miditoolkit.MidiFile(str(midi)))] == golden["encoding"]


def test_objects_of_both_libraries_are_accepted():
    import miditoolkit
    import symusic

    golden, midi = loaded(FIXTURES / "s02_percussion_multi_program.json")
    objects = (symusic.Score(midi), miditoolkit.MidiFile(str(midi)), read_score(midi), midi.read_bytes())
    for source in objects:
        assert encode(source).tolist() == golden["encoding"]
    with midi.open("rb") as stream:
        assert encode(stream).tolist() == golden["encoding"]


@pytest.mark.shared
def test_all_1018_segments_of_the_rating_set(shared):
    import zipfile

    hashes = json.loads((shared / "golden/xai/octuple_sha256_16_all1018.json").read_text())
    seen = 0
    with zipfile.ZipFile(shared / "data/xai/segmented_midi.zip") as archive:
        for name in archive.namelist():
            if not name.endswith(".mid"):
                continue
            rows = encode(archive.read(name)).tolist()
            text = json.dumps(rows, separators=(",", ":"))
            assert hashlib.sha256(text.encode()).hexdigest()[:16] == hashes[Path(name).stem], name
            seen += 1
    assert seen == len(hashes) == 1018


@pytest.mark.shared
def test_ten_segments_rows_text_and_ids(shared):
    import zipfile

    from musicbert.encoding import ids_to_rows, line_to_rows, rows_to_ids

    golden = json.loads((shared / "golden/xai/octuple_labels_10_segments.json").read_text())["segments"]
    older = 0
    with zipfile.ZipFile(shared / "data/xai/segmented_midi.zip") as archive:
        for name, expected in golden.items():
            rows = encode(archive.read(f"segmented_midi/{name}.mid"))
            assert rows.tolist() == expected["octuple"]
            assert rows_to_line(rows) == expected["text_offset0"]
            assert rows_to_ids(rows).tolist() == expected["fairseq_ids_offset0"]
            assert np.array_equal(line_to_rows(rows_to_line(rows)), rows)
            assert np.array_equal(ids_to_rows(rows_to_ids(rows)), rows)
            old = expected.get("octuple_miditoolkit_0_1_14")
            if old and len(old) < len(
                rows
            ):  # zero-tick notes; where lengths agree, its pairing of overlaps differs
                dropped = encode(
                    archive.read(f"segmented_midi/{name}.mid"), policies=Policies(zero_ticks="drop")
                )
                assert dropped.tolist() == old
                older += 1
    assert (len(golden), older) == (10, 2)

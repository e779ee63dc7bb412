"""symusic and miditoolkit give the same music."""

import zipfile

import numpy as np
import pytest
import scan_readers

from musicbert.encoding import encode
from musicbert.midi import read_score

NOTE = ("track", "onset", "offset", "pitch", "velocity", "program", "drum")
METRE = ("metre_tick", "metre_numerator", "metre_denominator")
CONTROL = ("control_tick", "control_number", "control_value", "control_track")


def table(score, columns):
    return sorted(zip(*(getattr(score, column).tolist() for column in columns), strict=True))


def assert_equal(data):
    native, plain = read_score(data), read_score(data, reader="miditoolkit")
    assert native.ticks_per_beat == plain.ticks_per_beat
    assert table(native, NOTE) == table(plain, NOTE)
    assert table(native, METRE) == table(plain, METRE)
    assert table(native, CONTROL) == table(plain, CONTROL)
    ticks = np.unique(np.concatenate([native.onset, native.offset]))
    np.testing.assert_allclose(native.seconds(ticks), plain.seconds(ticks), rtol=1e-12, atol=0)
    np.testing.assert_array_equal(encode(native), encode(plain))


@pytest.mark.parametrize(
    "name", ["s02_percussion_multi_program", "s03_tempo_changes_extremes", "s13_2600_notes"]
)
def test_own_files(fixtures, name):
    assert_equal((fixtures / "musicbert" / f"{name}.mid").read_bytes())


def test_the_scan_of_folders_names_files_that_differ(fixtures, tmp_path, monkeypatch, capsys):
    name = "s02_percussion_multi_program.mid"
    (tmp_path / name).write_bytes((fixtures / "musicbert" / name).read_bytes())
    scan_readers.main([str(tmp_path), "--log", str(tmp_path / "one")])
    real = scan_readers.outcome

    def other(data, reader):
        columns = real(data, reader)
        return columns if reader == "symusic" else [*columns[:-1], columns[-1] + 1]

    monkeypatch.setattr(scan_readers, "outcome", other)
    scan_readers.main([str(tmp_path), "--log", str(tmp_path / "two")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["1 files agree, 0 differ", "0 files agree, 1 differ", str(tmp_path / name)]


@pytest.mark.shared
def test_real_performances_and_scores(shared):
    for path in sorted((shared / "golden/musicbert/midi").glob("r*.mid")):
        assert_equal(path.read_bytes())
    with zipfile.ZipFile(shared / "data/xai/segmented_midi.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".mid")]
        for name in names[::40]:
            assert_equal(archive.read(name))

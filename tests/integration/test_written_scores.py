"""Written scores through the commands and the library: folders with mixed files, and what is said of them."""

import json
import sys
import zipfile

import numpy as np
import pytest
from written_scores import FILES

import musicbert
from musicbert.cli.build import summary
from musicbert.cli.main import main
from musicbert.corpus.builder import BuildOptions, build_corpus
from musicbert.midi import midi_bytes, read_score
from musicbert.similarity import index_folder, open_index

pytest.importorskip("music21")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """MIDI, written scores, a damaged score, a tune book and a text."""
    folder = tmp_path_factory.mktemp("music") / "music"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (folder / "scale.mid").write_bytes(midi_bytes(read_score(FILES["scale.krn"])))
    (folder / "cut.musicxml").write_bytes(FILES["scale.musicxml"][:-200])
    (folder / "book.abc").write_bytes(b"X:1\nK:C\nCDEF|\n\nX:2\nK:C\nGABc|\n")
    (folder / "read me.txt").write_text("no music")
    return folder


def ledger(folder):
    return {
        line["path"]: line for line in map(json.loads, (folder / "ledger.jsonl").read_text().splitlines())
    }


def test_build_takes_written_scores(tmp_path, mixed):
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("in/other.mei", FILES["scale.mei"].replace(b'pname="d"', b'pname="b"'))
    named = tmp_path / "named.xml"
    named.write_bytes(FILES["scale.musicxml"].replace(b"<octave>2", b"<octave>1"))
    sources = [mixed, tmp_path / "more.zip", named]
    report = build_corpus(sources, tmp_path / "out", BuildOptions(duplicates="keep"), progress=False)
    lines = ledger(tmp_path / "out")
    assert set(lines) == {*FILES, "scale.mid", "cut.musicxml", "book.abc", "in/other.mei", "named.xml"}
    good = {name: line for name, line in lines.items() if line["outcome"] == "ok"}
    assert {name: lines[name]["outcome"] for name in lines.keys() - good} == {
        "cut.musicxml": "bad-score",
        "book.abc": "several-pieces",
    }
    assert len({line["content"] for name, line in good.items() if name.startswith("scale")}) == 1
    assert {line.get("notation") for line in good.values()} == {
        None, "MusicXML", "compressed MusicXML", "ABC", "Humdrum", "MEI",
    }  # fmt: skip
    assert all("velocity 80" in line["detail"] for line in good.values() if "notation" in line)
    assert report.scores == 7
    assert "7 files are written scores" in summary(report, tmp_path / "out")


def test_build_without_music21_leaves_scores_out_with_one_line(tmp_path, mixed, monkeypatch):
    monkeypatch.setitem(sys.modules, "music21", None)
    report = build_corpus(mixed, tmp_path / "out", progress=False)
    assert report.outcomes == {"no-music21": 7, "ok": 1}
    assert report.failure_rate == 0  # they are passed over, as a folder may hold them beside MIDI
    assert "7 written scores" in summary(report, tmp_path / "out")
    assert "pip install 'musicbert[scores]'" in summary(report, tmp_path / "out")


def test_encode_reads_a_folder_and_says_what_scores_lack(mixed, capsys):
    assert main(["encode", str(mixed)]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 6
    assert len(set(out.splitlines())) == 1
    assert "scale.abc: ABC: a written score, without the timing and dynamics of a performance" in err
    assert "book.abc: the ABC file holds 2 tunes [several-pieces]" in err
    assert "cut.musicxml: the MusicXML is damaged" in err
    assert "read me" not in err


def test_analyse_refuses_a_profile_and_gives_layers(mixed):
    pytest.importorskip("torch")
    found = musicbert.analyse(mixed / "scale.mxl")
    assert found.profile is None
    assert [reason.code for reason in found.reasons] == ["written-score"]
    assert "compressed MusicXML" in found.reasons[0].text
    assert found.layers is not None
    assert any("velocity 80" in warning for warning in found.warnings)
    assert "without expression" in found.to_text()


def test_explain_refuses_a_written_score(mixed):
    pytest.importorskip("torch")
    with pytest.raises(musicbert.MidiError, match="written score") as caught:
        musicbert.explain(mixed / "scale.krn")
    assert caught.value.reason == "no-profile"


def test_an_index_holds_scores(tmp_path, mixed):
    pytest.importorskip("torch")
    index_folder(mixed, tmp_path / "index", progress=False)
    found = open_index(tmp_path / "index").query(mixed / "scale.mid", top=9)
    assert {each.file for each in found} >= {"scale.abc", "scale.mei"}


def test_remixes_of_a_score_are_midi(tmp_path, mixed):
    pytest.importorskip("torch")
    version = musicbert.remix(mixed / "scale.abc", versions=1, share=0.5, rank_passes=1)[0]
    version.save(tmp_path / "new.mid")
    again, before = read_score(tmp_path / "new.mid"), read_score(mixed / "scale.abc")
    assert np.array_equal(np.sort(again.onset), np.sort(before.onset))


def test_sound_of_a_score(mixed):
    pytest.importorskip("tinysoundfont")
    samples = musicbert.render(mixed / "scale.krn", sample_rate=8000, end=3.0)
    assert samples is not None
    assert np.abs(samples).max() > 0

"""Corpora of pre-training: what is found, and what is left out."""

import json
import shutil

import pytest

from musicbert.corpus.readers.pretraining import LEFT_OUT, find_corpora, process_pop909, write_lists
from musicbert.errors import DatasetError

MIDI = b"MThd"


def touch(root, *paths):
    for number, path in enumerate(paths):
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(MIDI + str(number).encode())
    return root


@pytest.fixture
def data_sets(tmp_path):
    return touch(
        tmp_path / "sets",
        "asap-dataset/Bach/Fugue/bwv_846/midi_score.mid",  # published
        "asap-dataset/Bach/Fugue/bwv_846/Shi05M.mid",  # a performance
        "asap-dataset/Bach/Fugue/bwv_858/midi_score.mid",  # published; PM2S validates on it
        "asap-dataset/Beethoven/Piano_Sonatas/3-1/midi_score.mid",  # published; a first movement
        "asap-dataset/Bach/Italian_concerto/midi_score.mid",  # not published
        "Pop1K7/midi_transcribed/src_001/1.midi",
        "Pop1K7/midi_analyzed/src_001/1.mid",
        "MIDI/pop909_processed/train/001.mid",
        "MIDI/pop909_processed/test/018.mid",
        "MIDI/pop909_processed/train_3beat/034.mid",
        "joann8512-Pianist8-ab9f541/train/Bethel/x.mid",
        "EMOPIA_1.0/test/Q1_a_0.mid",
        "somewhere/else.mid",
    )


def names(corpora):
    return {corpus.name: [path.as_posix().split("/sets/")[-1] for path in corpus.files] for corpus in corpora}


def test_published_corpora(data_sets):
    found = names(find_corpora(data_sets))
    assert found == {
        "asap": [
            "asap-dataset/Bach/Fugue/bwv_846/midi_score.mid",
            "asap-dataset/Bach/Fugue/bwv_858/midi_score.mid",
            "asap-dataset/Beethoven/Piano_Sonatas/3-1/midi_score.mid",
        ],
        "pop1k7": ["Pop1K7/midi_transcribed/src_001/1.midi"],
        "pop909": ["MIDI/pop909_processed/test/018.mid", "MIDI/pop909_processed/train/001.mid"],
        "pianist8": ["joann8512-Pianist8-ab9f541/train/Bethel/x.mid"],
        "emopia": ["EMOPIA_1.0/test/Q1_a_0.mid"],
    }


def test_all_scores_of_asap(data_sets):
    assert len(names(find_corpora(data_sets, all_asap=True))["asap"]) == 4


def test_test_pieces_are_left_out_and_named(data_sets):
    corpora = {corpus.name: corpus for corpus in find_corpora(data_sets, exclude_tests=True)}
    found = names(corpora.values())
    assert found["asap"] == ["asap-dataset/Bach/Fugue/bwv_846/midi_score.mid"]
    assert found["pop909"] == ["MIDI/pop909_processed/train/001.mid"]
    assert found["pianist8"] == found["emopia"] == []
    outcomes = [each for corpus in corpora.values() for each in corpus.left_out]
    assert len(outcomes) == 5
    assert all(each.outcome == LEFT_OUT and each.detail for each in outcomes)


def test_a_manifest_takes_files_out(data_sets):
    (data_sets / "manifest.csv").write_text(
        "file,downstream_split\nPop1K7/midi_transcribed/src_001/1.midi,test\nMIDI/pop909_processed/train/001.mid,train\n"
    )
    assert "pop1k7" in names(find_corpora(data_sets))
    marked = {corpus.name: corpus for corpus in find_corpora(data_sets, exclude_tests=True)}
    assert not marked["pop1k7"].files
    assert marked["pop1k7"].left_out[0].detail == "test by manifest.csv"


def test_lakh_by_its_published_depth(data_sets, tmp_path):
    lakh = touch(tmp_path / "lmd", "A/B/C/song/1.mid", "A/B/C/song/2.mid", "readme/other.mid")
    corpora = {corpus.name: corpus for corpus in find_corpora(data_sets, lakh)}
    assert [path.name for path in corpora["lmd"].files] == ["1.mid", "2.mid"]
    flat = touch(tmp_path / "flat", "0/a.mid", "1/b.mid")
    assert len(find_corpora(data_sets, flat)[-1].files) == 2


def test_nothing_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="no-corpus"):
        find_corpora(tmp_path)
    with pytest.raises(DatasetError, match="not-found"):
        find_corpora(tmp_path / "nowhere")


def test_lists_hold_absolute_paths(data_sets, tmp_path):
    lists = write_lists(find_corpora(data_sets, exclude_tests=True), tmp_path / "lists")
    assert [path.stem for path in lists] == ["asap", "pop1k7", "pop909"]
    lines = lists[0].read_text().splitlines()
    assert all(line.startswith("/") for line in lines)


def test_pop909_is_processed_and_damage_is_named(make_source, tmp_path):
    songs = make_source("pop909", tmp_path / "raw")
    (songs / "POP909" / "002" / "beat_audio.txt").write_text("no numbers\n")
    outcomes = {each.name: each for each in process_pop909(songs, tmp_path / "made")}
    assert {name: each.outcome for name, each in outcomes.items()} == {
        "001": "ok", "002": "bad-beats", "003": "not-in-four", "018": "ok", "021": "ok"
    }  # fmt: skip
    assert outcomes["018"].split == "test"
    made = tmp_path / "made" / "train" / "001.mid"
    before = made.read_bytes()
    process_pop909(songs, tmp_path / "made")
    assert made.read_bytes() == before
    (song,) = songs.rglob("001.mid")
    shutil.copyfile(next(songs.rglob("018.mid")), song)  # other bytes: the song is made anew
    shutil.rmtree(songs / "POP909" / "021")
    process_pop909(songs, tmp_path / "made")
    assert made.read_bytes() != before
    assert not list((tmp_path / "made").rglob("021.mid"))
    json.dumps([vars(each) for each in outcomes.values()])
    with pytest.raises(DatasetError, match="wrong-layout"):
        process_pop909(tmp_path / "made", tmp_path / "x")

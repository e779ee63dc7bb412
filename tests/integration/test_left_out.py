"""Notes after the end of the encoding are counted: in the words of every command and in the ledger."""

import numpy as np
import pytest

from musicbert.cli.main import main
from musicbert.corpus.files.ledger import read_ledger
from musicbert.encoding.octuple import notes_beyond_limit
from musicbert.encoding.quantise import MAX_POSITIONS
from musicbert.midi import read_score

BEFORE, AFTER = 5, 7


@pytest.fixture
def long(tmp_path):
    """A file of notes a quarter note apart around the end of the encoding, one exactly at the end."""
    from mido import Message, MidiFile, MidiTrack

    track = MidiTrack()
    gap = (MAX_POSITIONS // 16 - BEFORE) * 480
    for k in range(BEFORE + AFTER):
        track += [Message("note_on", note=60, velocity=80, time=gap if k == 0 else 0)]
        track += [Message("note_off", note=60, time=480)]
    (tmp_path / "midi").mkdir()
    path = tmp_path / "midi" / "long.mid"
    MidiFile(tracks=[track]).save(path)
    return path


def test_count(long, fixtures):
    assert notes_beyond_limit(read_score(long)) == AFTER
    assert notes_beyond_limit(read_score(fixtures / "musicbert" / "s01_basic_4_4.mid")) == 0


@pytest.mark.parametrize("command", ["encode", "embed", "predict", "fill"])
def test_commands_say_it(command, long, fixtures, tmp_path, capsys):
    micro = str(fixtures / "musicbert_model" / "micro_finetuned_topmagd_cfg.pt")
    words = {
        "encode": ["--format", "csv"],
        "embed": ["--model", micro, "--output", str(tmp_path / "e.npz")],
        "predict": ["--model", micro],
        "fill": ["--model", micro, "--output", str(tmp_path / "f.mid")],
    }
    drops = [] if command == "encode" else ["--beyond-limit", "drop"]
    assert main([command, str(long), *words[command], *drops]) == 0
    said = capsys.readouterr().err
    assert f"{long}: {AFTER} of {BEFORE + AFTER} notes are left out" in said
    if command == "fill":  # which touches only what it can hide
        assert len(read_score(tmp_path / "f.mid")) == BEFORE + AFTER
    short = str(fixtures / "musicbert" / "s01_basic_4_4.mid")
    assert main([command, short, *words[command]]) == 0
    assert "left out" not in capsys.readouterr().err
    assert main([command, str(long), *words[command], "--beyond-limit", "error"]) == 2


@pytest.fixture
def elsewhere(tmp_path):
    """A file whose program stands on another track of the channel of its three notes."""
    from mido import Message, MidiFile, MidiTrack

    notes = MidiTrack()
    for _ in range(3):
        notes += [Message("note_on", note=60, velocity=80), Message("note_off", note=60, time=480)]
    (tmp_path / "midi").mkdir()
    path = tmp_path / "midi" / "elsewhere.mid"
    MidiFile(tracks=[MidiTrack([Message("program_change", program=40)]), notes]).save(path)
    return path


def test_programs_of_other_tracks_are_said_and_can_be_read(elsewhere, fixtures, tmp_path, capsys):
    micro = str(fixtures / "musicbert_model" / "micro_finetuned_topmagd_cfg.pt")
    for words in (
        ["encode", str(elsewhere), "--format", "csv"],
        ["embed", str(elsewhere), "--model", micro, "--output", str(tmp_path / "e.npz")],
        ["predict", str(elsewhere), "--model", micro],
        ["fill", str(elsewhere), "--model", micro, "--output", str(tmp_path / "f.mid")],
    ):
        assert main(words) == 0
        assert f"{elsewhere}: 3 of 3 notes would have another program" in capsys.readouterr().err
        assert main([*words, "--channel-programs", "channel"]) == 0
        captured = capsys.readouterr()
        assert "another program" not in captured.err
        if words[0] == "encode":
            assert [line.split(",")[3] for line in captured.out.splitlines()[1:]] == ["40"] * 3
    index = str(tmp_path / "index")
    assert main(["index", str(elsewhere.parent), "--output", index, "--quiet"]) == 0
    assert "3 notes have a program that another track sets" in capsys.readouterr().err
    assert read_ledger(tmp_path / "index" / "ledger.jsonl")[0].programs_elsewhere == 3
    for words in (
        ["analyse", str(elsewhere)],
        ["explain", str(elsewhere), "--model", micro],
        ["similar", str(elsewhere), "--index", index],
        ["plot", "roll", str(elsewhere), "--output", str(tmp_path / "p.png")],
    ):
        assert main(words) == 0
        assert f"{elsewhere}: 3 of 3 notes would have another program" in capsys.readouterr().err
    build = ["build", str(elsewhere.parent), "--output", str(tmp_path / "out"), "--shares", "1", "0", "0"]
    assert main(build) == 0
    assert "3 notes have a program that another track sets" in capsys.readouterr().out
    (found,) = read_ledger(tmp_path / "out" / "ledger.jsonl")
    assert found.programs_elsewhere == 3


def test_models_read_whole_pieces(long, fixtures, tmp_path, capsys):
    micro = str(fixtures / "musicbert_model" / "micro_finetuned_topmagd_cfg.pt")
    arguments = ["--level", "note", "--model", micro, "--output", str(tmp_path / "e.npz")]
    assert main(["embed", str(long), *arguments]) == 0
    assert "left out" not in capsys.readouterr().err
    with np.load(tmp_path / "e.npz") as arrays:
        assert len(arrays["embedding"]) == BEFORE + AFTER
    arguments = ["--format", "csv", "--beyond-limit", "keep"]
    assert main(["encode", str(long), *arguments]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + BEFORE + AFTER


def test_the_ledger_counts_them(long, fixtures, tmp_path):
    (long.parent / "short.mid").write_bytes((fixtures / "musicbert" / "s01_basic_4_4.mid").read_bytes())
    assert main(["build", str(long.parent), "--output", str(tmp_path / "out"), "--workers", "1"]) == 0
    found = {outcome.name: outcome for outcome in read_ledger(tmp_path / "out" / "ledger.jsonl")}
    assert (found["long"].notes, found["long"].beyond_limit) == (BEFORE + AFTER, AFTER)
    assert found["short"].beyond_limit is None


def test_data_sets_of_segments_count_them(long):
    from musicbert.corpus.ratings.piece import encode_piece

    assert encode_piece("x", long.read_bytes())[0].beyond_limit == AFTER

"""What a user reads who typed something a little wrong, or lacks something."""

import contextlib
import errno
import functools
import io
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import musicbert
from musicbert.cli.inputs import plain_messages
from musicbert.cli.main import COMMANDS, main
from musicbert.command_line import CLOSED_PIPE
from musicbert.corpus.builder.sources import list_files
from musicbert.corpus.files.folders import write_npy
from musicbert.errors import CheckpointError, MidiError
from musicbert.midi import read_score
from musicbert.weights import resolve

PYTHON = [sys.executable, "-c"]
AUDIO = (
    b"RIFF\0\0\0\0WAVEfmt ",
    b"ID3\4",
    b"\xff\xfb\x90",
    b"fLaC",
    b"OggS",
    b"FORM\0\0\0\0AIFF",
    b"\0\0\0 ftypM4A ",
)


@pytest.fixture
def song(fixtures):
    return fixtures / "musicbert" / "s13_2600_notes.mid"


def test_without_words_there_is_help(capsys):
    assert main([]) == 2
    assert "musicbert encode piece.mid" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_nearest_command(command, capsys):
    assert main([command[:-1]]) == 2
    assert f"did you mean {command}?" in capsys.readouterr().err
    assert main(["xyzzy"]) == 2
    assert command in capsys.readouterr().err


@pytest.mark.parametrize("word", ["musicbert_mini", "musicbert-min", "musicbertmini"])
def test_the_nearest_model(word):
    with pytest.raises(CheckpointError, match="did you mean musicbert-mini") as caught:
        resolve(word)
    assert caught.value.reason == "unknown-name"


def test_a_reader_that_stops_early_is_no_error(song, tmp_path):
    for number in range(5):  # more than a pipe holds
        (tmp_path / f"{number}.mid").write_bytes(song.read_bytes())
    run = "import sys; from musicbert.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [*PYTHON, run, "encode", str(tmp_path), "--format", "csv"]
    for lines in (0, 1):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            for _ in range(lines):
                process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""
        # a kernel may take a whole write whose reader ends in its middle
        assert process.returncode in ((CLOSED_PIPE,) if lines == 0 else (0, CLOSED_PIPE))


def test_another_broken_pipe_is_an_error(monkeypatch, capsys, song):
    def fail(_):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("musicbert.cli.encode.midi_files", fail)
    monkeypatch.setattr("musicbert.command_line.reader_is_gone", lambda: False)
    assert main(["encode", str(song)]) == 2
    assert "Broken pipe" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--windows"], ["--format", "csv"]])
def test_encoding_does_not_load_torch(words, song, tmp_path):
    code = (
        "import sys; from musicbert.cli.main import main; rc = main(sys.argv[1:]);"
        "sys.exit(rc or 'torch' in sys.modules)"
    )
    command = [*PYTHON, code, "encode", *words, str(song), "--output", str(tmp_path / "out")]
    assert subprocess.run(command, check=False).returncode == 0


def test_arrays_are_flushed_to_the_disk_once(song, tmp_path, monkeypatch):
    """Waiting for each file takes as long as waiting for all."""
    calls = []
    written = tmp_path / "out" / f"{song.stem}.npy"
    monkeypatch.setattr(os, "sync", lambda: calls.append(written.stat().st_size))
    monkeypatch.setattr(os, "fsync", lambda _: calls.append("one file"))
    assert main(["encode", str(song), "--format", "npy", "--output", str(written.parent)]) == 0
    assert calls == [written.stat().st_size]


@pytest.mark.parametrize("package", ["torch", "fairseq", "safetensors"])
def test_a_package_that_is_missing_is_named(package, monkeypatch, capsys, song):
    def fail(_):
        raise ModuleNotFoundError(f"No module named '{package}.x'", name=f"{package}.x")

    monkeypatch.setattr("musicbert.cli.encode.midi_files", fail)
    assert main(["encode", str(song)]) == 2
    error = capsys.readouterr().err
    assert f"needs the package {package}" in error
    assert "install" in error


@pytest.mark.parametrize("start", AUDIO)
def test_audio_is_told_apart(start):
    with pytest.raises(MidiError, match="transcribe it"):
        read_score(start + bytes(100))


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"RIFF\0\0\0\0RMIDdata", "RMID"),
        (b"PK\3\4" + bytes(26) + b"META-INF/container.xml", "compressed MusicXML"),
        (b"PK\3\4", "a zip archive"),
        (b"\x1f\x8b", "a gzip file"),
        (b"%PDF-1.7", "a PDF"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!DOCTYPE score-partwise><score-partwise>", "MusicXML"),
        (b"<?xml version='1.0'?><museScore version='4'>", "a score in XML"),
        (b"<?xml version='1.0'?><other>", "XML"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        (b"\x89PNG", "a picture"),
        (b"**kern", "Humdrum"),
        (b'\\version "2.24"', "a score in another format"),
        (b"hello world", "no complete MThd header"),
        ("file,label\n".encode("utf-16"), "no complete MThd header"),
    ],
)
def test_other_files_are_told_apart_and_not_called_audio(start, what):
    with pytest.raises(MidiError) as caught:
        read_score(start + bytes(100))
    assert what in str(caught.value)
    assert "transcribe" not in str(caught.value)


def test_the_suffix_tells_where_the_bytes_do_not(tmp_path, capsys):
    (tmp_path / "song.mp3").write_bytes(b"nothing known")
    for words in (["encode", "song.mp3"], ["encode", ""], ["build", "song.mp3", "-o", str(tmp_path / "c")]):
        words[1] = str(tmp_path / words[1])
        assert main(words) == 2
        assert "transcribe it to MIDI first" in capsys.readouterr().err


def test_an_object_is_named_with_its_module(song):
    import mido

    with pytest.raises(TypeError, match=r"not mido\.midifiles\.midifiles\.MidiFile"):
        musicbert.encode(mido.MidiFile(song))


def test_a_score_is_one_line(song):
    text = repr(read_score(song))
    assert text.startswith("Score(2600 notes")
    assert "\n" not in text


def test_pieces_and_what_was_filled_in_are_one_line(song, fixtures):
    model = musicbert.from_pretrained(fixtures / "musicbert_model" / "micro_finetuned_topmagd_cfg.pt")
    piece = model.read(fixtures / "musicbert" / "s01_basic_4_4.mid", masked=True)
    assert repr(piece) == "Piece(18 notes, 8 fields)"
    filled = model.fill(piece, fields=["pitch"], notes=[0, 1])
    assert repr(filled) == "Filled(18 notes, 2 tokens filled in)"
    assert "\n" not in repr(model) + repr(model.predict([piece.rows]))


def test_a_list_of_paths_from_notepad(song, tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf" + f"{song}\r\n".encode())
    entries = list(list_files([str(tmp_path / "list.txt")]))
    assert [entry.member.path for entry in entries] == [str(song)]


def test_a_full_disk_names_file_and_reason(monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError("32416 requested and 14832 written")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="disk full") as caught:
        write_npy(tmp_path / "rows.npy", np.zeros(3))
    assert caught.value.filename == str(tmp_path / "rows.npy")
    assert not list(tmp_path.iterdir())


def _children(pid):
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it ended
        return []


@pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").is_file(), reason="children are found in /proc"
)
def test_ctrl_c_while_workers_start_prints_one_line(song, tmp_path):
    for attempt in range(50):  # a build that ended before the signal is tried again
        command = [sys.executable, "-m", "musicbert", "build", str(song), "--workers", "2"]
        command += ["-o", str(tmp_path / f"c{attempt}")]
        settings = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True}
        # the signal is ignored where the tests run in the background of a shell
        settings["preexec_fn"] = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        with subprocess.Popen(command, **settings) as process:
            while process.poll() is None and len(_children(process.pid)) < 2:  # a tracker, and a worker
                time.sleep(0.01)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)  # as a terminal does
            said = process.communicate()[1]
        if process.returncode != 0:
            break
    assert process.returncode == 130
    assert [line for line in said.splitlines() if "it/s" not in line] == [
        "stopped; repeat the command to continue"
    ]


def test_arrays_are_written_without_a_sync_of_each(song, tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.mid").write_bytes(song.read_bytes())
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    assert main(["encode", str(tmp_path), "--format", "npy", "--output", str(tmp_path / "rows")]) == 0
    assert len(list((tmp_path / "rows").glob("*.npy"))) == 3
    assert len(synced) < 3


def test_messages_of_loggers_are_their_text_alone(monkeypatch):
    """As fairseq sets logging up when it is imported, they would begin with the name of a module."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    monkeypatch.setattr(logging.root, "handlers", [handler])
    plain_messages()
    logging.getLogger("musicbert.any").warning("all labels are %s", "calm")
    assert text.getvalue() == "all labels are calm\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["similar", "{metre}", "--index", "{index}"], "`musicbert similar` has no --unsupported-metre"),
        (["plot", "fields", "{metre}", "-o", "{out}.png"], "`musicbert plot` has no --unsupported-metre"),
        (["encode", "{metre}", "--unsupported-metre", "error"], "choose --unsupported-metre nearest"),
    ],
)
def test_a_hint_says_which_of_its_options_a_command_lacks(words, said, song, fixtures, tmp_path, capsys):
    (tmp_path / "midi").mkdir()
    (tmp_path / "midi" / "song.mid").write_bytes(Path(song).read_bytes())
    places = {"index": tmp_path / "index", "out": tmp_path / "out"}
    places["metre"] = fixtures / "musicbert" / "s08b_ts_3_128_unsupported.mid"
    assert main(["index", str(tmp_path / "midi"), "-o", str(places["index"]), "--quiet"]) == 0
    capsys.readouterr()
    assert main([word.format(**places) for word in words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert ("` has no --" in error) == ("` has no --" in said)


@pytest.mark.parametrize("words", [["render", "{song}"], ["fill", "{song}", "--model", "musicbert-mini"]])
def test_a_file_is_not_named_as_what_it_is_not(words, song, tmp_path, capsys):
    output = tmp_path / "out.mp3"
    assert main([*(word.format(song=song) for word in words), "--output", str(output)]) == 2
    assert "[bad-suffix]" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["index", "", "-o", "out"],
        ["build", "", "-o", "out"],
        ["build", "midi", "-o", ""],
        ["analyse", ""],
        ["finetune", "--labels", "t.csv", "--midi", "", "--model", "scratch:musicbert_tiny", "-o", "out"],
    ],
)
def test_an_empty_path_is_not_this_folder(words, song, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "song.mid").write_bytes(song.read_bytes())
    before = {path.name for path in tmp_path.iterdir()}
    assert main(words) == 2
    assert "is a variable of the shell not set?" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == before

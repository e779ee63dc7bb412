"""The command `musicbert`, in processes of its own where that matters, at tiny random weights."""

import argparse
import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import musicbert
from musicbert.cli.main import COMMANDS, available, main, make_parser
from musicbert.encoding import encode, encode_notes, line_to_rows
from musicbert.midi import read_score
from musicbert.synthesis import make_set

#: commands whose options are recorded; others may come and go
FROZEN = (
    "encode", "build", "finetune", "evaluate", "benchmark", "embed", "predict", "fill", "checkpoint", "data"
)  # fmt: skip


@pytest.fixture
def micro(fixtures):
    return fixtures / "musicbert_model" / "micro_finetuned_topmagd_cfg.pt"


@pytest.fixture
def midi(fixtures, tmp_path):
    """A folder of two whole files, one in a folder below, and one damaged."""
    (tmp_path / "midi" / "deep").mkdir(parents=True)
    for source, target in (("s01_basic_4_4", "a.mid"), ("s13_2600_notes", "deep/b.MID")):
        (tmp_path / "midi" / target).write_bytes((fixtures / "musicbert" / f"{source}.mid").read_bytes())
    (tmp_path / "midi" / "bad.mid").write_bytes(b"no music")
    return tmp_path / "midi"


def options_of(parser):
    """Every option of a parser with its choices, and those of the parsers below."""
    found = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                found[name] = options_of(below)
        elif not isinstance(action, argparse._HelpAction):
            key = " ".join(action.option_strings) or action.dest
            shown = {"required": action.required, "nargs": action.nargs, "default": action.default}
            if action.choices:
                shown["choices"] = sorted(action.choices)
            found[key] = {name: value for name, value in shown.items() if value not in (None, False)}
    return found


def test_the_command_line_is_frozen(fixtures):
    """A change here is a change for users: write it into the CHANGELOG, then record it anew.

    ``python -m pytest tests/integration/test_cli.py -k frozen`` shows the difference; the file is what
    ``json.dumps(recorded, indent=1)`` of this test gives.
    """
    recorded = {}
    for name in FROZEN:
        parsers = next(a for a in make_parser(name)._actions if isinstance(a, argparse._SubParsersAction))
        recorded[name] = options_of(parsers.choices[name])
    path = fixtures / "cli_options.json"
    now = json.loads(json.dumps(recorded, default=str))
    assert now == json.loads(path.read_text())


@pytest.mark.parametrize("command", ["analyse", "explain"])
def test_an_answer_imports_nothing_that_only_training_needs(tmp_path, command):
    """Each of these takes up to a second of processor time."""
    next(iter(make_set(3, performers=1, segments=1, movements=1).scores.values())).save(tmp_path / "a.mid")
    code = (
        "import sys; from musicbert.cli.main import main; status = main(sys.argv[1:]); "
        "heavy = {'sklearn', 'pandas', 'torch._dynamo', 'sympy', 'matplotlib', 'fairseq', 'scipy.stats'}; "
        "print('heavy:', sorted(heavy & set(sys.modules)), 'torch' in sys.modules); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command, tmp_path / "a.mid"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    network = command == "analyse"
    assert ("Beats:" if network else "because of") in done.stdout
    assert f"heavy: [] {network}" in done.stdout


@pytest.mark.parametrize("name", ["", *FROZEN])
def test_help_is_fast_and_has_examples(name):
    code = (
        "import sys; from musicbert.cli.main import main; status = main(sys.argv[1:]); "
        "print('heavy:', sorted({'torch', 'fairseq', 'pandas', 'scipy'} & set(sys.modules))); "
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *name.split(), "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "examples:" in done.stdout
    assert "exit status:" in done.stdout
    assert "heavy: []" in done.stdout


@pytest.mark.parametrize(
    "words", ["checkpoint info", "checkpoint convert", "checkpoint verify", "data list", "data get"]
)
def test_help_of_actions_has_examples(capsys, words):
    assert main([*words.split(), "--help"]) == 0
    assert f"  musicbert {words}" in capsys.readouterr().out.partition("examples:")[2]


def test_every_command_that_is_there_can_be_asked_for_help(capsys):
    assert set(FROZEN) <= set(available()) <= set(COMMANDS)
    for name in available():
        assert main([name, "--help"]) == 0
        assert f"musicbert {name}" in capsys.readouterr().out


def test_bad_usage_is_two(capsys, tmp_path, micro):
    for words in ([], ["nonsense"], ["embed"], ["encode", "x", "--format", "wav"]):
        assert main(words) == 2
    assert (
        main(["embed", str(tmp_path / "none.mid"), "--model", "nothing", "-o", str(tmp_path / "x.npz")]) == 2
    )
    assert "unknown-name" in capsys.readouterr().err
    assert main(["embed", str(tmp_path), "--model", str(micro), "-o", str(tmp_path / "x.npz")]) == 2
    assert "no-files" in capsys.readouterr().err
    assert main(["embed", "a.mid", "--model", str(micro), "-o", str(tmp_path / "x.txt")]) == 2
    assert main(["encode", "a.mid", "--format", "npy"]) == 2
    assert main(["encode", ""]) == 2  # not the whole current folder
    assert main(["--version"]) == 0
    assert musicbert.__version__ in capsys.readouterr().out


def test_encode(midi, tmp_path, capsys):
    good = [str(midi / "a.mid")]
    assert main(["encode", *good]) == 0
    np.testing.assert_array_equal(line_to_rows(capsys.readouterr().out), encode(good[0]))
    assert main(["encode", str(midi), "-o", str(tmp_path / "lines.txt"), "--windows"]) == 1
    assert "bad.mid" in capsys.readouterr().err
    assert len((tmp_path / "lines.txt").read_text().splitlines()) == 1 + 4
    assert main(["encode", str(midi), "--format", "csv", "-o", str(tmp_path / "notes.csv")]) == 1
    with (tmp_path / "notes.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0][:3] == ["file", "bar", "position"]
    assert len(rows) == 1 + len(encode(good[0])) + 2600
    assert main(["encode", str(midi), "--format", "npy", "-o", str(tmp_path / "rows")]) == 1
    np.testing.assert_array_equal(np.load(tmp_path / "rows" / "a.npy"), encode(good[0]))
    assert main(["encode", str(midi / "bad.mid")]) == 2
    assert main(["encode", str(midi / "a.mid"), "--mid-bar-metre", "split"]) == 0


def test_encode_compound_words(midi, tmp_path, capsys):
    from musicbert.encoding.codecs import get_codec
    from musicbert.encoding.compound_word import chunk_rows, line_to_rows
    from musicbert.midi import read_score

    score = read_score(midi / "a.mid")
    for name in ("cp", "cp-m2bert", "cp-midibert"):
        rows, _ = get_codec(name).encode(score)
        assert main(["encode", str(midi / "a.mid"), "--encoding", name]) == 0
        np.testing.assert_array_equal(line_to_rows(capsys.readouterr().out), rows)
    table = tmp_path / "notes.csv"
    assert main(["encode", str(midi), "--encoding", "cp", "--format", "csv", "-o", str(table)]) == 1
    with table.open() as file:
        head, *lines = csv.reader(file)
    assert head == ["file", "bar", "position", "pitch", "duration"]
    rows, _ = get_codec("cp").encode(score)
    assert [list(map(int, line[1:])) for line in lines[: len(rows)]] == rows.tolist()
    base = ["encode", str(midi), "--encoding", "cp", "--format", "npy", "-o", str(tmp_path / "rows")]
    assert main([*base, "--chunk", "8"]) == 1
    assert "bad.mid" in capsys.readouterr().err
    np.testing.assert_array_equal(np.load(tmp_path / "rows" / "a.npy"), chunk_rows(rows, 8))
    for wrong in (["--windows"], ["--chunk", "0"], ["--zero-ticks", "drop"]):
        assert main([*base, *wrong]) == 2
    assert main(["encode", str(midi / "a.mid"), "--chunk", "8", "--format", "npy", "-o", str(tmp_path)]) == 2
    assert main(["encode", str(midi / "a.mid"), "--encoding", "cp", "--chunk", "8"]) == 2


def test_embed(midi, tmp_path, micro, capsys):
    model = musicbert.from_pretrained(micro)
    base = ["embed", str(midi), "--model", str(micro), "--output"]
    assert main([*base, str(tmp_path / "pieces.npz")]) == 1
    told = capsys.readouterr().err
    assert "bad.mid" in told
    assert f"{micro}: 50 tensors loaded, 0 missing, 0 unexpected" in told
    with np.load(tmp_path / "pieces.npz") as found:
        assert found["ids"].tolist() == [str(midi / "a.mid"), str(midi / "deep/b.MID")]
        np.testing.assert_allclose(found["embedding"][1], model.embed(midi / "deep/b.MID"), atol=1e-5)
    assert main([*base, str(tmp_path / "pieces.csv"), "--pooling", "mean"]) == 1
    with (tmp_path / "pieces.csv").open() as file:
        table = list(csv.reader(file))
    np.testing.assert_allclose(
        np.array(table[1][1:], float), model.embed(midi / "a.mid", pooling="mean"), atol=1e-5
    )
    for level in ("note", "bar"):
        assert main([*base, str(tmp_path / "x.npz"), "--level", level, "--layer", "1"]) == 1
        with np.load(tmp_path / "x.npz") as found:
            start, stop = found["offsets"][1:]
            expected = model.embed(midi / "deep/b.MID", level=level, layer=1)
            np.testing.assert_allclose(found["embedding"][start:stop], expected, atol=1e-5)
            assert len(found["bar"]) == len(found["embedding"])
    assert main([*base, str(tmp_path / "x.csv"), "--level", "note"]) == 2
    bad = [str(midi / "bad.mid") if word == str(midi) else word for word in base]
    assert main([*bad, str(tmp_path / "y.npz")]) == 2
    assert not (tmp_path / "y.npz").exists()


def test_predict(midi, tmp_path, micro, capsys):
    labels = tmp_path / "classes.json"
    labels.write_text('{"classes": ["rock", "jazz", "folk"], "dimensions": []}')
    base = ["predict", str(midi), "--model", str(micro), "--labels", str(labels)]
    assert main(base) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [list(line["topmagd_head"]) for line in lines] == [["rock", "jazz", "folk"]] * 2
    assert main([*base, "--output", str(tmp_path / "scores.csv"), "--heads", "topmagd_head"]) == 1
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["topmagd_head:jazz"]) == pytest.approx(lines[0]["topmagd_head"]["jazz"])
    assert main([*base, "--heads", "mood"]) == 2
    assert "topmagd_head" in capsys.readouterr().err


def test_fill(fixtures, tmp_path, micro):
    source = fixtures / "musicbert" / "s02_percussion_multi_program.mid"
    target, table = tmp_path / "out.mid", tmp_path / "t.csv"
    base = ["fill", str(source), "--model", str(micro), "--output", str(target)]
    chosen = [
        "--fields",
        "pitch",
        "--programs",
        "128",
        "--temperature",
        "1",
        "--seed",
        "2",
        "--order",
        "notes",
    ]
    assert main([*base, *chosen, "--table", str(table)]) == 0
    before, after = encode(source), encode(target)
    assert len(before) == len(after)
    drums = before[:, 2] == 128
    np.testing.assert_array_equal(before[~drums], after[after[:, 2] != 128])
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == drums.sum()
    assert all(row["field"] == "pitch" and int(row["after"]) >= 128 for row in rows)
    assert main([*base, "--bars", "1-1", "--tracks", "1", "--programs", "drums", "--table", str(table)]) == 0
    with table.open() as file:
        numbers = {int(row["note"]) for row in csv.DictReader(file)}
    track = read_score(source).track[encode_notes(read_score(source))[1]]
    first = (before[:, 0] == 0) & (before[:, 2] == 128) & (track == np.unique(track)[0])
    assert numbers == set(np.flatnonzero(first))
    assert main([*base, "--bars", "900-901"]) == 2
    assert main([*base, "--temperature", "-1"]) == 2
    assert main([*base, "--fields", "colour"]) == 2


def test_checkpoint(tmp_path, micro, capsys):
    folder, back, hugging = tmp_path / "folder", tmp_path / "back.pt", tmp_path / "hf"
    assert main(["checkpoint", "info", str(micro)]) == 0
    told = capsys.readouterr().out
    assert "topmagd_head" in told
    assert "50 tensors loaded" in told
    assert main(["checkpoint", "convert", str(micro), str(folder)]) == 0
    assert main(["checkpoint", "convert", str(folder), str(back)]) == 0
    assert main(["checkpoint", "convert", str(back), str(hugging), "--to", "hugging-face"]) == 0
    assert main(["checkpoint", "convert", str(hugging), str(folder)]) == 2
    assert "output-exists" in capsys.readouterr().err
    assert main(["checkpoint", "convert", str(hugging), str(folder), "--overwrite"]) == 0
    capsys.readouterr()
    assert main(["checkpoint", "info", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["architecture"]["layers"] == 2

    numbers = tmp_path / "numbers.npz"
    assert main(["checkpoint", "verify", str(micro)]) == 2  # nothing is published of this size
    assert main(["checkpoint", "verify", str(micro), "--record", str(numbers)]) == 0
    capsys.readouterr()
    for copy in (folder, back, hugging):
        assert main(["checkpoint", "verify", str(copy), "--expected", str(numbers)]) == 0
        assert "agrees with" in capsys.readouterr().out
    other = str(micro).replace("finetuned_topmagd_cfg", "pretrained_v1.0.0a0_cfg")
    assert main(["checkpoint", "verify", other, "--expected", str(numbers)]) == 0  # the same encoder


def test_verify_tells_another_model_from_the_published_one(tmp_path, capsys):
    import torch

    from musicbert.config import PRESETS
    from musicbert.model import MusicBert

    torch.manual_seed(0)
    stand_in = MusicBert(PRESETS["small"].with_(max_positions=64))
    torch.save({"model": stand_in.state_dict()}, tmp_path / "small.pt")
    assert main(["checkpoint", "verify", str(tmp_path / "small.pt")]) == 1
    assert "differs from the published small checkpoint" in capsys.readouterr().out


def test_python_dash_m(fixtures):
    words = [sys.executable, "-m", "musicbert", "encode", str(fixtures / "musicbert" / "s01_basic_4_4.mid")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("<s> <s>")


@pytest.mark.parametrize("where", ["file", "stdout"])
def test_a_name_that_is_not_utf8_is_escaped_and_no_file_is_lost(tmp_path, fixtures, where):
    folder = tmp_path / "songs"
    folder.mkdir()
    names = [b"plain.mid", b"\xe9t\xe9.mid"]
    content = (fixtures / "musicbert" / "s01_basic_4_4.mid").read_bytes()
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(content)
    to = ["--output", "o.csv"] if where == "file" else []
    done = subprocess.run(
        [sys.executable, "-m", "musicbert", "encode", "songs", "--format", "csv", *to],
        cwd=tmp_path, capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )  # fmt: skip
    text = (tmp_path / "o.csv").read_text() if to else done.stdout.decode()
    shown = {line.split(",")[0] for line in text.splitlines()[1:]}
    assert shown == {"songs/plain.mid", "songs/\\udce9t\\udce9.mid"}


def test_what_a_folder_holds_is_used_or_named(tmp_path, fixtures, capsys):
    folder = tmp_path / "midi"
    (tmp_path / "elsewhere").mkdir()
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    for name in ("a.mid", "b.kar", "c.SMF", "d.mid.gz", "linked/e.mid", "._a.mid"):
        (folder / name).write_bytes((fixtures / "musicbert" / "s01_basic_4_4.mid").read_bytes())
    assert main(["encode", str(folder), "--format", "csv"]) == 0
    shown = capsys.readouterr()
    used = {line.split(",")[0].removeprefix(f"{folder}/") for line in shown.out.splitlines()[1:]}
    assert used == {"a.mid", "b.kar", "c.SMF", "linked/e.mid"}
    assert "loop: a linked folder that is read already" in shown.err
    assert "d.mid.gz: " in shown.err

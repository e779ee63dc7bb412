"""Every command in README and docs runs as printed, with small inputs under the names that the pages use."""

import contextlib
import functools
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import chain
from multiprocessing import forkserver
from pathlib import Path

import pytest
from few_trees import few_trees  # noqa: F401
from options.programs import PROGRAMS as PROGRAMS_WITH_PARSERS
from options.programs import parser_of_program
from own_study import make_study
from warm_python import python

import musicbert
from musicbert.annotation.names import parse_segment
from musicbert.cli.main import main
from musicbert.corpus.readers import read
from musicbert.synthesis import make_set, write_made_set

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
PATH = re.compile(r"(?<![\w/])(?:scripts|docs|results|benchmarks|musicbert)/[\w/]+\.(?:sh|py|md)\b")
SUB_COMMAND = re.compile(r"^(?:\$ )?musicbert ([a-z]+)|`musicbert ([a-z]+)(?=[` ])", re.M)
#: commands in blocks and between backticks: program, recipe or sub-command, options
COMMAND = re.compile(
    r"(?:(?:bash|python) |(?<=[`\s|])(?=scripts/))((?:scripts/|results/tools/)?[\w/]+\.(?:sh|py))"
    r"((?:[ \t]+[^\s`#|]+)*)"
    r"|(?<!from )(musicbert (?:(?:train|checkpoint|data) [a-z0-9][a-z0-9-]+|[a-z]+))((?:[ \t]+[^\s`#|]+)*)"
)
#: languages of blocks that are not programs
NOT_PROGRAMS = {"text", "csv", "json", "yaml"}

_TRAIN = "--cpu --updates 1 --warmup 0 --effective-batch 2 --num-workers 0"
_RATED = f"{_TRAIN} --batch 2"
_SENTENCES = f"{_RATED} --max-positions 1024 --small-checkpoints"
_SCORE = "--cpu --quiet --resamples 20 --max-updates 1"
_KEPT = f"{_SCORE} --seeds 1 --keep-models"
#: beginning of a command -> options that make it small; the longest beginning counts
SMALL = {
    "bash scripts/binarize_": "--direct",
    "bash scripts/classification/": _RATED,
    "bash scripts/finetune_m2bert.sh": "--cpu --quiet --max-updates 1 --seeds 1 --no-baselines --tasks VF",
    "bash scripts/m2bert/pretrain.sh": f"{_RATED} --crop 32 --validate-every 1",
    "bash scripts/pretrain/musicbert.sh": f"{_TRAIN} --arch musicbert_tiny --validate-every 1",
    "bash scripts/pretrain/musicbert.sh lmd": f"{_TRAIN} --validate-every 1",
    "bash scripts/pretrain/musicbert.sh DATA mini": f"{_TRAIN} --validate-every 1 --break-mode eos",
    "bash scripts/reg_cls/": _RATED,
    "bash scripts/regression/": _RATED,
    "bash scripts/train_genre.sh": _SENTENCES,
    "bash scripts/train_nsp.sh": _SENTENCES,
    "fairseq-train DATA": "--cpu --arch musicbert_tiny --max-update 1",
    "musicbert build": "--quiet --shares 60 20 20",
    "musicbert render": "--sample-rate 8000 --quiet",
    "musicbert evaluate": "--resamples 20 --quiet",
    "musicbert finetune --data": f"{_KEPT} --no-final",
    "musicbert finetune --data xai_data_bin_apex_reg_cls": f"{_KEPT} --no-final --no-report",
    "musicbert finetune --data smc/note/layers": f"{_SCORE} --seeds 1 --max-failure-rate 1",
    "musicbert finetune --labels": f"{_SCORE} --window 64 --folds 2",
    "musicbert finetune --labels moods.csv --midi songs/ --model musicbert-mini --output runs/moods_": (
        f"{_SCORE} --window 64 --folds 2 --no-final --no-report"
    ),
    "musicbert remix piece.mid --bars": "--versions 1",
    "musicbert train regression --init musicbert-mini --": _RATED,
    "python gen_xai.py --midi": "--folds-file test.id",
    "python scripts/eval_": "--device cpu --no-baselines",
    "python scripts/gen_genre.py": "--folds 2",
    "python scripts/gen_nsp.py acc": "--group 5 --shares 0.6,0.2,0.2",
}
#: what does not fit small inputs or takes long -> what runs
REPLACED = {
    " --workers 8": " --workers 1",
    " --seeds 1 2 3": " --seeds 1",
    "--melody vocal": "--melody 0",
    "scratch:m2bert_mini": "scratch:m2bert_tiny",
    "FineTuning(epochs=10), workers=2": "FineTuning(epochs=1, max_updates=1)",
    "seeds=task.seeds": "seeds=(1,)",
    "--user-dir musicbert": f"--user-dir {ROOT}/musicbert",  # the folder of the test has a link to it
}
#: beginning of a command -> why it does not run here; its options are checked all the same
NOT_RUN = {
    "musicbert serve": "does not end; tests/integration/test_page.py starts it",
    "musicbert explain piece.mid --dimension slow": "music that has a profile; tests/unit/explanation",
    "musicbert plot profile": "music that has a profile; tests/unit/viz/test_music.py",
    "musicbert plot curves": "the log of a training; tests/unit/viz/test_music.py",
    "make ": "downloads packages; the steps of the demo are those of the main job",
    "pip install": "downloads packages",
    "bash scripts/run_xai.sh --data DIR": "a GPU",
    "bash scripts/run_ablations.sh": "tens of trainings; test_ablations.py runs a small plan",
    "bash scripts/m2bert/pretrain.sh --data cp_data_bin --arch m2bert_base": "a GPU (--half-sums, --compile)",
    "bash scripts/prepare_smc_benchmark.sh SMC": "published archives; test_benchmark_recipes.py runs it",
    "bash scripts/prepare_pretrain_data.sh": "published archives; test_benchmark_recipes.py runs it",
    "bash scripts/m2bert/pretrain.sh --data OUT/data": "the data of the line above",
}
_LABELS = ("python map_midi_to_label.py", "python gen_xai.py --midi data/segment_midi.zip")
_RATINGS = (*_LABELS, "bash scripts/binarize_xai.sh xai")
#: commands of other pages that come before those of a page
BEFORE = {
    "docs/training.md": _RATINGS,
    "docs/pretraining.md": ("musicbert build midi --output lmd_data_bin", "cp -r lmd_data_bin DATA"),
    "docs/downstream.md": ("musicbert build midi --output DATA",),
    "docs/finetuning-more.md": (
        *_RATINGS,
        "python scripts/gen_nsp.py next --pirhdy PiRhDy/dataset",
        "bash scripts/binarize_nsp.sh next",
        "python scripts/gen_genre.py topmagd --map midi_genre_map.json --midi lmd_full.zip",
        "bash scripts/binarize_genre.sh topmagd",
    ),
}
UPSTREAM = "docs/from-upstream.md"
#: pages whose examples have a test of their own
TESTED = {
    "docs/library.md": "test_library_page.py",
    "docs/new-data.md": "test_new_data_set.py",
    "docs/own-study.md": "test_own_study.py",
}
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def blocks(page):
    """Language and text of each block of a page."""
    return BLOCK.findall((ROOT / page).read_text())


def lines_of(text):
    """Commands of a block, without comments."""
    for line in text.replace("\\\n", " ").splitlines():
        command = re.sub(r"(^|\s)#.*", "", line)
        if command.strip():
            yield " ".join(command.split())


def beginning(table, line):
    """The longest entry of a table that a line begins with."""
    return max((start for start in table if line.startswith(start)), key=len, default=None)


def small(line):
    """Return a command that does as little as a test needs."""
    for printed, runs in REPLACED.items():
        line = line.replace(printed, runs)
    start = beginning(SMALL, line)
    if start is None:
        return line
    own, dashes, rest = line.partition(" -- ")
    return f"{own} {SMALL[start]}{dashes}{rest}"


PROGRAMS = [page for page in PAGES if any(language not in NOT_PROGRAMS for language, _ in blocks(page))]


def test_blocks_are_programs_or_name_what_they_are():
    languages = {language for page in PAGES for language, _ in blocks(page)}
    assert languages <= {"bash", "python", *NOT_PROGRAMS}
    assert {"README.md", "docs/training.md", *TESTED} < set(PROGRAMS)
    for page, test in TESTED.items():
        assert Path(page).name in (ROOT / "tests" / "integration" / test).read_text()


def test_no_entry_of_the_tables_is_left_over():
    texts = [text for page in PAGES for language, text in blocks(page) if language in ("bash", "python")]
    lines = [*chain.from_iterable(map(lines_of, texts)), *chain.from_iterable(BEFORE.values())]
    assert not [start for start in (*SMALL, *NOT_RUN) if not any(line.startswith(start) for line in lines)]
    assert not [printed for printed in REPLACED if not any(printed in text for text in (*texts, *lines))]
    assert set(BEFORE) <= set(PROGRAMS)


@pytest.fixture(scope="module")
def inputs(make_midi_folder, make_source, tmp_path_factory):
    """Folder with everything that the pages name, and the programs."""
    folder = tmp_path_factory.mktemp("inputs")
    made = make_set(3, performers=3, segments=6, movements=1)
    write_made_set(made, folder / "data")
    shutil.copy(folder / "data" / "total.csv", folder / "total_2rounds.csv")
    (folder / "test.id").write_text(
        "".join(f"{name}\n" for name in made.scores if parse_segment(name).number == 6)
    )
    study = tmp_path_factory.mktemp("study") / "study"
    make_study(study)
    ratings = (study / "wide.csv").read_text().replace(",99", ",9")  # the page has no "don't know"
    (study / "ratings.csv").write_text(ratings)
    shutil.copytree(study, folder, dirs_exist_ok=True)
    midi = make_midi_folder(12, notes=(40, 60), seed=3)
    for name in ("MIDI", "songs", "new_songs", "lmd_full"):
        shutil.copytree(midi, folder / name)
    files = sorted(path.relative_to(midi) for path in midi.rglob("*.mid"))
    rows = [f"{path},{('calm', 'wild')[number % 2]},album{number}" for number, path in enumerate(files)]
    (folder / "moods.csv").write_text("\n".join(["file,mood,group", *rows]) + "\n")
    for name in ("piece.mid", "new.mid"):
        shutil.copy(midi / files[0], folder / name)
    shutil.make_archive(str(folder / "lmd_full"), "gztar", folder, "lmd_full")
    genres = make_source("songs", tmp_path_factory.mktemp("genres"))
    shutil.copy(genres / "map.json", folder / "midi_genre_map.json")
    shutil.make_archive(str(folder / "lmd_full"), "zip", genres, "songs")
    shutil.copytree(genres / "songs", folder / "POP909")
    make_source("tnua", folder / "TNUA_violin_fingering_dataset")
    make_source("augmentednet", folder / "AugmentedNet")
    shutil.make_archive(
        str(folder / "POP909"), "zip", make_source("pop909", tmp_path_factory.mktemp("pop909"))
    )
    make_source("pop909_processed", folder / "tunes")
    lines = ROOT / "tests/unit/corpus/sentences/pairs/pirhdy_lines.py"
    spec = importlib.util.spec_from_file_location("pirhdy_lines", lines)
    pirhdy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pirhdy)
    pairs = folder / "PiRhDy" / "dataset" / "context_next"
    pairs.mkdir(parents=True)
    pirhdy.made_file(pairs / "train", 40, candidates=4, positives=2, seed=1)
    pirhdy.made_file(pairs / "test", 2, candidates=50, seed=2)
    for name in ("musicbert", "scripts", "results", "gen_xai.py", "map_midi_to_label.py"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "bin").mkdir()
    for name, module in (
        ("python", ""),
        ("musicbert", "-m musicbert"),
        ("fairseq-train", "-m fairseq_cli.train"),
    ):
        program = folder / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {python()} {module} "$@"\n')
        program.chmod(0o755)
    return folder


@pytest.fixture
def place(inputs, tmp_path, monkeypatch):
    """A copy of the inputs as the current folder; the programs are on the path."""
    folder = shutil.copytree(inputs, tmp_path / "place", symlinks=True)
    monkeypatch.chdir(folder)
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    for name, value in {"PATH": path, "PYTHON": python(), "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    yield folder
    # a server that forks children, started here, has the package from the link in this folder
    forkserver._forkserver._stop()


def names_of(page):
    """Names that the Python of a page expects."""
    if page == "docs/labelled-pieces.md":
        return {"pieces": read("pop909", "tunes")}
    return {"musicbert": musicbert}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PROGRAMS if page not in TESTED])
@pytest.mark.usefixtures("place")
def test_every_block_runs_as_printed(page):
    def run(line):
        command = small(line)
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{page}: {command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"

    for line in BEFORE.get(page, ()):
        run(line)
    names = names_of(page)
    for language, text in blocks(page):
        if language == "python":
            for printed, runs in REPLACED.items():
                text = text.replace(printed, runs)
            exec(compile(text, page, "exec"), names)
        elif language == "bash":
            for line in lines_of(text):
                if beginning(NOT_RUN, line) is None:
                    run(line)


def commands():
    """Page, command and options of every command that a page names, in blocks and in sentences."""
    for page in PAGES:
        text = (ROOT / page).read_text().replace("\\\n", " ")
        if page == UPSTREAM:  # the first column names the programs of others
            text = re.sub(r"^\| .*? \| ", "", text, flags=re.M)
        for script, own, sub_command, rest in COMMAND.findall(text):
            yield page, script or sub_command, own or rest


@functools.cache
def help_of(program):
    """What ``--help`` of a script or a sub-command prints; empty if there is no such program."""
    words = shlex.split(program)
    if words[0] == "musicbert":
        with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(io.StringIO()):
            status = main([*words[1:], "--help"])
        return printed.getvalue() if status == 0 else ""
    if words[0] in PROGRAMS_WITH_PARSERS:
        return parser_of_program(words[0]).format_help()
    if (ROOT / words[0]).is_file():
        command = ["bash" if words[0].endswith(".sh") else python(), ROOT / words[0]]
    else:
        return ""
    environment = {**os.environ, "PYTHON": python()}
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, env=environment, check=False)
    return done.stdout if done.returncode == 0 else ""


@pytest.mark.slow
def test_programs_and_options_exist():
    told: dict[str, str] = {}
    problems = []
    for page, program, rest in commands():
        if program not in told:
            told[program] = help_of(program)
        if not told[program]:
            problems.append(f"{page}: no {program}")
        options = re.findall(r"--[a-z][\w-]*", rest.partition(" -- ")[0])
        problems += [f"{page}: {program} has no {name}" for name in options if name not in told[program]]
    assert {"map_midi_to_label.py", "scripts/eval_xai.sh", "musicbert finetune"} <= set(told)
    assert not problems


@pytest.mark.slow
def test_what_the_page_for_upstreams_users_names_exists():
    text = (ROOT / UPSTREAM).read_text()
    rows = [
        line.split(" | ") for line in text.splitlines() if line.startswith("| ") and " | here | " not in line
    ]
    assert len(rows) > 60
    programs = {program for page, program, _ in commands() if page == UPSTREAM}
    programs |= {name for name in re.findall(r"`([\w/]+\.(?:py|sh))", text) if (ROOT / name).is_file()}
    known = "--user-dir " + "".join(map(help_of, sorted(programs)))
    sources = "".join(path.read_text() for path in (ROOT / "musicbert" / "fairseq_plugin").rglob("*.py"))
    known += "".join(f"--{name.replace('_', '-')} " for name in re.findall(r"^    (\w+): .*$", sources, re.M))
    ours = [
        cell
        for old, *new in rows
        for cell in (*new, *([old] if new[0].startswith(("the same", "accepted")) else []))
    ]
    flags = {flag for cell in ours for flag in re.findall(r"--[a-z][\w-]*[a-z]", cell)}
    assert len(flags) > 30
    assert not [flag for flag in sorted(flags) if flag not in known]


def test_files_that_pages_name_exist():
    named = {(page, path) for page in PAGES for path in PATH.findall((ROOT / page).read_text())}
    assert ("README.md", "scripts/eval_xai.sh") in named
    assert not sorted((page, path) for page, path in named if not (ROOT / path).is_file())


def test_sub_commands_that_pages_name_exist():
    from musicbert.cli.main import available

    named = {a or b for page in PAGES for a, b in SUB_COMMAND.findall((ROOT / page).read_text())}
    assert {"encode", "build", "finetune"} <= named
    assert named <= set(available())

"""Every command in README and docs names a program that exists, with options that it has."""

import os
import re
import shlex
import subprocess

import pytest
from warm_python import python

PAGES = [
    "README.md",
    *(
        f"docs/{n}.md"
        for n in (
            "labels",
            "own-study",
            "training",
            "pretraining",
            "encoding",
            "corpus",
            "benchmark",
            "downstream",
            "ablations",
        )
    ),
]
PATH = re.compile(r"(?<![\w/])(?:scripts|docs|results|benchmarks|musicbert)/[\w/]+\.(?:sh|py|md)\b")
SUB_COMMAND = re.compile(r"^(?:\$ )?musicbert ([a-z]+)|`musicbert ([a-z]+)(?=[` ])", re.M)
COMMAND = re.compile(r"(?:bash|python) ((?:scripts/)?[\w/]+\.(?:sh|py))((?:[ \t]+[^\s`#|]+)*)")


def commands(root):
    for page in PAGES:
        text = (root / page).read_text().replace("\\\n", " ")  # continued lines
        for found in COMMAND.finditer(text):
            yield page, found.group(1), found.group(2)


def test_there_are_commands(root):
    found = [program for _, program, _ in commands(root)]
    assert {"map_midi_to_label.py", "gen_xai.py", "scripts/eval_xai.sh"} <= set(found)


@pytest.mark.slow
def test_programs_and_options_exist(root):
    told: dict[str, str] = {}
    problems = []
    for page, program, rest in commands(root):
        if not (root / program).is_file():
            problems.append(f"{page}: no {program}")
            continue
        if program not in told:
            start = ["bash"] if program.endswith(".sh") else [python()]
            command = [*start, root / program, "--help"]
            environment = {**os.environ, "PYTHON": python()}
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            assert done.returncode == 0, done.stderr
            told[program] = done.stdout
        own = shlex.split(rest.partition(" -- ")[0])
        options = [word.partition("=")[0] for word in own if word.startswith("--")]
        problems += [f"{page}: {program} has no {name}" for name in options if name not in told[program]]
    assert not problems


def test_files_that_pages_name_exist(root):
    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    named = {(page.name, path) for page in pages for path in PATH.findall(page.read_text())}
    assert ("README.md", "scripts/eval_xai.sh") in named
    assert not sorted((page, path) for page, path in named if not (root / path).is_file())


def test_sub_commands_that_pages_name_exist(root):
    from musicbert.cli.main import available

    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    named = {a or b for page in pages for a, b in SUB_COMMAND.findall(page.read_text())}
    assert {"encode", "build", "finetune"} <= named
    assert named <= set(available())

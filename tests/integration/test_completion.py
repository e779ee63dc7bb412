"""`musicbert completion`: what shells complete, tried in bash itself."""

import shutil
import subprocess
import sys

import pytest

from musicbert.cli.main import available, main
from musicbert.recipes import RECIPES

TRY = """
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_musicbert
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    code = (
        "import sys; from musicbert.cli.main import main; main(['completion', 'bash']);"
        "sys.exit(bool({'torch', 'fairseq'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    path = tmp_path_factory.mktemp("shell") / "musicbert"
    path.write_text(done.stdout)
    return path


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([""], set(available())),
        (["enc"], {"encode"}),
        (["encode", "--for"], {"--format"}),
        (["encode", "a.mid", "--format", ""], {"text", "csv", "npy"}),
        (["checkpoint", "con"], {"convert"}),
        (["checkpoint", "convert", "a", "--to", "f"], {"folder", "fairseq"}),
        (["data", "get", "--un"], {"--unverified"}),
        (["train", ""], set(RECIPES)),
        (["train", "performer-only", "--pool"], set()),
        (["train", "performer", "--pooling", ""], {"first", "mean", "mean+sd"}),
        (["completion", "z"], {"zsh"}),
        (["encode", "some"], set()),  # then file names
    ],
)
def test_bash_completes(script, words, expected):
    done = subprocess.run(
        ["bash", "-c", f"source {script}\n{TRY}", "bash", "musicbert", *words],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert set(done.stdout.split()) == expected


def test_the_other_shells(script, capsys):
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out == f"autoload -Uz bashcompinit && bashcompinit\n{script.read_text()}"
    assert main(["completion", "fish"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("complete -c musicbert -n '") and line.endswith("'") for line in lines)
    assert any("-l format -x -a 'text csv npy'" in line for line in lines)
    assert "%(" not in "".join(lines)

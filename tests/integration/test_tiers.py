"""What each tier of the installation does alone, and what a command says that needs another."""

import ast
import os
import re
import subprocess
import sys

import pytest

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
from musicbert.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
#: requirement -> package that is imported, where the names differ
IMPORTED = {
    "scikit-learn": "sklearn",
    "fairseq-fixed": "fairseq",
    "setuptools": "pkg_resources",
    "pyyaml": "yaml",
}
#: not on Windows, and nothing there may need them (fcntl is asked for where the system is another)
POSIX_ONLY = {"resource", "pwd", "grp", "termios"}


@pytest.fixture(scope="module")
def tiers(root):
    """Packages of the two upper tiers, as setup.py lists them."""
    lists = {}
    for node in ast.parse((root / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id in ("MODELS", "TRAIN"):
            words = [item.value for item in node.value.elts if isinstance(item, ast.Constant)]
            names = [re.match(r"[\w-]+", word)[0] for word in words]
            lists[node.targets[0].id] = {IMPORTED.get(name, name) for name in names}
    assert {"torch", "pandas", "sklearn"} <= lists["MODELS"]
    assert {"fairseq", "omegaconf"} <= lists["TRAIN"]
    return lists


@pytest.fixture
def musicbert(root, tmp_path):
    def run(packages, *arguments):
        code = BLOCKED.format(packages=set(packages))
        environment = {**os.environ, "PYTHONPATH": str(root)}
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=environment,
        )

    return run


@pytest.fixture
def music(make_midi_folder):
    return make_midi_folder(6)


def test_base_reads_encodes_and_builds(musicbert, music, tiers, tmp_path):
    blocked = tiers["MODELS"] | tiers["TRAIN"] | POSIX_ONLY
    encoded = musicbert(blocked, "encode", music)
    assert encoded.returncode == 0, encoded.stderr
    assert encoded.stdout == musicbert((), "encode", music).stdout
    built = musicbert(blocked, "build", music, "--output", "corpus", "--shares", 60, 20, 20, "--quiet")
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "corpus" / "train.bin").stat().st_size > 0
    assert musicbert(blocked, "data", "list").returncode == 0


def test_models_embed_without_fairseq(musicbert, music, tiers, tmp_path):
    blocked = tiers["TRAIN"] | POSIX_ONLY
    done = musicbert(blocked, "embed", music, "--model", "musicbert-mini", "--output", "vectors.npz")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "vectors.npz").exists()


@pytest.mark.parametrize(
    ("tier", "command"),
    [
        ("models", ("embed", "MUSIC", "--model", "musicbert-mini", "--output", "x.npz")),
        ("models", ("predict", "MUSIC", "--model", "musicbert-mini")),
        ("models", ("fill", "FILE", "--model", "musicbert-mini", "--fields", "pitch", "--output", "x.mid")),
        ("models", ("checkpoint", "info", "musicbert-mini")),
        (
            "train",
            ("finetune", "--labels", "t.csv", "--midi", "MUSIC", "--model", "m2bert-mini", "--output", "x"),
        ),
    ],
)
def test_a_missing_tier_is_one_line(musicbert, music, tiers, tmp_path, tier, command):
    (tmp_path / "t.csv").write_text("file,mood\na.mid,calm\n")
    words = [{"MUSIC": music, "FILE": next(music.rglob("*.mid"))}.get(word, word) for word in command]
    done = musicbert(tiers["MODELS"] | tiers["TRAIN"], *words)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert f"pip install 'musicbert[{tier}]'" in line


def test_every_package_of_a_tier_names_its_extra(tiers):
    from musicbert.command_line import EXTRAS

    named = {*EXTRAS["models"].split(), *EXTRAS["train"].split()}
    assert named >= (tiers["MODELS"] | tiers["TRAIN"]) - {"pkg_resources"}


def test_the_licence_of_the_weights_is_in_the_metadata(root):
    code = (
        "import setuptools; from distutils.core import run_setup; "
        "print(run_setup('setup.py', stop_after='init').metadata.license_expression)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "MIT AND CC-BY-NC-SA-4.0"

"""What a wheel holds: every file of data that the package opens, the weights that ship, and a front page."""

import contextlib
import importlib
import io
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 60e6
#: pages about folders
NOT_PACKED = {"checkpoints/README.md", "musicbert/corpus/sentences/pairs/README.md"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Metadata of the package, and paths in the repository of what is packed."""
    pytest.importorskip("setuptools", reason="needs setuptools")
    core = importlib.import_module("distutils.core")  # that of setuptools
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(io.StringIO()):
        distribution = core.run_setup("setup.py", stop_after="init")
        command = distribution.get_command_obj("build_py")
        command.build_lib = str(tmp_path_factory.mktemp("build"))
        command.ensure_finalized()
        packed = {
            Path(folder, name).as_posix() for _, folder, _, names in command.data_files for name in names
        }
        modules = {Path(path).as_posix() for _, _, path in command.find_all_modules()}
    return distribution, packed | modules


def tracked(*folders):
    done = subprocess.run(
        ["git", "ls-files", "--", *folders], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("needs a git checkout")
    return set(done.stdout.splitlines())


def test_every_file_of_the_package_is_packed_and_no_other_data(wheel):
    kept = {name for name in tracked("musicbert", "checkpoints") if name not in NOT_PACKED}
    assert len(kept) > 300
    assert kept <= wheel[1]
    assert {name for name in wheel[1] - kept if not name.endswith(".py")} == set()


def test_it_is_small(wheel):
    assert sum((ROOT / name).stat().st_size for name in wheel[1]) < MOST_BYTES  # before compression


def test_the_front_page_needs_no_repository(wheel):
    text = wheel[0].metadata.long_description
    assert "pip install" in text
    assert "arxiv.org" in text
    assert re.findall(r"!\[|\]\((?!https?:)", text) == []

"""Without a package, every program says what to install: one line, no traceback."""

import os
import subprocess
import sys

import pytest

#: in place of the site's own customisation: importing these packages fails as if they were not installed
BLOCK = """
import importlib.abc, os, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in os.environ["BLOCKED"].split():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
"""
SONG = "{fixtures}/musicbert/s01_basic_4_4.mid"
MICRO = "{fixtures}/musicbert_model/micro_finetuned_topmagd_cfg.pt"
#: program -> a call that works, and the packages that it cannot do without
CALLS = {
    "musicbert encode": (SONG, ""),
    "musicbert encode --windows": (SONG, ""),
    "musicbert build": (f"{SONG} -o corpus --shares 1 0 0", "tqdm"),
    "musicbert embed": (f"{SONG} --model {MICRO} -o e.npz", "torch"),
    "musicbert predict": (f"{SONG} --model {MICRO}", "torch"),
    "musicbert fill": (f"{SONG} --model {MICRO} -o f.mid", "torch"),
    "musicbert checkpoint info": (MICRO, "torch"),
    "musicbert train musicbert": ("--data folder --arch musicbert_tiny --cpu", "fairseq torch"),
    "musicbert finetune": (
        "--labels t.csv --midi folder --model scratch:musicbert_tiny -o run", "fairseq torch tqdm",
    ),
    "musicbert benchmark": ("scratch:m2bert_tiny --note-data folder --tasks ME -o run", "fairseq torch tqdm"),
    "musicbert evaluate": ("runs --no-baselines", ""),
    "musicbert data list": ("", ""),
    "map_midi_to_label.py": ("", ""),
    "gen_xai.py": ("", ""),
    "scripts/gen_genre.py": ("topmagd --map x --midi y", ""),
    "scripts/gen_nsp.py": ("next --midi y", ""),
    "scripts/eval_genre.py": ("folder", "torch"),
    "scripts/eval_nsp.py": ("folder", "torch"),
    "scripts/eval_xai.py": ("model.pt folder", "fairseq torch tqdm"),
    "scripts/run_experiments.py": ("--data folder --output runs", "fairseq torch tqdm"),
    "scripts/import_pretrain_npy.py": ("x.npy -o folder2", "tqdm"),
    "scripts/prepare_benchmark.py": ("folder out", ""),
    "scripts/prepare_pretrain_data.py": ("folder - out", ""),
    "scripts/make_demo_data.py": ("--output out", ""),
}  # fmt: skip
CASES = [(name, package) for name, (_, needs) in CALLS.items() for package in needs.split()]


@pytest.fixture
def run(root, fixtures, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(BLOCK)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "dict.txt").write_text("")
    (tmp_path / "t.csv").write_text("file,label\na.mid,x\n")

    def call(name, package):
        words = [*name.split(), *CALLS[name][0].format(fixtures=fixtures).split()]
        start = ["-m", "musicbert"] if words[0] == "musicbert" else [str(root / words[0])]
        return subprocess.run(
            [sys.executable, *start, *words[1:]],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}:{root}", "BLOCKED": package},
        )  # fmt: skip

    return call


@pytest.mark.parametrize(("name", "package"), CASES)
def test_a_missing_package_is_named(run, name, package):
    done = run(name, package)
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == 2
    assert f"needs the package {package}" in done.stdout + done.stderr
    assert "install" in done.stdout + done.stderr


@pytest.mark.parametrize("name", CALLS)
def test_no_traceback_without_torch_fairseq_and_tqdm(run, name):
    done = run(name, "torch fairseq tqdm")
    assert "Traceback" not in done.stdout + done.stderr
    assert bool(CALLS[name][1]) == ("needs the package" in done.stdout + done.stderr)

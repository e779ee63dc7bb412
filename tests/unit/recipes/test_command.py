"""The table of recipes: the commands of fairseq-train, the architecture of the weights, the help."""

import json
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from musicbert.cli.main import main
from musicbert.errors import CheckpointError, MusicBertError
from musicbert.recipes import RECIPES
from musicbert.recipes.command import PACKAGE, Device, plan_processes
from musicbert.recipes.options import make_parser, parse
from musicbert.recipes.training import train

#: script of the recorded commands -> recipe, and the words that the script adds
SCRIPTS = {
    "regression/finetuning.sh": ["regression"],
    "reg_cls/finetuning.sh": ["reg-cls"],
    "classification/performer.sh": ["performer"],
    "classification/pretrain.sh": ["contrastive"],
    "classification/finetuning.sh": ["performer-contrastive"],
    "classification/finetuning_only.sh": ["performer-only"],
    "train_nsp.sh": ["pairs"],
    "finetune_next.sh": ["pairs", "next"],
    "finetune_acc.sh": ["pairs", "acc"],
    "train_genre.sh": ["genre"],
    "pretrain/musicbert.sh": ["musicbert"],
    "pretrain_mlm.sh": ["musicbert"],
    "m2bert/pretrain.sh": ["m2bert"],
}
RECORDED = json.loads((Path(__file__).parents[2] / "fixtures" / "recipe_commands.json").read_text())


class StubWeights:
    """Weights whose architecture is in their name."""

    def find(self, name):
        if name == "musicbert-mini":
            return Path("ROOT/checkpoints/musicbert-mini")
        if not Path(name).is_file():
            raise CheckpointError("not-found", "There is no such checkpoint", path=name)
        return Path(name)

    def architecture(self, path):
        size = re.search(r"musicbert[-_](\w+)", path.name)
        return f"musicbert_{size[1] if size else 'base'}", {}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Folder with the inputs of the recorded commands."""
    files = [
        *(f"xai_data_bin_apex_reg_cls/{fold}/input0/" for fold in (0, 1)),
        *("other_bin/2/input0/", "next_data_bin/input0/", "acc_data_bin/input0/", "masd_data_bin/0/input0/"),
        *(f"topmagd_data_bin/{fold}/input0/" for fold in (0, 1, 2)),
        *("lmd_data_bin/dict.txt", "plain/dict.txt", "cp_data_bin/meta.json", "octuple_bin/dict.txt"),
        *(f"shards/shard{shard}/dict.txt" for shard in range(3)),
        *(f"cp_shards/shard{shard}/meta.json" for shard in range(3)),
        *(f"checkpoints/checkpoint_last_musicbert_{size}.pt" for size in ("base", "small", "mini")),
        *(f"resumed{run}/train.log" for run in ("", "/seed7", "/seed8")),
        *(f"resumed{run}/checkpoint_last.pt" for run in ("", "/seed7", "/seed8")),
        *("finished/seed7/done", "finished/seed7/train.log"),
    ]  # fmt: skip
    for name in files:
        path = tmp_path / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


class StubMachine:
    """A machine with GPUs."""

    def __init__(self, gpus=0, speed=1e11):
        self.gpus = lambda: gpus
        self.cpu_speed = lambda: speed


def dry_run(words, *, gpus=0):
    """Commands of a dry run, each as launcher, data and flags (the last of equal ones counts)."""
    name, *rest = words
    recipe = RECIPES[name]
    end = rest.index("--") if "--" in rest else len(rest)
    given, extra = parse(
        recipe, [*rest[:end], "--dry-run", *rest[end:]], parser=make_parser(recipe, prog=name)
    )
    lines = []
    train(given, extra, weights=StubWeights(), machine=StubMachine(gpus), out=lines.append)
    commands = []
    for line in lines:
        if line.startswith(("== ", "   ")):
            continue
        words = [word.replace(str(PACKAGE.parent), "ROOT") for word in shlex.split(line)]
        at = words.index("musicbert.fairseq_plugin.launch")
        launch = [Path(words[0]).name.replace("python3", "python"), *words[1 : at - 1]]
        flags = {}
        for word in words[at + 2 :]:
            if word.startswith("--"):
                last = word
                flags[last] = []
            else:
                flags[last].append(word)
        commands.append((launch, words[at + 1], {flag: " ".join(values) for flag, values in flags.items()}))
    return commands


@pytest.mark.parametrize("script", SCRIPTS)
def test_commands_are_those_of_the_former_shell_scripts(folder, script):
    if script == "classification/finetuning.sh":
        for name in ("loss_1e-3_arch", "loss_5e-5_arch", "loss_ntxent_1e-3_mini"):
            path = folder / "checkpoints" / f"xai_xai_pretrain_{name}" / "checkpoint_best.pt"
            path.parent.mkdir()
            path.touch()
    cases = [case for case in RECORDED["cases"] if case["script"] == script]
    assert cases
    for case in cases:
        words = [*SCRIPTS[script], *case["arguments"]]
        if "error" in case:
            with pytest.raises(MusicBertError):
                dry_run(words, gpus=case.get("gpus", 0))
            continue
        expected = []
        for command in case["commands"]:
            flags = {**RECORDED["defaults"][script], **command["set"]}
            for flag in command.get("without", ()):
                del flags[flag]
            expected.append((command.get("launch", ["python"]), command["data"], flags))
        assert dry_run(words, gpus=case.get("gpus", 0)) == expected, words


@pytest.mark.parametrize(
    ("words", "arch"),
    [
        (["contrastive"], "xai_pretrain_mini"),
        (["performer-contrastive"], "xai_pretrain_mini"),
        (["performer-only"], "xai_pretrain_mini"),
        (["regression"], "musicbert_mini"),
        (["pairs", "next"], "musicbert_mini"),
        (["musicbert", "plain"], "musicbert_mini"),
        (["m2bert", "--data", "cp_data_bin"], "musicbert_mini"),
        (["regression", "--arch", "musicbert_small"], "musicbert_small"),
        (["musicbert", "plain", "small"], "musicbert_small"),
    ],
)
def test_the_architecture_is_that_of_the_weights(folder, words, arch):
    (_, _, flags), *_ = dry_run([*words, "--init", "musicbert-mini"])
    assert flags["--arch"] == arch
    assert "--encoder-layers" not in flags


def test_sizes_without_a_name_are_flags(folder, monkeypatch):
    monkeypatch.setattr(StubWeights, "architecture", lambda self, path: ("musicbert", {"encoder_layers": 3}))
    for recipe, arch in (("contrastive", "xai_pretrain_arch"), ("regression", "musicbert")):
        (_, _, flags), *_ = dry_run([recipe, "--init", "musicbert-mini"])
        assert (flags["--arch"], flags["--encoder-layers"]) == (arch, "3")


def test_architecture_of_weights_that_come_with_the_project(folder, capsys):
    for name, recipe, arch in (
        ("musicbert-mini", ["contrastive"], "xai_pretrain_mini"),
        ("m2bert-tiny", ["m2bert", "--data", "cp_data_bin"], "m2bert_tiny"),
    ):
        assert main(["train", *recipe, "--init", name, "--cpu", "--dry-run"]) == 0
        assert f"--arch {arch} --init-from" in capsys.readouterr().out


def test_the_command_lists_recipes_and_their_options(capsys):
    assert main(["train"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in RECIPES)
    assert main(["train", "nothing"]) == 2
    assert "error: no recipe nothing" in capsys.readouterr().err
    for name, recipe in RECIPES.items():
        assert main(["train", name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert f"usage: musicbert train {name}" in shown
        assert "published)" in " ".join(shown.split())
        for entry in fields(recipe):
            assert entry.metadata["help"], f"{name}: {entry.name} has no help"
            assert entry.metadata.get("place") or f"--{entry.name.replace('_', '-')}" in shown


def test_devices_and_processes():
    assert Device(0, bf16=True).flags() == ("--cpu", "--autocast-bf16")
    assert Device(2, bf16=True).flags() == ("--bf16",)
    with pytest.raises(MusicBertError, match="needs a GPU"):
        Device(0, fp16=True).flags()
    one = plan_processes(0, environment={})
    assert one.count == 1
    assert one.environment["CUDA_VISIBLE_DEVICES"] == ""
    assert plan_processes(4, environment={}).count == 4

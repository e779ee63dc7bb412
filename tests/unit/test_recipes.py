"""The table of recipes: the commands of fairseq-train, the architecture of the weights, the help."""

import json
import re
import shlex
from pathlib import Path

import pytest

from musicbert.config import PRESETS
from musicbert.errors import CheckpointError, MusicBertError
from musicbert.recipes import RECIPES
from musicbert.recipes.command import PACKAGE
from musicbert.recipes.driver import train
from musicbert.recipes.options import make_parser, parse

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
RECORDED = json.loads((Path(__file__).parents[1] / "fixtures" / "recipe_commands.json").read_text())


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
        return PRESETS[size[1] if size else "base"]


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


def dry_run(words, *, gpus=0):
    """Commands of a dry run, each as launcher, data and flags (the last of equal ones counts)."""
    name, *rest = words
    recipe = RECIPES[name]
    end = rest.index("--") if "--" in rest else len(rest)
    given, extra = parse(
        recipe, [*rest[:end], "--dry-run", *rest[end:]], parser=make_parser(recipe, prog=name)
    )
    lines = []
    train(given, extra, weights=StubWeights(), count_gpus=lambda: gpus, out=lines.append)
    commands = []
    for line in lines:
        if line.startswith("== "):
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

"""Every option of every recipe of `musicbert train` changes what is run, or is refused."""

from dataclasses import fields
from pathlib import Path

import pytest

from musicbert.errors import ConfigError
from musicbert.recipes import RECIPES
from musicbert.recipes import training as running
from musicbert.recipes.options import make_parser, parse

CONTRASTIVE = ("contrastive", "performer-contrastive", "performer-only")
#: words that make a recipe run, beside which its options are tried
BASES = {
    "musicbert": "--data corpus",
    "m2bert": "--data corpus",
    "pairs": "next --data pairs",
    "genre": "topmagd --data folds",
    **dict.fromkeys(CONTRASTIVE, "--data folds"),
    **dict.fromkeys(("performer", "regression", "reg-cls"), "--data folds"),
}
#: option -> words, where another value cannot be made from the default
WORDS = {
    "arch": "--arch musicbert_tiny",
    **{f"{name} arch": "--arch xai_pretrain_tiny" for name in CONTRASTIVE},
    "init": "--init other.pt",
    "save_dir": "--save-dir other",
    "data": "--data other",
    "fold": "--fold 1",
    "size": "{size}",
    "nodes": "--nodes 2 --node-rank 0 --master host:1",
    "seeds": "--seeds 8",
    "augment": "--augment bar",
    "lr_scheduler": "--lr-scheduler cosine --updates 10",
    "mask_strategy": "--mask-strategy element",
    "musicbert mask_prob": "--mask-prob 0.3",
    "metric": "--metric accuracy",
    "betas": "--betas 0.8,0.9",
    "noise_radius": "--noise-radius 1,2,3",
    "loss": "--loss xai_pretrain_loss_ntxent",
}
#: option (of a recipe) -> words that stand on both sides
BESIDE = {
    "cpu": "GPU", "fp16": "GPU", "node_rank": "--nodes 2 --master host:1 --node-rank 0",
    "master": "--nodes 2 --node-rank 0 --master host:1",
    "m2bert mask_strategy": "--objective mask", "m2bert mask_prob": "--objective mask",
    "m2bert half_sums": "--bf16",
}  # fmt: skip
CHANGED = {"node_rank": "--node-rank 1", "master": "--master other:2"}
#: options that do nothing beside others: recipe -> words, and the option that is named
REFUSED = [
    ("musicbert", "--node-rank 0", "--node-rank"),
    ("musicbert", "--master host:1", "--master"),
    ("musicbert", "prefix", "PREFIX"),
    ("musicbert", "--arch musicbert_tiny other small", "SIZE"),
    ("m2bert", "--objective mask --noise-prob 0.2", "--noise-prob"),
    ("m2bert", "--objective mask --noise-radius 1,2,3", "--noise-radius"),
    ("m2bert", "--objective mask --noise-symmetric", "--noise-symmetric"),
    ("m2bert", "--mask-prob 0.2", "--mask-prob"),
    ("m2bert", "--mask-strategy element", "--mask-strategy"),
    ("m2bert", "--aux none --roll-weight 2", "--roll-weight"),
    ("m2bert", "--full --epochs 3", "--full"),
    ("pairs", "weights.pt --init other.pt", "--init"),
    ("genre", "13 0 weights.pt --fold 1", "--fold"),
    ("genre", "13 0 weights.pt --init other.pt", "--init"),
]  # fmt: skip


class Weights:
    def find(self, name):
        return Path(name)

    def architecture(self, path):
        return "musicbert_base", {}


class Machine:
    def __init__(self, gpus):
        self.gpus = lambda: gpus


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """Folders that look like data in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("corpus", "other"):
        for file in ("dict.txt", "meta.json", "input0/x", "0/input0/x", "1/input0/x"):
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text("")
    for name in ("pairs", "folds", "xai_data_bin_apex_reg_cls", "acc_data_bin"):
        (tmp_path / name).symlink_to(tmp_path / "other")


def outcome(name, words, monkeypatch):
    """What a recipe says and runs."""
    words = words.split()
    gpus = 1 if "GPU" in words else 0
    recipe = RECIPES[name]
    given, extra = parse(
        recipe, [word for word in words if word != "GPU"], parser=make_parser(recipe, prog="p")
    )
    said = []

    def logged(command, log, environment, screen, *, echo):
        said.append((tuple(command), str(log), environment.get("CUDA_VISIBLE_DEVICES"), screen.bar, echo))
        return 0

    monkeypatch.setattr(running, "_logged", logged)
    status = running.train(given, extra, weights=Weights(), machine=Machine(gpus), out=said.append)
    return status, said


def words_of(entry, recipe):
    """Words that give an option another value than its default."""
    name, flag = entry.name, f"--{entry.name.replace('_', '-')}"
    about = entry.metadata
    if f"{recipe} {name}" in WORDS or name in WORDS:
        return WORDS.get(f"{recipe} {name}") or WORDS[name]
    if entry.default is False:
        return flag
    if about["choices"]:
        return f"{flag} {next(each for each in about['choices'] if each != entry.default)}"
    if isinstance(entry.default, int):
        return f"{flag} {entry.default + 2}"
    return f"{flag} 0.123"


OPTIONS = [
    (name, entry.name)
    for name, recipe in RECIPES.items()
    for entry in fields(recipe)
    if entry.metadata and not entry.metadata.get("place")
]


@pytest.mark.parametrize(("recipe", "option"), OPTIONS)
def test_an_option_changes_what_is_run(recipe, option, monkeypatch):
    entry = next(each for each in fields(RECIPES[recipe]) if each.name == option)
    base = BASES[recipe]
    if option == "data":
        base = (
            base.replace("--data corpus", "--data other") if "corpus" in base else base.partition("--data")[0]
        )
        changed = BASES[recipe] if "corpus" in BASES[recipe] else f"{base} --data corpus"
        if recipe == "genre":
            base, changed = "topmagd --data other", "topmagd --data corpus"
        elif recipe == "pairs":
            base, changed = "acc", "acc --data corpus"
    else:
        base = f"{base} {BESIDE.get(f'{recipe} {option}') or BESIDE.get(option, '')}"
        changed = f"{base} {CHANGED.get(option) or words_of(entry, recipe)}"
    assert outcome(recipe, base, monkeypatch) != outcome(recipe, changed, monkeypatch)


@pytest.mark.parametrize(
    ("recipe", "base", "changed"),
    [
        ("musicbert", "other", "corpus"),  # prefix
        ("musicbert", "other small", "other tiny"),
        ("pairs", "next --data pairs", "acc --data pairs"),
        ("pairs", "next one.pt --data pairs", "next two.pt --data pairs"),
        ("genre", "topmagd --data folds", "masd --data folds"),
        ("genre", "topmagd 13 0 a.pt --data folds", "topmagd 14 0 a.pt --data folds"),
    ],
)
def test_a_place_changes_what_is_run(recipe, base, changed, monkeypatch):
    assert outcome(recipe, base, monkeypatch) != outcome(recipe, changed, monkeypatch)


@pytest.mark.parametrize("start", ["", "--from-scratch", "--init x.pt"])
@pytest.mark.parametrize(
    ("recipe", "arch", "meant"),
    [
        *((name, "musicbert_tiny", "xai_pretrain_tiny") for name in CONTRASTIVE),
        ("regression", "musicbert_tny", "musicbert_tiny"),
        ("reg-cls", "xai_pretrain_tiny", ""),
        ("genre", "m2bert_tiny", "musicbert_tiny"),
        ("pairs", "nonsense", ""),
    ],
)
def test_an_architecture_that_a_recipe_cannot_train_is_refused(recipe, arch, meant, start, monkeypatch):
    with pytest.raises(ConfigError) as caught:
        outcome(recipe, f"{BASES[recipe]} --arch {arch} {start}", monkeypatch)
    assert "--arch" in caught.value.message
    assert arch in caught.value.message
    assert meant in (caught.value.hint or "")


@pytest.mark.parametrize(("recipe", "words", "named"), REFUSED)
def test_what_would_do_nothing_is_refused(recipe, words, named, monkeypatch):
    base = words if words.endswith("small") else f"{BASES[recipe]} {words}"
    with pytest.raises(ConfigError) as caught:
        outcome(recipe, base, monkeypatch)
    assert named in str(caught.value)

"""`--init` in every recipe: the architecture is that of the weights; other families are refused."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from musicbert.cli.train import _Weights
from musicbert.config import ModelConfig
from musicbert.corpus.bins.databin import label_dictionary, write_indexed_dataset
from musicbert.errors import CheckpointError
from musicbert.model import MusicBert
from musicbert.recipes import RECIPES
from musicbert.recipes.command import Device, plan_processes
from musicbert.recipes.options import make_parser, parse
from musicbert.weights import read_bundle, save_folder

importlib.import_module("musicbert.fairseq_plugin")
#: of hydra, which reads the options of fairseq
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

WORDS = {
    "musicbert": ["--data", "bin/0/input0"],
    "m2bert": ["--data", "bin/0/input0", "--encoding", "octuple", "--aux", "none"],
    "pairs": ["next", "--data", "pairs"],
    "genre": ["topmagd", "--data", "genres"],
}


@pytest.fixture(scope="module")
def folder(make_databin, tmp_path_factory):
    """Data-bins of ratings, pairs and genres, and weights of no preset's sizes."""
    folder = tmp_path_factory.mktemp("weights")
    config = ModelConfig(layers=3, width=96, ffn_width=200, heads=3)
    shipped = read_bundle(_Weights().find("musicbert-mini"))
    weights = MusicBert(config).state_dict()
    save_folder(replace(shipped, config=config, weights=weights, heads=()), folder / "odd")
    source = make_databin({"train": 6, "valid": 3, "test": 3})
    (folder / "bin").mkdir()
    (folder / "bin" / "0").symlink_to(source)
    for name in ("pairs", "genres/0"):
        (folder / name / "label").mkdir(parents=True)
        (folder / name / "input0").symlink_to(source / "input0")
        for part, count in (("train", 6), ("valid", 3), ("test", 3)):
            labels = [str(number % 2) for number in range(count)]
            text = "".join(f"{label}\n" for label in labels)
            (folder / name / "label" / f"{part}.label").write_text(text)
            ids = [np.array([4 + int(label), 2]) for label in labels]
            write_indexed_dataset(ids, folder / name / "label" / part)
        (folder / name / "label" / "dict.txt").write_text(label_dictionary(["0", "1"]))
    return folder


def build(recipe, init):
    """The network that a recipe trains from these weights."""
    words = [*WORDS.get(recipe, ["--data", "bin"]), "--init", str(init), "--cpu"]
    given, _ = parse(RECIPES[recipe], words, parser=make_parser(RECIPES[recipe], prog=recipe))
    plan = given.plan(_Weights())
    arguments = plan.commands[0].words(Device(), plan_processes(0, environment={}), plan.extra)
    arguments = arguments[arguments.index("musicbert.fairseq_plugin.launch") + 1 :]
    namespace = options.parse_args_and_arch(options.get_training_parser(), arguments)
    cfg = convert_namespace_to_omegaconf(namespace)
    model = tasks.setup_task(cfg.task).build_model(cfg.model)
    return getattr(model, "mainEncoder", model).config


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("weights", ["musicbert-mini", "odd"])
def test_the_network_is_that_of_the_weights(folder, monkeypatch, recipe, weights):
    monkeypatch.chdir(folder)
    theirs = read_bundle(_Weights().find(weights)).config
    ours = build(recipe, weights)
    sizes = ("layers", "width", "ffn_width", "heads", "fields")
    assert [getattr(ours, size) for size in sizes] == [getattr(theirs, size) for size in sizes]


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "m2bert"])
def test_weights_of_another_family_are_refused(folder, monkeypatch, recipe):
    monkeypatch.chdir(folder)
    with pytest.raises(CheckpointError, match="family m2bert, and this recipe trains musicbert") as caught:
        build(recipe, "m2bert-mini")
    assert caught.value.reason == "other-model"


def test_m2bert_of_compound_words_does_not_read_octuples(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(CheckpointError):  # its vocabulary is that of compound words
        build("m2bert", "m2bert-mini")

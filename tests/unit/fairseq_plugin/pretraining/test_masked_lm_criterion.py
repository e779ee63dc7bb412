import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary, indexed_dataset
from fairseq.logging import metrics
from fairseq.tasks import TASK_REGISTRY
from fairseq.tasks.masked_lm import MaskedLMConfig, MaskedLMTask
from omegaconf import OmegaConf
from torch.utils._python_dispatch import TorchDispatchMode

import musicbert.fairseq_plugin  # noqa: F401 - registers
from musicbert.encoding.vocabulary import dictionary_text, rows_to_ids
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.backbones.musicbert import ARCHITECTURES, MusicBertConfig, MusicBertModel
from musicbert.fairseq_plugin.data.databin import load_dictionary, load_pieces
from musicbert.fairseq_plugin.pretraining.masked_dataset import AS_STORED, Form, MaskedOctuples, pack
from musicbert.fairseq_plugin.pretraining.masked_lm_criterion import (
    OctupleMaskedLMCriterion,
    OctupleMaskedLMCriterionConfig,
)
from musicbert.fairseq_plugin.pretraining.published_task import PublishedSettings, published_settings
from musicbert.objectives.masking import MaskPolicy


def write(folder, text, items):
    (folder / "dict.txt").write_text(text)
    size = len(Dictionary.load(str(folder / "dict.txt")))
    builder = indexed_dataset.make_builder(str(folder / "train.bin"), impl="mmap", vocab_size=size)
    for item in items:
        builder.add_item(torch.as_tensor(item))
    builder.finalize(str(folder / "train.idx"))


def config_of(folder):
    return MaskedLMConfig(data=str(folder), sample_break_mode="eos", tokens_per_sample=512, seed=1)


def masked_lm(folder):
    task = TASK_REGISTRY["masked_lm"].setup_task(config_of(folder))
    task.load_dataset("train")
    return task


def test_the_published_task_masks_octuples_and_leaves_other_data_to_fairseq(tmp_path, monkeypatch):
    words, music = tmp_path / "words", tmp_path / "music"
    words.mkdir()
    music.mkdir()
    write(words, "a 1\nb 1\n", [[4, 5, 4, 5, 2]] * 3)
    write(music, dictionary_text(), [rows_to_ids([[0, 0, 0, 60, 4, 16, 9, 35]])] * 3)
    assert isinstance(masked_lm(music).datasets["train"], MaskedOctuples)
    asked = []
    monkeypatch.setattr(MaskedLMTask, "load_dataset", lambda _, split, **options: asked.append(split))
    task = masked_lm(words)
    assert isinstance(task, MaskedLMTask)
    assert asked == ["train"]
    tiny = MusicBertConfig(
        encoder_layers=1, encoder_embed_dim=8, encoder_ffn_embed_dim=8, encoder_attention_heads=2
    )
    monkeypatch.setattr(
        MaskedLMTask, "build_model", lambda task, cfg, *_: MusicBertModel.build_model(cfg, task)
    )
    with pytest.raises(DatasetError, match="wrong-dictionary"):
        task.build_model(tiny)
    assert isinstance(masked_lm(music).build_model(tiny), MusicBertModel)


def test_the_environment_of_the_published_program_is_followed(tmp_path, monkeypatch):
    write(tmp_path, dictionary_text(), [rows_to_ids(np.zeros((30, 8), int))] * 2)
    assert published_settings({}) == PublishedSettings("bar", "octuple", None, True)
    assert masked_lm(tmp_path).datasets["train"].form == AS_STORED
    monkeypatch.setenv("mask_strategy", "element+compound")
    monkeypatch.setenv("convert_encoding", "CP")
    monkeypatch.setenv("crop_length", "20")
    dataset = masked_lm(tmp_path).datasets["train"]
    assert dataset.policy.strategies == ("element", "compound")
    assert dataset.form == Form(view="cp", crop=20)
    assert dataset.sizes.tolist() == [8 * 22] * 2
    monkeypatch.setenv("convert_encoding", "REMI")
    with pytest.raises(DatasetError, match="disable_cp"):
        masked_lm(tmp_path)
    monkeypatch.setenv("disable_cp", "1")
    task = TASK_REGISTRY["masked_lm"].setup_task(config_of(tmp_path))
    tiny = MusicBertConfig(
        encoder_layers=1, encoder_embed_dim=8, encoder_ffn_embed_dim=8, encoder_attention_heads=2
    )
    own = {"_name": "musicbert_tiny", "restore_file": "checkpoint_last.pt", "checkpoint_suffix": ""}
    model = task.build_model(OmegaConf.create({**vars(tiny), **own}))
    assert model.config.fields == 1
    task.load_dataset("train")
    assert task.datasets["train"].form == Form(view="remi", crop=20, compound=False)
    assert task.datasets["train"].sizes.tolist() == [22] * 2


@pytest.mark.parametrize(
    "environment",
    [
        {"convert_encoding": "MIDI"},
        {"convert_encoding": "CP"},
        {"convert_encoding": "CP", "crop_length": "0"},
        {"crop_length": "many"},
    ],
    ids=str,
)
def test_a_bad_environment_is_one_clear_error(environment):
    with pytest.raises(DatasetError, match="bad-options"):
        published_settings(environment)


def logged(loss, correct, count):
    return {
        "loss": torch.tensor(loss),
        "sample_size": torch.tensor(float(sum(count))),
        "correct": torch.tensor(correct, dtype=torch.float32),
        "count": torch.tensor(count, dtype=torch.float32),
    }


def test_validation_metrics_are_over_all_tokens_not_over_batches():
    small = logged(2.0, [1, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0])
    large = logged(30.0, [0, 9, 0, 0, 0, 0, 0, 0], [9, 9, 0, 0, 0, 0, 0, 0])
    with metrics.aggregate(new_root=True) as everything:
        for batch in (small, large):
            OctupleMaskedLMCriterion.reduce_metrics([batch])
    values = everything.get_smoothed_values()
    assert values["accuracy_bar"] == pytest.approx(10.0)  # 1 of 10; the mean of batches would be 50
    assert values["accuracy_position"] == pytest.approx(90.0)
    assert values["accuracy_all"] == pytest.approx(50.0)
    assert values["loss"] == pytest.approx(32.0 / 20 / math.log(2), abs=1e-3)


class Task:
    source_dictionary = range(1237)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_architectures_have_their_sizes(arch):
    from fairseq.models import ARCH_CONFIG_REGISTRY

    cfg = SimpleNamespace(dropout=0.3)
    ARCH_CONFIG_REGISTRY[arch](cfg)
    with torch.device("meta"):
        model = MusicBertModel.build_model(cfg, Task())
    preset = ARCHITECTURES[arch]
    assert model.config == preset.with_(dropout=0.3)
    assert model.weights_expected is None


def test_the_plain_architecture_is_base():
    config = MusicBertConfig()
    with torch.device("meta"):
        assert MusicBertModel(config, 1237).config == ARCHITECTURES["musicbert_base"]


def test_loading_registers_heads_on_request_and_logs_the_keys(caplog):
    config = MusicBertConfig(
        encoder_layers=1,
        encoder_embed_dim=16,
        encoder_ffn_embed_dim=16,
        encoder_attention_heads=2,
        max_positions=32,
    )
    trained = MusicBertModel(config, 1237)
    trained.register_classification_head("who", 3)
    config.load_checkpoint_heads = True
    model = MusicBertModel(config, 1237)
    model.weights_expected = "somewhere.pt"
    with caplog.at_level("INFO"):
        model.load_state_dict(trained.state_dict())
    assert torch.equal(
        model.classification_heads["who"].dense.weight, trained.classification_heads["who"].dense.weight
    )
    assert model.weights_expected is None
    assert "0 missing, 0 unexpected" in caplog.text


class Questions(TorchDispatchMode):
    """Notes each operation that makes a program wait for a device."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "masked_select", "equal"):
            self.asked.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("form", [AS_STORED, Form(layout="stream"), Form(layout="stream", separate=True)])
def test_a_step_asks_the_device_nothing(tmp_path, form):
    rng = np.random.default_rng(0)
    write(tmp_path, dictionary_text(), [rows_to_ids(rng.integers(0, 32, (n, 8))) for n in (9, 30, 4)])
    pieces = load_pieces(tmp_path, "train", load_dictionary(tmp_path))
    dataset = MaskedOctuples(pieces, pack(np.asarray(pieces.sizes), 200, "complete"), MaskPolicy(), form=form)
    sample = dataset.collater([dataset[i] for i in range(len(dataset))])
    config = MusicBertConfig(
        encoder_layers=1, encoder_embed_dim=16, encoder_ffn_embed_dim=16, encoder_attention_heads=2
    )
    model = MusicBertModel(config, 1237)
    model.encoder.sentence_encoder.down_form = "table"  # as on a GPU
    criterion = OctupleMaskedLMCriterion(
        OctupleMaskedLMCriterionConfig(), SimpleNamespace(target_dictionary=None)
    )
    with Questions() as questions:
        loss, size, _ = criterion(model, sample)
        loss.backward()
    assert questions.asked == []
    assert size == sum(sample["masked"]["counts"]) > 0
    with Questions() as questions:  # the mask in place of the list asks
        model(**sample["net_input"], masked_tokens=sample["target"] != 1)
    assert questions.asked

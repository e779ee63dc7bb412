"""A network that stays at the loss of guessing by frequency is told of; one that learns is not."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq.criterions.masked_lm import MaskedLmLoss
from fairseq.data import indexed_dataset
from fairseq.tasks.masked_lm import MaskedLMConfig

import musicbert.fairseq_plugin  # noqa: F401 - registers
from musicbert.corpus.bins.rows_bin import write_rows_bin
from musicbert.encoding.vocabulary import MASK, dictionary_text, rows_to_ids
from musicbert.fairseq_plugin.backbones.m2bert import M2BertFlags, M2BertModel
from musicbert.fairseq_plugin.backbones.musicbert import MusicBertConfig, MusicBertModel
from musicbert.fairseq_plugin.pretraining import stall_warning as learning_watch
from musicbert.fairseq_plugin.pretraining.masked_lm_criterion import (
    OctupleMaskedLMCriterion,
    OctupleMaskedLMCriterionConfig,
)
from musicbert.fairseq_plugin.pretraining.masked_lm_task import OctupleMaskedLMConfig, OctupleMaskedLMTask
from musicbert.fairseq_plugin.pretraining.note_criterion import CompoundTokenConfig, CompoundTokenCriterion
from musicbert.fairseq_plugin.pretraining.note_task import MusicPretrainConfig, MusicPretrainTask
from musicbert.fairseq_plugin.pretraining.published_task import PublishedMaskedLMTask
from musicbert.fairseq_plugin.pretraining.stall_warning import BITS, LearningWatch
from musicbert.model.losses.masked_lm import FieldCounts
from musicbert.objectives.note_fields import CP

#: rates of updates of a warm-up
RISE = [0.01 * (update + 1) for update in range(10000)]


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING, logger=learning_watch.__name__)
    return lambda: [record.getMessage() for record in caplog.records]


def run(losses, rates=None, *, first=0, validations=()):
    """A run whose batches have one token of two values that are alike often: a bit is the guess."""
    watch = LearningWatch(FieldCounts(1, 2), BITS)
    for number, loss in enumerate(losses):
        if number in validations:
            watch.validate()
        watch.begin(first + number, 1e-3 if rates is None else rates[number])
        watch.counts.add_listed(torch.tensor([number % 2]), [1])
        watch.add(torch.tensor(loss * BITS.nats))
    return watch


def test_it_is_said_once_with_both_losses(said):
    """The loss falls in the second hundred of updates, and no more in three hundreds."""
    run([9.0] * 100 + [1.01] * 900)
    (line,) = said()
    assert line.startswith("After 500 updates the loss (1.01 bits a token)")
    assert "(1.00)" in line
    assert "--lr (0.001 now" in line
    assert "--clip-norm 1" in line


def test_a_resumed_run_counts_anew(said):
    run([1.0] * 299, first=5000)
    assert not said()
    run([1.0] * 301, first=5000)
    assert said()[0].startswith("After 5300 updates")


@pytest.mark.parametrize(
    ("losses", "rates"),
    [
        pytest.param([9.0] * 100 + [1.0] * 150 + [0.9] * 900, None, id="a plateau, then it learns"),
        pytest.param([0.5] * 1000, None, id="it learns"),
        pytest.param(
            [9.0 * 0.9995**n for n in range(4000)], None, id="it learns slowly how often tokens are"
        ),
        pytest.param(
            [9.0] * 100 + [5.0 * 0.99988**n for n in range(4000)], None, id="by 1.2 % in a window, but on"
        ),
        pytest.param([1.0] * 4000, RISE, id="the learning rate still rises"),
        pytest.param([float("nan")] * 500, None, id="no number"),
    ],
)
def test_nothing_is_said(said, losses, rates):
    run(losses, rates)
    assert not said()


def test_a_long_warm_up_is_not_waited_for(said):
    run([1.0] * 5500, RISE)
    assert said()[0].startswith("After 5200 updates")


def test_a_fall_back_to_guessing_is_seen(said):
    run([0.5] * 1000 + [1.0] * 400)
    assert said()[0].startswith("After 1300 updates")


def test_validations_look_too(said):
    run([1.0] * 600, validations=range(60, 600, 60))
    assert said()[0].startswith("After 300 updates")
    run([1.0] * 250, validations=range(10, 250, 10))
    assert len(said()) == 1


def write_octuples(folder):
    """Pieces of which each column has a value of its own: the neighbours tell it."""
    (folder / "dict.txt").write_text(dictionary_text())
    builder = indexed_dataset.make_builder(str(folder / "train.bin"), impl="mmap", vocab_size=MASK)
    rng = np.random.default_rng(0)
    for _ in range(4):
        rows = np.repeat(rng.integers(0, 32, (1, 8)), 12, axis=0)
        builder.add_item(torch.as_tensor(rows_to_ids(rows)))
    builder.finalize(str(folder / "train.idx"))


def small_model(task):
    config = MusicBertConfig(
        encoder_layers=1, encoder_embed_dim=16, encoder_ffn_embed_dim=16, encoder_attention_heads=2
    )
    return MusicBertModel(config, len(task.dictionary))


def published(folder):
    """The published command line's task, with fairseq's own criterion."""
    write_octuples(folder)
    task = PublishedMaskedLMTask.setup_task(MaskedLMConfig(data=str(folder), sample_break_mode="eos", seed=1))
    return task, small_model(task), MaskedLmLoss(SimpleNamespace(tpu=False), task)


def octuples(folder):
    write_octuples(folder)
    task = OctupleMaskedLMTask.setup_task(
        OctupleMaskedLMConfig(data=str(folder), sample_break_mode="eos", mask_strategy="element", seed=1)
    )
    criterion = OctupleMaskedLMCriterion(OctupleMaskedLMCriterionConfig(), task)
    return task, small_model(task), criterion


def compound_words(folder):
    rng = np.random.default_rng(0)
    rows = [np.repeat(rng.integers(0, CP.values, (1, 4)), 12, axis=0) for _ in range(4)]
    write_rows_bin({"train": rows}, folder, "cp")
    task = MusicPretrainTask.setup_task(
        MusicPretrainConfig(data=str(folder), objective="mask", aux="none", crop=12, seed=1)
    )
    widths = {"encoder_embed_dim": 16, "encoder_ffn_embed_dim": 16, "field_embed_dim": 16}
    config = M2BertFlags(encoder_layers=1, encoder_attention_heads=2, **widths)
    return task, M2BertModel.build_model(config, task), CompoundTokenCriterion(CompoundTokenConfig(), task)


class Optimizer:
    """What a task asks of fairseq's optimiser."""

    def __init__(self, model, rate):
        self.rate = rate
        self.own = torch.optim.Adam(model.parameters(), lr=rate)

    def get_lr(self):
        return self.rate

    def backward(self, loss):
        loss.backward()

    def step(self):
        self.own.step()
        self.own.zero_grad()


@pytest.mark.parametrize("made", [octuples, published, compound_words])
def test_training(made, tmp_path, monkeypatch, said):
    """Rate 0 gets the warning, a rate that learns does not; losses are the same without the watch."""
    monkeypatch.setattr(learning_watch, "WINDOW", 5)
    monkeypatch.setattr(learning_watch, "PATIENCE", 15)
    losses = {}
    for number, (rate, first) in enumerate([(0.0, True), (0.02, True), (0.02, False)]):
        monkeypatch.setattr(learning_watch, "_first_process", lambda first=first: first)
        folder = tmp_path / str(number)
        folder.mkdir()
        torch.manual_seed(3)
        task, model, criterion = made(folder)
        task.load_dataset("train")
        dataset = task.datasets["train"]
        optimizer = Optimizer(model, rate)
        for update in range(40):
            dataset.set_epoch(update + 1)
            sample = dataset.collater([dataset[index] for index in range(len(dataset))])
            loss, size, _ = task.train_step(sample, model, criterion, optimizer, update)
            optimizer.step()
            losses.setdefault(number, []).append(float(loss.detach()) / size)
        if number == 0:
            assert len(said()) == 1
            assert said()[0].startswith("After 15 updates")
            task.begin_valid_epoch(1, model)
    assert len(said()) == 1
    assert losses[1] == losses[2]
    assert losses[1][-1] < 0.6 * losses[1][0]


class Custom(torch.nn.Module):
    """A criterion of a user, who logs what they like."""

    def __init__(self, logged):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.logged = logged

    def forward(self, model, sample):
        return self.weight * 2, 1, dict(self.logged)


@pytest.mark.parametrize(("made", "watched"), [(octuples, [False, True]), (compound_words, [False, False])])
def test_criterions_of_users_train_too(made, watched, tmp_path):
    """Watched where there is the loss that fairseq's convention asks for, also as a plain number."""
    task, model, _ = made(tmp_path)
    task.load_dataset("train")
    dataset = task.datasets["train"]
    sample = dataset.collater([dataset[index] for index in range(len(dataset))])
    found = []
    for logged in ({}, {"loss": 2.0}):
        task._watch = None
        task.train_step(sample, model, Custom(logged), Optimizer(model, 0.1), 0)
        found.append(task._watch.counts.read()[0] > 0)
    assert found == watched


def test_the_other_processes_say_nothing(monkeypatch):
    assert learning_watch._first_process()
    for rank, first in ((0, True), (1, False)):
        fake = SimpleNamespace(is_initialized=lambda: True, get_rank=lambda rank=rank: rank)
        monkeypatch.setattr(learning_watch.torch, "distributed", fake)
        assert learning_watch._first_process() == first

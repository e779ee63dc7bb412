"""Tagging in fairseq: sums against scikit-learn, windows and targets, losses, learning rates by layer."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

import musicbert.fairseq_plugin  # noqa: F401 - registers tasks
from musicbert.corpus.labelled import RatingBin
from musicbert.corpus.labelled.pieces import LabelledPiece, Task
from musicbert.corpus.labelled.shard_writer import write_shards
from musicbert.encoding import FIELD_OFFSETS
from musicbert.errors import DatasetError
from musicbert.evaluation.metrics.multilabel import AVERAGES
from musicbert.fairseq_plugin.labels.criterion import TaggingCriterion, TaggingCriterionConfig
from musicbert.fairseq_plugin.labels.dataset import LabelDataset
from musicbert.fairseq_plugin.labels.note_augmentation import parse_augmentation
from musicbert.fairseq_plugin.labels.sums import METRICS, metrics_of, sums_of
from musicbert.fairseq_plugin.labels.taggers import TaggingConfig, read_split
from musicbert.fairseq_plugin.labels.terms import Term
from musicbert.fairseq_plugin.optimisers.adamw import LayerwiseAdamW, LayerwiseAdamWConfig
from musicbert.midi import Score
from musicbert.predict.windows import Layout, cut

PITCH = Task("octave", "octave", "note", "classes", tuple("0123456789"), "accuracy")
LOUD = Task("loud", "loud", "note", "regression", ("velocity",), "r2")
MOOD = Task("mood", "mood", "sequence", "classes", ("sad", "glad"), "accuracy")
WEIGHT = Task("weight", "weight", "sequence", "regression", ("weight",), "r2")


def score(seed, notes=20):
    rng = np.random.default_rng(seed)
    zeros = np.zeros(notes, np.int64)
    onset = np.sort(rng.integers(0, 64, notes)) * 240
    return Score(
        ticks_per_beat=480,
        onset=onset,
        offset=onset + 200,
        pitch=rng.integers(40, 90, notes),
        velocity=rng.integers(4, 128, notes),
        program=zeros,
        drum=zeros.astype(bool),
        track=zeros,
    )


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Six pieces; labels of notes follow from their pitch and velocity."""

    def made():
        for k in range(6):
            music = score(k, 12 + 5 * k)
            labels = {
                "octave": music.pitch // 12,
                "loud": music.velocity.astype(float),
                "mood": k % 2,
                "weight": float(k),
            }
            yield LabelledPiece(f"p{k}", music, f"g{k}", labels, {"given": "train" if k < 4 else "test"})

    folder = tmp_path_factory.mktemp("shards")
    return {
        codec: write_shards(
            made(), codec, folder / codec, [PITCH, LOUD, MOOD, WEIGHT], performance=True
        ).shards
        for codec in ("octuple", "cp")
    }


# -- sums


def add_up(kind, logits, target):
    """Sums of two halves, added: as batches and workers do."""
    half = len(target) // 2
    first, second = slice(None, half), slice(half, None)
    sums = sums_of(kind, logits[first], target[first]) + sums_of(kind, logits[second], target[second])
    return sums, metrics_of(kind, sums)


def test_sums_of_classes():
    rng = np.random.default_rng(0)
    y, logits = rng.integers(0, 4, 50), rng.normal(size=(50, 4))
    sums, found = add_up("classes", torch.tensor(logits), torch.tensor(y))
    guess = logits.argmax(1)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, guess))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(y, guess, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, guess))
    assert metrics_of("classes", sums, "abcd")["f1:c"] == pytest.approx(
        sk.f1_score(y, guess, average=None)[2]
    )
    assert set(METRICS["classes"]) <= set(found)


def test_metrics_of_many_classes_take_the_memory_of_their_table():
    found = metrics_of("classes", 3 * torch.eye(2000, dtype=torch.float64))  # cubed, it would be 64 GB
    assert (found["accuracy"], found["macro_f1"]) == (1, 1)


def test_sums_of_labels():
    rng = np.random.default_rng(0)
    y, logits = rng.integers(0, 2, (60, 3)).astype(float), rng.normal(size=(60, 3))
    y[:5, 0] = np.nan
    _, found = add_up("multilabel", torch.tensor(logits), torch.tensor(y))
    known = ~np.isnan(y)
    assert found["micro_f1"] == pytest.approx(sk.f1_score(y[known], logits[known] > 0))
    of_class = [sk.roc_auc_score(y[known[:, c], c], logits[known[:, c], c]) for c in range(3)]
    assert found["roc_auc_macro"] == pytest.approx(np.mean(of_class), abs=0.01)
    assert found["roc_auc_micro"] == pytest.approx(sk.roc_auc_score(y[known], logits[known]), abs=0.01)
    rows = [k for k in range(60) if len(set(y[k, known[k]])) == 2]
    of_item = [sk.roc_auc_score(y[k, known[k]], logits[k, known[k]]) for k in rows]
    assert found["roc_auc_samples"] == pytest.approx(np.mean(of_item))
    assert set(METRICS["multilabel"]) <= set(found)


def test_labels_that_never_occur_have_an_f1_of_zero():
    """As in scikit-learn with ``zero_division=0``."""
    y, logits = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([[2.0, -1.0, 0.0], [-1.0] * 3])
    found = metrics_of("multilabel", sums_of("multilabel", logits, y))
    for average in AVERAGES:
        wanted = sk.f1_score(y, logits > 0, average=average, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(wanted)
    assert found["exact"] == 1


def test_sums_of_numbers():
    rng = np.random.default_rng(0)
    y, p = rng.normal(size=(40, 2)), rng.normal(size=(40, 2))
    _, found = add_up("regression", torch.tensor(p), torch.tensor(y))
    assert found["r2"] == pytest.approx(sk.r2_score(y, p), abs=1e-5)
    assert set(METRICS["regression"]) <= set(found)


# -- data


@pytest.mark.parametrize(("codec", "cells"), [("octuple", False), ("octuple", True), ("cp", True)])
def test_labels_lie_beside_their_notes(shards, codec, cells):
    data, layout = shards[codec], Layout(codec, cells=cells)
    windows = [w for p in range(6) for w in cut(p, data.rows(p), codec, window=10)]
    dataset = LabelDataset(data, ["octave"], windows, layout, performance=not cells)
    batch = dataset.collater([dataset[k] for k in (0, len(dataset) - 1, 3)])
    tokens = batch["net_input"]["src_tokens"]
    tokens = tokens if cells else tokens.unflatten(1, (-1, 8))
    assert tokens.shape[:2] == batch["targets"]["octave"].shape
    column, first = {
        ("octuple", False): (3, FIELD_OFFSETS[3]),
        ("octuple", True): (3, 0),
        ("cp", True): (2, -22),
    }[codec, cells]
    known = batch["targets"]["octave"] >= 0
    assert known.sum() == sum(len(windows[k]) for k in (0, len(dataset) - 1, 3))
    np.testing.assert_array_equal((tokens[known][:, column] - first) // 12, batch["targets"]["octave"][known])
    if not cells:
        inputs = batch["net_input"]["performance"]
        assert (inputs[~known] == 0).all()
        assert inputs[known].abs().sum() > 0


def test_a_moved_or_thinned_note_keeps_its_label(shards):
    data, layout = shards["octuple"], Layout("octuple", cells=False)
    windows = [w for p in range(6) for w in cut(p, data.rows(p), "octuple", window=16)]
    dataset = LabelDataset(
        data,
        ["loud"],
        windows,
        layout,
        performance=True,
        augmentation=parse_augmentation("transpose=3,phase=8,drop=0.3"),
        random_shift=True,
    )
    seen = set()
    for epoch in (1, 2):
        dataset.set_epoch(epoch)
        for index in range(len(dataset)):
            item = dataset[index]
            notes = item["source"][1:-1].numpy() - np.array(FIELD_OFFSETS)
            np.testing.assert_array_equal(notes[:, 5], item["targets"]["loud"][:, 0].numpy() // 4)
            assert len(item["performance"]) == len(notes)
            # the velocity is the fifth performance input: it has gone with the note too
            np.testing.assert_allclose(
                item["performance"][:, 4], (item["targets"]["loud"][:, 0] - 64) / 32, rtol=1e-4, atol=1e-5
            )
            seen.add(notes.tobytes())
    assert len(seen) > len(dataset)  # other draws in the other epoch


def test_windows_of_first_and_of_octuples_of_many_bars():
    rows = np.zeros((6, 8), np.int64)
    rows[:, 0] = [0, 1, 300, 301, 302, 800]
    spans = [(w.start, w.stop, w.first_bar) for w in cut(0, rows, "octuple", window=4)]
    assert spans == [(0, 2, 0), (2, 5, 300), (5, 6, 800)]
    tokens = Layout("octuple", cells=False).tokens(rows[2:5], 300)
    assert (tokens[1:-1, 0] - FIELD_OFFSETS[0]).tolist() == [0, 1, 2]
    (only,) = cut(0, rows, "octuple", window=4, choice="first")
    assert (only.start, only.stop, only.share.tolist()) == (0, 2, [1, 1])
    with pytest.raises(DatasetError, match="wrong-codec"):
        Layout("cp", cells=False)


# -- tasks


def make_task(data, name, **options):
    from fairseq.tasks import TASK_REGISTRY

    options = {"label": "octave", "split": "given", "seed": 1, "optimizer_name": "adam", **options}
    cfg = TaggingConfig(data=str(data.path), fp16=False, bf16=False)
    for key, value in options.items():
        setattr(cfg, key, value)
    return TASK_REGISTRY[name].setup_task(cfg)


def test_a_task_reads_its_split_and_its_training_labels(shards):
    data = shards["octuple"]
    task = make_task(data, "music_note_tagging", ignore_classes="3,4")
    assert task.parts == {"train": [0, 1, 2, 3], "valid": [], "test": [4, 5]}
    every = np.concatenate([data.note_labels("octave", p) for p in range(4)])
    np.testing.assert_array_equal(task.training_labels(), every[(every != 3) & (every != 4)])
    task = make_task(data, "music_note_tagging", label="loud")
    train = np.concatenate([data.note_labels("loud", p) for p in range(4)])
    assert task.centre.item() == pytest.approx(train.mean(), rel=1e-5)
    assert task.spread.item() == pytest.approx(train.std(), rel=1e-5)


def test_a_tagger_learns_the_labels_of_a_data_bin(make_databin):
    data = RatingBin(make_databin({"train": 6, "valid": 3}))
    task = make_task(data, "music_sequence_tagging", label="ratings", split="data-bin", tag_head="mean")
    assert task.parts == {"train": [0, 1, 2, 3, 4, 5], "valid": [6, 7, 8], "test": []}
    task.layout = Layout("octuple", cells=False)
    dataset = task.load_dataset("valid")
    batch = dataset.collater([dataset[0], dataset[2]])
    np.testing.assert_array_equal(batch["targets"]["ratings"], data.label("ratings")[[6, 8]])
    width = batch["net_input"]["src_tokens"].shape[1]
    assert width == 8 * (2 + max(data.lengths[6], data.lengths[8]))


def test_class_weights_make_classes_count_the_same(shards):
    task = make_task(shards["octuple"], "music_note_tagging", class_weights="balanced")
    counts = np.bincount(task.training_labels(), minlength=10)
    weighted = task.class_weight.numpy() * counts
    np.testing.assert_allclose(weighted[counts > 0], weighted.sum() / (counts > 0).sum(), rtol=1e-5)
    assert (task.class_weight.numpy()[counts == 0] == 0).all()


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("music_sequence_tagging", {}, "wrong-level"),
        ("music_note_tagging", {"label": "x"}, "unknown-label"),
        ("music_note_tagging", {"metric": "r2"}, "unknown-metric"),
        ("music_note_tagging", {"metric": "f1:nonsense"}, "unknown-metric"),
        ("music_note_tagging", {"augment": "volume=3"}, "bad-augmentation"),
    ],
)
def test_wrong_options_are_one_clear_error(shards, name, options, reason):
    with pytest.raises(DatasetError, match=reason):
        make_task(shards["octuple"], name, **options)


def test_wrong_splits_are_one_clear_error(shards, tmp_path):
    path = tmp_path / "split.json"
    for text in ("{", "[]", '{"train": ["nobody"]}', '{"train": ["p0"], "test": ["p0"]}'):
        path.write_text(text)
        with pytest.raises(DatasetError, match="bad-split"):
            read_split(path, shards["octuple"])


# -- several labels


@pytest.fixture(scope="module")
def two_sources(tmp_path_factory):
    """Six long pieces with octaves, and one short one with parities, as one set."""
    parity = Task("parity", "parity", "note", "classes", ("even", "odd"), "accuracy")

    def made():
        for k in range(7):
            music = score(k, 20 if k else 8)
            labels = {"octave": music.pitch // 12} if k else {"parity": music.pitch % 2}
            yield LabelledPiece(f"p{k}", music, f"g{k}", labels, {"given": "train" if k < 5 else "test"})

    return write_shards(made(), "cp", tmp_path_factory.mktemp("two") / "two", [PITCH, parity]).shards


def test_several_labels_share_the_outputs_of_one_head(two_sources):
    task = make_task(two_sources, "music_note_tagging", label="octave,parity", split="given")
    assert [(term.label, term.columns) for term in task.terms] == [("octave", (0, 10)), ("parity", (10, 12))]
    assert len(task.centre) == 12
    task.layout = Layout("cp", cells=True)
    dataset = task.make_dataset(task.pieces("train"), training=True)
    read = [window.piece for window in dataset.windows]
    assert (read.count(0), read.count(1)) == (2, 1)  # four pieces of octaves to one of parities: root of four
    assert len(task.make_dataset(task.pieces("train"), training=False).windows) == 5

    logits = torch.randn(2, 20, 12, requires_grad=True)
    batch = dataset.collater([dataset[read.index(0)], dataset[read.index(1)]])
    learned = TaggingCriterion(TaggingCriterionConfig(), task)
    loss, size, log = learned(lambda src_tokens: logits, batch)
    known = batch["targets"]["octave"] >= 0, batch["targets"]["parity"] >= 0
    wanted = sum(
        torch.nn.functional.cross_entropy(part[there], target[there], reduction="sum")
        for part, target, there in (
            (logits[..., :10], batch["targets"]["octave"], known[0]),
            (logits[..., 10:], batch["targets"]["parity"], known[1]),
        )
    )
    torch.testing.assert_close(loss, wanted)
    assert size == 28
    assert (log["_octave_sums"].sum(), log["_parity_sums"].sum()) == (20, 8)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"label": "octave,loud"}, "several-labels"),
        ({"label": "octave,mood"}, "several-labels"),
        ({"label": "octave,octave", "class_weights": "sqrt"}, "several-labels"),
        ({"label": "octave,octave", "metric": "accuracy"}, "unknown-metric"),
    ],
)
def test_labels_that_no_head_learns_together_are_refused(shards, options, reason):
    with pytest.raises(DatasetError, match=reason):
        make_task(shards["cp"], "music_note_tagging", **options)


# -- losses


def criterion(kind, count, **changes):
    values = {
        "terms": [Term("label", kind)],
        "class_weight": None,
        "centre": torch.zeros(count),
        "spread": torch.ones(count),
    }
    return TaggingCriterion(TaggingCriterionConfig(), SimpleNamespace(**{**values, **changes}))


def test_losses_are_sums_over_what_is_known():
    logits = torch.randn(3, 4, requires_grad=True)
    sample = {"net_input": {}, "targets": {"label": torch.tensor([2, -1, 0])}, "ntokens": 3, "nsentences": 3}
    loss, size, log = criterion("classes", 4)(lambda: logits, sample)
    wanted = torch.nn.functional.cross_entropy(logits[[0, 2]], torch.tensor([2, 0]), reduction="sum")
    torch.testing.assert_close(loss, wanted)
    assert size == 2
    assert log["_classes_sums"].sum() == 2
    sample["weight"] = torch.tensor([2.0, 5.0, 0.0])
    weighted, size, _ = criterion("classes", 4)(lambda: logits, sample)
    torch.testing.assert_close(
        weighted, 2 * torch.nn.functional.cross_entropy(logits[:1], torch.tensor([2]), reduction="sum")
    )
    assert size == 2


def test_a_batch_without_labels_has_no_loss_but_a_gradient():
    logits = torch.randn(2, 5, 3, requires_grad=True)
    sample = {"net_input": {}, "targets": {"label": torch.full((2, 5), -1)}, "ntokens": 10, "nsentences": 2}
    loss, size, _ = criterion("classes", 3)(lambda: logits, sample)
    loss.backward()
    assert (loss.item(), size) == (0, 0)
    assert (logits.grad == 0).all()


def test_the_loss_of_numbers_is_that_of_standardised_ones():
    target = torch.tensor([[10.0, float("nan")], [14.0, 3.0]])
    made = criterion("regression", 2, centre=torch.tensor([12.0, 3.0]), spread=torch.tensor([2.0, 1.0]))
    sample = {"net_input": {}, "targets": {"label": target}, "ntokens": 2, "nsentences": 2}
    loss, size, _ = made(lambda: torch.tensor([[-1.0, 9.0], [0.0, 1.0]]), sample)
    assert (loss.item(), size) == (pytest.approx(0 + 1 + 1), 3)


def test_the_loss_of_labels_leaves_out_missing_ones():
    target = torch.tensor([[1.0, float("nan")], [float("nan")] * 2])
    sample = {"net_input": {}, "targets": {"label": target}, "ntokens": 2, "nsentences": 2}
    loss, size, _ = criterion("multilabel", 2)(lambda: torch.zeros(2, 2), sample)
    assert (loss.item(), size) == (pytest.approx(np.log(2)), 1)


# -- learning rates


def test_every_parameter_has_its_share_of_the_rate():
    parameters = [torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))]
    parameters[0].rate_scale = 0.25
    optimiser = LayerwiseAdamW(LayerwiseAdamWConfig(lr=[0.1], weight_decay=0.0), parameters)
    optimiser.set_lr(0.4)
    assert optimiser.get_lr() == 0.4
    rates = {len(group["params"][0].shape): group["lr"] for group in optimiser.param_groups}
    assert rates == {2: pytest.approx(0.1), 1: pytest.approx(0.4)}
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    torch.testing.assert_close(parameters[0], torch.full((2, 2), 0.9), atol=1e-4, rtol=0)
    torch.testing.assert_close(parameters[1], torch.full((2,), 0.6), atol=1e-4, rtol=0)


def test_norms_and_biases_do_not_decay_unless_asked():
    def decays(**options):
        parameters = [torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))]
        optimiser = LayerwiseAdamW(LayerwiseAdamWConfig(lr=[0.1], **options), parameters)
        return {group["params"][0].ndim: group["weight_decay"] for group in optimiser.param_groups}

    assert decays(weight_decay=0.2) == {2: 0.2, 1: 0.0}
    two = LayerwiseAdamW(
        LayerwiseAdamWConfig(lr=[0.1], weight_decay=0.2, decay_all=True),
        [torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))],
    )
    assert {group["weight_decay"] for group in two.param_groups} == {0.2}

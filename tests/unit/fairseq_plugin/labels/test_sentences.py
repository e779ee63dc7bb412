"""Sentence tasks: labels, batches, metrics of the whole set, and the compatible names."""

from argparse import Namespace

import numpy as np
import pytest
import torch
from fairseq.logging import metrics
from fairseq.tasks import TASK_DATACLASS_REGISTRY, TASK_REGISTRY
from fairseq.tasks.sentence_prediction import SentencePredictionTask

import musicbert.fairseq_plugin
from musicbert.config import ModelConfig
from musicbert.corpus.bins.databin import (
    label_dictionary,
    read_dictionary,
    text_to_ids,
    write_indexed_dataset,
)
from musicbert.encoding import dictionary_text, rows_to_ids
from musicbert.encoding.sequence_views import sequence_in_view
from musicbert.errors import CheckpointError, DatasetError
from musicbert.evaluation.metrics.multilabel import AVERAGES, multilabel_draws
from musicbert.fairseq_plugin.data.sized_dataset import SizedDataset
from musicbert.fairseq_plugin.labels.criterion import MultilabelCriterion
from musicbert.fairseq_plugin.labels.sentences import OctupleSentenceTask, PublishedSentenceTask
from musicbert.fairseq_plugin.labels.sums import sums_of
from musicbert.fairseq_plugin.runs.models import choose_model
from musicbert.model import MusicBert
from musicbert.predict.sentences.databin import class_logits

assert musicbert.fairseq_plugin.labels

SIZES = {
    "encoder_layers": 1,
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 32,
    "encoder_attention_heads": 2,
}


def piece(rng, notes):
    return rows_to_ids(np.sort(rng.integers(0, 30, (notes, 8)), axis=0))


def make_bin(folder, labels, *, dictionary=None, lengths=(3, 20)):
    """A data-bin with the labels (lines of text) of each part."""
    rng = np.random.default_rng(0)
    for name in ("input0", "label"):
        (folder / name).mkdir(parents=True)
    (folder / "input0" / "dict.txt").write_text(dictionary_text())
    (folder / "label" / "dict.txt").write_text(dictionary or label_dictionary(labels["train"]))
    ids = read_dictionary(folder / "label" / "dict.txt")
    for part, lines in labels.items():
        write_indexed_dataset(
            [piece(rng, int(rng.integers(*lengths))) for _ in lines], folder / "input0" / part
        )
        write_indexed_dataset(text_to_ids(lines, ids), folder / "label" / part)
    return folder


def labels_of(dataset):
    return [dataset[index]["targets"]["label"].tolist() for index in range(len(dataset))]


def tokens_of(dataset, index):
    return dataset[index]["source"].reshape(-1)


def settings(task, data, **changes):
    config = TASK_DATACLASS_REGISTRY[task]()
    config.data, config.seed, config.classification_head_name = str(data), 1, "head"
    config.max_positions = 8192
    for name, value in changes.items():
        setattr(config, name, value)
    if task != "sentence_prediction_multilabel":
        config.regression_target = changes.get("regression_target", False)
    return config


def test_the_published_name_reads_octuples_and_nothing_else_changes(tmp_path):
    assert TASK_REGISTRY["sentence_prediction"] is PublishedSentenceTask
    assert issubclass(PublishedSentenceTask, SentencePredictionTask)
    data = make_bin(tmp_path / "bin", {"train": ["1", "0", "0"], "valid": ["1", "0"]})
    for task in ("sentence_prediction", "octuple_sentence_prediction"):
        opened = TASK_REGISTRY[task].setup_task(settings(task, data, init_token=0, separator_token=2))
        assert opened.cfg.num_classes == 2
        dataset = opened.load_dataset("train")
        batch = dataset.collater([dataset[0], dataset[1]])
        assert batch["net_input"]["src_tokens"].shape[1] % 8 == 0  # nothing is put before
        assert batch["target"].tolist() == [1, 0]  # "0" is the most frequent: class 0
    other = tmp_path / "other"
    for name in ("input0", "label"):
        (other / name).mkdir(parents=True)
        (other / name / "dict.txt").write_text("hello 3\nworld 2\n")
    opened = PublishedSentenceTask.setup_task(settings("sentence_prediction", other, num_classes=2))
    assert len(opened.dictionary) == 4 + 2 + 1  # as fairseq reads it
    with pytest.raises(DatasetError, match="wrong-dictionary"):
        OctupleSentenceTask.setup_task(settings("octuple_sentence_prediction", other))


def test_numbers_in_place_of_classes(tmp_path):
    data = make_bin(tmp_path / "bin", {"train": ["1", "0", "0"]})
    (data / "label" / "train.label").write_text("0.5 1\n-2 3\n0 0\n")
    config = settings("octuple_sentence_prediction", data, regression_target=True, num_classes=2)
    dataset = OctupleSentenceTask.setup_task(config).load_dataset("train")
    assert labels_of(dataset) == [[0.5, 1], [-2, 3], [0, 0]]
    config.num_classes = 3
    with pytest.raises(DatasetError, match="wrong-label"):
        OctupleSentenceTask.setup_task(config).load_dataset("train")


def test_class_counts_are_checked_against_the_data(tmp_path, caplog):
    data = make_bin(tmp_path / "bin", {"train": ["a b", "b", "c"]})
    task = TASK_REGISTRY["sentence_prediction_multilabel"]
    with pytest.raises(DatasetError, match="class-count-mismatch"):
        task.setup_task(settings("sentence_prediction_multilabel", data, num_classes=2))
    # upstream asks for all 13 where a fold's dictionary has fewer
    opened = task.setup_task(settings("sentence_prediction_multilabel", data, num_classes=13))
    assert np.shape(labels_of(opened.load_dataset("train"))) == (3, 13)
    assert "only 3 of them" in caplog.text


def test_labels_become_classes(tmp_path, caplog):
    data = make_bin(tmp_path / "bin", {"train": ["b a", "b", "c b"], "valid": ["a", "never c"]})
    name = "sentence_prediction_multilabel"
    task = TASK_REGISTRY[name].setup_task(settings(name, data))
    assert task.data.labels["label"].classes == ("b", "a", "c")  # by falling count, then by name
    assert labels_of(task.load_dataset("train")) == [[1, 1, 0], [1, 0, 0], [1, 0, 1]]
    assert labels_of(task.load_dataset("valid")) == [[0, 1, 0], [0, 0, 1]]
    assert "1 labels are unknown" in caplog.text
    with pytest.raises(DatasetError, match="wrong-label"):
        OctupleSentenceTask.setup_task(settings("octuple_sentence_prediction", data))


def test_too_long_sequences_are_shortened_or_refused(tmp_path):
    data = make_bin(tmp_path / "bin", {"train": ["a"] * 8}, lengths=(20, 40))
    name = "sentence_prediction_multilabel"
    task = TASK_REGISTRY[name].setup_task(settings(name, data, max_positions=8 * 12))
    with pytest.raises(DatasetError, match="too-long"):
        task.load_dataset("train")
    for method in ("truncate", "random_crop"):
        task = TASK_REGISTRY[name].setup_task(
            settings(name, data, max_positions=8 * 12, shorten_method=method)
        )
        dataset = task.load_dataset("train")
        whole = [torch.from_numpy(rows_to_ids(task.data.rows(index))) for index in range(8)]
        seen = set()
        for epoch in (1, 2, 3):
            dataset.set_epoch(epoch)
            for index in range(8):
                source = tokens_of(dataset, index)
                assert len(source) == 8 * 12 == dataset.size(index)
                assert source[:8].eq(0).all()
                assert source[-8:].eq(2).all()
                at = [
                    k
                    for k in range(8, len(whole[index]), 8)
                    if torch.equal(whole[index][k : k + 80], source[8:-8])
                ]
                assert at
                seen.add((index, at[0]))
        assert (len(seen) > 8) == (method == "random_crop")


@pytest.mark.parametrize("view", ["octuple", "cp", "remi"])
@pytest.mark.parametrize("name", ["octuple_sentence_prediction", "sentence_prediction_multilabel"])
def test_other_encodings_are_made_as_the_data_are_read(tmp_path, name, view):
    data = make_bin(tmp_path / "bin", {"train": ["a", "b"] * 4}, lengths=(20, 40))
    width = 1 if view == "remi" else 8
    task = TASK_REGISTRY[name].setup_task(settings(name, data, encoding=view))
    whole = task.load_dataset("train")
    stored = [rows_to_ids(task.data.rows(index)) for index in range(8)]
    for index, tokens in enumerate(stored):
        source = tokens_of(whole, index)
        assert source.tolist() == sequence_in_view(tokens, view).tolist()
        assert len(source) == whole.size(index)
    batch = whole.collater([whole[0], whole[1]])
    rows, lengths = batch["net_input"]["src_tokens"], whole.sizes[:2].tolist()
    assert rows.shape[1] == max(lengths)
    assert [int((row != 1).sum()) for row in rows] == lengths
    assert (rows == 3).any() == (view == "cp")  # empty cells
    with pytest.raises(DatasetError, match="too-long"):
        TASK_REGISTRY[name].setup_task(
            settings(name, data, encoding=view, max_positions=width * 12)
        ).load_dataset("train")
    for method in ("truncate", "random_crop"):
        chosen = settings(name, data, encoding=view, max_positions=width * 12, shorten_method=method)
        short = TASK_REGISTRY[name].setup_task(chosen).load_dataset("train")
        firsts = set()
        for epoch in (1, 2, 3):
            short.set_epoch(epoch)
            for index in range(8):
                source = tokens_of(short, index)
                assert len(source) == width * 12 == short.size(index)
                firsts.add((index, tuple(source.tolist())))
                if method == "truncate":
                    assert source.tolist() == sequence_in_view(stored[index], view, longest=10).tolist()
        assert (len(firsts) > 8) == (method == "random_crop")


def test_models_read_the_encoding_that_they_were_trained_on(tmp_path):
    """Build, score and refuse: rows of cp are compounds, tokens of remi are not."""
    data = make_bin(tmp_path / "bin", {"train": ["a", "b"] * 3})
    name, states = "octuple_sentence_prediction", {}
    for view in ("octuple", "cp", "remi"):
        cut = settings(name, data, encoding=view, max_positions=176, shorten_method="truncate")
        task = TASK_REGISTRY[name].setup_task(cut)
        cfg = Namespace(arch="musicbert", **SIZES)
        model = task.build_model(cfg).eval()
        assert model.config.fields == (1 if view == "remi" else 8)
        dataset = task.load_dataset("train")
        path = tmp_path / f"{view}.pt"
        kept = {"model": dict(SIZES), "task": {"_name": name, "encoding": view}}
        torch.save({"model": model.state_dict(), "cfg": kept}, path)
        found = class_logits(path, data, "train", device="cpu")
        for index in range(6):
            batch = dataset.collater([dataset[index]])
            with torch.inference_mode():
                logits, _ = model(**batch["net_input"], features_only=True, classification_head_name="head")
            np.testing.assert_allclose(logits[0].numpy(), found[index], atol=1e-5)
        # there are more rows than notes: the longest are cut, alike in training and in scoring
        assert (dataset.full_sizes > dataset.sizes).any() == (view == "cp")
        states[view] = path
    for asked in ("octuple", "cp", "remi"):
        task = TASK_REGISTRY[name].setup_task(settings(name, data, encoding=asked, max_positions=176))
        for view, path in states.items():
            cfg = Namespace(arch="musicbert", init_from=str(path), **SIZES)
            if view == asked:
                assert task.build_model(cfg).weights_expected is None
            else:
                with pytest.raises(CheckpointError, match="other-encoding"):
                    task.build_model(cfg)


@pytest.mark.parametrize("open_model", [musicbert.from_pretrained, choose_model])
@pytest.mark.parametrize("view", ["octuple", "cp", "remi"])
def test_what_reads_octuples_alone_refuses_models_of_other_encodings(tmp_path, open_model, view):
    config = ModelConfig(
        layers=1, width=16, ffn_width=32, heads=2, max_positions=64, fields=1 if view == "remi" else 8
    )
    task = {"_name": "octuple_masked_lm", "encoding": view}
    content = {"model": MusicBert(config).state_dict(), "cfg": {"model": dict(SIZES), "task": task}}
    torch.save(content, tmp_path / "one.pt")
    if view == "octuple":
        assert open_model(tmp_path / "one.pt") is not None
    else:
        with pytest.raises(CheckpointError, match="other-encoding"):
            open_model(tmp_path / "one.pt")


def test_mean_pooling_counts_notes_whose_first_cell_is_empty():
    model = MusicBert(
        ModelConfig(layers=1, width=16, ffn_width=32, heads=2, max_positions=64), pooling="mean"
    )
    notes = np.array([[0, 0, 0, 60, 1, 9, 5, 5], [0, 0, 0, 64, 1, 9, 5, 5]])
    tokens = torch.from_numpy(sequence_in_view(rows_to_ids(notes), "cp"))[None]
    out = model.eval().encoder.sentence_encoder(tokens)
    assert out.special[0].tolist() == [True, *[False] * 5, True]
    torch.testing.assert_close(model.pool(out), out.hidden[:, 1:-1].mean(1))


def test_order_is_by_length_and_differs_by_epoch_alone():
    rng = np.random.default_rng(0)
    sizes = rng.integers(3, 200, 50) * 8
    first, again = SizedDataset(), SizedDataset()
    for dataset in (first, again):
        dataset.sizes, dataset.seed, dataset.shuffle = sizes, 4, True
    assert np.array_equal(first.ordered_indices(), again.ordered_indices())
    again.set_epoch(2)
    assert not np.array_equal(first.ordered_indices(), again.ordered_indices())
    ordered = sizes[first.ordered_indices()]
    assert (ordered[1:] > 0.9 * ordered[:-1]).all()
    assert sorted(first.ordered_indices()) == list(range(50))


def logged(batches):
    """Metrics of a validation over several batches, as two workers would report them."""
    logs = []
    for logits, targets in batches:
        log = {
            "loss": torch.tensor(1.0),
            "ntokens": 8,
            "nsentences": len(targets),
            "sample_size": len(targets),
        }
        logs.append({**log, "_multilabel_sums": sums_of("multilabel", logits, targets)})
    metrics.reset()
    with metrics.aggregate() as meters:
        MultilabelCriterion.reduce_metrics(logs[:1])
        MultilabelCriterion.reduce_metrics(logs[1:])
    return meters.get_smoothed_values()


def test_validation_metrics_are_those_of_the_whole_set():
    rng = np.random.default_rng(5)
    targets = (rng.random((37, 6)) < [0.8, 0.3, 0.3, 0.2, 0.1, 0.05]).astype(np.float32)
    logits = (rng.normal(-0.5, 1.5, targets.shape) + 1.5 * targets).astype(np.float32)
    batches = [
        (torch.from_numpy(logits[at : at + 4]), torch.from_numpy(targets[at : at + 4]))
        for at in range(0, 37, 4)
    ]
    found = logged(batches)
    one = logged([(torch.from_numpy(logits), torch.from_numpy(targets))])
    whole = multilabel_draws(targets, logits)
    for average in AVERAGES:
        f1, auc = (whole[name][0] for name in (f"{average}_f1", f"roc_auc_{average}"))
        assert found[f"f1_score_{average}"] == pytest.approx(f1, abs=1e-5)
        assert found[f"roc_auc_score_{average}"] == pytest.approx(auc, abs=5e-3)
        assert one[f"f1_score_{average}"] == found[f"f1_score_{average}"]
    # an average over mini-batches, as published, is another number
    each = [multilabel_draws(t.numpy(), x.numpy())["macro_f1"][0] for x, t in batches]
    assert abs(np.mean(each) - found["f1_score_macro"]) > 0.01
    assert found["accuracy"] == pytest.approx(100 * ((logits > 0) == (targets > 0)).all(1).mean(), abs=0.06)


def test_an_undefined_score_is_never_the_best_one():
    """A checkpoint is chosen by the macro ROC-AUC: NaN would compare as neither better nor worse."""
    nothing = logged([(torch.zeros(3, 2), torch.zeros(3, 2))])
    assert nothing["roc_auc_score_macro"] == -np.inf
    assert nothing["f1_score_micro"] == 0

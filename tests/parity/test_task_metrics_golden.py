"""Scores of the benchmark against the published programs' (golden data), 4 digits as recorded."""

import json

import numpy as np
import pytest

from musicbert.corpus.readers.tasks import get_task
from musicbert.evaluation.metrics.benchmark import Segment, accuracy, bar_accuracy, f1_score, grid_accuracy

pytestmark = pytest.mark.shared

PAD_BAR, NEW_BAR = 2, 0


@pytest.fixture(scope="module")
def golden(shared):
    return json.loads((shared / "golden" / "m2bert" / "metrics.json").read_text())


def published(row, parts, batch):
    """The published score of a task."""
    if row.score == "f1":
        return f1_score(parts, compatible=True)
    if row.score == "grid_accuracy":
        return grid_accuracy(parts, batch=batch)
    return bar_accuracy(parts) if row.score == "bar_accuracy" else accuracy(parts)


def cut(golden, task):
    tokens = np.array(golden["x"])
    truth, predicted = (np.array(golden["tasks"][task][key]) for key in ("y", "pred"))
    parts = []
    for rows, true, given in zip(tokens, truth, predicted, strict=True):
        there = rows[:, 0] != PAD_BAR
        parts.append(Segment(true[there], given[there], rows[there, 0] == NEW_BAR, rows[there, 1]))
    return parts


@pytest.mark.parametrize("task", ["chordroot", "localkey", "beat", "mnid", "texture", "melody", "violin_all"])
def test_equal_to_the_published_program(golden, task):
    row, parts, record = get_task(task), cut(golden, task), golden["tasks"][task]
    assert len(row.task.classes) == record["n_class"]
    assert round(published(row, parts, golden["batch_size"]), 4) == record["upstream_metric"]
    assert round(published(row, parts, 1), 4) == record["upstream_metric_batch1"]


@pytest.mark.parametrize("task", ["chordroot", "localkey"])
def test_mended_grid_does_not_depend_on_the_batch(golden, task):
    parts = cut(golden, task)
    whole = grid_accuracy(parts)
    assert whole == grid_accuracy(parts[::-1])
    assert round(whole, 4) == golden["tasks"][task]["upstream_metric_batch1"]
    assert grid_accuracy(parts, batch=2) != whole


@pytest.mark.parametrize("task", ["beat", "mnid"])
def test_strict_f1_counts_notes_predicted_as_padding_as_misses(golden, task):
    parts = cut(golden, task)
    assert any((part.predicted == 0).any() for part in parts)
    assert f1_score(parts) < f1_score(parts, compatible=True)

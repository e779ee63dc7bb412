"""Scores of taggers against scikit-learn, intervals over groups, and predictions on disk."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from musicbert.errors import DatasetError
from musicbert.evaluation.metrics.bootstrap import resample
from musicbert.evaluation.predictions import (
    Predictions,
    load_predictions,
    pool,
    probabilities,
    save_predictions,
)
from musicbert.evaluation.rows import confusion_of, draw_scores, metrics_of, per_class


def of_pieces(kind, target, outputs, groups=None, **changes):
    n, C = np.shape(outputs)
    values = {
        "label": "x",
        "level": "sequence",
        "kind": kind,
        "classes": tuple("abcdefgh"[:C]),
        "ids": np.array([f"p{k}" for k in range(n)]),
        "groups": np.array([f"g{k}" for k in range(n)] if groups is None else groups),
        "target": np.asarray(target),
        "outputs": np.asarray(outputs, np.float32),
    }
    return Predictions(**{**values, **changes})


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_classes_agree_with_scikit_learn(rng):
    y, logits = rng.integers(0, 4, 60), rng.normal(size=(60, 5)).astype(np.float32)
    found = metrics_of(of_pieces("classes", y, logits))
    guess = logits.argmax(1)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, guess))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(y, guess, average="macro"))
    recall = sk.recall_score(y, guess, labels=np.unique(y), average="macro", zero_division=0)
    assert found["balanced_accuracy"] == pytest.approx(recall)
    np.testing.assert_array_equal(
        confusion_of(of_pieces("classes", y, logits)), sk.confusion_matrix(y, guess, labels=range(5))
    )
    table = per_class(of_pieces("classes", y, logits))
    np.testing.assert_allclose([row["f1"] for row in table], sk.f1_score(y, guess, average=None))
    assert found["f1:b"] == pytest.approx(table[1]["f1"])
    assert [row["support"] for row in table] == np.bincount(y, minlength=5).tolist()


def test_perfect_wrong_ignored_and_missing_classes():
    eye = 5 * np.eye(3)
    assert metrics_of(of_pieces("classes", [0, 1, 2], eye))["accuracy"] == 1
    assert metrics_of(of_pieces("classes", [1, 2, 0], eye))["macro_f1"] == 0
    half = of_pieces("classes", [0, -1, 1], eye, ignore=(1,))
    assert half.scored.tolist() == [True, False, False]
    assert metrics_of(half)["accuracy"] == 1
    none = of_pieces("classes", [-1, -1, -1], eye)
    assert all(np.isnan(value) for value in metrics_of(none).values())


def test_several_labels_agree_with_scikit_learn(rng):
    y, logits = rng.integers(0, 2, (50, 4)).astype(float), rng.normal(size=(50, 4)).astype(np.float32)
    y[:3] = 0
    logits[0] = -1  # nothing is there and nothing is said
    found, guess = metrics_of(of_pieces("multilabel", y, logits)), (logits > 0).astype(int)
    for average in ("micro", "macro", "weighted", "samples"):
        expected = sk.f1_score(y, guess, average=average, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(expected), average
    for average in ("micro", "macro", "weighted"):
        assert found[f"roc_auc_{average}"] == pytest.approx(sk.roc_auc_score(y, logits, average=average))
    usable = (y.min(1) == 0) & (y.max(1) == 1)
    expected = sk.roc_auc_score(y[usable], logits[usable], average="samples")
    assert found["roc_auc_samples"] == pytest.approx(expected)


def test_missing_labels_of_several_count_nowhere(rng):
    y, logits = rng.integers(0, 2, (40, 2)).astype(float), rng.normal(size=(40, 2)).astype(np.float32)
    y[:10, 0] = np.nan
    found = metrics_of(of_pieces("multilabel", y, logits))
    guess = logits > 0
    expected = np.mean([sk.f1_score(y[10:, 0], guess[10:, 0]), sk.f1_score(y[:, 1], guess[:, 1])])
    assert found["macro_f1"] == pytest.approx(expected)
    expected = np.mean([sk.roc_auc_score(y[10:, 0], logits[10:, 0]), sk.roc_auc_score(y[:, 1], logits[:, 1])])
    assert found["roc_auc_macro"] == pytest.approx(expected)


def test_numbers_agree_with_scikit_learn(rng):
    y = 100 + rng.normal(size=(30, 2))
    p = (y + rng.normal(size=(30, 2))).astype(np.float32)
    found = metrics_of(of_pieces("regression", y, p))
    assert found["r2"] == pytest.approx(sk.r2_score(y, p))
    assert found["mse"] == pytest.approx(sk.mean_squared_error(y, p))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(y, p))
    expected = np.mean([np.corrcoef(y[:, c], p[:, c])[0, 1] for c in range(2)])
    assert found["pearson"] == pytest.approx(expected)
    assert np.isnan(metrics_of(of_pieces("regression", np.ones((4, 1)), np.ones((4, 1))))["r2"])


def of_notes(rng, ids=("p", "q", "r"), lengths=(4, 9, 2)):
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    total = int(offsets[-1])
    return Predictions(
        "x",
        "note",
        "classes",
        ("a", "b"),
        np.array(ids),
        np.array(["g", "g", "h"]),
        rng.integers(0, 2, total),
        rng.normal(size=(total, 2)).astype(np.float32),
        offsets=offsets,
        note_index=np.concatenate([np.arange(n) for n in lengths]),
    )


def test_resamples_draw_whole_groups(rng):
    notes = of_notes(rng)
    weights = resample(2, n_resamples=50, seed=1)
    drawn = draw_scores(notes, weights)["accuracy"]
    right = notes.predicted == notes.target
    in_g = np.arange(15) < 13
    for weight, value in zip(weights, drawn, strict=True):
        times = np.where(in_g, weight[0], weight[1])
        assert value == pytest.approx((right * times).sum() / times.sum())


def test_predictions_come_back_from_disk(rng, tmp_path):
    notes = of_notes(rng)
    pieces = of_pieces("regression", np.zeros((3, 1)), np.ones((3, 1)), label="y", embedding=np.eye(3))
    save_predictions(tmp_path / "n.npz", {"x": notes, "y": pieces})
    found = load_predictions(tmp_path / "n.npz")
    assert list(found) == ["x", "y"]
    np.testing.assert_array_equal(found["y"].embedding, np.eye(3))
    back = found["x"]
    for name in ("ids", "groups", "target", "outputs", "offsets", "note_index"):
        np.testing.assert_array_equal(getattr(back, name), getattr(notes, name))
    assert (back.classes, back.ignore, back.level, back.kind) == (("a", "b"), (), "note", "classes")
    with pytest.raises(DatasetError, match="not-found"):
        load_predictions(tmp_path / "x.npz")
    (tmp_path / "x.npz").write_bytes((tmp_path / "n.npz").read_bytes()[:100])
    with pytest.raises(DatasetError, match="bad-predictions"):
        load_predictions(tmp_path / "x.npz")


def test_folds_are_joined_piece_by_piece(rng):
    one, two = of_notes(rng), of_notes(rng, ids=("s", "t", "u"))
    both = pool([one, two])
    assert both.offsets.tolist() == [0, 4, 13, 15, 19, 28, 30]
    np.testing.assert_array_equal(both.outputs[15:], two.outputs)


def test_segments_have_the_label_of_their_piece():
    segments = {
        "segment_piece": np.array([0, 0, 1]),
        "segment_start": np.array([0, 10, 0]),
        "segment_outputs": np.array([[1, 0], [0, 3], [0, 1]], np.float32),
    }
    pieces = of_pieces("classes", [0, 1], [[0.5, 1.5], [0, 1]], **segments)
    parts = pieces.segments()
    assert parts.target.tolist() == [0, 0, 1]
    assert metrics_of(parts)["accuracy"] == pytest.approx(2 / 3)
    assert metrics_of(pieces)["accuracy"] == 0.5
    joined = pool([pieces, of_pieces("classes", [1], [[0, 1]], ids=np.array(["z"]), **{
        "segment_piece": np.array([0]), "segment_start": np.array([0]),
        "segment_outputs": np.array([[0, 1]], np.float32)})])  # fmt: skip
    assert joined.segment_piece.tolist() == [0, 0, 1, 2]


def test_shapes_that_do_not_fit_are_errors():
    with pytest.raises(ValueError, match="targets"):
        of_pieces("classes", [0, 1, 2], np.zeros((2, 3)))
    with pytest.raises(ValueError, match="offsets"):
        of_pieces("classes", [0, 1], np.zeros((2, 3)), level="note")


def test_repeated_pieces_are_averaged(rng):
    """Seeds of one fold: the mean of their probabilities, for notes, pieces and segments."""
    one = of_notes(rng)
    two = replace(one, outputs=rng.normal(size=one.outputs.shape))
    both = pool([one, two])
    assert both.ids.tolist() == one.ids.tolist()
    mean = (probabilities(one.outputs, "classes") + probabilities(two.outputs, "classes")) / 2
    np.testing.assert_allclose(probabilities(both.outputs, "classes"), mean)
    segments = {"segment_piece": np.array([0, 0, 1]), "segment_start": np.array([0, 8, 0])}
    parts = [
        of_pieces(
            "multilabel", [[1.0], [0]], [[x], [0]], **segments, segment_outputs=np.array([[x], [0], [1]])
        )
        for x in (-1, 2)
    ]
    more = {"segment_piece": np.array([0]), "segment_start": np.array([0])}
    more |= {"ids": np.array(["z"]), "segment_outputs": np.ones((1, 1))}
    both = pool([*parts, of_pieces("multilabel", [[1.0]], [[0]], **more)])
    mean = probabilities(np.array([-1, 2]), "multilabel").mean()
    np.testing.assert_allclose(probabilities(both.outputs[:, 0], "multilabel"), [mean, 0.5, 0.5])
    assert both.segment_piece.tolist() == [0, 0, 1, 2]
    np.testing.assert_allclose(both.segment_outputs[1:, 0], [0, 1, 1])
    with pytest.raises(ValueError, match="different labels"):
        pool([one, replace(two, target=1 - one.target)])
    with pytest.raises(ValueError, match="nothing"):
        pool([])


def test_former_layouts_are_read(rng, tmp_path):
    notes = of_notes(rng)
    meta = {"label": "x", "level": "note", "kind": "classes", "classes": ["a", "b"], "ignore": []}
    arrays = {name: getattr(notes, name) for name in ("ids", "groups", "target", "outputs", "offsets")}
    np.savez(tmp_path / "tags.npz", meta=np.array(json.dumps(meta)), **arrays)
    np.testing.assert_array_equal(load_predictions(tmp_path / "tags.npz")["x"].outputs, notes.outputs)
    old = {"ids": np.array(["a", "b"]), "labels": np.eye(2), "class_of": np.array([0, -1])}
    np.savez(
        tmp_path / "r.npz", **old, regression=np.ones((2, 2)), class_logits=np.eye(2), embedding=np.eye(2)
    )
    found = load_predictions(tmp_path / "r.npz")
    assert list(found) == ["ratings", "performer"]
    assert found["ratings"].classes == found["performer"].classes == ("0", "1")
    np.testing.assert_array_equal(found["ratings"].target, np.eye(2))
    np.testing.assert_array_equal(found["performer"].embedding, np.eye(2))

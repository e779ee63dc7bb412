"""Baselines: what they can and cannot see, selection inside training, and whole runs on made data."""

import json
from dataclasses import replace

import numpy as np
import pytest
from by_output import regression
from few_trees import few_trees  # noqa: F401

from musicbert.annotation.label_map import LabelMap
from musicbert.annotation.names import parse_segment
from musicbert.corpus.files.folders import read_npz
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.models import fit_predict
from musicbert.evaluation.baselines.rated_examples import feature_table, load_examples, same_bars
from musicbert.evaluation.baselines.rating_baselines import ROWS, baseline_folds, run_baselines, run_set
from musicbert.evaluation.baselines.regressors import Examples, standardise
from musicbert.evaluation.metrics.bootstrap import mean
from musicbert.evaluation.rows import read_rows
from musicbert.midi import midi_bytes
from musicbert.synthesis import make_set

REGRESSORS = ("mean", *ROWS["regression"], "committee")
CLASSIFIERS = ROWS["classes"]


@pytest.fixture
def examples():
    rng = np.random.default_rng(0)
    n, k = 120, 12
    x = rng.normal(size=(n, k))
    labels = 0.5 + 0.1 * np.stack([x[:, 0] + x[:, 1], x[:, 2] - x[:, 3], x[:, 0]], axis=1)
    labels += rng.normal(0, 0.02, labels.shape)
    groups = np.repeat(np.arange(12), 10).astype(str)
    return Examples(
        label="ratings",
        kind="regression",
        classes=("a", "b", "c"),
        features=x,
        target=labels,
        groups=groups,
        ids=np.array([f"i{i}" for i in range(n)]),
        identities={"performer": np.array([f"p{c}" for c in classes_of(x)]), "bars": groups},
    )


def classes_of(x):
    return (x[:, 0] > 0).astype(np.int64) + 2 * (x[:, 4] > 0)


@pytest.fixture
def performers(examples):
    return replace(
        examples,
        label="performer",
        kind="classes",
        classes=tuple("vwxyz"),
        target=classes_of(examples.features),
    )


TRAIN, TEST = np.arange(90), np.arange(90, 120)


@pytest.mark.parametrize("name", [*REGRESSORS, "ensemble"])
def test_regressors(name, examples):
    got = fit_predict(name, examples, TRAIN, TEST)
    r2 = mean(regression(got.target, got.outputs)["r2"])
    assert got.outputs.shape == (30, 3)
    assert (r2 < 0.05) if name == "mean" else (r2 > 0.3)
    again = fit_predict(name, examples, TRAIN, TEST)
    np.testing.assert_array_equal(got.outputs, again.outputs)


@pytest.mark.parametrize("name", [*CLASSIFIERS, "ensemble"])
def test_classifiers(name, performers):
    got = fit_predict(name, performers, TRAIN, TEST)
    accuracy = (got.predicted == got.target).mean()
    assert got.outputs.shape == (30, 5)
    assert np.isfinite(got.outputs).all()
    assert (accuracy < 0.5) if name == "majority" else (accuracy > 0.6)
    assert (got.predicted != 4).all()  # the class that does not occur


def test_nothing_comes_from_the_test_part(examples, performers):
    for given, names, other in (
        (examples, (*REGRESSORS, "lookup:performer", "lookup:performer+bars"), 0.9),
        (performers, CLASSIFIERS, 4),
    ):
        changed = replace(given, target=given.target.copy())
        changed.target[TEST] = other
        for name in names:
            a, b = (fit_predict(name, each, TRAIN, TEST).outputs for each in (given, changed))
            np.testing.assert_array_equal(a, b)


def test_lookup_sees_names_only(examples):
    blind = replace(examples, features=np.zeros_like(examples.features))
    got = fit_predict("lookup:performer", blind, TRAIN, TEST)
    assert regression(got.target, got.outputs)["r2"][2] > 0.3  # the class says the sign of x0
    unseen = fit_predict("lookup:bars", blind, TRAIN, TEST)  # no group of the test is in training
    assert np.ptp(unseen.outputs, axis=0).max() < 1e-9


def test_missing_labels(examples):
    labels = examples.target.copy()
    labels[:40, 1] = np.nan
    labels[:, 2] = np.nan
    got = fit_predict("ridge", replace(examples, target=labels), TRAIN, TEST)
    assert np.isnan(got.outputs[:, 2]).all()
    assert regression(labels[TEST][:, :2], got.outputs[:, :2])["r2"].min() > 0.5


def test_bad_calls(examples, performers):
    with pytest.raises(ValueError, match="training and in the test"):
        fit_predict("ridge", examples, TRAIN, TRAIN)
    with pytest.raises(ValueError, match="no baseline 'magic'"):
        fit_predict("magic", examples, TRAIN, TEST)
    with pytest.raises(ValueError, match="no baseline"):
        fit_predict("svr", performers, TRAIN, TEST)
    with pytest.raises(ValueError, match="no identity"):
        fit_predict("lookup:piece", examples, TRAIN, TEST)


def test_standardise_uses_training_and_blocks():
    rng = np.random.default_rng(0)
    train, test = rng.normal(5, 3, (50, 10)), np.full((2, 10), 1e6)
    a, b = standardise(train, test)
    np.testing.assert_allclose(a.mean(0), 0, atol=0.1)
    assert b.max() == 4.0
    a, _ = standardise(train, test, blocks=(2, 8))
    assert a[:, :2].var() * 2 == pytest.approx(a[:, 2:].var() * 8, rel=0.1)
    with pytest.raises(ValueError, match="do not sum"):
        standardise(train, test, blocks=(2, 2))


def test_run_scores_folds_and_keeps_predictions(examples, performers, tmp_path):
    ids = examples.ids.tolist()
    folds = {
        str(k): {
            "train": [n for i, n in enumerate(ids) if i % 3 != k],
            "valid": [],
            "test": [n for i, n in enumerate(ids) if i % 3 == k],
        }
        for k in range(3)
    }
    got = run_baselines(examples, folds, names=("mean", "ridge"), n_resamples=50, save=tmp_path)
    ridge = read_rows(got["rows"])[1]
    assert (ridge.kind, ridge.name, ridge.items, ridge.over) == ("baseline", "ridge", 120, "groups")
    assert ridge.value("r2") > 0.8
    assert ridge.entry("r2")["low"] < ridge.value("r2")
    assert "r2:a" in ridge.scores["pooled"]
    assert got["folds"]["0"] == {"train": 80, "test": 40, "test_sharing_music_with_training": 40}
    assert (tmp_path / "ridge/fold2/seed0/test.npz").is_file()
    json.dumps(got, allow_nan=False)
    classes = run_baselines(performers, folds, names=("majority", "logistic"), n_resamples=50)
    assert np.sum(classes["rows"][1]["confusion"]) == 120


def test_same_bars():
    def bars(name):
        return same_bars(parse_segment(name))

    assert bars("Schubert_D960_mv3_8bars_1_05") == bars("Schubert_D960_mv3_8bars_2_14")  # a literal repeat
    assert bars("Schubert_D960_mv3_8bars_1_05") != bars("Schubert_D960_mv3_8bars_1_06")
    assert bars("Schubert_D960_mv2_16bars_1_03") == bars("Schubert_D960_mv2_8bars_1_05")  # all of it
    assert bars("Schubert_D935_no.3_4bars_1_25") == bars("Schubert_D935_no.3_4bars_2_25")


def test_unknown_split():
    with pytest.raises(DatasetError) as caught:
        baseline_folds("no-such", ["Schubert_D960_mv3_8bars_1_05"])
    assert caught.value.reason == "unknown-split"


@pytest.mark.shared
def test_real_run(shared, tmp_path):
    """Ridge on the published split is far above the mean and names its poles."""
    result = run_set(
        shared / "golden/xai/midi_label_map_apex_reg_cls.snu.json",
        shared / "data/xai/segmented_midi.zip",
        ["segment_clean"],
        tmp_path / "out",
        rows=("mean", "lookup:performer+bars", "ridge"),
        cache=tmp_path,
        n_resamples=100,
    )
    content = result["splits"]["segment_clean"]
    assert content["folds"]["0"] == {"train": 460, "test": 64, "test_sharing_music_with_training": 0}
    r2 = {row.name: row.value("r2") for row in read_rows(content["rows"])}
    assert r2["ridge"] > 0.15
    assert r2["mean"] == pytest.approx(-0.217, abs=0.001)  # spec: the mean row of the clean split
    assert result["dimensions"][14]["low"] != result["dimensions"][14]["high"]
    assert "segment_clean" in (tmp_path / "out.md").read_text()
    assert "/" not in result["provenance"]["data"]["midi"]["name"]
    assert content["rows"][0]["groups"] > 1
    # what is kept gives the scores again, also after a call that adds a row
    run_set(
        shared / "golden/xai/midi_label_map_apex_reg_cls.snu.json",
        shared / "data/xai/segmented_midi.zip",
        ["segment_clean"],
        tmp_path / "out",
        rows=("svr",),
        extend=True,
        cache=tmp_path,
        n_resamples=100,
    )
    kept = read_npz(tmp_path / "out_segment_clean.npz")
    assert {name for name in kept if name.startswith("row:")} == {
        "row:mean", "row:lookup:performer+bars", "row:ridge", "row:svr",
    }  # fmt: skip
    labels = LabelMap.load(shared / "golden/xai/midi_label_map_apex_reg_cls.snu.json")
    target = labels.values[[labels.ids.index(name) for name in kept["ids"].tolist()]]
    for name in ("ridge", "mean"):
        again = mean(regression(target, kept[f"row:{name}"].astype(np.float64))["r2"])
        assert again == pytest.approx(r2[name], abs=2e-4)


def test_no_match():
    from musicbert.annotation.dimensions import unnamed
    from musicbert.annotation.label_map import LabelMap

    labels = LabelMap(
        ("Schubert_D960_mv3_8bars_1_05",), np.zeros((1, 1)), unnamed(1), ("1",), np.zeros(1, int)
    )
    with pytest.raises(DatasetError) as caught:
        load_examples(labels, {"x": np.zeros(3)})
    assert caught.value.reason == "no-match"


def test_kept_features_follow_the_bytes_of_the_files(tmp_path):
    made = make_set(3, performers=1, segments=1, movements=1)
    midi = tmp_path / "midi"
    midi.mkdir()
    score = next(iter(made.scores.values()))
    soft = replace(score, velocity=np.full_like(score.velocity, 1))
    assert len(midi_bytes(soft)) == len(midi_bytes(score))
    (midi / "a.mid").write_bytes(midi_bytes(score))
    before, _ = feature_table(midi, cache=tmp_path / "cache")
    again, _ = feature_table(midi, cache=tmp_path / "cache")
    assert np.array_equal(before["a"], again["a"], equal_nan=True)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    (midi / "a.mid").write_bytes(midi_bytes(soft))
    after, _ = feature_table(midi, cache=tmp_path / "cache")
    assert not np.array_equal(before["a"], after["a"], equal_nan=True)


def test_names_and_groups_of_a_study_of_ones_own(tmp_path):
    from musicbert.annotation.dimensions import unnamed
    from musicbert.annotation.label_map import LabelMap

    made = make_set(3, performers=2, segments=3, movements=1)
    ids = ("a/Song", "b/Song", "Song 2 (1)", "C:/x/Song 2", "b/Song 4", "Song_8bars_1_2")
    for name, score in zip(ids, made.scores.values(), strict=True):
        path = tmp_path / "midi" / f"{name.replace('C:/', 'far/')}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(midi_bytes(score))
    works = ("one", "one", "two", "two", "three", "three")
    labels = LabelMap(
        ids,
        np.linspace(0, 1, 6)[:, None],
        unnamed(1),
        ("all",),
        np.zeros(6, int),
        groups={"work": dict(zip(ids, works, strict=True))},
    )
    table, bad = feature_table(tmp_path / "midi", labels=labels, cache=tmp_path / "cache")
    assert (set(table), bad) == (set(ids), {})
    again, _ = feature_table(tmp_path / "midi", labels=labels, cache=tmp_path / "cache")
    assert set(again) == set(ids)
    assert not np.array_equal(table["a/Song"], table["b/Song"], equal_nan=True)
    examples = load_examples(labels, table)["ratings"]
    assert (examples.groups.tolist(), set(examples.identities)) == (list(works), {"bars"})
    folds = baseline_folds("content_4fold", ids[:4], groups={name: name for name in ids}).values()
    assert sorted(name for fold in folds for name in fold["test"]) == sorted(ids[:4])
    with pytest.raises(DatasetError, match="unknown-split"):
        baseline_folds("segment", ids, groups=labels.group_of())


def test_baselines_on_a_data_bin_take_the_groups_that_it_was_split_by(tmp_path, monkeypatch):
    from musicbert.annotation.dimensions import unnamed
    from musicbert.annotation.label_map import LabelMap

    made = make_set(3, performers=2, segments=2, movements=1)
    ids = tuple(f"Song {letter}" for letter in "abcd")
    (tmp_path / "midi").mkdir()
    for name, score in zip(ids, made.scores.values(), strict=True):
        (tmp_path / "midi" / f"{name}.mid").write_bytes(midi_bytes(score))
    groups = {"work": dict.fromkeys(ids, "one"), "take": dict(zip(ids, "1122", strict=True))}
    labels = LabelMap(ids, np.full((4, 1), 0.5), unnamed(1), ("all",), np.zeros(4, int), groups=groups)
    labels.save(tmp_path / "l.json")
    for fold, test in {"0": slice(2), "1": slice(2, 4)}.items():
        (tmp_path / "bin" / fold / "label").mkdir(parents=True)
        for suffix, names in (("id", ids), ("group", "1122")):
            file = tmp_path / "bin" / fold / "label" / f"test.{suffix}"
            file.write_text("".join(f"{name}\n" for name in names[test]))
    used = []

    def stop(examples, *_, **__):
        used.append(examples.groups.tolist())
        raise KeyboardInterrupt

    monkeypatch.setattr("musicbert.evaluation.baselines.rating_baselines.run_baselines", stop)
    with pytest.raises(KeyboardInterrupt):
        run_set(
            labels=tmp_path / "l.json",
            midi=tmp_path / "midi",
            output=tmp_path / "out",
            splits=["databin"],
            folds_file=tmp_path / "bin",
        )
    assert used == [list("1122")]

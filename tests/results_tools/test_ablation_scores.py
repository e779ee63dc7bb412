"""Variants of ablations: what is read, means over runs and paired differences."""

import json

import pytest
from ablation_runs import Variant, read_pretrainings, read_variants
from ablation_scores import answers, difference, estimate, gains, scores
from scipy.stats import ttest_1samp

from musicbert.errors import DatasetError

ME, VE = ("ME", "clean"), ("VE", "clean")


def row(task, runs, *, codec="octuple", **more):
    listed = [{"seed": seed, "fold": fold, "score": score, "n": 9} for (seed, fold), score in runs.items()]
    network = {"runs": listed} if listed else None
    return {"task": task, "split": "clean", "data": {"codec": codec}, "network": network, **more}


def write(folder, name, rows, *, start=None, file="scores.json"):
    place = folder / "finetune" / name
    place.mkdir(parents=True, exist_ok=True)
    (place / file).write_text(json.dumps({"model": "m", "rows": rows, "made_by": {"commit": "abc"}}))
    if start:
        (place / "pretraining").write_text(f"{start}\n")


def test_variants_are_read(tmp_path):
    write(tmp_path, "bar@500%10", [row("ME", {(1, "0"): 0.5}), row("VE", {}, note="1 of 1 runs failed")],
          start="bar@500")  # fmt: skip
    write(tmp_path, "bar", [row("ME", {(1, "0"): 0.6}), row("ME", {(1, "0"): 0.6}, same_as="clean")])
    write(tmp_path, "scratch-octuple%10", [row("ME", {(1, "0"): 0.4})])
    write(tmp_path, "cp-mask", [{"task": "ME", "split": "–", "note": "the data are not there"}])
    found = {each.name: each for each in read_variants(tmp_path)}
    first = found["bar@500%10"]
    assert (first.base, first.share, first.codec, first.pretraining) == ("bar", 0.1, "octuple", "bar@500")
    assert first.tasks == {ME: {(1, "0"): 0.5}}
    assert first.notes == ["VE, clean: 1 of 1 runs failed"]
    assert first.reference(list(found.values())).name == "scratch-octuple%10"
    assert found["bar"].reference(list(found.values())) is None  # none with all labels
    assert (found["cp-mask"].tasks, found["cp-mask"].codec) == ({}, None)
    assert next(iter(found)) == "scratch-octuple%10"


def test_calls_with_other_tasks_are_put_together(tmp_path):
    failed = row("VE", {}, note="3 of 3 runs failed")
    write(tmp_path, "bar", [row("ME", {(1, "0"): 0.1}), row("VE", {(1, "0"): 0.2})], file="scores-9.json")
    write(tmp_path, "bar", [row("ME", {(1, "0"): 0.3})], file="scores-10.json")
    write(tmp_path, "bar", [failed, row("VF", {}, note="3 of 3 runs failed")])
    (found,) = read_variants(tmp_path)
    assert found.tasks == {ME: {(1, "0"): 0.3}, VE: {(1, "0"): 0.2}}
    assert found.notes == ["VF, clean: 3 of 3 runs failed"]


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "no-runs"), ("{", "bad-scores"), ('{"rows": [{}]}', "bad-scores")]
)
def test_what_is_no_table(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "finetune" / "bar").mkdir(parents=True)
        (tmp_path / "finetune" / "bar" / "scores.json").write_text(content)
    with pytest.raises(DatasetError, match=reason):
        read_variants(tmp_path)


def test_tasks_on_two_encodings_are_no_variant(tmp_path):
    write(tmp_path, "bar", [row("ME", {(1, "0"): 0.5}), row("VE", {(1, "0"): 0.5}, codec="cp")])
    with pytest.raises(DatasetError, match="cp, octuple"):
        read_variants(tmp_path)


def test_interval_over_seeds_is_students():
    values = [0.5, 0.56, 0.53, 0.6]
    found = estimate({(seed, "0"): value for seed, value in enumerate(values)})
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    assert (found.value, found.over, found.n, found.runs) == (pytest.approx(0.5475), "seeds", 4, 4)


def test_interval_over_folds_where_there_are_as_many():
    runs = {(seed, str(fold)): 0.1 * fold + 0.01 * seed for seed in (1, 2) for fold in range(3)}
    found = estimate(runs)
    assert (found.over, found.n, found.runs) == ("folds", 3, 6)
    expected = ttest_1samp([0.015, 0.115, 0.215], 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    more_seeds = estimate({(seed, fold): 0.01 * seed for seed in (1, 2, 3) for fold in "01"})
    assert (more_seeds.over, more_seeds.n) == ("seeds", 3)


def test_one_run_has_no_interval():
    found = estimate({(1, "0"): 0.5})
    assert (found.value, found.low, found.high, found.sign) == (0.5, None, None, 0)


def test_differences_are_paired():
    others = {(1, "0"): 0.1, (2, "0"): 0.5, (3, "0"): 0.9}
    runs = {(1, "0"): 0.15, (2, "0"): 0.56, (3, "0"): 0.94, (4, "0"): 0.0}  # a run of no pair is left out
    found = difference(runs, others)
    assert (found.value, found.runs, found.sign) == (pytest.approx(0.05), 3, 1)
    assert difference(others, runs).sign == -1
    assert difference(runs, {(1, "7"): 0.5}) is None
    wide = difference(runs, {(1, "0"): 0.0, (2, "0"): 0.6, (3, "0"): 1.2})
    assert wide.sign == 0


def variant(name, tasks, codec="octuple", **more):
    return Variant(name, name.partition("%")[0].partition("@")[0], codec=codec, tasks=tasks, **more)


def test_gains_and_questions():
    runs = {(seed, "0"): 0.5 + 0.01 * seed for seed in (1, 2, 3)}
    better = {key: value + 0.1 + 0.001 * key[0] for key, value in runs.items()}
    variants = [
        variant("scratch-octuple", {ME: runs}),
        variant("bar", {ME: better, VE: runs}),
        variant("element", {ME: runs}),
        variant("cp-mask", {ME: better}, codec="cp"),  # has nothing to be set beside
    ]
    found = gains(variants)
    assert set(found) == {"bar", "element"}
    assert set(found["bar"]) == {ME}  # no VE without pre-training
    assert found["bar"][ME].value == pytest.approx(0.102)
    assert (found["bar"][ME].sign, found["element"][ME].sign) == (1, 0)
    assert list(answers(variants)) == ["bar masking or element masking (bar − element)"]
    assert set(scores(variants)["bar"]) == {ME, VE}


STATS = (
    '{"epoch": %d, "train_loss": "5", "train_wpb": "%d", "train_bsz": "%d", "train_num_updates": "%d", '
    '"train_wall": "%d"}'
)
VALID = '{"epoch": 2, "valid_loss": "4", "valid_accuracy%s": "30", "valid_num_updates": "10"}'


@pytest.mark.parametrize(
    ("option", "words", "suffix"), [("'crop': 16", (100, 50), ""), ("'seed': 7", (816, 416), "_all")]
)
def test_notes_that_a_pretraining_saw(tmp_path, option, words, suffix):
    """Four updates of 100 notes and six of 50; octuples have one special octuple at each end of a row.

    The run was stopped after seven updates and went on from the fourth: two seconds, then three.
    """
    folder = tmp_path / "pretrain" / "a@10"
    folder.mkdir(parents=True)
    (tmp_path / "pretrain" / "begun").mkdir()
    (tmp_path / "pretrain" / "begun" / "train.log").write_text("nothing yet\n")
    (folder / "train.log").write_text(
        f"0 | INFO | fairseq_cli.train | {{'_name': None, 'task': {{'_name': 'x', {option}}}}}\n"
        f"0 | INFO | train | {STATS % (1, words[0], 1, 4, 2)}\n"
        f"0 | INFO | train | {STATS % (2, words[1], 1, 7, 4)}\n"
        f"0 | INFO | train | {STATS % (2, words[1], 1, 7, 1)}\n"
        f"0 | INFO | valid | {VALID % suffix}\n"
        f"0 | INFO | train | {STATS % (2, words[1], 1, 10, 3)}\n"
    )
    found = read_pretrainings(tmp_path)
    assert set(found) == {"a@10"}
    assert (found["a@10"]["notes"], found["a@10"]["notes_a_second"]) == (700, 140)
    assert (found["a@10"]["updates"], found["a@10"]["loss"], found["a@10"]["accuracy"]) == (10, 4, 30)

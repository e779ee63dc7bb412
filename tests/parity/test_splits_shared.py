"""Splits against the published lists of identifiers."""

import json
import zipfile

import pytest

from musicbert.annotation.folds import leaks
from musicbert.annotation.label_map import LabelMap
from musicbert.annotation.names import (
    EIGHT_BAR_PARTS,
    content_groups,
    parse_segment,
    performer_of,
    segment_id,
)
from musicbert.annotation.splits import make_folds

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def ids(shared):
    """Labelled segments of XAI-music that have a MIDI file, in the order of the published map."""
    with zipfile.ZipFile(shared / "data" / "xai" / "segmented_midi.zip") as archive:
        files = {segment_id(name) for name in archive.namelist() if name.endswith(".mid")}
    labels = LabelMap.load(shared / "golden" / "xai" / "midi_label_map_apex_reg_cls.snu.json")
    return [name for name in labels.ids if name in files]


@pytest.fixture(scope="module")
def listed(shared):
    return lambda name: (shared / "data" / "xai" / "splits" / f"{name}.id").read_text().split()


@pytest.fixture(scope="module")
def fold_file(shared):
    return json.loads((shared / "data" / "percepiano" / "folds.json").read_text())


def test_segment(ids, listed):
    fold = make_folds("segment", ids, valid="none")["0"]
    assert (len(ids), len(fold["train"]), len(fold["test"])) == (721, 657, 64)
    assert fold["train"] == listed("segment_upstream.train")
    assert fold["test"] == listed("segment_upstream.test")


def test_segment_clean(ids, listed):
    fold = make_folds("segment_clean", ids, valid="none")["0"]
    assert fold["train"] == listed("segment_clean.train")
    assert fold["test"] == listed("segment_upstream.test")
    assert len(fold["train"]) == 460


def test_the_published_split_leaks_and_the_clean_one_does_not(ids):
    groups = content_groups(ids)
    assert leaks(make_folds("segment", ids)["0"], groups) == {"test": 64, "valid": 0}
    assert leaks(make_folds("segment_clean", ids)["0"], groups) == {"test": 0, "valid": 0}


def test_performer_12(ids):
    fold = make_folds("performer", ids, performers=("12",), valid="none")["0"]
    assert (len(fold["train"]), len(fold["test"])) == (661, 60)


def test_random_sizes(ids):
    fold = make_folds("random", ids, valid="none")["0"]
    assert (len(fold["train"]), len(fold["test"])) == (648, 73)


def test_content_groups_are_the_shared_ones(shared):
    expected = json.loads((shared / "data" / "xai" / "splits" / "content_groups.json").read_text())["group"]
    ours = content_groups(expected)
    pairs = {(ours[name], expected[name]) for name in expected}
    assert len(pairs) == len(set(ours.values())) == len(set(expected.values())) == 16


def test_map_of_bars_is_the_shared_one(shared):
    expected = json.loads((shared / "data" / "xai" / "splits" / "map_16bar_to_8bar.json").read_text())
    ours = {m: {str(n): list(inside) for n, inside in p.items()} for m, p in EIGHT_BAR_PARTS.items()}
    assert ours == expected


def test_all_names_can_be_read(shared):
    for name in ("xai/segmented_midi.zip", "percepiano/segment_midi.zip"):
        with zipfile.ZipFile(shared / "data" / name) as archive:
            parsed = [parse_segment(n) for n in archive.namelist() if n.endswith(".mid")]
        performers = {segment.performer for segment in parsed}
        assert {p for p in performers if not p.isdigit()} <= {"Score", "Score2"}
        assert sum(segment.copy for segment in parsed) == (17 if name.startswith("xai") else 0)
    assert performer_of("Schubert_D935_no.3_4bars_Score2_50.mid") == "Score2"


def test_the_strict_composition_folds_of_percepiano_leak_and_content_folds_do_not(fold_file):
    """``composition_strict4`` joins 16-bar segment n to 8-bar segments 2n-1 and 2n, which is often wrong."""
    stems = fold_file["stems"]
    fold_of = dict(zip(stems, fold_file["composition_strict4"], strict=True))
    apart = 0
    for name in stems:
        segment = parse_segment(name)
        if segment.bars != 16:
            continue
        for k in EIGHT_BAR_PARTS[segment.movement][segment.number]:
            inside = f"{segment.piece}_8bars_{segment.performer}_{k:02d}"
            apart += fold_of.get(inside, fold_of[name]) != fold_of[name]
    assert apart == 58
    groups = content_groups(stems)
    assert len(set(groups.values())) == 46
    for fold in make_folds("k-fold", stems, n_folds=4).values():
        assert leaks(fold, groups) == {"test": 0, "valid": 0}
        assert 290 < len(fold["test"]) < 310


def test_the_published_composition_folds_share_the_specified_146_segments(fold_file):
    stems, values = fold_file["stems"], fold_file["composition_published_style"]
    fold = {
        "train": [s for s, v in zip(stems, values, strict=True) if v != 9],
        "valid": [],
        "test": [s for s, v in zip(stems, values, strict=True) if v == 9],
    }
    assert leaks(fold, content_groups(stems))["test"] == 146

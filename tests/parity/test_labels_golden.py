"""Labels from the real tables against the published maps.

Apex labels may differ from a published map only where the highest density is reached twice (a tie): there the
published code let rounding decide.
"""

import json

import numpy as np
import pytest

from musicbert.annotation.label_map import LabelMap
from musicbert.annotation.labels import LabelOptions, apex, make_labels, tied
from musicbert.annotation.names import parse_segment
from musicbert.annotation.rating_rows import all_ratings
from musicbert.annotation.reliability import reliability_table
from musicbert.annotation.selection import select_ratings
from musicbert.annotation.table import read_ratings

pytestmark = pytest.mark.shared

#: performer classes as specified, in order
SNU = ["Score", "4", "1", "5", "0", "3", "2", "9", "10", "7", "8", "6", "12"]
MNSKIM = ["1", "2", "4", "5", "Score", "0", "3", "9", "10", "7", "8", "6", "12"]


@pytest.fixture(scope="module")
def xai(shared):
    return read_ratings(shared / "data" / "xai" / "total.csv")


@pytest.fixture(scope="module")
def percepiano(shared):
    return read_ratings(shared / "data" / "percepiano" / "total.csv")


@pytest.fixture(scope="module")
def published(shared):
    return lambda name: LabelMap.load(shared / "golden" / "xai" / f"{name}.json")


def tie_mask(table, options, ids):
    ratings = select_ratings(table, options)
    ties = ratings.cells().reduce(lambda x: tied(x).astype(float)) == 1
    row = {name: i for i, name in enumerate(ratings.ids)}
    return ties[[row[name] for name in ids]]


@pytest.mark.parametrize(
    ("golden", "options", "segments", "different", "classes"),
    [
        ("midi_label_map_apex_reg_cls.snu", {}, 768, 698, SNU),
        ("midi_label_map_apex_reg_cls.mnskim", {"columns": "mnskim"}, 846, 523, MNSKIM),
        ("midi_label_map_apex_rm_bad.mnskim_d41f65d", {"columns": "rm-bad"}, 846, 371, MNSKIM),
        ("midi_label_map_apex_reg_cls_rm_highstd.mnskim_d41f65d",
         {"columns": "mnskim", "drop_high_stdev": True}, 756, 489, None),
    ],
)  # fmt: skip
def test_apex_maps(xai, published, golden, options, segments, different, classes):
    options = LabelOptions(**options)
    made, _ = make_labels(xai, options)
    expected = published(golden)
    assert len(made) == segments
    assert made.ids == expected.ids
    assert made.classes == expected.classes
    np.testing.assert_array_equal(made.class_of, expected.class_of)
    if classes:
        assert list(made.classes) == classes
    differs = np.abs(made.values - expected.values) > 1e-12
    ties = tie_mask(xai, options, made.ids)
    assert not (differs & ~ties).any()  # every difference is explained by a tie
    assert differs.sum() == different  # as measured when the golden files were made
    assert ties.sum() > different


def test_the_number_of_ties(xai):
    made, _ = make_labels(xai)
    assert tie_mask(xai, LabelOptions(), made.ids).sum() == 2691
    made, _ = make_labels(xai, LabelOptions(columns="mnskim"))
    assert tie_mask(xai, LabelOptions(columns="mnskim"), made.ids).sum() == 2579


def test_stdev_map_is_bit_equal(xai, published, shared, tmp_path):
    made, _ = make_labels(xai, LabelOptions(label="stdev", columns="mnskim"))
    expected = published("midi_label_map_stdev.mnskim")
    np.testing.assert_array_equal(made.values, expected.values)
    made.save(tmp_path / "stdev.json")
    golden = shared / "golden" / "xai" / "midi_label_map_stdev.mnskim.json"
    assert (tmp_path / "stdev.json").read_bytes() == golden.read_bytes()


def test_recorded_peaks(shared):
    cases = json.loads((shared / "golden" / "musicbert" / "xai_kde_peaks.json").read_text())
    compared = 0
    for case in cases:
        x = np.array(case["annotations"], dtype=float)
        if tied(x[:, None])[0]:
            continue
        assert apex(x) == pytest.approx(case["peak"], abs=1e-12), case
        compared += 1
    assert (compared, len(cases)) == (6, 13)  # symmetric sets always tie: the grid has no middle point


def test_all_ratings(xai):
    rows, _ = all_ratings(xai, LabelOptions(label="all"))
    assert len(rows) == 847
    assert sum(len(block) for block in rows.rows) == 7213
    assert np.vstack(rows.rows).shape[1] == 28
    assert min(block.min() for block in rows.rows) == 0
    first = next(i for i, name in enumerate(xai.segments) if name == rows.ids[0])
    expected = np.nan_to_num(xai.ratings[xai.segment_of == first]) / 7
    np.testing.assert_array_equal(rows.rows[0], expected)


@pytest.mark.parametrize("merge", [True, False])
def test_percepiano_published_means(percepiano, shared, merge):
    golden = "label_2round_mean_reg_19_with0_rm_highstd0.json"
    expected = LabelMap.load(shared / "golden" / "percepiano" / golden)
    made, _ = make_labels(percepiano, LabelOptions(label="mean", merge_scores=merge))
    if merge:  # the map in labels/
        assert made.ids == expected.ids
        assert made.classes == expected.classes
        np.testing.assert_array_equal(made.class_of, expected.class_of)
        np.testing.assert_allclose(made.values, expected.values, rtol=0, atol=1e-9)
        return
    # the map at the repository's root: the keys of the fold file; 13 Score segments are no part of Score2
    stems = json.loads((shared / "data" / "percepiano" / "folds.json").read_text())["stems"]
    assert set(made.ids) == set(stems)
    assert len(made) == 1202
    moved = {name for name in made.ids if name not in expected}
    assert len(moved) == 13
    assert {parse_segment(name).performer for name in moved} == {"Score"}
    same = [n for n in made.ids if n in expected and n.replace("Score2", "Score") not in moved]
    np.testing.assert_allclose(made.subset(same).values, expected.subset(same).values, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("zeros", "prefix"), [("row", "published_"), ("cell", "")])
@pytest.mark.parametrize("label", ["mean", "median", "apex"])
def test_percepiano_fixture(percepiano, shared, zeros, prefix, label):
    fixture = json.loads((shared / "golden" / "percepiano" / "label_fixture.json").read_text())
    made, _ = make_labels(percepiano, LabelOptions(label=label, zeros=zeros))
    for name, expected in fixture.items():
        if prefix + label not in expected:
            continue
        part = made.subset([name])
        np.testing.assert_allclose(part.values[0], expected[prefix + label], rtol=0, atol=1e-9)
        assert (
            part.n_raters.max() == expected["n_clean" if zeros == "cell" else "n_published"] or zeros == "row"
        )


def test_percepiano_clean_counts(percepiano):
    _, report = make_labels(percepiano, LabelOptions(label="mean", zeros="cell"))
    assert report.rows_dropped == {"the same row again": 2198, "no question answered": 84}
    assert report.rows - sum(report.rows_dropped.values()) == 12652


@pytest.mark.parametrize(
    ("columns", "mean", "apex_ceiling"), [("published", 0.581, 0.555), ("mnskim", 0.590, 0.563)]
)
def test_ceilings_are_those_measured_before(xai, columns, mean, apex_ceiling):
    """The figures of the specification count a rater who comes back twice (``by_rater=False``)."""
    table = reliability_table(xai, columns=columns, by_rater=False, repeats=10)
    assert table["ceiling_mean"].mean() == pytest.approx(mean, abs=0.01)
    assert table["ceiling_apex"].mean() == pytest.approx(apex_ceiling, abs=0.01)
    strict = reliability_table(xai, columns=columns, repeats=5)
    assert 0.55 < strict["ceiling_mean"].mean() < table["ceiling_mean"].mean()


def test_centring_raters_raises_the_ceiling(xai):
    plain, centred = (
        reliability_table(xai, repeats=5, center_raters=c)["ceiling_mean"].mean() for c in (False, True)
    )
    assert centred > plain + 0.015

import json

import numpy as np
import pytest

from musicbert.annotation.label_map import LabelMap
from musicbert.annotation.labels import LabelOptions, high_stdev, make_labels, performer_classes
from musicbert.annotation.rating_rows import all_ratings
from musicbert.annotation.selection import center
from musicbert.annotation.table import read_ratings
from musicbert.errors import RatingError

FIRST, SCORE, THIRD = (
    "Schubert_D960_mv2_8bars_4_01",
    "Schubert_D960_mv2_8bars_Score_01",
    "Schubert_D960_mv3_8bars_4_02",
)


def labels(path, **options):
    return make_labels(read_ratings(path), LabelOptions(**options))


def column(label_map, name):
    return [d.name for d in label_map.dimensions].index(name)


def test_row_rule_drops_whole_rows(small_table):
    made, report = labels(small_table, label="mean")
    assert made.ids == (FIRST, SCORE)
    np.testing.assert_allclose(made.values[0], 4 / 7)  # 2 and 6
    np.testing.assert_allclose(made.values[1], 3 / 7)  # the row with a blank and a 0 is gone
    assert made.n_raters[:, 0].tolist() == [2, 1]
    assert report.summary() == (
        "2 of 3 segments labelled from 3 of 5 rows; dropped 2 rows: a question without an answer, "
        "1 segments: no row left"
    )


def test_the_row_rule_looks_at_the_chosen_columns_only(small_table):
    made, _ = labels(small_table, label="mean", columns="mnskim")
    assert THIRD in made
    made, _ = labels(small_table, label="mean", columns="Fast paced")
    assert made.n_raters[:, 0].tolist() == [2, 2, 1]
    np.testing.assert_allclose(made.values[:, 0], [4 / 7, 4 / 7, 1])


def test_cell_rule_masks_cells_and_never_writes_zero(small_table):
    made, report = labels(small_table, label="mean", zeros="cell")
    assert made.ids == (FIRST, SCORE, THIRD)
    beat = column(made, "Regular beat change")
    np.testing.assert_allclose(made.values[:, beat], [4 / 7, 3 / 7, np.nan])
    assert made.n_raters[:, beat].tolist() == [2, 1, 0]
    np.testing.assert_allclose(made.values[1, column(made, "Long")], 3 / 7)
    np.testing.assert_allclose(made.values[1, column(made, "Soft")], 3.5 / 7)
    assert np.nanmin(made.values) >= 1 / 7
    assert report.cells_masked == 3
    assert made.to_dict()[THIRD][beat] is None


@pytest.mark.parametrize(
    ("kind", "expected"), [("apex", 4 / 7), ("mean", 4 / 7), ("median", 4 / 7), ("stdev", 2 / 7)]
)
def test_kinds(small_table, kind, expected):
    made, _ = labels(small_table, label=kind)
    assert made.kind == kind
    np.testing.assert_allclose(made.values[0], expected)


def test_whatever_the_label_its_map_keeps_means_and_raters(small_table, tmp_path):
    mean, apex = (labels(small_table, label=kind, zeros="cell")[0] for kind in ("mean", "apex"))
    np.testing.assert_array_equal(apex.means, mean.values)
    apex.save(tmp_path / "labels.json")
    back = LabelMap.load(tmp_path / "labels.json")
    np.testing.assert_array_equal(back.means, apex.means)
    np.testing.assert_array_equal(back.n_raters, apex.n_raters)
    beat = column(apex, "Regular beat change")
    assert back.row(THIRD, means=True)[beat] is None
    assert (back.raters(THIRD)[beat], back.row(FIRST, means=True)[-1]) == (0, back.row(FIRST)[-1])
    side = tmp_path / "labels.meta.json"
    meta = json.loads(side.read_text())
    for wrong in (
        {"raters": {FIRST: [1]}},
        {"means": {FIRST: ["x"] * 25}},
        {"means": {FIRST: meta["means"][FIRST]}},
    ):
        side.write_text(json.dumps(meta | wrong))
        with pytest.raises(RatingError):
            LabelMap.load(tmp_path / "labels.json")


def test_min_raters(small_table):
    made, report = labels(small_table, min_raters=2)
    assert made.ids == (FIRST,)
    assert report.segments_dropped["fewer than 2 raters"] == 1
    made, _ = labels(small_table, min_raters=2, zeros="cell")
    assert made.ids == (FIRST, SCORE)
    assert np.isnan(made.values[1, column(made, "Long")])
    assert not np.isnan(made.values[1, column(made, "Soft")])


@pytest.mark.parametrize("options", [{"min_raters": 9}, {"min_raters": 9, "zeros": "cell"}])
def test_nothing_left_after_the_filters(small_table, options):
    with pytest.raises(RatingError, match="nothing-left"):
        labels(small_table, **options)


def test_nothing_left_after_the_row_rule(write_table):
    path = write_table([(1, 1, FIRST, {"2_1_1": ""})])
    with pytest.raises(RatingError, match="nothing-left") as caught:
        labels(path)
    assert caught.value.path == str(path)
    assert "cell" in caught.value.hint


def test_classes_by_appearance_and_sorted(small_table):
    made, _ = labels(small_table)
    assert (made.classes, made.class_of.tolist()) == (("4", "Score"), [0, 1])
    ids = [f"a_b_8bars_{p}_1" for p in ("Score", "10", "2", "Score", "10")]
    names, class_of = performer_classes(ids, order="sorted")
    assert (names, class_of.tolist()) == (("2", "10", "Score"), [2, 1, 0, 2, 1])


def test_centring_takes_a_raters_habit_away():
    """Two segments one point apart, rated by a kind and a strict rater who each rated both."""
    values = np.array([[2.0], [3.0], [5.0], [6.0]])
    users = np.array([0, 0, 1, 1])
    np.testing.assert_allclose(center(values, users).ravel(), [3.5, 4.5, 3.5, 4.5])


def test_centring_passes_missing_cells_over():
    values = np.array([[2.0], [np.nan], [4.0]])
    np.testing.assert_allclose(center(values, np.array([0, 0, 1])).ravel(), [3.0, np.nan, 3.0])


def test_centred_labels_stay_on_the_scale(write_table):
    rows = [(1, 1, FIRST, 7), (1, 2, SCORE, 1), (2, 3, THIRD, 7), (2, 4, "Schubert_D960_mv2_8bars_5_01", 6)]
    made, _ = labels(write_table(rows), label="mean", center_raters=True)
    assert made.values.min() >= 1 / 7
    assert made.values.max() <= 1


def test_high_stdev_rule():
    stdev = np.array([[0.0], [0.1], [0.2], [0.3], [0.9]]) * np.ones(8)
    raters = np.array([1, 2, 2, 2, 2])  # the threshold is the 75th percentile of .1 .2 .3 .9 = .45
    assert high_stdev(stdev, raters).tolist() == [False, False, False, False, True]
    assert high_stdev(stdev, np.array([1, 2, 2, 2, 1])).tolist() == [False, False, False, True, False]
    assert not high_stdev(stdev, np.ones(5, dtype=int)).any()
    stdev[:, 6:] = 9.0  # only the first six dimensions count
    assert high_stdev(stdev, raters).sum() == 1


def test_high_stdev_drops_segments_whose_raters_disagree(write_table):
    rows = [(u, 10 * s + u, f"Schubert_D960_mv2_8bars_4_{s:02d}", 4 + (u - 1) * spread)
            for s, spread in enumerate((0, 0, 1, 1, 3), 1) for u in (1, 2)]  # fmt: skip
    made, report = labels(write_table(rows), drop_high_stdev=True)
    assert made.ids == tuple(f"Schubert_D960_mv2_8bars_4_{s:02d}" for s in (1, 2, 3, 4))
    assert report.segments_dropped["raters disagree (high standard deviation)"] == 1


def test_percepiano_published_counts_copies_twice_and_drops_rows_with_8(percepiano_table):
    made, report = labels(percepiano_table, label="mean")
    assert made.ids == tuple(
        f"{name}" for name in ("Schubert_D935_no.3_4bars_Score_1", "Schubert_D935_no.3_4bars_Score2_1",
                               "Beethoven_WoO80_var4_8bars_Score_3")
    )  # fmt: skip
    np.testing.assert_allclose(made.values[0], (3 + 3 + 6) / 3 / 7)
    np.testing.assert_allclose(made.values[1, :2], [2 / 7, 5 / 7])  # a 0 masks its cell only
    assert report.rows_dropped["a value over 7"] == 1


def test_percepiano_clean_counts_once_and_masks_cells(percepiano_table):
    made, report = labels(percepiano_table, label="mean", zeros="cell")
    np.testing.assert_allclose(made.values[0], (3 + 6) / 2 / 7)
    np.testing.assert_allclose(made.values[1, :3], [(4 + 2) / 2 / 7, 5 / 7, 4 / 7])
    assert report.rows_dropped == {"the same row again": 1, "no question answered": 1}
    assert (report.rows, report.labelled) == (8, 3)


def test_percepiano_merge_moves_the_specified_scores(percepiano_table):
    made, _ = labels(percepiano_table, label="mean", merge_scores=True)
    assert made.ids == ("Schubert_D935_no.3_4bars_Score2_1", "Beethoven_WoO80_var4_8bars_Score_3")
    assert made.n_raters[0, 0] == 4


def test_all_keeps_every_rating(small_table, tmp_path):
    table = read_ratings(small_table)
    rows, report = all_ratings(table, LabelOptions(label="all"))
    assert (len(rows), len(rows.dimensions)) == (3, 28)
    assert [len(block) for block in rows.rows] == [2, 2, 1]
    assert report.summary() == "3 of 3 segments labelled from 5 of 5 rows; dropped nothing"
    blank, zero = 3, 4
    assert rows.to_dict()[SCORE][1][blank] == rows.to_dict()[SCORE][1][zero] == 0.0  # as published
    masked, _ = all_ratings(table, LabelOptions(label="all", zeros="cell"))
    assert masked.to_dict()[SCORE][1][blank] is None
    assert masked.to_dict()[SCORE][0] == [3 / 7] * 28
    masked.save(tmp_path / "all.json")
    assert json.loads((tmp_path / "all.json").read_text()) == masked.to_dict()
    masked.save(tmp_path / "all.csv")
    assert (tmp_path / "all.csv").read_text().count("\n") == 6
    assert masked.to_frame()["user"].tolist() == ["1", "2", "1", "2", "3"]


@pytest.mark.parametrize(
    "options",
    [{"label": "mode"}, {"zeros": "column"}, {"min_raters": 0}, {"label": "all", "center_raters": True}],
)
def test_bad_options(options):
    with pytest.raises(RatingError, match="bad-option"):
        LabelOptions(**options)


def test_unknown_columns(small_table):
    with pytest.raises(RatingError, match="unknown-column"):
        labels(small_table, columns="Soft,Loudness")


def test_the_row_order_of_a_segment_does_not_change_its_labels(write_table):
    rng = np.random.default_rng(3)
    rows = [(u, u, FIRST, int(rng.integers(1, 8))) for u in range(9)]
    one, _ = labels(write_table(rows))
    two, _ = labels(write_table(rows[::-1], name="b.csv"))
    np.testing.assert_allclose(one.values, two.values, atol=1e-12)

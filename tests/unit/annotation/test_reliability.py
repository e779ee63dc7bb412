import numpy as np
import pytest

from musicbert.annotation.reliability import (
    ceiling_ends,
    ceiling_mark,
    intraclass_correlation,
    one_row_each,
    rater_errors,
    reliability_markdown,
    reliability_table,
    split_half,
    variance_components,
)
from musicbert.annotation.selection import LabelOptions, LabelReport, Ratings, select_ratings
from musicbert.annotation.table import read_ratings


def made_ratings(write_table, *, segments=150, raters=8, noise=1.0, seed=0):
    """Ratings with a true score of variance 1 on "Soft", and pure noise on "Long"."""
    rng = np.random.default_rng(seed)
    rows = []
    for s in range(segments):
        true = rng.normal(0, 1)
        for u in range(raters):
            soft = np.clip(4 + true + rng.normal(0, noise), 1, 7)
            long = np.clip(4 + rng.normal(0, 1), 1, 7)
            cells = {"5_2_1": f"{soft:.6f}", "2_1_1": f"{long:.6f}"}
            rows.append((u, len(rows), f"Schubert_D960_mv3_8bars_{s}_01.wav", cells))
    return read_ratings(write_table(rows))


def test_known_variance_components(write_table):
    table = reliability_table(made_ratings(write_table), columns="Soft,Long", repeats=10)
    soft, long = table.loc["Soft"], table.loc["Long"]
    assert soft["icc1"] == pytest.approx(0.5, abs=0.08)  # 1 / (1 + 1)
    assert soft["icck"] == pytest.approx(8 / 9, abs=0.03)  # 1 / (1 + 1 / 8)
    assert soft["ceiling_mean"] == pytest.approx(8 / 9, abs=0.03)
    assert soft["ceiling_mean"] > soft["ceiling_median"] > soft["ceiling_apex"] > 0.6
    assert abs(long["icc1"]) < 0.05
    assert abs(long["ceiling_mean"]) < 0.3
    assert (soft["n_segments"], soft["mean_raters"]) == (150, 8)
    assert (soft["low_pole"], soft["high_pole"]) == ("soft", "loud")


def test_the_standard_error_of_one_rater(write_table):
    errors = rater_errors(made_ratings(write_table), columns="Soft,Long")
    assert errors["Soft"] == pytest.approx(1.0, abs=0.06)
    assert errors["Long"] == pytest.approx(1.0, abs=0.05)


def crossed(rng, *, segments=400, raters=40, each=8, spread=1.0, offset=0.6, noise=1.2):
    """Ratings with known components: each segment is rated by some of the raters."""
    true, lean = rng.normal(0, spread, segments), rng.normal(0, offset, raters)
    segment_of = np.repeat(np.arange(segments), each)
    user_of = np.concatenate([rng.choice(raters, each, replace=False) for _ in range(segments)])
    values = 4 + true[segment_of] + lean[user_of] + rng.normal(0, noise, len(segment_of))
    return true, values, segment_of, user_of


def test_crossed_components_of_simulated_ratings():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(20):
        _, values, segment_of, user_of = crossed(rng)
        values[rng.random(len(values)) < 0.2] = np.nan  # numbers of raters differ
        found.append(variance_components(values, segment_of, user_of))
    assert np.mean(found, axis=0) == pytest.approx([1.0, 0.36, 1.44], rel=0.1)
    assert np.isnan(variance_components(np.arange(4.0), np.arange(4), np.zeros(4, np.int64))).all()
    assert np.isnan(variance_components(np.full(3, np.nan), np.arange(3), np.arange(3))).all()


def _ratings(values, segment_of, user_of):
    return Ratings(
        ids=tuple(str(k) for k in range(segment_of.max() + 1)), dimensions=(None,), segment_of=segment_of,
        user_of=user_of, values=values[:, None], report=LabelReport(),
    )  # fmt: skip


def test_ceilings_are_what_the_true_scores_reach():
    """R2 of the true scores lies at the low end; segments that hardly differ have a lower ceiling."""
    rng = np.random.default_rng(2)
    reached, ends, of_few, ends_of_few = [], [], [], []
    for _ in range(12):
        true, values, segment_of, user_of = crossed(rng)
        ratings = _ratings(values, segment_of, user_of)
        means = np.bincount(segment_of, values) / np.bincount(segment_of)
        lean = np.bincount(segment_of, values - true[segment_of]) / np.bincount(segment_of)
        rest = lean - lean.mean()
        reached.append(1 - ((means - means.mean() - true + true.mean()) ** 2).mean() / means.var())
        ends.append([float(end[0]) for end in ceiling_ends(ratings, repeats=2)["mean"]])
        alike = np.argsort(np.abs(true - true.mean()))[:150]  # segments that hardly differ
        of_few.append(1 - (rest[alike] ** 2).mean() / means[alike].var())
        chosen = {str(k) for k in alike}
        ends_of_few.append([float(end[0]) for end in ceiling_ends(ratings, chosen, repeats=2)["mean"]])
    low, high = np.mean(ends, axis=0)
    assert np.mean(reached) == pytest.approx(low, abs=0.02)
    assert high == pytest.approx(1 - 1.44 / 8 / (1 + 0.36 / 8 + 1.44 / 8), abs=0.02)
    assert np.mean(of_few) == pytest.approx(np.mean(ends_of_few, axis=0)[0], abs=0.06)
    assert np.mean(ends_of_few, axis=0)[0] < low - 0.2


def test_apexes_have_a_lower_ceiling_than_means(write_table):
    table = reliability_table(made_ratings(write_table), columns="Soft,Long", repeats=10)
    soft = table.loc["Soft"]
    assert soft["ceiling_mean_low"] == pytest.approx(8 / 9, abs=0.03)
    assert soft["ceiling_mean_high"] >= soft["ceiling_mean_low"] > soft["ceiling_apex_low"] > 0.5
    assert table.loc["Long"]["ceiling_mean_low"] < 0.25
    text = reliability_markdown(table)
    assert "| Long (nothing to learn) |" in text
    assert [ceiling_mark(0.2, 0.3), ceiling_mark(0.4, 0.45), ceiling_mark(0.4, 0.3)] == [
        "nothing",
        "ceiling",
        "",
    ]


def test_icc_against_a_worked_example():
    """Shrout and Fleiss (1979), table 2: ICC(1,1) = 0.17, ICC(1,4) = 0.44."""
    table = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
    icc1, icck = intraclass_correlation(table.ravel().astype(float), np.repeat(np.arange(6), 4))
    assert icc1 == pytest.approx(0.17, abs=0.005)
    assert icck == pytest.approx(0.44, abs=0.005)


def test_icc_of_perfect_agreement_and_of_none():
    segment_of = np.repeat(np.arange(4), 2)
    assert intraclass_correlation(np.repeat([1.0, 2, 5, 7], 2), segment_of) == (1.0, 1.0)
    assert np.isnan(intraclass_correlation(np.full(8, 4.0), segment_of)).all()
    assert np.isnan(intraclass_correlation(np.arange(4.0), np.array([0, 0, 1, 2]))).all()


def test_raters_who_come_back_are_averaged(write_table):
    name = "Schubert_D960_mv3_8bars_4_01.wav"
    rows = [(1, 1, name, 2), (1, 2, name, 6), (2, 3, name, {"5_2_1": ""}), (2, 4, name, 5)]
    ratings = select_ratings(read_ratings(write_table(rows)), LabelOptions(zeros="cell", columns="Soft"))
    assert one_row_each(ratings).values.ravel().tolist() == [4.0, 5.0]
    assert one_row_each(ratings).cells().counts.tolist() == [[2]]


def test_the_same_seed_gives_the_same_table(write_table):
    cells = select_ratings(
        made_ratings(write_table, segments=20), LabelOptions(zeros="cell", columns="Soft")
    ).cells()
    one, two, other = (split_half(cells, repeats=3, seed=s)["mean"] for s in (1, 1, 2))
    assert one == two
    assert one != other


def test_too_few_ratings_give_nothing(small_table):
    table = reliability_table(read_ratings(small_table), columns="Soft,Long", repeats=2)
    assert table[["icc1", "ceiling_mean"]].isna().all(axis=None)
    assert "nan" in reliability_markdown(table)


def test_markdown_has_a_row_a_dimension_and_both_poles(write_table):
    table = reliability_table(made_ratings(write_table, segments=20), columns="Soft,Long", repeats=2)
    text = reliability_markdown(table)
    assert text.index("| Soft | soft | loud |") < text.index("| Long | long | short |")
    assert "**mean**" in text

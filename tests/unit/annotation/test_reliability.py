import numpy as np
import pytest

from musicbert.annotation.reliability import (
    intraclass_correlation,
    one_row_each,
    reliability_markdown,
    reliability_table,
    split_half,
)
from musicbert.annotation.selection import LabelOptions, select_ratings
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

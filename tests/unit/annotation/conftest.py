"""Small made tables of ratings."""

import csv

import pytest

from musicbert.annotation.dimensions import PERCEPIANO, XAI


@pytest.fixture
def write_table(tmp_path):
    """Write a table: rows are (user, dataID, filename, ratings), one value for all questions or a dict.

    A dict maps a short question name (``1_1_1``) to a cell; the other questions get 4.
    """

    def write(rows, *, questions=XAI, name="total.csv", drop=(), extra=("message",)):
        columns = [dimension.column for dimension in questions if dimension.column not in drop]
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["user", "dataID", "filename", *columns, *extra])
            for user, data_id, filename, given in rows:
                cells = given if isinstance(given, dict) else dict.fromkeys(columns, given)
                ratings = [cells.get(c.removeprefix("Question_"), cells.get(c, 4)) for c in columns]
                out.writerow(
                    [user, data_id, filename, *ratings, *['two\nlines, and "quotes"' for _ in extra]]
                )
        return path

    return write


@pytest.fixture
def small_table(write_table):
    """Three segments, two players, five rows; one row has a blank, one a zero."""
    return write_table(
        [
            (1, 11, "Schubert_D960_mv2_8bars_4_01.wav", 2),
            (2, 12, "Schubert_D960_mv2_8bars_4_01.wav", 6),
            (1, 13, "Schubert_D960_mv2_8bars_score_01.wav", 3),
            (2, 14, "Schubert_D960_mv2_8bars_score_01.wav", {"1_3_1": "", "2_1_1": "0", "6_1_1": "5.0"}),
            (3, 15, "Schubert_D960_mv3_8bars_4_02.wav", {"1_3_1": "", "6_1_1": 7}),
        ]
    )


@pytest.fixture
def percepiano_table(write_table):
    """PercePiano format: a copied row, a row with 8, an empty row, names with dots and leading blanks."""
    empty = dict.fromkeys((d.column for d in PERCEPIANO), "")
    return write_table(
        [
            (70, 1, "Schubert_D935_no.3_4bars_Score_1.wav", 3.0),
            (70, 1, "Schubert_D935_no.3_4bars_Score_1.wav", 3.0),
            (71, 2, "Schubert_D935_no.3_4bars_Score_1.wav", 6.0),
            (71, 3, "Schubert_D935_no.3_4bars_Score2_1.wav", {"2_1_1": "8.0"}),
            (70, 4, " Schubert_D935_no.3_4bars_Score2_1.wav", {"1_1_1": "0.0", "2_1_1": "5.0"}),
            (70, 6, "Schubert_D935_no.3_4bars_Score2_1.wav", {"1_1_1": "2.0", "2_1_1": "5.0"}),
            (209, 5, "Beethoven_WoO80_var4_8bars_Score_3.wav", empty),
            (71, 7, "Beethoven_WoO80_var4_8bars_Score_3.wav", 5.0),
        ],
        questions=PERCEPIANO,
        extra=("Question_9_2_1", "message"),
    )

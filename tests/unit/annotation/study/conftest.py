"""Tables of ratings."""

import csv

import pytest

from musicbert.annotation.study.answers import StudyOptions
from musicbert.annotation.study.read import read_study


@pytest.fixture
def study(tmp_path):
    """Write a table (and files beside it) and read it."""

    def read(rows, *, name="t.csv", scale=(1, 9), separator=",", **options):
        for option in ("dimensions", "pieces"):
            if option in options and not str(options[option]).endswith((".yaml", ".csv", ".xlsx")):
                text, suffix = options[option], "yaml" if option == "dimensions" else "csv"
                (tmp_path / f"{option}.{suffix}").write_text(text, encoding="utf-8")
                options[option] = str(tmp_path / f"{option}.{suffix}")
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=separator).writerows(rows)
        return read_study(tmp_path / name, StudyOptions(scale=scale, **options))

    return read

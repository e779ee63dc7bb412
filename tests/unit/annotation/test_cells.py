"""Cells of tables: one normalisation for all columns, and what is ambiguous is an error."""

import json
import logging
import unicodedata
import zipfile

import numpy as np
import openpyxl
import pandas as pd
import pytest

from musicbert.annotation.cells import MISSING, is_missing, read_table
from musicbert.annotation.names import cell_name, segment_id
from musicbert.corpus.files.archive import MidiSource
from musicbert.corpus.tables.reader import TableReader, read_label_table
from musicbert.errors import DatasetError

FILES = [f"p{k:02d}.mid" for k in range(6)]
NFD = unicodedata.normalize("NFD", "Dvořák")


def write(tmp_path, text, name="t.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def lines(header, cells):
    return "\n".join([f"file,{header}", *(f"{f},{c}" for f, c in zip(FILES, cells, strict=True))]) + "\n"


@pytest.mark.parametrize(
    "spellings", [["a", " a", "a ", "\ta"], ["3", "3.0", " 3 ", "3.00"], ["Dvořák", NFD, f" {NFD}"]]
)
@pytest.mark.parametrize("column", ["group", "label", "file", "split"])
def test_every_column_takes_spellings_of_one_name_as_one(tmp_path, spellings, column):
    names = {"file": FILES, "label": ["x", "y"] * 3, "group": ["g"] * 6, "split": ["test"] * 6}
    if column == "split":
        spellings = [each for each in spellings if "3" in each] or ["test", " Test", "TEST "]
    rows = []
    for k, spelling in enumerate(spellings):
        rows.append({name: values[k] for name, values in names.items()} | {column: spelling, "note": k})
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    table = read_label_table(tmp_path / "t.csv", level="note")
    values = {
        "group": set(table.groups.values()),
        "label": set(table.labels.classes),
        "file": set(table.files) | set(table.entries),
        "split": set(table.splits.values()),
    }
    assert values[column] == {
        cell_name(spellings[0]).lower() if column == "split" else cell_name(spellings[0])
    }


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_numbers_that_are_names_do_not_depend_on_the_format(tmp_path, suffix):
    frame = pd.DataFrame({"file": FILES, "label": [1.0, 2.0] * 3, "group": [7.0] * 6})
    path = tmp_path / f"t.{suffix}"
    if suffix == "csv":
        frame.to_csv(path, index=False)
    elif suffix == "parquet":
        frame.to_parquet(path)
    else:
        path.write_text("\n".join(json.dumps(row) for row in frame.to_dict("records")))
    table = read_label_table(path)
    assert set(table.groups.values()) == {"7"}
    assert table.labels.classes == ("1", "2")


@pytest.mark.parametrize("mark", sorted(MISSING))
def test_marks_of_missing_cells_are_missing(tmp_path, mark):
    numbers = read_label_table(write(tmp_path, lines("valence", [1.5, 2.25, mark, 4, 5, 6])))
    assert (numbers.labels.kind, numbers.labels.classes) == ("regression", ("valence",))
    assert np.isnan(numbers.labels.values[2])
    names = read_label_table(write(tmp_path, lines("mood", ["a", "b", mark, "a", "b", "a"])))
    assert names.labels.classes == ("a", "b")
    whole = read_label_table(write(tmp_path, lines("rating", [1, 2, mark, 1, 2, 3])))
    assert (whole.labels.kind, whole.labels.classes) == ("classes", ("1", "2", "3"))


def test_missing_values_of_all_types_and_a_class_that_is_called_like_one(tmp_path):
    assert all(is_missing(value) for value in (None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, " "))
    path = write(tmp_path, lines("mood", ["NA", "b"] * 3))
    assert read_label_table(path, classes=["NA", "b"]).labels.values == [0, 1] * 3


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        (['"1,5"', '"2,5"'] * 3, "1,5"),
        (["5%", "6 %"] * 3, "5%"),
        ([1, 2, "?", 4, 5, 6], "?"),
        (['"1.000,5"'] * 6, "1.000,5"),
    ],
)
def test_an_ambiguous_column_names_the_cell_and_the_option(tmp_path, cells, named):
    path = write(tmp_path, lines("valence", cells))
    with pytest.raises(DatasetError) as error:
        read_label_table(path)
    assert error.value.reason == "ambiguous-labels"
    assert repr(named) in error.value.message
    assert "--kind" in (error.value.hint or "")
    assert read_label_table(path, kind="classes").labels.kind == "classes"


def test_one_cell_that_is_no_number_among_several_columns_is_named(tmp_path):
    with pytest.raises(DatasetError, match="'3,5'") as error:
        read_label_table(write(tmp_path, 'file,valence,arousal\na.mid,1.5,2\nb.mid,"3,5",4\n'))
    assert "--label-columns" in (error.value.hint or "")


def test_row_numbers_without_a_name_are_passed_over_and_said(tmp_path, caplog):
    path = tmp_path / "t.csv"
    pd.DataFrame({"file": FILES, "valence": np.arange(6) + 0.5}).to_csv(path)
    with caplog.at_level(logging.WARNING):
        assert read_label_table(path).labels.classes == ("valence",)
    assert "row numbers" in caplog.text
    with pytest.raises(DatasetError, match="Column 3 has no name"):
        read_table(write(tmp_path, "file,mood,\np00.mid,a,note\n"))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("\ufefffile;mood\r\na.mid;ö\r\nb.mid;u\r\n", "utf-8"),
        ("sep=;\r\nfile;mood\r\na.mid;ö\r\nb.mid;u", "utf-8"),
        ("file,mood\na.mid,ö\nb.mid,u\n,\n,\n\n", "utf-8"),
        ("file,mood,,\na.mid,ö,,\nb.mid,u,,\n", "utf-8"),
        ("file\tmood\na.mid\tö\nb.mid\tu\n", "utf-16"),
    ],
)
def test_tables_of_spreadsheets(tmp_path, text, encoding):
    table = read_label_table(write(tmp_path, text, encoding=encoding))
    assert table.files == ("a.mid", "b.mid")
    assert table.labels.classes == ("u", "ö")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le"])
def test_other_encodings_are_an_error_that_says_what_to_do(tmp_path, encoding):
    with pytest.raises(DatasetError) as error:
        read_table(write(tmp_path, "file,mood\na.mid,ö\n", encoding=encoding))
    assert error.value.reason == "bad-table"
    assert "UTF-8" in (error.value.hint or "")


@pytest.mark.parametrize(
    "text",
    [
        "file,mood,group\na.mid,x,g\n,y,g\n",
        "file,note,label,group\na.mid,0,x,g\na.mid,1,y,h\n",
        "file,note,label,split\na.mid,0,x,test\na.mid,1,y,train\n",
        "file,mood\na.mid,x,y\n",
        "file,mood,mood\na.mid,x,y\n",
    ],
)
def test_contradictions_and_lines_without_a_file_are_errors(tmp_path, text):
    with pytest.raises(DatasetError) as error:
        read_label_table(write(tmp_path, text))
    assert error.value.reason == "bad-table"


def test_blank_groups_and_splits_are_counted(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        read_label_table(write(tmp_path, "file,mood,group\na.mid,x,g\nb.mid,y,\n"))
        read_label_table(write(tmp_path, "file,mood,split\na.mid,x,test\nb.mid,y,NA\n"))
    assert "1 files have no 'group', such as b.mid; each is a group of its own" in caplog.text
    assert "1 files have no 'split', such as b.mid; they are in no part" in caplog.text


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("packed", [False, True])
def test_names_match_in_any_unicode_form_and_without_the_flag(tmp_path, form, packed):
    names = ["Dvořák", "Für Elise", "한국", "Brahms"]
    folder, archive = tmp_path / "midi", tmp_path / "midi.zip"
    folder.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        for name in names:
            name = unicodedata.normalize(form, name)
            (folder / f"{name}.mid").write_bytes(b"MThd")
            file.writestr(_Unflagged(f"{name}.mid"), b"MThd")
    table = read_label_table(write(tmp_path, "file,mood\n" + "".join(f"{n}.mid,x\n" for n in names)))
    with MidiSource(archive if packed else folder) as source:
        reader = TableReader(table, source)
        assert list(reader.matched) == [f"{name}.mid" for name in names]
        assert all(source.read(member) == b"MThd" for member in reader.matched.values())
    assert segment_id(f"x/{NFD}.wav") == "Dvořák"


class _Unflagged(zipfile.ZipInfo):
    """A member whose name is UTF-8 without the flag."""

    def _encodeFilenameFlags(self):
        return self.filename.encode(), self.flag_bits & ~0x800


@pytest.mark.parametrize("cell", ["1.5", "inf", "nan", "NA", "1e999", "x", ""])
@pytest.mark.parametrize("header", ["file,note,label", "file,pitch,label,onset"])
def test_notes_are_named_by_whole_numbers(tmp_path, header, cell):
    more = ",0" if "onset" in header else ""
    with pytest.raises(DatasetError) as error:
        read_label_table(write(tmp_path, f"{header}\na.mid,1,x{more}\na.mid,{cell},y{more}\n"))
    assert error.value.reason == "bad-label"


@pytest.mark.parametrize("column", ["id", "nr", "Name"])
def test_what_names_or_counts_the_lines_is_not_learned_unasked(tmp_path, column):
    frame = pd.DataFrame({"file": [f"p{k}.mid" for k in range(9)], column: range(1, 10), "valence": 0.5})
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DatasetError, match=f"'{column}' .*: is it a label") as error:
        read_label_table(tmp_path / "t.csv")
    assert "--label-columns" in (error.value.hint or "")
    assert read_label_table(tmp_path / "t.csv", labels=["valence"]).labels.classes == ("valence",)
    both = [column, "valence"]
    assert read_label_table(tmp_path / "t.csv", labels=both).labels.classes == tuple(both)
    frame[["file", column]].to_csv(tmp_path / "one.csv", index=False)
    assert read_label_table(tmp_path / "one.csv").labels.classes == tuple(map(str, range(1, 10)))


def test_columns_that_differ_by_capitals_only_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="'File' and 'file'"):
        read_label_table(write(tmp_path, "File,file,mood\na.mid,b.mid,x\nb.mid,a.mid,y\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,mood\na.mid,#REF!\nb.mid,x\n", "Line 2, column 'mood' holds #REF!"),
        ("file,mood\na.mid,x\nfile,mood\nb.mid,y\n", "Line 3 repeats the header"),
        ("<!DOCTYPE html><table>", "a web page"),
        ("PK\x03\x04\x14", "a zip archive"),
    ],
)
def test_what_is_no_table_or_holds_no_cell_is_named(tmp_path, text, words):
    with pytest.raises(DatasetError, match=words) as error:
        read_table(write(tmp_path, text))
    assert error.value.reason == "bad-table"


@pytest.mark.parametrize("cell", ["1\u202f000", "1\u00a0000", "\u22125.5", "\u2013 5", "1'000", "5 \u2030"])
def test_numbers_as_they_are_printed_are_no_names(tmp_path, cell):
    with pytest.raises(DatasetError, match="written like a number"):
        read_label_table(write(tmp_path, lines("valence", [cell] * 6)))


def test_marks_that_cannot_be_seen_are_blanks(tmp_path):
    path = write(tmp_path, lines("mood", ["a", "\u200ba", "b\ufeff", "b", "a\u200b \u2060", "\u202ab\u202c"]))
    assert read_label_table(path).labels.classes == ("a", "b")


def test_names_that_differ_by_capitals_are_said(tmp_path, caplog):
    path = write(tmp_path, "file,mood,group\na.mid,Calm,A\nb.mid,calm,a\nc.mid,wild,b\n")
    assert read_label_table(path).labels.classes == ("Calm", "calm", "wild")
    for what in ("two classes differ by capitals only: 'Calm' and 'calm'", "two groups differ"):
        assert what in caplog.text


def test_weights_that_are_all_zero_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="every weight is 0"):
        read_label_table(write(tmp_path, "file,mood,weight\na.mid,x,0\nb.mid,y,0\n"))


def test_formulas_without_a_value_are_not_empty_cells(tmp_path):
    book = openpyxl.Workbook()
    for row in (["file", "mood"], ["a.mid", "x"], ["b.mid", '="y"']):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")  # as openpyxl writes it: no program has computed it
    with pytest.raises(DatasetError, match="formula in B3 has no value"):
        read_table(tmp_path / "t.xlsx")


def test_objects_in_cells_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="line 1 is not a JSON object of values"):
        read_table(write(tmp_path, '{"file": "a.mid", "mood": {"a": 1}}', "t.jsonl"))


def test_numbers_of_notes_are_bounded_and_counted_from_zero(tmp_path, caplog):
    with pytest.raises(DatasetError, match="out of range"):
        read_label_table(write(tmp_path, f"file,note,label\na.mid,{10**30},x\na.mid,1,y\n"))
    read_label_table(write(tmp_path, "file,note,label\na.mid,0,x\na.mid,1,y\n"))
    assert not caplog.records
    read_label_table(write(tmp_path, "file,note,label\na.mid,1,x\na.mid,2,y\n"))
    assert "notes are counted from 0" in caplog.text

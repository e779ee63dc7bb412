"""No table takes more than a gigabyte of memory: bombs of every format, and the largest that is read."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from musicbert.annotation import bounds
from musicbert.annotation.cells import read_table
from musicbert.annotation.label_map import read_label_map
from musicbert.annotation.study.items import read_items
from musicbert.annotation.table import read_ratings
from musicbert.errors import DatasetError, MusicBertError

#: a gigabyte
MOST = 10**9
MEASURE = """
import pathlib, re, sys
from musicbert.annotation.cells import read_table
from musicbert.errors import DatasetError
for path in sys.argv[1:]:
    try:
        print(len(read_table(path)))
    except DatasetError as error:
        print(error)
    # not ru_maxrss, which a child takes over from its parent
    print(1024 * int(re.search(r"VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]))
"""


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


def measured(*paths):
    """Read tables in one child after the other: what it says of each, and its peak of memory so far."""
    done = subprocess.run([sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    return lines[::2], [int(line) for line in lines[1::2]]


def sparse(path, head):
    with path.open("wb") as file:
        file.write(head)
        file.truncate(8 << 30)
    return path


def workbook(path, rows):
    """Write a workbook with more rows, given as XML."""
    book = openpyxl.Workbook()
    book.active.append(["file", "label"])
    book.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = "xl/worksheets/sheet1.xml"
    members[name] = members[name].replace(b"</sheetData>", rows + b"</sheetData>")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_bombs(folder):
    """Write small files of every format that would take gigabytes; the words of the error of each."""
    (folder / "commas.csv").write_bytes(b"file,label\n" + b"," * (8 << 20))
    (folder / "wide.tsv").write_bytes(b"a\t" * 100_000 + b"\n" + b"1\n" * 100_000)
    sparse(folder / "large.csv", b"file,label\n")
    (folder / "keys.jsonl").write_text("".join(f'{{"k{k}": 1}}\n' for k in range(50_000)))
    (folder / "values.jsonl").write_bytes(b'{"file": "a", "label": [' + b"0," * (6 << 20) + b"0]}\n")

    def parquet(name, values, **options):
        pq.write_table(pa.table({"file": values}), folder / name, **options)

    zeros = np.zeros(5_000_000, np.int64)
    parquet("rows.parquet", pa.DictionaryArray.from_arrays(zeros.astype(np.int8), ["a.mid"]))
    parquet("lists.parquet", pa.ListArray.from_arrays([0, len(zeros)], zeros))
    parquet("unpacked.parquet", [f"{'x' * 15_000_000}{k}" for k in range(5)], compression="zstd")
    delta = {"use_dictionary": False, "column_encoding": {"file": "DELTA_BYTE_ARRAY"}}
    parquet("delta.parquet", [f"{'x' * 10_000}{k}" for k in range(100)], **delta)
    parquet("fixed.parquet", pa.array([b"x" * 1_000_000] * 200, pa.binary(1_000_000)))
    workbook(folder / "far.xlsx", b'<row><c r="XFD2"><v>1</v></c></row>' * 1000)
    workbook(folder / "gap.xlsx", b'<row r="1000000000000"><c><v>1</v></c></row>')
    workbook(folder / "unpacked.xlsx", b"<row>       </row>" * (8 << 20))
    return {
        "commas.csv": "cells",
        "wide.tsv": "cells",
        "large.csv": "bytes",
        "keys.jsonl": "cells",
        "values.jsonl": "cells",
        "rows.parquet": "cells",
        "lists.parquet": "cells",
        "unpacked.parquet": "unpacks to",
        "delta.parquet": "DELTA_BYTE_ARRAY",
        "fixed.parquet": "unpacks to",
        "far.xlsx": "cells",
        "gap.xlsx": "cells",
        "unpacked.xlsx": "content takes",
    }


@needs_proc
def test_tables_that_would_take_gigabytes_are_refused_before_they_do(tmp_path):
    words = write_bombs(tmp_path)
    said, peaks = measured(*(str(tmp_path / name) for name in words))
    for (name, word), line in zip(words.items(), said, strict=True):
        assert name in line
        assert word in line
        assert "[bad-table]" in line
    assert peaks[-1] < MOST


@needs_proc
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "xlsx"])
def test_the_largest_table_fits_into_a_gigabyte(tmp_path, suffix):
    rows = 10_000 if suffix == "xlsx" else 80_000
    frame = pd.DataFrame({"file": [f"a piece with a long name {k:020d}.mid" for k in range(rows)], "x": "y"})
    frame["text"] = [f"a text of forty letters, as notes {k:09d}" for k in range(rows)]
    paths = tmp_path / f"small.{suffix}", tmp_path / f"large.{suffix}"
    for path, part in zip(paths, (frame.head(10), frame), strict=True):
        if suffix == "jsonl":
            part.to_json(path, orient="records", lines=True)
        else:
            {"csv": part.to_csv, "xlsx": part.to_excel}[suffix](path, index=False)
    _, (before, peak) = measured(*paths)
    cells = 3 * rows
    assert before + (peak - before) / cells * bounds.MAX_CELLS < MOST


@needs_proc
def test_a_text_that_every_line_repeats_is_held_once(tmp_path):
    once = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2000, np.int8)), ["x" * 1_000_000])
    lists = pa.ListArray.from_arrays(pa.array(np.arange(2001, dtype=np.int32)), once)
    files = [f"{k}.mid" for k in range(2000)]
    pq.write_table(pa.table({"file": files, "label": once, "tags": lists}), tmp_path / "t.parquet")
    (rows,), (peak,) = measured(tmp_path / "t.parquet")
    assert (rows, peak < MOST) == ("2000", True)


def test_lists_of_texts_keep_what_is_missing(tmp_path):
    frame = pd.DataFrame(
        {"file": ["a", "b", "c"], "tags": [["x", None], None, []], "n": [[1, 2], [3, 4], [5, 6]]}
    )
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=2)
    table = read_table(tmp_path / "t.parquet")
    assert list(table.columns) == ["file", "tags", "n"]
    assert table["tags"].tolist() == [["x", None], None, []]
    assert [list(cell) for cell in table["n"]] == [[1, 2], [3, 4], [5, 6]]
    pd.DataFrame({"file": [{"a": "b"}]}).to_parquet(tmp_path / "s.parquet")
    with pytest.raises(DatasetError, match="neither values nor lists"):
        read_table(tmp_path / "s.parquet")


def test_maps_tables_of_ratings_and_dimensions_have_the_same_bounds(tmp_path, monkeypatch):
    (tmp_path / "q.yaml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(MusicBertError, match="1,048,576 bytes"):
        read_items(tmp_path / "q.yaml")
    for read, name, head in (
        (read_label_map, "m.csv", "id,class\n"),
        (read_label_map, "m.json", '{"a": [1, 0]}'),
    ):
        with pytest.raises(MusicBertError, match="too-large"):
            read(sparse(tmp_path / name, head.encode()))
    with pytest.raises(MusicBertError, match="too-large"):
        read_ratings(sparse(tmp_path / "r.csv", b"dataID\n"))
    monkeypatch.setattr(bounds, "MAX_CELLS", 20)
    frame = pd.DataFrame({"id": [f"s{k}" for k in range(10)], "performer": "p", "a": 0.5, "class": 0})
    frame.to_csv(tmp_path / "c.csv", index=False)
    frame.to_parquet(tmp_path / "c.parquet", index=False)
    for name in ("c.csv", "c.parquet"):
        with pytest.raises(MusicBertError, match="cells"):
            read_label_map(tmp_path / name)
    with pytest.raises(MusicBertError, match="cells"):
        read_ratings(tmp_path / "c.csv")


def test_a_named_index_of_parquet_is_a_column_and_other_sheets_are_said(tmp_path, caplog):
    frame = pd.DataFrame({"label": [1, 2]}, index=pd.Index(["a.mid", "b.mid"], name="file"))
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet")["file"].tolist() == ["a.mid", "b.mid"]
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        frame.to_excel(book, sheet_name="spring")
        frame.to_excel(book, sheet_name="autumn")
    assert len(read_table(tmp_path / "t.xlsx")) == 2
    assert "'spring' is read, not 'autumn'" in caplog.text


def test_a_workbook_that_states_too_few_rows_is_read_whole(tmp_path):
    workbook(tmp_path / "t.xlsx", b"<row><c><v>1</v></c><c><v>2</v></c></row>" * 3)
    with zipfile.ZipFile(tmp_path / "t.xlsx") as archive:
        assert b'<dimension ref="A1:B1"' in archive.read("xl/worksheets/sheet1.xml")
    assert read_table(tmp_path / "t.xlsx").values.tolist() == [[1, 2]] * 3


@pytest.mark.parametrize("line", ['{"file": "a.mid", "label": 1, "label": 2}', "[1, 2]"])
def test_a_line_of_json_that_says_two_things_or_none_is_refused(tmp_path, line):
    (tmp_path / "t.jsonl").write_text(line)
    with pytest.raises(DatasetError, match="bad-table"):
        read_table(tmp_path / "t.jsonl")

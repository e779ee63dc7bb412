"""How much a table may take, checked before it takes it: no file needs more than a gigabyte of memory.

A file states its size, a workbook what its members unpack to, a Parquet file its values and what its columns
unpack to; text holds at most as many cells as it has separators. Verified in
``tests/unit/annotation/test_bounds.py``.
"""

import zipfile
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from musicbert.errors import first_line

#: bytes of a file (of a Parquet file also unpacked), and of an unpacked workbook
MAX_BYTES, MAX_UNPACKED = 64 << 20, 128 << 20
#: cells of a table, rows times columns: each takes up to about 200 bytes while the table is read
MAX_CELLS = 4_000_000
_SPLIT = "leave out columns and rows, or split the table"


def read_bounded(path: str | PathLike[str], most: int = MAX_BYTES) -> bytes:
    """Read a file of at most so many bytes; raises `OSError`, and `ValueError` for a larger one."""
    with Path(path).open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most:,} bytes; {_SPLIT}")
    return data


def check_cells(rows: int, columns: int = 1) -> None:
    """Raise `ValueError` for a table that is too large."""
    if rows * columns > MAX_CELLS:
        raise ValueError(f"it has up to {rows * columns:,} cells, more than {MAX_CELLS:,}; {_SPLIT}")


def check_workbook(path: str | PathLike[str]) -> None:
    """Raise `ValueError` where the members of a zip file unpack to too much; `zipfile.BadZipFile`."""
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > MAX_UNPACKED:
        raise ValueError(f"its content takes {size:,} bytes, more than {MAX_UNPACKED:,}; {_SPLIT}")


def read_parquet(path: str | PathLike[str]) -> pd.DataFrame:
    """Read a Parquet file; a named index is a column. Raises `OSError`, `ValueError` (damaged, or too large).

    Columns of text are read as dictionaries: a text that a million rows repeat is stored once, and stays so.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if Path(path).stat().st_size > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES:,} bytes; {_SPLIT}")
    try:
        with pq.ParquetFile(path) as file:
            texts = _check_parquet(file)
        table = pq.read_table(path, read_dictionary=texts, use_threads=False)
        order = [name for name in table.column_names if table.column_names.count(name) == 1]
        if len(order) < table.num_columns:
            raise ValueError("two columns have the same name")
        for name, kind in zip(order, table.schema.types, strict=True):
            is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
            if pa.types.is_nested(kind) and (not is_list or pa.types.is_nested(kind.value_type)):
                raise ValueError(f"the cells of {name!r} are neither values nor lists of values")
        lists = {
            name: _lists(table[name])
            for name, kind in zip(order, table.schema.types, strict=True)
            if pa.types.is_nested(kind) and pa.types.is_dictionary(kind.value_type)
        }
        frame = table.drop_columns(list(lists)).to_pandas(self_destruct=True)
        del table
    except pa.ArrowException as error:
        raise ValueError(first_line(error)) from error
    for name, cells in lists.items():
        frame[name] = pd.Series(cells, index=frame.index, dtype=object)
    frame = frame[[name for name in order if name in frame]]
    for name in frame.columns[[isinstance(kind, pd.CategoricalDtype) for kind in frame.dtypes]]:
        frame[name] = frame[name].astype(object)
    return frame.reset_index(drop=frame.index.names == [None])


def _lists(column: Any) -> list[list[str | None] | None]:
    """Cells of a column of lists of texts, each text once (Arrow would copy it for every list)."""
    cells: list[list[str | None] | None] = []
    for chunk in column.chunks:
        texts = [*chunk.values.dictionary.to_pylist(), None]
        at = chunk.values.indices.fill_null(len(texts) - 1).to_pylist()
        starts = chunk.offsets.to_pylist()
        for row, known in enumerate(chunk.is_valid().to_pylist()):
            cells.append([texts[k] for k in at[starts[row] : starts[row + 1]]] if known else None)
    return cells


def _check_parquet(file: Any) -> list[str]:
    """Check what the footer states; return the columns of text."""
    about, schema = file.metadata, file.schema
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    values = size = longest = 0
    texts: dict[str, None] = {}
    for chunk, kind in (
        (group.column(k), schema.column(k)) for group in groups for k in range(group.num_columns)
    ):
        values += chunk.num_values
        size += chunk.total_uncompressed_size
        if chunk.physical_type == "FIXED_LEN_BYTE_ARRAY":
            longest += chunk.num_values * kind.length
        elif chunk.physical_type == "BYTE_ARRAY":
            texts[chunk.path_in_schema] = None
        if "DELTA_BYTE_ARRAY" in chunk.encodings:  # its texts share what they begin with
            raise ValueError("its texts are in the encoding DELTA_BYTE_ARRAY; write it with dictionaries")
    if max(size, longest) > MAX_BYTES:
        raise ValueError(f"it unpacks to {max(size, longest):,} bytes, more than {MAX_BYTES:,}; {_SPLIT}")
    check_cells(max(about.num_rows * about.num_columns, values))
    return list(texts)

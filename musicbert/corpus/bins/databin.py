r"""Binarised sequences of token ids in fairseq's memory-mapped format, without fairseq.

A data set ``PREFIX`` is two files. ``PREFIX.bin`` holds the ids of all sequences one after the other as
little-endian uint16. ``PREFIX.idx`` holds, little-endian and packed: the magic ``MMIDIDX\0\0`` (9 bytes), the
version 1 (uint64), the code of the element type (uint8; 8 is uint16), the number n of sequences (uint64),
their lengths (n int32, elements) and their starts in ``PREFIX.bin`` (n int64, bytes). The bytes equal those
that fairseq-preprocess writes from the same text.
"""

import os
import struct
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicbert.atomic import replacing
from musicbert.corpus.files.folders import read_whole
from musicbert.encoding import dictionary_text
from musicbert.errors import DatasetError

#: Symbols that fairseq puts before those of the dictionary file, in the order of their ids.
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
EOS = SPECIALS.index("</s>")
UNKNOWN = SPECIALS.index("<unk>")

_HEADER = struct.Struct("<9sQBQ")
#: Magic, version and code of uint16.
_START = (b"MMIDIDX\x00\x00", 1, 8)
#: bytes of a dictionary, which has at most `ID_LIMIT` lines
_MAX_DICTIONARY = 8 << 20
#: sequences of an index that is read: 40 bytes each while it is checked
MAX_SEQUENCES = 1 << 24
#: fairseq stores ids below this as uint16 (`fairseq.data.indexed_dataset.best_fitting_int_dtype`).
ID_LIMIT = 65500
#: fairseq fills the dictionaries that it makes with these symbols, to a multiple of 8 entries.
FILLING, _PADDING = "madeupword", 8


def fold_folders(folder: str | PathLike[str], *, marker: str, hint: str | None = None) -> dict[str, Path]:
    """Return the folds of a raw set or a data-bin: the folder itself under ``""``, or its numbered folders.

    ``marker``: what every fold holds: ``dict.txt`` (raw set) or ``input0`` (data-bin).
    Raises `DatasetError` (``not-found``, with the hint).
    """
    folder = Path(folder)
    if (folder / marker).exists():
        return {"": folder}
    names = [path.parent.name for path in folder.glob(f"*/{marker}") if path.parent.name.isdecimal()]
    if not names:
        message = f"There is no {marker} here, nor in folders 0, 1, ..."
        raise DatasetError("not-found", message, path=folder, hint=hint)
    return {name: folder / name for name in sorted(names, key=int)}


def read_dictionary(path: str | PathLike[str]) -> dict[str, int]:
    """Read a fairseq dictionary file, lines of ``symbol count``: id by symbol, the four specials first.

    Raises `DatasetError` (``not-found`` or ``bad-dictionary``).
    """
    lines = read_whole(path, "The dictionary", most=_MAX_DICTIONARY).decode("utf-8", "replace").splitlines()
    symbols = [*SPECIALS, *(line.rpartition(" ")[0] for line in lines)]
    if len(set(symbols)) < len(symbols) or "" in symbols or len(symbols) >= ID_LIMIT:
        raise DatasetError("bad-dictionary", "Not a dictionary of distinct symbols with counts", path=path)
    return {symbol: index for index, symbol in enumerate(symbols)}


def check_dictionary(path: str | PathLike[str], *, hint: str | None = None) -> None:
    """Check that a dictionary file is the one of OctupleMIDI (`musicbert.encoding.dictionary_text`).

    Raises `DatasetError` (``not-found``, ``wrong-dictionary``).
    """
    if read_whole(path, "The dictionary", hint=hint) != dictionary_text().encode():
        message = "This is not the dictionary of OctupleMIDI"
        raise DatasetError("wrong-dictionary", message, path=path, hint=hint)


def label_dictionary(lines: Iterable[str]) -> str:
    """Return the dictionary file that fairseq-preprocess makes of lines of labels."""
    counts = Counter(word for line in lines for word in line.split())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    text = "".join(f"{word} {count}\n" for word, count in ordered)
    missing = -(len(SPECIALS) + len(ordered)) % _PADDING
    return text + "".join(f"{FILLING}{number:04d} 0\n" for number in range(missing))


def class_names(dictionary: Iterable[str]) -> list[str]:
    """Return the classes that a dictionary of labels names: no special symbol, no filling."""
    special = {*SPECIALS, "<mask>"}
    return [name for name in dictionary if name not in special and not name.startswith(FILLING)]


def text_to_ids(lines: Iterable[str], dictionary: Mapping[str, int]) -> Iterator[NDArray[np.uint16]]:
    """Yield the ids of each line of tokens [shape=(tokens + 1,), uint16], ended by ``</s>``, as fairseq does.

    A token that the dictionary lacks is `UNKNOWN`.
    """
    for line in lines:
        yield np.array([*(dictionary.get(token, UNKNOWN) for token in line.split()), EOS], np.uint16)


def write_indexed_dataset(sequences: Iterable[NDArray[np.integer]], prefix: str | PathLike[str]) -> int:
    """Write sequences of ids, each [shape=(length,)]; see `write_indexed_blocks`."""
    return write_indexed_blocks(((ids, (len(ids),)) for ids in sequences), prefix)


def write_indexed_blocks(
    blocks: Iterable[tuple[NDArray[np.integer], Sequence[int]]], prefix: str | PathLike[str]
) -> int:
    """Write ``prefix.bin`` and then ``prefix.idx``, both atomically; return the number of sequences.

    ``blocks``: the ids of some sequences, one after the other [shape=(sum of the lengths,), 0-65499], and
    their lengths. Raises `ValueError` (an id does not fit).
    """
    prefix = Path(prefix)
    sizes = array("i")  # 4 bytes a sequence
    with replacing(prefix.with_name(prefix.name + ".bin")) as file:
        for ids, lengths in blocks:
            if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < ID_LIMIT:
                raise ValueError(f"sequence {len(sizes)} holds an id outside 0..{ID_LIMIT - 1}")
            file.write(np.ascontiguousarray(ids, "<u2").data)
            sizes.extend(lengths)
    write_index(sizes, prefix)
    return len(sizes)


def write_index(sizes: Sequence[int] | NDArray[np.integer], prefix: str | PathLike[str]) -> None:
    """Write ``prefix.idx`` of sequences of these lengths [shape=(n,), elements], one after the other."""
    prefix = Path(prefix)
    starts = 2 * (np.cumsum(sizes, dtype=np.int64) - sizes)
    with replacing(prefix.with_name(prefix.name + ".idx")) as file:
        file.write(_HEADER.pack(*_START, len(sizes)))
        file.write(np.array(sizes, "<i4").tobytes() + starts.astype("<i8").tobytes())


def read_index(prefix: str | PathLike[str]) -> NDArray[np.int32]:
    """Return the lengths of the sequences of a data set [shape=(n,), int32, elements].

    Raises `DatasetError` (``not-found``, ``too-large``, or ``bad-index`` when the two files do not belong
    together).
    """
    index, data = (Path(f"{os.fspath(prefix)}.{suffix}") for suffix in ("idx", "bin"))
    try:
        with index.open("rb") as file:
            content, index_bytes = file.read(_HEADER.size), os.fstat(file.fileno()).st_size
            data_bytes = data.stat().st_size
            *start, count = _HEADER.unpack(content) if len(content) == _HEADER.size else (None, 0)
            whole = tuple(start) == _START and index_bytes == _HEADER.size + 12 * count
            if whole and count > MAX_SEQUENCES:
                what = f"The index states {count:,} sequences, more than {MAX_SEQUENCES:,}"
                raise DatasetError("too-large", what, path=index, hint="divide the data into several shards")
            content = file.read(12 * count) if whole else b""
    except OSError as error:
        message = "The binarised data set is missing"
        raise DatasetError("not-found", message, path=index, hint="binarise the data first") from error
    if len(content) == 12 * count and whole:
        sizes = np.frombuffer(content, "<i4", count).astype(np.int32)
        starts = np.frombuffer(content, "<i8", count, 4 * count)
        ends = 2 * np.cumsum(sizes, dtype=np.int64)
        whole = 2 * int(sizes.sum(dtype=np.int64)) == data_bytes and sizes.min(initial=0) >= 0
        if whole and np.array_equal(starts[1:], ends[:-1]) and not starts[:1].any():
            return sizes
    message = "The index is damaged, of another type, or does not fit its data"
    raise DatasetError("bad-index", message, path=index, hint="binarise again")


def read_tokens(prefix: str | PathLike[str]) -> NDArray[np.uint16]:
    """Map the ids of all sequences of a data set, one after the other [shape=(tokens,), uint16].

    Raises `DatasetError` (see `read_index`).
    """
    if not read_index(prefix).any():  # an empty file cannot be mapped
        return np.zeros(0, np.uint16)
    tokens: NDArray[np.uint16] = np.memmap(f"{os.fspath(prefix)}.bin", "<u2", "r")
    return tokens

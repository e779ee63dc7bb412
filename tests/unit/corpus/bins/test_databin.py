"""Memory-mapped sequences: the format's bytes, round trips, damage."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.corpus.bins.databin import (
    read_dictionary,
    read_index,
    read_tokens,
    text_to_ids,
    write_indexed_dataset,
)
from musicbert.errors import DatasetError


def test_bytes_of_the_format(tmp_path):
    assert write_indexed_dataset([np.array([4, 5, 2]), np.array([1235])], tmp_path / "train") == 2
    assert (tmp_path / "train.bin").read_bytes() == struct.pack("<4H", 4, 5, 2, 1235)
    assert (tmp_path / "train.idx").read_bytes() == (
        b"MMIDIDX\0\0" + struct.pack("<QBQ", 1, 8, 2) + struct.pack("<2i2q", 3, 1, 0, 6)
    )
    assert sorted(each.name for each in tmp_path.iterdir()) == ["train.bin", "train.idx"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 65499), max_size=30), max_size=10))
def test_round_trip(tmp_path_factory, sequences):
    prefix = tmp_path_factory.mktemp("set") / "x"
    write_indexed_dataset((np.array(each, np.int64) for each in sequences), prefix)
    assert read_index(prefix).tolist() == [len(each) for each in sequences]
    assert read_tokens(prefix).tolist() == [each for ids in sequences for each in ids]


@pytest.mark.parametrize("value", [-1, 65500])
def test_ids_that_do_not_fit(tmp_path, value):
    with pytest.raises(ValueError, match="sequence 1"):
        write_indexed_dataset([np.array([1]), np.array([value])], tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_text_becomes_ids_with_the_end_appended(tmp_path):
    (tmp_path / "dict.txt").write_text("a 0\nb 0\n")
    dictionary = read_dictionary(tmp_path / "dict.txt")
    assert dictionary == {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5}
    lines = ["<s> a  b </s>\n", " what a\t<pad>", "\n"]
    assert [ids.tolist() for ids in text_to_ids(lines, dictionary)] == [[0, 4, 5, 2, 2], [3, 4, 1, 2], [2]]


@pytest.mark.parametrize("text", ["a 0\na 0\n", "\n", "<s> 0\n", "".join(f"{i} 0\n" for i in range(65500))])
def test_bad_dictionary(tmp_path, text):
    (tmp_path / "dict.txt").write_text(text)
    with pytest.raises(DatasetError) as caught:
        read_dictionary(tmp_path / "dict.txt")
    assert caught.value.reason == "bad-dictionary"


def test_missing_files(tmp_path):
    for read in (read_dictionary, read_index):
        with pytest.raises(DatasetError) as caught:
            read(tmp_path / "none")
        assert caught.value.reason == "not-found"


@pytest.mark.parametrize(
    "damage",
    [
        lambda idx, data: (idx[:-1], data),
        lambda idx, data: (idx + b"\0", data),
        lambda idx, data: (idx[:10], data),
        lambda idx, data: (b"X" + idx[1:], data),
        lambda idx, data: (idx[:17] + b"\x04" + idx[18:], data),
        lambda idx, data: (idx, data[:-2]),
        lambda idx, data: (idx, data + b"\0\0"),
    ],
)
def test_damage_is_noticed(tmp_path, damage):
    write_indexed_dataset([np.array([4, 5]), np.array([6])], tmp_path / "x")
    idx, data = damage((tmp_path / "x.idx").read_bytes(), (tmp_path / "x.bin").read_bytes())
    (tmp_path / "x.idx").write_bytes(idx)
    (tmp_path / "x.bin").write_bytes(data)
    with pytest.raises(DatasetError) as caught:
        read_tokens(tmp_path / "x")
    assert caught.value.reason == "bad-index"


@pytest.mark.parametrize("damage", [(0, "<i4", -1), (16, "<i8", 1 << 60), (0, "<i4", 2)])
def test_lengths_and_starts_of_an_index_are_those_of_its_data(tmp_path, damage):
    write_indexed_dataset([np.arange(3), np.arange(1), np.arange(2), np.arange(1)], tmp_path / "x")
    index = tmp_path / "x.idx"
    content = bytearray(index.read_bytes())
    at, kind, value = damage
    content[26 + at : 26 + at + int(kind[2])] = np.array([value], kind).tobytes()
    index.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        read_index(tmp_path / "x")
    assert caught.value.reason == "bad-index"


def test_an_index_is_bounded_by_what_it_states(tmp_path):
    """Before anything is read: the files have 12 GB, and no bytes on the disk."""
    count = 1 << 30
    for number, size, reason in ((count, 26 + 12 * count, "too-large"), (count, 26, "bad-index")):
        with (tmp_path / "x.idx").open("wb") as file:
            file.write(b"MMIDIDX\0\0" + struct.pack("<QBQ", 1, 8, number))
            file.truncate(size)
        with (tmp_path / "x.bin").open("wb") as file:
            file.truncate(2 * count)
        with pytest.raises(DatasetError) as caught:
            read_index(tmp_path / "x")
        assert caught.value.reason == reason


def test_tokens_are_mapped_and_may_be_none(tmp_path):
    write_indexed_dataset([np.array([4, 5]), np.array([6])], tmp_path / "x")
    write_indexed_dataset([np.array([], np.int64)], tmp_path / "y")
    tokens = read_tokens(tmp_path / "x")
    assert isinstance(tokens, np.memmap)
    assert (tokens.tolist(), read_tokens(tmp_path / "y").tolist()) == ([4, 5, 6], [])

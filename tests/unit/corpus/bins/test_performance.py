"""Performance inputs on disk: where they are found, and every way they can be wrong."""

import numpy as np
import pytest

from musicbert.corpus.bins.performance import open_performance, performance_path, performance_width
from musicbert.errors import DatasetError


@pytest.fixture
def table():
    return np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.mark.parametrize(
    ("file", "folder"),
    [("train", "."), ("performance/train", "."), ("performance/train", "input0")],
)
def test_found_beside_the_tokens_and_in_a_data_bin(tmp_path, table, file, folder):
    (tmp_path / "performance").mkdir()
    (tmp_path / "input0").mkdir()
    np.save(tmp_path / f"{file}.performance.npy", table)
    path = performance_path(tmp_path / folder, "train")
    assert path.samefile(tmp_path / f"{file}.performance.npy")
    found = open_performance(path, notes=3)
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, table)
    assert performance_width(tmp_path / folder) == 2
    with pytest.raises(DatasetError, match="not-found"):
        performance_path(tmp_path / folder, "valid")


def test_the_nearest_is_taken(tmp_path, table):
    (tmp_path / "performance").mkdir()
    np.save(tmp_path / "performance" / "train.performance.npy", table[:, :1])
    np.save(tmp_path / "train.performance.npy", table)
    assert performance_path(tmp_path, "train").parent == tmp_path
    assert performance_width(tmp_path) == 2


def test_nothing_there(tmp_path):
    with pytest.raises(DatasetError, match="--performance-input") as caught:
        performance_width(tmp_path)
    assert caught.value.reason == "not-found"


def test_splits_that_differ(tmp_path, table):
    np.save(tmp_path / "train.performance.npy", table)
    np.save(tmp_path / "valid.performance.npy", table[:, :1])
    with pytest.raises(DatasetError, match=r"\[1, 2\]") as caught:
        performance_width(tmp_path)
    assert caught.value.reason == "bad-performance"


@pytest.mark.parametrize(
    "content",
    [np.zeros(3, np.float32), np.zeros((3, 2)), np.zeros((2, 2), np.float32), np.array([{}]), b"", b"x"],
)
def test_wrong_content(tmp_path, content):
    path = tmp_path / "train.performance.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(DatasetError, match="bad-performance") as caught:
        open_performance(path, notes=3)
    assert caught.value.path == str(path)
    assert caught.value.hint

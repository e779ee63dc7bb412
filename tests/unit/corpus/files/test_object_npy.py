"""Object arrays are read as numbers, whatever protocol wrote them, and nothing in them is run."""

import io
import os
import pickle
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musicbert.corpus.files.object_npy import load_npy, load_pickle
from musicbert.errors import DatasetError


def reason_of(call, *arguments, **options):
    with pytest.raises(DatasetError) as caught:
        call(*arguments, **options)
    return caught.value.reason


def objects(*items):
    array = np.empty(len(items), object)
    for number, item in enumerate(items):
        array[number] = item
    return array


def header(array):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
    return stream.getvalue()


ITEMS = objects(
    [[0, 1, 2, 3], [1, 2, 3, 4]],
    [[0.5, 1.0, 60]],
    np.arange(6, dtype=np.int64).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
    [np.int64(5), np.float32(0.5), np.array([1, 0], bool)],
    [],
)


def equal(ours, theirs):
    if isinstance(theirs, np.ndarray):
        return isinstance(ours, np.ndarray) and np.array_equal(ours, theirs)
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    return ours == theirs


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_all_protocols(tmp_path, protocol):
    path = tmp_path / "objects.npy"
    path.write_bytes(header(ITEMS) + pickle.dumps(ITEMS, protocol))
    assert equal(load_npy(path), list(ITEMS))
    other = tmp_path / "any.pkl"
    other.write_bytes(pickle.dumps({"a": ITEMS[2], "b": (1, "c")}, protocol))
    loaded = load_pickle(other)
    assert np.array_equal(loaded["a"], ITEMS[2])
    assert loaded["b"] == [1, "c"]


def test_as_numpy_and_older_numpy_write_it(tmp_path):
    path = tmp_path / "objects.npy"
    np.save(path, ITEMS, allow_pickle=True)
    assert equal(load_npy(path), list(ITEMS))
    # as NumPy 1 did: protocol 3, and the older name of a module
    older = pickle.dumps(ITEMS, 3).replace(b"cnumpy._core.", b"cnumpy.core.")
    assert b"numpy.core" in older
    path.write_bytes(header(ITEMS) + older)
    assert equal(load_npy(path), list(ITEMS))


def test_plain_files(tmp_path):
    for number, array in enumerate(
        (np.arange(8).reshape(2, 2, 2), np.zeros((0, 3), np.int64), np.ones(3, np.uint8))
    ):
        path = tmp_path / f"{number}.npy"
        np.save(path, array)
        assert np.array_equal(load_npy(path), array)
    text = tmp_path / "text.npy"
    np.save(text, np.array(["a", "b"]))
    assert reason_of(load_npy, text) == "unreadable"


class Attack:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_is_run(tmp_path, protocol):
    mark, path = tmp_path / "was_here", tmp_path / "attack.npy"
    array = objects([Attack(mark)])
    path.write_bytes(header(array) + pickle.dumps(array, protocol))
    assert reason_of(load_npy, path) == "unsafe-pickle"
    assert reason_of(load_pickle, path) in ("unsafe-pickle", "unreadable")
    assert not mark.exists()
    np.load(path, allow_pickle=True)  # what a blind reader would do
    assert mark.exists()


@pytest.mark.parametrize(
    "value",
    [
        zlib.compressobj,
        np.random.default_rng,
        pickle.Unpickler,
        complex(1, 2),
        {1, 2},
        np.array(["text"]),
        np.zeros(2, "datetime64[s]"),
        np.zeros(2, [("a", "i4")]),
        objects([1]).reshape(1, 1),
        b"bytes",
    ],
)
def test_other_content(tmp_path, value):
    path = tmp_path / "other.pkl"
    path.write_bytes(pickle.dumps([value]))
    assert reason_of(load_pickle, path) in ("unsafe-pickle", "unreadable", "bad-value")


def test_lists_that_repeat_themselves(tmp_path):
    value = [0] * 10
    for _ in range(7):
        value = [value] * 10  # 10^8 numbers in a kilobyte
    path = tmp_path / "bomb.pkl"
    path.write_bytes(pickle.dumps(value))
    assert path.stat().st_size < 2000
    assert reason_of(load_pickle, path, max_numbers=10_000) == "too-large"
    loop = []
    loop.append(loop)
    path.write_bytes(pickle.dumps(loop))
    assert reason_of(load_pickle, path) == "too-large"


def test_missing_and_not_a_file(tmp_path):
    for load in (load_npy, load_pickle):
        assert reason_of(load, tmp_path / "none") == "not-found"
        assert reason_of(load, tmp_path) == "unreadable"
        (tmp_path / "empty").write_bytes(b"")
        assert reason_of(load, tmp_path / "empty") == "unreadable"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files(tmp_path, data):
    whole = header(ITEMS) + pickle.dumps(ITEMS, data.draw(st.integers(0, 5)))
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        damaged = bytearray(whole)
        for _ in range(data.draw(st.integers(1, 4))):
            damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.npy"
    path.write_bytes(damaged)
    try:
        load_npy(path)  # a flipped bit of a number is not noticed
    except DatasetError as error:
        assert error.path == str(path)  # noqa: PT017


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02]r\xff\xff\xff\x1f.",  # an object with the number 2^29: 8 GiB
        b"]p536870912\n.",
        b"\x80\x02" + b"]q\x00X\x01\x00\x00\x00a" + b"r\x00\x00\x00\x10.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(X\x02\x00\x00\x00f8tRL8589934592L\ntR.",
        b"cnumpy\ndtype\n("
        + b"]q\x00"
        + b"".join(b"0(h%ch%clq%c" % (k, k, k + 1) for k in range(60))
        + b"tR.",
        b"\x96" + b"\xff" * 8 + b".",
        b"\x99.",
        b"I12",
    ],
    ids=["memo", "memo in text", "memo later", "bytes", "text of lists", "too long", "opcode", "line"],
)
def test_a_pickle_takes_no_memory_that_it_only_claims(content, tmp_path):
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (tmp_path / "x.pkl").write_bytes(content)
    assert reason_of(load_pickle, "x", content=content) == "unreadable"
    assert reason_of(load_pickle, tmp_path / "x.pkl") == "unreadable"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000

"""Division: the published shares, the first of duplicates stays, groups stay together, hashes are stable."""

import numpy as np
import pytest

from musicbert.corpus.builder.index import INDEX, Index, divide, seeded_hash
from musicbert.corpus.builder.options import BuildOptions
from musicbert.corpus.splits.near_duplicates import HASHES


def made(n, *, contents=None, seed=0, versions=None):
    """Index of n pieces; equal numbers in `versions` have equal signatures."""
    table = np.zeros(n, INDEX)
    table["ok"] = True
    table["first"] = table["group"] = np.arange(n)
    for at in range(n):
        content = at if contents is None else contents[at]
        table["content"][at] = (seeded_hash(1, str(content)), content)
        table["key"][at] = seeded_hash(seed, f"file {at}")
    rng = np.random.default_rng(5)
    signatures = rng.integers(0, 1 << 31, (n, HASHES), dtype=np.uint32)
    if versions is not None:
        signatures = signatures[np.array(versions)]
    return Index(table, signatures)


def test_shares_are_those_of_the_published_cut():
    for n in (1, 7, 99, 100, 1234):
        index = made(n)
        divide(index, BuildOptions(near_duplicates="ignore"))
        counts = np.bincount(index.files["split"], minlength=3)
        assert counts.tolist() == [98 * n // 100, 99 * n // 100 - 98 * n // 100, n - 99 * n // 100]


def test_the_first_processed_of_duplicates_stays():
    contents = [at % 50 for at in range(200)]
    index = made(200, contents=contents)
    alone = made(200)
    options = BuildOptions(near_duplicates="ignore", shares=(50, 25, 25))
    divide(index, options)
    divide(alone, options)
    for content in range(50):
        copies = [at for at in range(200) if contents[at] == content]
        best = min(copies, key=lambda at: (alone.files["split"][at], at))
        assert [at for at in copies if index.files["split"][at] >= 0] == [best]
        assert (index.files["first"][copies] == best).all()


def test_duplicates_may_be_kept():
    index = made(20, contents=[0] * 20)
    divide(index, BuildOptions(duplicates="keep", near_duplicates="ignore", shares=(1, 1, 0)))
    assert np.bincount(index.files["split"]).tolist() == [10, 10]


@pytest.mark.parametrize("split", ["count", "hash"])
def test_versions_stay_in_one_split(split):
    versions = [at // 4 for at in range(400)]
    index = made(400, versions=versions)
    divide(index, BuildOptions(split=split, shares=(60, 20, 20)))
    splits = index.files["split"].reshape(-1, 4)
    assert (splits == splits[:, :1]).all()
    shares = np.bincount(splits[:, 0], minlength=3) / 100
    assert np.abs(shares - [0.6, 0.2, 0.2]).max() < 0.17  # 3.5 standard deviations of 100 groups
    assert np.array_equal(index.files["group"], np.repeat(np.arange(0, 400, 4), 4))


def test_more_files_move_none_with_hashes():
    small, large = made(300), made(900)
    for index in (small, large):
        divide(index, BuildOptions(split="hash", shares=(80, 10, 10)))
    assert np.array_equal(small.files["split"], large.files["split"][:300])


def test_files_that_failed_are_in_no_split():
    index = made(30)
    index.files["ok"][::3] = False
    divide(index, BuildOptions())
    assert (index.files["split"][::3] == -1).all()
    assert (np.delete(index.files["split"], np.arange(0, 30, 3)) >= 0).all()


def test_the_seed_changes_the_division():
    one, other = made(200, seed=1), made(200, seed=2)
    divide(one, BuildOptions(shares=(1, 1, 1)))
    divide(other, BuildOptions(shares=(1, 1, 1)))
    assert not np.array_equal(one.files["split"], other.files["split"])

"""What recipes share."""

import os

import pytest

from musicbert.recipes.base import shards_of


@pytest.mark.parametrize("separator", [":", ";"])
def test_shards_are_joined_as_fairseq_splits_paths(tmp_path, monkeypatch, separator):
    """On Windows a path may hold a colon."""
    monkeypatch.setattr(os, "pathsep", separator)
    for number in range(2):
        (tmp_path / f"shard{number}").mkdir()
    assert shards_of(str(tmp_path)) == f"{tmp_path}/shard0{separator}{tmp_path}/shard1"

"""Everything that a benchmark task needs, read at once."""

from functools import partial

import pytest
from tqdm import tqdm

from musicbert.corpus.readers import SOURCES
from musicbert.corpus.readers.benchmark import load_data_set, parse_source, tasks_of
from musicbert.corpus.splits.song_groups import content_groups, leaks
from musicbert.errors import DatasetError


def test_sources_on_the_command_line():
    assert parse_source("pop909=a/b.tar.xz") == ("pop909", "a/b.tar.xz", "")
    assert parse_source("emopia=er.zip#VGMIDI") == ("emopia", "er.zip", "VGMIDI")
    for wrong in ("pop909", "unknown=x", "pop909="):
        with pytest.raises(DatasetError, match="unknown-source"):
            parse_source(wrong)


def test_every_source_serves_a_task():
    assert all(tasks_of(name) for name in SOURCES)
    assert {row.abbreviation for row in tasks_of("asap")} == {"BP", "DbP"}


@pytest.mark.parametrize("source", ["emopia", "pianist8", "pm2s", "tagtraum"])
def test_clean_splits_do_not_leak(make_source, tmp_path, source):
    data = load_data_set(source, make_source(source, tmp_path), progress=partial(tqdm, disable=True))
    assert not data.failed
    assert leaks(data.pieces, content_groups(data.pieces), "clean")["groups"] == 0


def test_songs_lie_in_several_published_folds_of_emopia(make_source, tmp_path):
    data = load_data_set("emopia", make_source("emopia", tmp_path))
    groups = [piece.group for piece in data.pieces]
    assert leaks(data.pieces, groups, "published")["groups"] > 0


def test_unreadable_files_are_listed_and_nothing_is_an_error(make_source, tmp_path):
    folder = make_source("pianist8", tmp_path)
    files = sorted(folder.rglob("*.mid"))
    files[0].write_bytes(b"")
    data = load_data_set("pianist8", folder)
    assert [outcome.outcome for outcome in data.failed] == ["empty-file"]
    for file in files:
        file.write_bytes(b"")
    with pytest.raises(DatasetError, match="no-pieces"):
        load_data_set("pianist8", folder)

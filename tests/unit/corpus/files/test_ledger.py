"""The ledger: one line a file, nothing lost."""

import json

import pytest

from musicbert.corpus.files.ledger import NO_LABEL, OK, Outcome, count, read_ledger, write_ledger
from musicbert.errors import DatasetError

OUTCOMES = [
    Outcome("a", OK, path="x/a.mid", notes=3, notes_written=3, seconds=1.5, sha256="00"),
    Outcome("b", NO_LABEL, path="x/b.mid"),
    Outcome("c\nd\udcff", "unsafe-name", path="c\nd\udcff.mid", detail="é"),
    Outcome("e", NO_LABEL),
]


def test_round_trip_keeps_everything(tmp_path):
    write_ledger(tmp_path / "ledger.jsonl", OUTCOMES)
    assert read_ledger(tmp_path / "ledger.jsonl") == OUTCOMES


def test_one_line_a_file_without_empty_fields(tmp_path):
    write_ledger(tmp_path / "ledger.jsonl", OUTCOMES)
    lines = (tmp_path / "ledger.jsonl").read_bytes().split(b"\n")
    assert len(lines) == len(OUTCOMES) + 1
    assert lines[-1] == b""
    assert json.loads(lines[1]) == {"name": "b", "outcome": "no-label", "path": "x/b.mid"}


def test_counts_are_ordered_by_frequency_then_name():
    assert list(count(OUTCOMES).items()) == [("no-label", 2), ("ok", 1), ("unsafe-name", 1)]
    assert count([]) == {}


@pytest.mark.parametrize("line", ["{", "[]", '"x"', '{"name": "a"}', ""])
def test_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "ledger.jsonl"
    path.write_text(OUTCOMES[0].to_line() + "\n" + line + "\n")
    with pytest.raises(DatasetError, match="Line 2") as caught:
        read_ledger(path)
    assert caught.value.reason == "bad-ledger"


def test_missing_ledger(tmp_path):
    with pytest.raises(DatasetError) as caught:
        read_ledger(tmp_path / "none.jsonl")
    assert caught.value.reason == "not-found"


def test_fields_of_a_later_version_are_passed_over(tmp_path):
    (tmp_path / "l").write_text('{"name": "a", "outcome": "ok", "colour": "red"}\n')
    assert read_ledger(tmp_path / "l") == [Outcome("a", "ok")]

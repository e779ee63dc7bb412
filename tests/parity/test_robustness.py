"""492 odd, broken and extreme files: notes or one `MidiError` for each, in bounded time."""

import csv
import tarfile

import pytest

from musicbert.encoding import encode
from musicbert.errors import MidiError
from musicbert.midi import read_score
from tests.parity.test_reader_rules import same

pytestmark = pytest.mark.shared

REASONS = {"empty-file", "unreadable", "no-notes", "bad-division", "bad-value"}
#: files that all five recorded parsers read and we refuse on purpose, besides those without notes
REFUSED = {"made_here/timesig_4_2pow40.mid": "bad-value"}  # upstream asserts a denominator below 2^31
#: files that a majority of parsers read with that number of notes, and we refuse on purpose
REFUSED_BY_CHOICE = {
    "division_0.mid": "bad-division",  # time has no unit
    "timesig_0_4.mid": "bad-value",  # a bar of no length; miditoolkit refuses it too
    "type5_unknown.mid": "unreadable",  # no such format
    "MIDIBadHeaderFormat.mid": "unreadable",
}
#: files that none of the five parsers reads, and we do: pitch bends out of range, which are not used
READ_BY_CHOICE = {"Aquasonic_H2Whoa_-_Splatoon_3.mid", "Underwater_Neon_-_Splatoon_3_OST.mid"}
#: running status after a meta event is against the standard: symusic refuses it, miditoolkit reads it
RUNNING_STATUS_AFTER_META = "Караоке"


@pytest.fixture(scope="module")
def outcomes(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("robustness")
    with tarfile.open(shared / "data" / "robustness_midis.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    [table] = folder.rglob("expected.csv")
    results = []
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        try:
            notes, reason = len(read_score(table.parent / row["file"])), None
        except MidiError as error:
            notes, reason = None, error.reason
        results.append((row, notes, reason))
    return table.parent, results


def test_every_file_gives_notes_or_a_known_reason(outcomes):
    _, results = outcomes
    assert len(results) == 492
    for row, notes, reason in results:
        assert (notes and notes > 0) or reason in REASONS, row["file"]


def test_files_that_all_parsers_read(outcomes):
    _, results = outcomes
    compared = 0
    for row, notes, reason in results:
        if row["expect"] != "parse":
            continue
        if row["file"] in REFUSED:
            assert reason == REFUSED[row["file"]]
        elif row["notes_agree"] == "0":
            assert reason == "no-notes", row["file"]
        elif row["notes_agree"]:
            assert notes == int(row["notes_agree"]), row["file"]
            compared += 1
        else:
            assert notes == int(row["symusic"].split()[0]), row["file"]
    assert compared > 150


def test_files_that_some_parsers_read(outcomes):
    _, results = outcomes
    for row, notes, reason in results:
        if row["expect"] != "parse or reject" or not row["notes_agree"]:
            continue
        name = row["file"].rsplit("/", 1)[-1]
        if name in REFUSED_BY_CHOICE:
            assert reason == REFUSED_BY_CHOICE[name]
        elif "Unknown_File_Format" in row["file"] or RUNNING_STATUS_AFTER_META in name:
            assert reason == "unreadable"
        elif row["notes_agree"] == "0":
            assert reason == "no-notes"
        else:
            assert notes == int(row["notes_agree"]), row["file"]


def test_files_that_no_parser_reads_are_refused(outcomes):
    _, results = outcomes
    reasons = {row["file"]: reason for row, _, reason in results if row["expect"] == "reject"}
    assert len(reasons) == 160
    read = {name.rpartition("/")[2] for name, reason in reasons.items() if reason is None}
    assert read == READ_BY_CHOICE
    assert set(reasons.values()) == {"unreadable", "empty-file", None}


def test_both_readers_give_the_same(outcomes):
    """A sample, since the reader in Python is slow."""
    folder, results = outcomes
    for row, _, _ in results[::12]:
        same((folder / row["file"]).read_bytes())


def test_what_is_read_can_be_encoded_or_says_why(outcomes):
    folder, results = outcomes
    for row, notes, _ in results:
        if notes is None:
            continue
        try:
            rows = encode(folder / row["file"])
        except MidiError as error:
            assert error.reason == "unsupported-metre", row["file"]  # noqa: PT017
        else:
            assert 0 < len(rows) <= notes

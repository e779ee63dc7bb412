"""Encoding labelled files: every file has one outcome."""

import zipfile

from musicbert.corpus.files.archive import MidiSource
from musicbert.corpus.files.matching import match
from musicbert.corpus.ratings.gather import encode_members
from musicbert.corpus.ratings.piece import EncodeOptions


def source_of(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return MidiSource(path)


def test_a_damaged_file_is_an_outcome_and_the_others_go_on(tmp_path):
    source_of(tmp_path / "x.zip", {"a.mid": b"AAAA", "b.mid": b"no midi"}).close()
    (tmp_path / "x.zip").write_bytes((tmp_path / "x.zip").read_bytes().replace(b"AAAA", b"AAAB"))
    with MidiSource(tmp_path / "x.zip") as source:
        members = match(["b", "a"], source).members
        for workers in (1, 2):
            encoded = encode_members(source, members, EncodeOptions(), workers=workers)
            assert [(outcome.name, outcome.outcome) for outcome, _ in encoded] == [
                ("b", "unreadable"),
                ("a", "bad-checksum"),
            ]

"""MIDI files in archives and folders: names, order, damage and hostility."""

import os
import stat
import struct
import warnings
import zipfile

import pytest

from musicbert.corpus.files.archive import ArchiveLimits, MidiSource, copy_base, stem
from musicbert.errors import DatasetError


def make_zip(path, files, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def reason_of(path, **limits):
    with pytest.raises(DatasetError) as caught:
        MidiSource(path, limits=ArchiveLimits(**limits))
    assert caught.value.path == str(path)
    return caught.value.reason


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.mid", "a"),
        ("x/y/a.MIDI", "a"),
        ("Schubert_D935_no.3_4bars_2_1.mid", "Schubert_D935_no.3_4bars_2_1"),
        (" Schubert_D935_no.3_4bars_2_1.mid", "Schubert_D935_no.3_4bars_2_1"),
        ("x(1).mid", "x(1)"),
    ],
)
def test_stem_cuts_at_the_last_dot(path, name):
    assert stem(path) == name


@pytest.mark.parametrize(
    ("name", "base"),
    [("x_08_01(1)", "x_08_01"), ("x (2)", "x"), ("x", None), ("x(0)", None), ("(1)", None), ("x(1)y", None)],
)
def test_copies_are_noticed(name, base):
    assert copy_base(name) == base


FILES = {"top/": b"", "top/b.mid": b"B", "top/deep/a.b.MID": b"A", "c.midi": b"C", "top/readme.txt": b"?"}


def test_zip_and_folder_give_the_same_members(tmp_path):
    archive = make_zip(tmp_path / "x.zip", FILES)
    folder = tmp_path / "folder"
    for name, content in FILES.items():
        if not name.endswith("/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    for path in (archive, folder):
        with MidiSource(path) as source:
            assert [(m.name, m.path, source.read(m)) for m in source.members] == [
                ("c", "c.midi", b"C"),
                ("b", "top/b.mid", b"B"),
                ("a.b", "top/deep/a.b.MID", b"A"),
            ]
            assert source.rejected == ()


def test_nothing_is_written_to_disk(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"../../evil.mid": b"E", "/abs.mid": b"E", "ok.mid": b"O"})
    with MidiSource(archive) as source:
        assert [m.path for m in source.members] == ["ok.mid"]
        assert {m.path: m.reason for m in source.rejected} == {
            "../../evil.mid": "unsafe-name",
            "/abs.mid": "unsafe-name",
        }
        source.read(source.members[0])
    assert [each.name for each in tmp_path.iterdir()] == ["x.zip"]


@pytest.mark.parametrize("name", ["a\nb.mid", "a\x1b[2J.mid", ".mid/..mid", "x\\..\\y.mid"])
def test_names_that_cannot_be_written_to_a_line_are_refused(tmp_path, name):
    archive = make_zip(tmp_path / "x.zip", {name: b"E", "ok.mid": b"O"})
    with MidiSource(archive) as source:
        assert [m.path for m in source.members] == ["ok.mid"]


def test_hidden_files_are_passed_over(tmp_path):
    archive = make_zip(
        tmp_path / "x.zip", {"__MACOSX/._a.mid": b"", ".git/b.mid": b"", "._c.mid": b"", "a.mid": b"A"}
    )
    with MidiSource(archive) as source:
        assert [m.path for m in source.members] == ["a.mid"]
        assert source.rejected == ()


def test_archive_in_the_archive_is_listed(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"inner.zip": b"PK", "a.mid": b"A"})
    with MidiSource(archive) as source:
        assert [(m.path, m.reason) for m in source.rejected] == [("inner.zip", "nested-archive")]


def test_only_an_archive_in_the_archive(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"top/inner.zip": b"PK"})
    assert reason_of(archive) == "nested-archive"


def test_empty_archive(tmp_path):
    assert reason_of(make_zip(tmp_path / "x.zip", {})) == "empty-archive"


def test_empty_folder_and_archive_without_midi(tmp_path):
    (tmp_path / "folder").mkdir()
    assert reason_of(tmp_path / "folder") == "no-midi"
    assert reason_of(make_zip(tmp_path / "x.zip", {"a.txt": b""})) == "no-midi"


def test_missing_path(tmp_path):
    assert reason_of(tmp_path / "x.zip") == "not-found"


@pytest.mark.parametrize("content", [b"", b"MThd", b"not a zip"])
def test_not_a_zip(tmp_path, content):
    (tmp_path / "x.zip").write_bytes(content)
    assert reason_of(tmp_path / "x.zip") == "not-an-archive"


def test_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "x.zip")
    assert reason_of(tmp_path / "x.zip") == "not-an-archive"


def test_truncated_zip(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"a.mid": b"A" * 1000})
    archive.write_bytes(archive.read_bytes()[:-30])
    assert reason_of(archive) == "damaged-archive"


def test_every_truncation_is_one_clear_error(tmp_path):
    content = make_zip(tmp_path / "x.zip", {"a.mid": os.urandom(50), "b.mid": b"B"}).read_bytes()
    for length in range(len(content)):
        (tmp_path / "y.zip").write_bytes(content[:length])
        with pytest.raises(DatasetError):
            MidiSource(tmp_path / "y.zip")


def test_wrong_checksum(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"a.mid": b"AAAA", "b.mid": b"B"}, zipfile.ZIP_STORED)
    archive.write_bytes(archive.read_bytes().replace(b"AAAA", b"AAAB"))
    with MidiSource(archive) as source:
        with pytest.raises(DatasetError, match=r"a\.mid") as caught:
            source.read(source.members[0])
        assert caught.value.reason == "bad-checksum"
        assert source.read(source.members[1]) == b"B"


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_stream(tmp_path, method):
    archive = make_zip(tmp_path / "x.zip", {"a.mid": bytes(range(256)) * 4}, method)
    content = bytearray(archive.read_bytes())
    content[46:50] = b"\xff" * 4
    archive.write_bytes(content)
    with MidiSource(archive) as source, pytest.raises(DatasetError) as caught:
        source.read(source.members[0])
    assert caught.value.reason in ("damaged-member", "bad-checksum")


def test_encrypted_member(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"a.mid": b"A", "b.mid": b"B"})
    content = bytearray(archive.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 8] |= 1  # general purpose bit 0 in the central directory
    archive.write_bytes(content)
    with MidiSource(archive) as source:
        assert [(m.name, m.reason) for m in source.rejected] == [("a", "encrypted")]
        assert [m.name for m in source.members] == ["b"]


def test_symbolic_link_in_a_zip(tmp_path):
    info = zipfile.ZipInfo("link.mid")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
        archive.writestr("a.mid", b"A")
    with MidiSource(tmp_path / "x.zip") as source:
        assert [(m.name, m.reason) for m in source.rejected] == [("link", "symlink")]


def test_symbolic_links_in_a_folder(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside.mid").write_bytes(b"O")
    (folder / "a.mid").write_bytes(b"A")
    (folder / "inside.mid").symlink_to("a.mid")
    (folder / "outside.mid").symlink_to(tmp_path / "outside.mid")
    (folder / "dangling.mid").symlink_to("nothing.mid")
    (folder / "loop").symlink_to(folder)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.mid").write_bytes(b"B")
    (folder / "linked").symlink_to("../elsewhere")
    os.mkfifo(folder / "pipe.mid")
    with MidiSource(folder) as source:
        read = {m.path: source.read(m) for m in source.members}
        assert read == {"a.mid": b"A", "inside.mid": b"A", "linked/b.mid": b"B", "outside.mid": b"O"}
        assert {m.name: m.reason for m in source.rejected} == {
            "dangling": "not-a-file",
            "loop": "linked-folder",
            "pipe": "not-a-file",
        }


def test_file_that_vanishes(tmp_path):
    (tmp_path / "a.mid").write_bytes(b"A")
    with MidiSource(tmp_path) as source:
        (tmp_path / "a.mid").unlink()
        with pytest.raises(DatasetError) as caught:
            source.read(source.members[0])
    assert caught.value.reason == "not-found"


def test_bounds(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"a.mid": b"0" * 100, "b.mid": b"0" * 11})
    with MidiSource(archive, limits=ArchiveLimits(member_bytes=50)) as source:
        assert [(m.name, m.reason) for m in source.rejected] == [("a", "too-large")]
        assert [m.name for m in source.members] == ["b"]
    assert reason_of(archive, members=1) == "too-many-members"
    assert reason_of(archive, total_bytes=110) == "too-large"
    assert MidiSource(archive, limits=ArchiveLimits(members=2, total_bytes=111)).close() is None


def test_member_that_lies_about_its_size_is_still_bounded(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"a.mid": b"0" * 1_000_000})
    content = bytearray(archive.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", 10)  # uncompressed size in the central directory
    archive.write_bytes(content)
    limits = ArchiveLimits(member_bytes=50)
    with MidiSource(archive, limits=limits) as source, pytest.raises(DatasetError) as caught:
        source.read(source.members[0])
    assert caught.value.reason == "bad-checksum"


def test_same_path_twice(tmp_path):
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        warnings.simplefilter("ignore")
        for path, content in (("a.mid", b"1"), ("b.mid", b"1"), ("a.mid", b"2"), ("b.mid", b"1")):
            archive.writestr(path, content)
    with MidiSource(tmp_path / "x.zip") as source:
        assert [m.name for m in source.members] == ["b", "b"]  # the same bytes twice
        assert [(m.name, m.reason) for m in source.rejected] == [("a", "ambiguous-path")] * 2


@pytest.mark.shared
def test_published_archives(shared):
    with MidiSource(shared / "data" / "xai" / "segmented_midi.zip") as source:
        names = [member.name for member in source.members]
        assert len(names) == len(set(names)) == 1018
        assert sum(copy_base(name) is not None for name in names) == 17
        assert source.rejected == ()
    with MidiSource(shared / "data" / "percepiano" / "segment_midi.zip") as source:
        assert len(source.members) == 1202
        assert sum("." in member.name for member in source.members) == 117

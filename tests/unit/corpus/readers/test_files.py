"""Files of data sets: folders, zip and tar archives, read without being extracted."""

import io
import tarfile
import zipfile

import pytest

from musicbert.corpus.files.archive import ArchiveLimits
from musicbert.corpus.readers.files import SourceFiles
from musicbert.errors import DatasetError


def tar_of(path, members, links=()):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, kind, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return path


def test_only_wanted_files_sorted(tmp_path):
    path = tar_of(tmp_path / "a.tar.gz", [("x/b.csv", b"2"), ("x/a.csv", b"1"), ("x/c.txt", b"3")])
    with SourceFiles(path, r"\.csv$") as files:
        assert files.paths == ("x/a.csv", "x/b.csv")
        assert files.read("x/a.csv") == b"1"
        assert "x/c.txt" not in files
        with pytest.raises(DatasetError, match="not-found"):
            files.read("x/c.txt")


def test_hard_links_are_followed_and_symbolic_links_are_not(tmp_path):
    links = [
        ("set/linked.mid", tarfile.LNKTYPE, "pool/one.mid"),
        ("set/symbolic.mid", tarfile.SYMTYPE, "../pool/one.mid"),
        ("set/outside.mid", tarfile.LNKTYPE, "/etc/hostname"),
    ]
    path = tar_of(tmp_path / "a.tgz", [("pool/one.mid", b"music")], links)
    with SourceFiles(path, r"^set/.*\.mid$") as files:
        assert files.paths == ("set/linked.mid",)
        assert files.read("set/linked.mid") == b"music"


def test_hidden_and_unsafe_names_are_passed_over(tmp_path):
    members = [
        ("ok.mid", b"1"),
        (".hidden.mid", b"2"),
        ("__MACOSX/x.mid", b"3"),
        ("../up.mid", b"4"),
        ("/abs.mid", b"5"),
    ]
    tar_of(tmp_path / "a.tar.gz", members)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    for name in ("a.tar.gz", "a.zip"):
        with SourceFiles(tmp_path / name, r"\.mid$") as files:
            assert files.paths == ("ok.mid",)


def test_inside_takes_one_of_several_data_sets(tmp_path):
    for place in ("one/EMOPIA_1.0/test/a.mid", "one/MY_EMOPIA_1.0/test/b.mid"):
        path = tmp_path / place
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    with SourceFiles(tmp_path, inside="EMOPIA_1.0") as files:
        assert files.paths == ("one/EMOPIA_1.0/test/a.mid",)


@pytest.mark.parametrize("kind", ["tar", "zip", "folder"])
def test_sizes_are_bounded(tmp_path, kind):
    limits = ArchiveLimits(member_bytes=10, members=2)
    members = [("a.mid", b"x" * 11)]
    if kind == "tar":
        path = tar_of(tmp_path / "a.tar.gz", members)
    elif kind == "zip":
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(*members[0])
    else:
        path = tmp_path
        (tmp_path / "a.mid").write_bytes(members[0][1])

    def read():
        with SourceFiles(path, limits=limits) as files:
            return files.read("a.mid")

    with pytest.raises(DatasetError, match="too-large"):
        read()


def test_damaged_archives_are_one_error(tmp_path):
    path = tar_of(tmp_path / "a.tar.gz", [(f"{n}.mid", bytes(range(256)) * 40) for n in range(20)])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DatasetError, match="damaged-archive"):
        SourceFiles(path)
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DatasetError, match="damaged-archive"):
        SourceFiles(tmp_path / "b.zip")
    with pytest.raises(DatasetError, match="not-found"):
        SourceFiles(tmp_path / "c.tar")

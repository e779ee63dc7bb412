"""Sources: folder, zip, tar and list give the same files; what cannot be taken comes with its reason."""

import gzip
import io
import pickle
import tarfile
import zipfile
from dataclasses import replace

import pytest

from musicbert.corpus.builder.byte_sources import UrlPlace, ZipPlace
from musicbert.corpus.builder.sources import list_files
from musicbert.corpus.files.archive import _Header
from musicbert.errors import DatasetError

FILES = {"a/one.mid": b"MThd one" * 50, "a/two.MIDI": b"two", "b/c/three.mid": b"3" * 1000}
OTHERS = {"readme.txt": b"no", ".hidden.mid": b"no", "__MACOSX/a/one.mid": b"no"}
LIMIT = 1 << 20


@pytest.fixture
def folder(tmp_path):
    for name, content in (FILES | OTHERS).items():
        path = tmp_path / "midi" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "midi"


def read_all(source, **options):
    entries = [pickle.loads(pickle.dumps(entry)) for entry in list_files([str(source)], **options)]
    return {entry.member.path: entry.place.read(LIMIT) for entry in entries if entry.place}


def test_folder(folder):
    assert read_all(folder) == FILES
    assert list(read_all(folder)) == sorted(FILES)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_zip(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
        for name, content in (FILES | OTHERS).items():
            archive.writestr(name, content)
    assert read_all(tmp_path / "x.zip") == FILES
    (tmp_path / "y.zip").write_bytes(b"before" + (tmp_path / "x.zip").read_bytes())  # a self-extracting one
    assert read_all(tmp_path / "y.zip") == FILES


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".bz2"])
def test_tar(tmp_path, folder, suffix):
    path = tmp_path / f"x.tar{suffix}"
    with tarfile.open(path, f"w:{suffix[1:]}") as archive:
        archive.add(folder, ".")
        link = tarfile.TarInfo("link.mid")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert read_all(path) == FILES
    assert [e.member.reason for e in list_files([str(path)]) if not e.place] == ["not-a-file"]


def test_list_of_urls(tmp_path, folder):
    import fsspec

    with fsspec.open("memory://bucket/far.mid", "wb") as file:
        file.write(b"far")
    lines = ["# remark", "", "midi/a/one.mid", f"file://{folder}/a/two.MIDI", "memory://bucket/far.mid"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    assert list(read_all(tmp_path / "list.txt").values()) == [FILES["a/one.mid"], b"two", b"far"]
    assert read_all("memory://bucket/") == {"far.mid": b"far"}


@pytest.mark.parametrize(
    ("url", "reason"), [("memory://nowhere.mid", "not-found"), ("nonsense://x.mid", "cannot-open")]
)
def test_bad_urls(url, reason):
    with pytest.raises(DatasetError, match=reason):
        UrlPlace(url).read(LIMIT)


def test_excluded_and_unsafe_files_have_reasons(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("good.mid", "test_d960.mid", "../../evil.mid", "inner.zip"):
            archive.writestr(name, b"x")
    entries = list(list_files([str(tmp_path / "x.zip")], exclude="d960"))
    reasons = {entry.member.path: entry.member.reason for entry in entries}
    assert reasons == {
        "good.mid": None,
        "test_d960.mid": "excluded",
        "../../evil.mid": "unsafe-name",
        "inner.zip": "nested-archive",
    }
    assert all((entry.place is None) == (entry.member.reason is not None) for entry in entries)


def test_damaged_members(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.mid", FILES["a/one.mid"])
    (tmp_path / "x.zip").write_bytes(buffer.getvalue())
    (entry,) = list_files([str(tmp_path / "x.zip")])
    assert isinstance(entry.place, ZipPlace)
    for place, reason in [
        (replace(entry.place, crc=1), "bad-checksum"),
        (replace(entry.place, header=3), "damaged-member"),
        (replace(entry.place, method=99), "damaged-member"),
        (replace(entry.place, method=zipfile.ZIP_LZMA), "damaged-member"),
        (replace(entry.place, size=LIMIT + 1), "too-large"),
        (replace(entry.place, path=str(tmp_path / "gone.zip")), "not-found"),
    ]:
        with pytest.raises(DatasetError, match=reason):
            place.read(LIMIT)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.tar.gz", b"no archive", "damaged-archive"),
        ("x.tar", b"no archive", "damaged-archive"),
        ("x.zip", b"PK\x03\x04 broken", "damaged-archive"),
        ("x.7z", b"7z", "unknown-source"),
        ("x.txt", b"\xff\xfe\x00binary", "unknown-source"),
    ],
)
def test_bad_sources(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=reason):
        list(list_files([str(tmp_path / name)]))


def test_missing_source(tmp_path):
    for name in ("nothing", "nothing.zip", "nothing.tar.gz"):
        with pytest.raises(DatasetError, match="not-found"):
            list(list_files([str(tmp_path / name)]))


def test_cut_tar_is_an_error_not_a_short_corpus(tmp_path, folder):
    with tarfile.open(tmp_path / "x.tar.xz", "w:xz") as archive:
        archive.add(folder, ".")
    content = (tmp_path / "x.tar.xz").read_bytes()
    (tmp_path / "x.tar.xz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DatasetError, match="damaged-archive"):
        list(list_files([str(tmp_path / "x.tar.xz")]))


def test_a_midi_file_is_a_source(folder):
    assert read_all(folder / "a" / "two.MIDI") == {"two.MIDI": b"two"}


def test_every_file_found_is_used_or_named(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.mid").write_bytes(b"x")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "twice").symlink_to(tmp_path / "elsewhere")
    more = {f"more{suffix}": b"m" for suffix in (".kar", ".smf", ".RMI")}
    for name, content in (more | {"packed.mid.gz": b"z"}).items():
        (folder / name).write_bytes(content)
    assert read_all(folder) == FILES | more | {"linked/x.mid": b"x"}
    left = {e.member.path: e.member.reason for e in list_files([str(folder)]) if not e.place}
    assert left == {"twice": "linked-folder", "packed.mid.gz": "nested-archive"}


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE])
def test_a_header_that_claims_much_is_damage(tmp_path, kind):
    """A name of 1.5 GiB takes 6 MiB in a gzip file; it is refused before it is read."""
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 3 << 29
    path = tmp_path / "names.tar.gz"
    with gzip.open(path, "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT) + b"a" * 4096)
    with pytest.raises(DatasetError) as caught:
        list(list_files([str(path)]))
    assert caught.value.reason == "damaged-archive"
    # Python 3.13 words the error of the whole archive otherwise; this one is raised before anything is read
    with pytest.raises(tarfile.ReadError, match="claims 1610612736 bytes"):
        _Header.frombuf(info.tobuf(tarfile.GNU_FORMAT), "utf-8", "strict")


def test_sparse_files_in_a_tar_are_named(tmp_path):
    path = tmp_path / "sparse.tar"
    info = tarfile.TarInfo("a.mid")
    info.type = tarfile.GNUTYPE_SPARSE
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    (entry,) = list_files([str(path)])
    assert entry.member.reason == "not-a-file"


@pytest.mark.parametrize(
    ("header", "packed", "size", "reason"),
    [
        (0, 1 << 50, 10, "too-large"),
        (0, 10, 1 << 50, "too-large"),
        (1 << 40, 10, 10, "damaged-member"),
        (1 << 64, 10, 10, "cannot-read"),
    ],
)
def test_members_that_claim_any_size_are_errors(tmp_path, header, packed, size, reason):
    path = tmp_path / "claims.zip"
    path.write_bytes(b"PK\3\4" + bytes(60))
    with pytest.raises(DatasetError) as caught:
        ZipPlace(str(path), header, packed, size, zipfile.ZIP_DEFLATED, 0).read(32 << 20)
    assert caught.value.reason == reason


def test_a_list_without_lines_is_no_list(tmp_path):
    """A sparse file of 8 GB, which takes no place on the disk, is one line of zeros."""
    with (tmp_path / "list.txt").open("wb") as file:
        file.truncate(8 << 30)
    with pytest.raises(DatasetError, match="A line has more than 65,536 letters"):
        list(list_files([str(tmp_path / "list.txt")]))

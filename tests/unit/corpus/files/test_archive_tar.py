"""Tar archives: wherever one is cut or damaged, it is an error or nothing is missing."""

import io
import tarfile

import pytest

from musicbert.corpus.files.archive import DAMAGED, open_tar, tar_headers

CONTENTS = {f"{number}.mid": bytes([number]) * (300 * number) for number in range(6)}


def write(path, mode):
    with tarfile.open(path, mode) as archive:
        for name, content in CONTENTS.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def read(path, mode="r|*"):
    with open_tar(path, mode) as archive:
        return {info.name: archive.extractfile(info).read() for info in tar_headers(archive)}


@pytest.mark.parametrize("kind", ["", "gz", "xz", "bz2"])
def test_read(tmp_path, kind):
    assert read(write(tmp_path / "x", f"w:{kind}")) == CONTENTS


@pytest.mark.parametrize("mode", ["r:", "r|*"])
def test_cut_anywhere(tmp_path, mode):
    path = write(tmp_path / "x.tar", "w:")
    whole = path.read_bytes()
    end = whole.rstrip(b"\0")
    blocks = len(end) // 512 + 1  # of 512 bytes, the last one of a member
    for length in [*range(100, blocks * 512, 512), *range(512, blocks * 512 + 1, 512)]:
        path.write_bytes(whole[:length])
        with pytest.raises(DAMAGED):
            read(path, mode)
    path.write_bytes(whole[: (blocks + 1) * 512])  # a single block of zeros is an end
    assert read(path, mode) == CONTENTS


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2"])
def test_compressed_and_cut(tmp_path, kind):
    whole = write(tmp_path / "x", f"w:{kind}").read_bytes()
    short = 0
    for length in range(1, len(whole)):
        (tmp_path / "x").write_bytes(whole[:length])
        try:
            assert read(tmp_path / "x") == CONTENTS  # only what follows the members is missing
        except DAMAGED:
            short += 1
    assert short > len(whole) // 2


@pytest.mark.parametrize("mode", ["r:", "r|*"])
def test_damaged_header(tmp_path, mode):
    path = write(tmp_path / "x.tar", "w:")
    whole = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        at = archive.getmember("3.mid").offset
    whole[at + 1] ^= 255
    path.write_bytes(whole)
    with pytest.raises(DAMAGED):
        read(path, mode)

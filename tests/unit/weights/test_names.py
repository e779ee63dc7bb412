import contextlib
import hashlib
import http.server
import json
import os
import subprocess
import threading
from functools import partial

import pytest
from warm_python import python

from musicbert.errors import CheckpointError
from musicbert.weights import PUBLISHED, Source, resolve
from musicbert.weights.download import _held, download

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; `log` gets the ranges asked for, `cuts` how many bytes answers stop after."""

    def __init__(self, log, cuts, *args):
        self.log, self.cuts = log, cuts
        super().__init__(*args)

    def do_GET(self):
        asked = self.headers.get("Range")
        self.log.append(asked)
        if self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(CONTENT)
        if self.path == "/missing":
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.path != "/simple" else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    log, cuts = [], []
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, log, cuts))
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    httpd.log, httpd.cuts, httpd.url = log, cuts, f"http://127.0.0.1:{httpd.server_port}"
    yield httpd
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def reason_of(call, *arguments, **options):
    with pytest.raises(CheckpointError) as caught:
        call(*arguments, **options)
    assert str(caught.value)
    return caught.value.reason


def test_a_download_goes_on_where_it_was_cut(server, tmp_path):
    server.cuts[:] = [1000, 5000]
    seen = []
    path = download(
        f"{server.url}/x",
        tmp_path / "deep" / "x.pt",
        sha256=DIGEST,
        progress=lambda have, total: seen.append((have, total)),
    )
    assert path.read_bytes() == CONTENT
    assert server.log == [None, "bytes=1000-", "bytes=6000-"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [entry.name for entry in path.parent.iterdir()] == ["x.pt"]
    download(f"{server.url}/x", path, sha256=DIGEST)  # it is there
    assert len(server.log) == 3


def test_a_later_run_goes_on_too(server, tmp_path):
    server.cuts[:] = [1000, 1000, 1000]
    assert reason_of(download, f"{server.url}/x", tmp_path / "x.pt", sha256=DIGEST) == "download-cut"
    assert not (tmp_path / "x.pt").exists()
    assert download(f"{server.url}/x", tmp_path / "x.pt", sha256=DIGEST).read_bytes() == CONTENT
    assert server.log[-1] == "bytes=3000-"


def test_a_server_without_ranges_starts_again(server, tmp_path):
    (tmp_path / ".x.pt.partial").write_bytes(b"abc")
    assert download(f"{server.url}/simple", tmp_path / "x.pt", sha256=DIGEST).read_bytes() == CONTENT


def test_a_complete_partial_file_needs_no_bytes(server, tmp_path):
    (tmp_path / ".x.pt.partial").write_bytes(CONTENT)
    assert download(f"{server.url}/x", tmp_path / "x.pt", sha256=DIGEST).read_bytes() == CONTENT


def test_wrong_bytes_are_never_used(server, tmp_path):
    assert reason_of(download, f"{server.url}/x", tmp_path / "x.pt", sha256="0" * 64) == "bad-checksum"
    assert not list(tmp_path.iterdir())


def test_servers_that_refuse_or_are_not_there(server, tmp_path):
    assert reason_of(download, f"{server.url}/missing", tmp_path / "x", sha256=DIGEST) == "download-failed"
    assert reason_of(download, "http://127.0.0.1:9/x", tmp_path / "x", sha256=DIGEST) == "no-network"
    assert reason_of(download, "file:///etc/hosts", tmp_path / "x", sha256=DIGEST) == "bad-url"


@pytest.mark.parametrize(("address", "size"), [("endless", 3_000_000), ("x", len(CONTENT) - 1)])
def test_no_more_is_written_than_the_file_has(server, tmp_path, address, size):
    arguments = f"{server.url}/{address}", tmp_path / "x"
    assert reason_of(download, *arguments, sha256=DIGEST, size=size) == "too-large"
    assert not list(tmp_path.iterdir())


def test_a_body_of_unknown_size_ends_too(server, tmp_path, monkeypatch):
    monkeypatch.setattr("musicbert.weights.download.MAX_BYTES", 3_000_000)
    assert reason_of(download, f"{server.url}/endless", tmp_path / "x", sha256=DIGEST) == "too-large"


def test_processes_that_fetch_one_file_all_get_it(server, tmp_path):
    """The first one downloads, in pieces; the others wait for it."""
    server.cuts[:] = [1000, 2000]
    program = "import sys; from musicbert.weights.download import download; "
    program += "print(download(sys.argv[1], sys.argv[2], sha256=sys.argv[3]))"
    command = [python(), "-c", program, f"{server.url}/x", str(tmp_path / "x"), DIGEST]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [each.communicate()[0].strip() for each in running] == [str(tmp_path / "x")] * 4
    assert [each.returncode for each in running] == [0] * 4
    assert server.log == [None, "bytes=1000-", "bytes=3000-"]
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_who_comes_just_after_another_has_fetched_it_leaves_nothing(tmp_path):
    target, partial = tmp_path / "x", tmp_path / ".x.partial"
    target.write_bytes(CONTENT)  # between the look at the target and the opening of the partial file
    with _held(partial, target) as file:
        assert file is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_another_file_in_place_of_the_partial_one_is_left_alone(server, tmp_path, link):
    other = tmp_path / "other"
    other.write_bytes(b"mine")
    link(other, tmp_path / ".x.partial")
    assert download(f"{server.url}/x", tmp_path / "x", sha256=DIGEST).read_bytes() == CONTENT
    assert other.read_bytes() == b"mine"
    assert not (tmp_path / "x").is_symlink()


def test_a_full_disk_is_told_and_the_part_is_kept(server, tmp_path, monkeypatch):
    from musicbert.weights import download as module

    class Full:
        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, content):
            if self.file.tell() > 1000:
                raise OSError(28, "No space left on device")
            return self.file.write(content[:2000])

    fetch = module._fetch
    monkeypatch.setattr(module, "_fetch", lambda url, file, *more: fetch(url, Full(file), *more))
    assert reason_of(download, f"{server.url}/x", tmp_path / "x", sha256=DIGEST) == "cannot-write"
    assert (tmp_path / ".x.partial").stat().st_size == 2000


@pytest.mark.parametrize("file", ["", ".", "..", "../x", "/x", "a/b", "a\\b", "a\0b", "a\nb", 1, None])
def test_odd_tables_of_sources_are_one_error(tmp_path, file):
    (tmp_path / "sources.json").write_text(json.dumps({"x": {"file": file}}))
    assert reason_of(resolve, "x", folders=[tmp_path], cache=tmp_path) == "bad-sources"


def test_names_are_found_in_folders_and_tables(server, tmp_path, fixtures):
    places = [tmp_path / "checkpoints", tmp_path / "more"]
    find = partial(resolve, folders=places, cache=tmp_path / "cache")
    for path in (
        "checkpoints/a/model.safetensors",
        "checkpoints/b.pt",
        "more/c/checkpoint_best.pt",
        "cache/d.safetensors",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    assert find("a") == tmp_path / "checkpoints/a"
    assert find("b") == tmp_path / "checkpoints/b.pt"
    assert find("c") == tmp_path / "more/c/checkpoint_best.pt"
    assert find("d") == tmp_path / "cache/d.safetensors"
    assert find(tmp_path / "checkpoints/b.pt") == tmp_path / "checkpoints/b.pt"
    assert find(tmp_path / "more/c") == tmp_path / "more/c/checkpoint_best.pt"

    entry = {"url": f"{server.url}/x", "sha256": DIGEST}
    (tmp_path / "more" / "sources.json").write_text(json.dumps({"ours": entry}))
    assert find("ours").read_bytes() == CONTENT
    assert find("ours") == tmp_path / "cache/ours.pt"
    assert len(server.log) == 1
    other = Source("other.pt", f"{server.url}/x", DIGEST)
    assert find("other", sources={"other": other}) == tmp_path / "cache/other.pt"


def test_published_names_say_where_people_find_them(tmp_path):
    find = partial(resolve, folders=[tmp_path], cache=tmp_path / "cache")
    for name, source in PUBLISHED.items():
        with pytest.raises(CheckpointError, match=source.file) as caught:
            find(name)
        assert caught.value.reason == "by-hand"
        assert source.page in str(caught.value)
        (tmp_path / source.file).write_bytes(b"")
        assert find(name) == tmp_path / source.file


def test_what_is_nowhere_is_one_clear_error(tmp_path):
    find = partial(resolve, folders=[tmp_path], cache=tmp_path / "cache")
    with pytest.raises(CheckpointError, match="musicbert_small") as caught:
        find("nothing")
    assert caught.value.reason == "unknown-name"
    (tmp_path / "empty").mkdir()
    for path in ("nothing.pt", "./a/b", tmp_path / "empty"):
        assert reason_of(find, path) == "not-found"
    for text in ("no json", "[1]", '{"x": {"nonsense": 1}}', '{"x": {"file": "../../x"}}'):
        (tmp_path / "sources.json").write_text(text)
        assert reason_of(find, "x") == "bad-sources"

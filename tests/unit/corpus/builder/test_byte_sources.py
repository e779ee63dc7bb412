"""URLs over HTTP, with servers of every habit: whole bytes or a reason, never a part of a file."""

import contextlib
import hashlib
import http.server
import sys
import threading
from functools import partial

import fsspec
import pytest

from musicbert.corpus.builder import BuildOptions, build_corpus, job
from musicbert.corpus.builder import byte_sources as places
from musicbert.corpus.builder.byte_sources import UrlPlace
from musicbert.corpus.builder.sources import list_files
from musicbert.corpus.files.ledger import read_ledger
from musicbert.errors import DatasetError

pytest.importorskip("aiohttp", reason="fsspec needs it for http; it is in the extra [remote]")

BODY = bytes(range(256)) * 2000
LIMIT = 1 << 20
PIECE = 50_000


class Server(http.server.BaseHTTPRequestHandler):
    """Serves a folder below ``/midi/``, and BODY in several ways; ``busy``: answers 503 still to come."""

    protocol_version = "HTTP/1.1"

    def __init__(self, state, *args):
        self.state = state
        super().__init__(*args)

    def do_HEAD(self):
        self.answer(b"")

    def do_GET(self):
        self.state["fetched"] = [*self.state.get("fetched", []), self.path]
        self.answer(None)

    def answer(self, body):
        self.state["asked"].append(self.path)
        if self.path.startswith("/status/"):
            self.say(int(self.path.split("/")[2].split(".")[0]), {}, b"")
        elif self.path == "/busy.mid" and self.state["busy"]:
            self.state["busy"] -= 1
            self.say(503, {}, b"")
        elif self.path.startswith("/midi"):
            self.folder(body)
        elif self.path == "/chunked.mid":
            self.say(200, {"Transfer-Encoding": "chunked"}, body, BODY)
        elif self.path == "/cut.mid":
            self.close_connection = True
            self.say(200, {"Content-Length": len(BODY)}, body, BODY[:1000])
        else:
            self.say(200, {"Content-Length": len(BODY)}, body, BODY)

    def folder(self, body):
        path = self.state["folder"] / self.path.removeprefix("/midi").lstrip("/")
        if path.is_dir() and not self.path.endswith("/"):
            self.say(301, {"Location": f"{self.path}/", "Content-Length": 0}, b"")
        elif path.is_dir():
            names = [f"{each.name}{'/' if each.is_dir() else ''}" for each in sorted(path.iterdir())]
            page = "".join(f'<a href="{name}">{name}</a>' for name in names).encode()
            self.say(200, {"Content-Length": len(page), "Content-Type": "text/html"}, body, page)
        else:
            if not path.is_file():
                return self.say(self.state["missing"], {}, body)
            content = path.read_bytes()
            tag = {"ETag": self.state["etag"](content)} if self.state["etag"] else {}
            self.say(200, {"Content-Length": len(content), **tag}, body, content)
        return None

    def say(self, status, headers, body, content=b""):
        self.send_response(status)
        for name, value in (headers or {"Content-Length": 0}).items():
            self.send_header(name, str(value))
        self.end_headers()
        if body is not None:
            return
        if "Transfer-Encoding" not in headers:
            self.wfile.write(content)
            return
        for begin in range(0, len(content), PIECE):
            piece = content[begin : begin + PIECE]
            self.wfile.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass

    def handle(self):
        with contextlib.suppress(ConnectionError):  # the reader had enough
            super().handle()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "_RETRIES_S", (0.01, 0.01))
    state = {"asked": [], "busy": 0, "folder": tmp_path / "midi", "etag": None, "missing": 404}
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, state))
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.mark.parametrize("name", ["plain.mid", "chunked.mid"])
def test_the_whole_file_comes(server, name):
    assert UrlPlace(f"{server[0]}/{name}").read(LIMIT) == BODY
    with pytest.raises(DatasetError, match="too-large"):
        UrlPlace(f"{server[0]}/{name}").read(2 * PIECE)


def test_a_server_that_is_busy_is_asked_again(server):
    url, state = server
    state["busy"] = 3  # fsspec asks twice at a time
    assert UrlPlace(f"{url}/busy.mid").read(LIMIT) == BODY
    assert state["busy"] == 0


@pytest.mark.parametrize(
    ("path", "reason", "asked"),
    [
        ("status/404.mid", "not-found", 2),
        ("status/410.mid", "not-found", 2),
        ("status/403.mid", "cannot-read", 2),
        ("status/429.mid", "cannot-read", 6),
        ("status/500.mid", "cannot-read", 6),
        ("cut.mid", "cannot-read", 6),
    ],
)
def test_what_does_not_come_has_its_reason(server, path, reason, asked):
    url, state = server
    with pytest.raises(DatasetError, match=reason) as caught:
        UrlPlace(f"{url}/{path}").read(LIMIT)
    assert caught.value.reason == reason
    assert "status" not in path or reason == "not-found" or path[7:10] in str(caught.value.message)
    assert len(state["asked"]) == asked


def test_no_server_is_not_a_missing_file(server):
    del server  # for the short pauses
    with pytest.raises(DatasetError, match="cannot-read"):
        UrlPlace("http://127.0.0.1:9/x.mid").read(LIMIT)


def test_a_list_and_a_folder_of_urls_give_the_corpus_of_the_files(server, tmp_path, make_midi_folder):
    source = make_midi_folder(8)
    url, state = server
    state["folder"] = source
    paths = sorted(str(path.relative_to(source)) for path in source.rglob("*.mid"))
    assert [entry.member.path for entry in list_files([f"{url}/midi/"])] == paths
    lines = [f"{url}/midi/{path}" for path in paths]
    (tmp_path / "list.txt").write_text("\n".join([*lines, f"{url}/status/404.mid"]))
    options = BuildOptions(shares=(50, 25, 25))
    corpora = {}
    for name, each in (("files", source), ("list", tmp_path / "list.txt"), ("folder", f"{url}/midi/")):
        report = build_corpus(each, tmp_path / name, options, progress=False)
        assert report.outcomes == {"ok": 8, **({"not-found": 1} if name == "list" else {})}
        ledger = read_ledger(tmp_path / name / "ledger.jsonl")
        assert len(ledger) == report.found
        corpora[name] = (tmp_path / name / "train.bin").read_bytes()
    assert corpora["files"] == corpora["folder"]


def interrupted(source, output, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(job, "_assemble", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_corpus(source, output, progress=False)


def other_bytes(path):
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["none", "weak", "strong"])
def test_a_build_that_goes_on_sees_that_a_url_has_other_bytes(
    server, tmp_path, make_midi_folder, monkeypatch, kind
):
    url, state = server
    strong = lambda content: f'"{hashlib.sha256(content).hexdigest()}"'  # noqa: E731
    tags = {"none": None, "weak": lambda _: 'W/"one"', "strong": strong}
    state["etag"] = tags[kind]
    state["folder"] = make_midi_folder(4)
    paths = sorted(state["folder"].rglob("*.mid"))
    names = [f"{url}/midi/{path.relative_to(state['folder'])}" for path in paths]
    (tmp_path / "list.txt").write_text("\n".join([*names, f"{url}/midi/status.mid"]))
    state["missing"] = 500
    interrupted(tmp_path / "list.txt", tmp_path / "bin", monkeypatch)
    other_bytes(paths[1])
    with pytest.raises(DatasetError, match="other bytes") as caught:
        build_corpus(tmp_path / "list.txt", tmp_path / "bin", progress=False)
    assert caught.value.reason == "source-changed"
    assert names[1] in caught.value.message
    assert names[0] not in caught.value.message
    other_bytes(paths[1])  # as it was
    state["fetched"] = []
    gone = paths[2].rename(tmp_path / "gone.mid")
    with pytest.raises(DatasetError, match="cannot-read"):
        build_corpus(tmp_path / "list.txt", tmp_path / "bin", progress=False)
    gone.rename(paths[2])
    state["fetched"] = []
    report = build_corpus(tmp_path / "list.txt", tmp_path / "bin", progress=False)
    assert report.outcomes == {"ok": 4, "cannot-read": 1}
    assert bool(state["fetched"]) == (kind != "strong")
    assert "version" not in (tmp_path / "bin" / "ledger.jsonl").read_text()


def test_a_file_system_that_says_nothing_is_read_again(tmp_path, make_midi_folder, monkeypatch):
    memory = fsspec.filesystem("memory")
    for path in make_midi_folder(3).rglob("*.mid"):
        memory.pipe(f"/changes/{path.name}", path.read_bytes())
    interrupted("memory://changes", tmp_path / "bin", monkeypatch)
    name = sorted(memory.find("/changes"))[1]
    content = bytearray(memory.cat(name))
    content[-8] ^= 1
    memory.pipe(name, bytes(content))
    with pytest.raises(DatasetError, match=f"other bytes: memory://changes{name.removeprefix('/changes')}"):
        build_corpus("memory://changes", tmp_path / "bin", progress=False)
    assert build_corpus("memory://changes", tmp_path / "bin", restart=True, progress=False).found == 3


@pytest.mark.parametrize(("url", "package"), [("s3://b/x.mid", "s3fs"), ("gs://b/x.mid", "gcsfs")])
def test_a_missing_package_is_named(url, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DatasetError, match=package):
        UrlPlace(url).read(LIMIT)


@pytest.mark.parametrize(
    ("path", "reason"),
    [("status/404/", "not-found"), ("status/403/", "cannot-open"), ("status/503/", "cannot-open")],
)
def test_a_folder_that_cannot_be_listed_is_one_error(server, path, reason):
    with pytest.raises(DatasetError, match=reason):
        list(list_files([f"{server[0]}/{path}"]))


def test_no_server_behind_a_folder_is_one_error():
    with pytest.raises(DatasetError, match="cannot-open"):
        list(list_files(["http://127.0.0.1:9/midi/"]))

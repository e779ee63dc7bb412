"""`musicbert data`: the table of public data, and fetching from a server of the test's own."""

import hashlib
import http.server
import json
import threading
from dataclasses import replace
from functools import partial

import pytest

from musicbert.cli.main import main
from musicbert.corpus.files import public_data as table
from musicbert.errors import DatasetError

CONTENT = b"music " * 10_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, the first time cut after a thousand bytes; keeps the ranges that were asked for."""

    def __init__(self, asked, *args):
        self.asked = asked
        super().__init__(*args)

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:] if len(self.asked) > 1 else CONTENT[:1000])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    asked = []
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, asked))
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{httpd.server_port}/set.zip"
    entry = replace(table.public_data()["pop909"], url=url, file="set.zip", sha256=None)
    monkeypatch.setattr(table, "public_data", lambda: {"made": entry})
    yield asked
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_every_entry_says_where_it_comes_from(capsys):
    entries = table.public_data()
    for name, entry in entries.items():
        assert entry.url.startswith(("https://", "http://")), name
        assert entry.page.startswith("https://"), name
        assert entry.licence, name
        assert "/" not in entry.file, name
        assert entry.sha256 is None or len(entry.sha256) == 64, name
    assert main(["data", "list"]) == 0
    assert all(name in capsys.readouterr().out for name in ["pop909"])
    assert main(["data", "list", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(entries)
    with pytest.raises(DatasetError, match="unknown-name"):
        table.find_public_data("nothing")


def test_a_file_without_a_known_checksum_is_fetched_only_when_asked(server, tmp_path, capsys):
    words = ["data", "get", "made", "--output", str(tmp_path), "--quiet"]
    assert main(words) == 2
    assert "no-checksum" in capsys.readouterr().err
    assert server == []
    assert main([*words, "--unverified"]) == 0
    assert DIGEST in capsys.readouterr().out
    assert (tmp_path / "set.zip").read_bytes() == CONTENT
    assert server == [None, "bytes=1000-"]  # went on where it was cut
    assert main(words) == 0  # it is there
    assert len(server) == 2


def test_a_checksum_is_held_against_the_file(server, tmp_path, capsys):
    words = ["data", "get", "made", "--output", str(tmp_path), "--quiet"]
    assert main([*words, "--sha256", "0" * 64]) == 2
    assert "bad-checksum" in capsys.readouterr().err
    assert not (tmp_path / "set.zip").exists()
    assert main([*words, "--sha256", DIGEST]) == 0
    assert main([*words, "--sha256", "0" * 64]) == 2


def test_without_a_network_the_message_says_what_to_do(monkeypatch, tmp_path, capsys):
    entry = replace(table.public_data()["pop909"], url="http://127.0.0.1:9/x.zip", sha256=DIGEST)
    monkeypatch.setattr(table, "public_data", lambda: {"made": entry})
    assert main(["data", "get", "made", "--output", str(tmp_path), "--quiet"]) == 2
    assert "no-network" in capsys.readouterr().err
    assert main(["data", "get", "other"]) == 2
    assert "unknown-name" in capsys.readouterr().err

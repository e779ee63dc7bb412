"""The server: its questions, its limits, and whom it answers."""

import asyncio
import base64
import io
import json
import os
import signal
import time
from dataclasses import replace
from urllib.parse import quote, unquote

import mido
import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs the extra page")
pytest.importorskip("pebble", reason="needs the extra page")

from pebble import ProcessExpired
from starlette.testclient import TestClient

from musicbert.errors import MidiError
from musicbert.explanation import passages
from musicbert.midi import read_score
from musicbert.midi.writer import midi_bytes
from musicbert.similarity import index_folder
from musicbert.web import work
from musicbert.web.app import HEADERS, MOST_BYTES, make_app
from musicbert.web.pool import FullError, Pool


class Here:
    """A pool that answers in this process."""

    async def run(self, function, *arguments):
        return function(*arguments)

    def close(self):
        """Nothing to end."""


@pytest.fixture(scope="module")
def waltz():
    return work.example("expressive")


@pytest.fixture(scope="module")
def client():
    return TestClient(make_app(Here()), base_url="http://127.0.0.1:8000")


def ask(client, question, data, name="piece.mid", **wishes):
    words = quote(json.dumps({"name": name, **wishes}))
    return client.post(f"/api/{question}", content=data, headers={"X-Question": words})


def test_the_page_and_its_files_ask_nobody_else(client):
    for path in ("/", "/static/page.js", "/static/page.css", "/static/roll.js"):
        response = client.get(path)
        assert response.status_code == 200
        assert "http://" not in response.text
        assert "https://" not in response.text
        assert all(response.headers[name] == value for name, value in HEADERS.items())
    for path in ("/static/../app.py", "/static/app.py", "/static/%2e%2e%2fapp.py", "/other"):
        assert client.get(path).status_code == 404


def test_a_file_is_answered(client, waltz):
    answer = ask(client, "analyse", waltz).json()
    score = read_score(waltz)
    assert answer["notes"] == len(score) == len(answer["roll"]["pitch"])
    assert answer["roll"]["pitch"] == score.pitch.tolist()
    assert len(answer["profile"]["dimensions"]) > 10
    names = [each["name"] for each in answer["downloads"]]
    assert names == ["piece-report.html", "piece.json", "piece-marked.mid"]
    assert len(read_score(base64.b64decode(answer["downloads"][2]["data"]))) >= len(score)
    assert "profile" in json.loads(base64.b64decode(answer["downloads"][1]["data"]))


def test_music_without_a_player_has_reasons_in_words(client):
    answer = ask(client, "analyse", work.example("score")).json()
    assert answer["profile"] is None
    assert all(each["text"] for each in answer["no_profile_because"])


def test_reasons_light_up_notes_or_bars(client, waltz):
    name = ask(client, "analyse", waltz).json()["profile"]["dimensions"][3]["name"]
    answer = ask(client, "reasons", waltz, dimensions=[name]).json()
    assert answer["dimensions"][name]["words"]
    assert len(answer["factors"][name]["factors"]) == 7
    assert len(answer["group_of"]) == len(read_score(waltz))
    assert len(answer["effects"][name]) == max(answer["group_of"]) + 1
    assert any(answer["effects"][name])


def test_what_lights_up_was_measured_and_is_said(monkeypatch):
    def lit(notes, known):
        monkeypatch.setattr("musicbert.explanation.passages.offered", lambda: {"profile": known})
        return passages.lit(notes)

    both = {"notes gone": ["gone"], "bars gone": ["gone"]}
    assert lit(50, both)[0] == "note"
    assert lit(5000, both)[0] == "bar"
    assert "too long" in lit(5000, both)[1]
    assert lit(50, {"notes gone": ["flat"], "bars gone": ["gone"]})[0] == "bar"
    assert lit(50, {"notes gone": [], "bars gone": []})[0] == ""
    assert lit(50_000, both)[0] == ""
    assert "too long to leave out its notes" in lit(5000, {"notes gone": ["gone"]})[1]


def test_another_way_of_playing(client, waltz):
    answer = ask(client, "changed", waltz, strengths={"pedal": 0}).json()
    after = read_score(base64.b64decode(answer["download"]["data"]))
    assert not ((after.control_number == 64) & (after.control_value > 0)).any()
    assert set(answer["after"]) == set(answer["before"])
    for strengths in ({"swing": 1}, {"pedal": 9}, {"pedal": "much"}):
        refused = ask(client, "changed", waltz, strengths=strengths)
        assert refused.status_code == 422
        assert refused.json()["error"]


def test_a_remix_keeps_the_rest(client, waltz):
    answer = ask(client, "remix", waltz, bars=[2, 3], versions=1, share=1.0).json()
    [version] = answer["versions"]
    before, after = read_score(waltz), read_score(base64.b64decode(version["download"]["data"]))
    assert len(after) == len(before)
    assert version["changed"] > 0
    kept = [sorted(zip(each.onset, each.offset, each.velocity, strict=True)) for each in (before, after)]
    assert kept[0] == kept[1]
    assert sorted(before.pitch) != sorted(after.pitch)
    wrong = ask(client, "remix", waltz, bars=[90, 91])
    assert wrong.status_code == 422
    assert wrong.json()["hint"]


def test_similar_pieces_come_from_the_folder_of_the_server_alone(waltz, tmp_path):
    (tmp_path / "songs").mkdir()
    for name in work.examples():
        (tmp_path / "songs" / f"{name}.mid").write_bytes(work.example(name))
    index_folder(tmp_path / "songs", tmp_path / "index")
    client = TestClient(make_app(Here(), index=str(tmp_path / "index")), base_url="http://localhost")
    assert client.get("/api/about").json()["similar"]
    first, *others = ask(client, "similar", waltz, folder="/nowhere").json()["answers"]
    assert first["file"] == "expressive.mid"
    assert first["same_file"]
    assert first["likeness"] == pytest.approx(1)
    assert {each["file"] for each in others} == {"even.mid", "score.mid"}


def test_sound(client, waltz):
    pytest.importorskip("tinysoundfont", reason="needs a synthesiser")
    wav = ask(client, "sound", waltz)
    assert wav.headers["content-type"] == "audio/wav"
    assert wav.content[:4] == b"RIFF"
    assert unquote(wav.headers["x-notes"]) == "[]"
    score = read_score(waltz)
    soft = {"control_tick": [0], "control_number": [67], "control_value": [127], "control_track": [0]}
    columns = {name: np.array(values, np.int64) for name, values in soft.items()}
    wav = ask(client, "sound", midi_bytes(replace(score, **columns)))
    assert json.loads(unquote(wav.headers["x-notes"])) == ["not heard: the soft pedal"]


def test_what_is_no_music_is_said(client):
    for data in (b"", b"hello", b"MThd\0\0\0\6\0\1\0\1\1\xe0", b"RIFF\0\0\0\0WAVEfmt "):
        response = ask(client, "analyse", data)
        assert response.status_code == 422
        assert response.json()["error"]
    assert ask(client, "analyse", b"x" * (MOST_BYTES + 1)).status_code == 413
    assert ask(client, "unknown", b"").status_code == 404
    assert ask(client, "similar", b"").status_code == 404  # started without an index
    assert client.get("/api/example/none").status_code == 422
    odd = client.post("/api/analyse", content=b"", headers={"X-Question": "["})
    assert odd.status_code == 400


def test_no_path_of_a_request_is_opened(client, waltz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = ask(client, "analyse", waltz, name="../../etc/passwd").json()
    assert answer["file"] == "passwd"
    assert ask(client, "analyse", waltz, folder="/etc").status_code == 200
    assert not list(tmp_path.iterdir())


def test_limits_of_notes_and_time(waltz, monkeypatch):
    monkeypatch.setattr(work, "MOST_NOTES", 10)
    with pytest.raises(MidiError, match="notes"):
        work.work("analyse", waltz, "x.mid", {})
    monkeypatch.setattr(work, "MOST_NOTES", 10_000)
    monkeypatch.setattr(work, "MOST_SECONDS", 1)
    with pytest.raises(MidiError, match="hours"):
        work.work("analyse", waltz, "x.mid", {})


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_other_pages_are_refused(client, headers):
    response = client.get("/api/about", headers=headers)
    assert response.status_code == 403
    assert response.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
    assert client.get("/api/about", headers={"Origin": "http://127.0.0.1:8000"}).status_code == 200


def test_an_error_that_nobody_foresaw_is_one_sentence(waltz):
    class Broken(Here):
        async def run(self, function, *arguments):
            raise RuntimeError("inside")

    with TestClient(make_app(Broken()), base_url="http://localhost") as client:
        response = ask(client, "analyse", waltz)
    assert response.status_code == 500
    assert "inside" not in response.text


def test_an_answer_that_json_cannot_hold_is_one_sentence():
    class NotANumber(Here):
        async def run(self, function, *arguments):
            return {"value": float("nan")}

    with TestClient(make_app(NotANumber()), base_url="http://localhost") as client:
        response = ask(client, "analyse", b"")
    assert response.status_code == 500
    assert response.json()["error"] == "This could not be answered: ValueError."


def test_an_instrument_that_another_track_sets_is_said(client):
    program, notes = mido.MidiTrack([mido.Message("program_change", program=40)]), mido.MidiTrack()
    notes += [mido.Message("note_on", note=60, velocity=80), mido.Message("note_off", note=60, time=480)]
    file = io.BytesIO()
    mido.MidiFile(tracks=[program, notes]).save(file=file)
    answer = ask(client, "analyse", file.getvalue()).json()
    assert answer["profile"] is None
    assert "1 of 1 notes have an instrument that another track sets" in answer["warnings"][0]


@pytest.fixture
def pool(monkeypatch):
    monkeypatch.setattr("musicbert.web.pool.warm", str)  # workers start at once
    pool = Pool(1, seconds=3)
    yield pool
    pool.close()


def test_a_killed_worker_is_replaced_and_a_slow_one_stopped(pool, tmp_path):
    async def questions():
        first = await pool.run(os.getpid)
        with pytest.raises(TimeoutError):
            await pool.run(time.sleep, 60)
        second = await pool.run(os.getpid)
        with pytest.raises(ProcessExpired):
            await pool.run(os._exit, 1)  # asked once more, and it ends again
        os.kill(await pool.run(os.getpid), signal.SIGKILL)
        return first, second, await pool.run(os.getpid)

    assert len(set(asyncio.run(questions()))) == 3


def test_ten_at_once_lose_nothing_and_more_are_told_to_wait(pool, monkeypatch):
    async def questions():
        return await asyncio.gather(*(pool.run(pow, 2, k) for k in range(10)))

    assert asyncio.run(questions()) == [2**k for k in range(10)]
    monkeypatch.setattr(pool, "_most", 0)
    with pytest.raises(FullError):
        asyncio.run(pool.run(os.getpid))

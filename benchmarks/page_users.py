"""Several users of the page at once, with real files: what is answered, refused or lost, and how fast.

    python benchmarks/page_users.py performances/ odd_files/ --users 10 --output FILE.md

Starts ``musicbert serve``. Each user is a thread that opens files one after another, drawn from each folder
in turn, and asks of each what a person would: the profile, the reasons where there is a profile, the sound,
another way of playing, a remix of four bars. When as many answers have come as there are files, one worker
process is killed. An answer is *done* (the wanted content), *refused* (a sentence that says why, such as a
damaged file) or *lost* (anything else: no answer, an answer without a reason, a time-out). Linux only
(``/proc``).
"""

import argparse
import datetime
import http.client
import json
import os
import platform
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("numpy", "torch", "symusic", "starlette", "uvicorn", "pebble")
#: statuses of an answer that says why there is none
REFUSED = (413, 422)
CHANGE = {"strengths": {"pedal": 0.0, "tempo": 1.5}}
REMIX = {"bars": [1, 4], "versions": 1}


class User(threading.Thread):
    """Opens files and asks about each; keeps kind of question, outcome and seconds."""

    def __init__(self, port: int, files: list[Path]) -> None:
        super().__init__()
        self.port, self.files, self.answers = port, files, []

    def run(self) -> None:
        """Ask until the files are through."""
        for path in self.files:
            data = path.read_bytes()
            found = self.ask("analyse", path, data)
            if found is None:
                continue
            profile = json.loads(found)["profile"]
            if profile:
                self.ask("reasons", path, data, dimensions=[each["name"] for each in profile["dimensions"]])
            self.ask("sound", path, data)
            self.ask("changed", path, data, **CHANGE)
            self.ask("remix", path, data, **REMIX)

    def ask(self, question: str, path: Path, data: bytes, **wishes: object) -> bytes | None:
        """Ask one question; return the content of a done answer."""
        begin, content, outcome = time.perf_counter(), b"", "lost"
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=3600)
            words = quote(json.dumps({"name": path.name, **wishes}))
            connection.request("POST", f"/api/{question}", body=data, headers={"X-Question": words})
            response = connection.getresponse()
            content = response.read()
            if response.status == 200 and content:
                outcome = "done"
            elif response.status in REFUSED and json.loads(content)["error"]:
                outcome = "refused"
            else:
                print(path.name, question, response.status, content[:200], file=sys.stderr)
        except (OSError, http.client.HTTPException, ValueError) as error:
            print(path.name, question, repr(error), file=sys.stderr)
        self.answers.append((question, outcome, time.perf_counter() - begin))
        return content if outcome == "done" else None


def workers_of(server: int) -> list[int]:
    """Worker processes of a server, oldest first."""
    children = Path(f"/proc/{server}/task").glob("*/children")
    numbers = sorted({int(word) for path in children for word in path.read_text().split()})
    return [k for k in numbers if "spawn_main" in Path(f"/proc/{k}/cmdline").read_text()]


def draw(folders: list[Path], users: int, each: int, seed: int) -> list[list[Path]]:
    """Files of each user, from the folders in turn."""
    rng = random.Random(seed)
    piles = []
    for folder in folders:
        names = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".mid", ".midi"))
        piles.append([p for p in names if p.name != "midi_score.mid" and p.stat().st_size <= 8 << 20])
        rng.shuffle(piles[-1])
    return [[piles[k % len(piles)].pop() for k in range(each)] for _ in range(users)]


def main() -> None:
    """Measure and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--files", type=int, default=2, help="of each user")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=600.0, help="longest time of an answer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    options = ["--workers", str(given.workers), "--seconds", str(given.seconds)]
    words = [sys.executable, "-m", "musicbert", "serve", "--port", "0", "--no-browser", *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(re.search(r":(\d+)/", server.stdout.readline())[1])
        people = [User(port, files) for files in draw(given.folders, given.users, given.files, given.seed)]
        begin = time.perf_counter()
        for user in people:
            user.start()
        while sum(len(user.answers) for user in people) < given.users * given.files:
            time.sleep(0.2)
        before = workers_of(server.pid)
        os.kill(before[0], signal.SIGKILL)
        for user in people:
            user.join()
        wall = time.perf_counter() - begin
        after = workers_of(server.pid)
        server.send_signal(signal.SIGINT)
    replaced = len(after) == given.workers and before[0] not in after
    answers = [answer for user in people for answer in user.answers]
    rows = []
    for question in ("analyse", "reasons", "sound", "changed", "remix"):
        mine = [(outcome, seconds) for name, outcome, seconds in answers if name == question]
        if mine:
            count = Counter(outcome for outcome, _ in mine)
            times = [seconds for _, seconds in mine]
            rows.append(
                f"| {question} | {len(mine)} | {count['done']} | {count['refused']} | {count['lost']} "
                f"| {statistics.median(times):.1f} | {max(times):.1f} |"
            )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    lost = sum(outcome == "lost" for _, outcome, _ in answers)
    text = "\n".join(
        [
            "# Users of the page at once", "",
            f"- command: `python benchmarks/page_users.py {' '.join(p.name for p in given.folders)} "
            f"--users {given.users} --files {given.files} --workers {given.workers} "
            f"--seconds {given.seconds:g} --seed {given.seed}`",
            f"- commit {commit}, {datetime.date.today()}; {platform.machine()}, {os.cpu_count()} cores; "
            f"load of the machine at the end {load}",
            f"- Python {platform.python_version()}, {versions}",
            f"- {given.users} users, {given.files} files each, {wall:.0f} s in all; {lost} of {len(answers)} "
            f"answers lost; a killed worker was {'replaced' if replaced else 'not replaced'}", "",
            "Seconds are from the question to the whole answer, so waiting for other users is in them.",
            "*refused*: a sentence that says why, such as a damaged file.", "",
            "| question | asked | done | refused | lost | median s | slowest s |",
            "|---|---:|---:|---:|---:|---:|---:|", *rows, "",
        ]
    )  # fmt: skip
    print(text)
    if given.output is not None:
        given.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

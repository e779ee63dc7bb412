"""What a training shows: a few lines and a progress bar, made of fairseq's log; the log itself is a file."""

import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

#: before the one line in which a failed training says why (`musicbert.fairseq_plugin.launch`)
FAILED = "musicbert-error: "
#: reports of progress by share of the run; others come after a minute, and later ever more seldom
REPORTS, PATIENCE = 10, 60.0
DAY = 86400.0
#: what to do where a training takes days
FASTER = (
    "faster: a GPU, a smaller --arch, fewer --updates; for results without long training start from "
    "musicbert-mini, which comes with the project (--init musicbert-mini)"
)
_STATS = re.compile(r"\| (train_inner|train|valid) \| (\{.*\})\s*$")
#: lines of the log that belong on the screen, and how they are shown there
_SHOWN = [
    (re.compile(r"\| INFO \| musicbert\S* \| ((?:train|valid): .*)"), "{}"),
    (re.compile(r"\| INFO \| musicbert\S* \| weights of .*: (\d+ tensors loaded.*)"), "weights: {}"),
    (re.compile(r"num\. shared model params: ([\d,]+)"), "{} parameters"),
    (re.compile(r"Loaded checkpoint .*@ (\d+) updates"), "resumed after {} updates"),
    (re.compile(r"\| INFO \| musicbert\S* \| (finished: (\d+) updates.*)"), "{}"),
    (re.compile(r"\| (early stop since .*)"), "{}"),
    (re.compile(r"\| (?:WARNING|ERROR) \| musicbert\S* \| (.*)"), "warning: {}"),
]
_ERROR = re.compile(r"^(?:[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt)\b.*)")
_SCORES = re.compile(r"(?!epoch|wps|ups|wpb|bsz|wall|lr|gnorm|clip)[^_]+|accuracy_all")


def duration(seconds: float) -> str:
    """Say a time: ``41 days``, ``3 h 20 min``, ``45 s``."""
    if seconds >= 2 * DAY:
        return f"{seconds / DAY:,.0f} days"
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"


def _nothing(line: str) -> None:
    """Say nothing."""


class Screen:
    """Shows the lines of a log; ``updates``, ``epochs``: when the run ends at the latest, 0: unknown.

    ``metric``: score of the validation that selects the best checkpoint; ``maximize``: higher is better;
    ``bar``: None shows one on a terminal; ``advise``: say what is faster if the rest takes more than a day.
    """

    def __init__(
        self,
        out: Callable[[str], None],
        *,
        updates: int = 0,
        epochs: int = 0,
        metric: str = "loss",
        maximize: bool = False,
        bar: bool | None = None,
        advise: bool = False,
    ) -> None:
        self.error = ""
        self.done = 0
        self._say, self._updates, self._epochs = out, updates, epochs
        self._metric, self._sign = metric, 1 if maximize else -1
        self.bar, self._advise = bar, advise
        self._resumed = False
        self._share = self._first_share = self._reported = 0.0
        self._begun = self._reported_at = time.monotonic()
        self._patience = PATIENCE
        self._loss = ""
        self._valid: Mapping[str, str] = {}
        self._best: tuple[int, Mapping[str, str]] | None = None
        self._said: set[str] = set()
        self._last = ""

    def expect(self, seconds: float) -> None:
        """Say how long the run takes on this CPU, and what is faster."""
        if seconds >= PATIENCE:
            self._say(f"   all updates take about {duration(seconds)} on this CPU")
        self._say_faster(seconds)

    def hide(self) -> None:
        """Show nothing from now on, only count."""
        self._say, self.bar = _nothing, False

    def show(self, lines: Iterable[str]) -> None:
        """Show a log while it is written."""
        from tqdm import tqdm

        hidden = not (sys.stderr.isatty() if self.bar is None else self.bar)
        with tqdm(total=self._updates or None, unit="update", disable=hidden) as bar:
            say, self._say = self._say, (self._say if hidden else bar.write)
            for line in lines:
                self._read(line.rstrip())
                bar.update(max(self.done - bar.n, 0))
                bar.set_postfix_str(self._scores(), refresh=False)
            self._say = say

    def summary(self) -> str:
        """How a run ended that did not fail."""
        text = f"{self.done} updates in {duration(time.monotonic() - self._begun)}"
        if self._best is None:
            return text
        update, values = self._best
        shown = [name for name in values if name == self._metric or _SCORES.fullmatch(name)]
        scores = ", ".join(f"{name} {values[name]}" for name in shown)
        return f"{text}; best validation after {update}: {scores}"

    def reason(self, status: int) -> str:
        """Why a run failed: the error that the program told, or its last line."""
        if status < 0:
            return f"the training was ended by signal {-status}" + (
                " (out of memory?)" if status == -9 else ""
            )
        return self.error or self._last or f"the training ended with status {status}"

    def _read(self, line: str) -> None:
        stats = _STATS.search(line)
        if stats is not None:
            self._count(stats.group(1), json.loads(stats.group(2)))
            return
        if "Start iterating over samples" in line and not self._share:
            self._begun = self._reported_at = time.monotonic()
        if line.startswith(FAILED):
            self.error = self.error or line.removeprefix(FAILED)
        elif _ERROR.match(line):
            self._last = line
        for pattern, form in _SHOWN:
            found = pattern.search(line)
            text = form.format(found.group(1)) if found else ""
            if found and text not in self._said:
                self._said.add(text)
                self._say(f"   {text}")
                self._resumed = self._resumed or text.startswith("resumed")
                if text.startswith("finished"):
                    self.done = int(found.group(2))

    def _count(self, part: str, values: Mapping[str, str]) -> None:
        """Take in the numbers of a line: of some updates, of an epoch, or of a validation."""
        where = "valid" if part == "valid" else "train"
        names = ("num_updates", f"{where}_num_updates")
        self.done = max(self.done, *(int(float(values.get(name) or 0)) for name in names))
        epochs = int(values.get("epoch", 0)) - (part != "train")
        ends = [(self.done, self._updates), (epochs, self._epochs)]
        self._share = max((count / end for count, end in ends if end), default=0.0)
        if self._resumed:
            self._resumed, self._first_share = False, self._share
        if part != "valid":
            self._loss = values.get("loss", values.get("train_loss", self._loss))
        else:
            self._valid = {name.removeprefix("valid_"): value for name, value in values.items()}
            best = self._best
            if best is None or self._score(self._valid) > self._score(best[1]):
                self._best = (self.done, self._valid)
        self._report()

    def _score(self, values: Mapping[str, str]) -> float:
        value = self._sign * float(values.get(self._metric) or "nan")
        return -math.inf if math.isnan(value) else value

    def _scores(self) -> str:
        """The last numbers."""
        scores = [f"loss {self._loss}"] if self._loss else []
        for name, values in (("valid", self._valid), ("best", self._best[1] if self._best else {})):
            scores += [f"{name} {self._metric} {values[self._metric]}"] if self._metric in values else []
        return ", ".join(scores)

    def _report(self) -> None:
        """Say how far the run is, now and then."""
        now, share = time.monotonic(), self._share
        if now >= self._reported_at + self._patience:
            self._patience *= 2
        elif int(share * REPORTS) <= int(self._reported * REPORTS):
            return
        self._reported, self._reported_at = share, now
        passed = share - self._first_share
        left = (now - self._begun) * (1 - share) / passed if passed > 0 else 0.0
        end = f"/{self._updates}" if self._updates else ""
        then = f", about {duration(left)} left" if left >= 1 else ""
        self._say(f"   {self.done}{end} updates: {self._scores()}{then}")
        self._say_faster(left)

    def _say_faster(self, seconds: float) -> None:
        if self._advise and seconds > DAY:
            self._advise = False
            self._say(f"   {FASTER}")


def screen_of(words: Sequence[str], out: Callable[[str], None], *, bar: bool | None, advise: bool) -> Screen:
    """The screen of a command of fairseq-train."""
    given = dict(pairwise(words))
    return Screen(
        out,
        updates=int(given.get("--max-update", 0)),
        epochs=int(given.get("--max-epoch", 0)),
        metric=given.get("--best-checkpoint-metric", "loss"),
        maximize="--maximize-best-checkpoint-metric" in words,
        bar=bar,
        advise=advise,
    )

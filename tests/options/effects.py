"""What a call of a program does: exit status, words, files, progress bars and processes."""

import argparse
import contextlib
import hashlib
import io
import itertools
import os
import re
import shlex
from concurrent.futures import ProcessPoolExecutor

import tqdm.std

#: marks words that are to be refused, words whose effect may be an error, words that take the place of the base
REFUSED, ANY, INSTEAD = "!", "~", "="
#: content that names the options or the time, and not what they do
_NOTES = re.compile(r"build\.json|.*\.meta\.json|provenance.*")
_ADDRESS = re.compile(r"0x[0-9a-f]+|[0-9.]+ ?(s|it/s|seconds)\b")


class _PoolMade(Exception):
    """In place of a pool of processes."""


def options_of(parser):
    """Actions of a parser by their longest name."""
    return {
        max(action.option_strings, key=len, default=action.dest): action
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction | argparse._VersionAction | argparse._SubParsersAction)
    }


class Caller:
    """Calls a program in new folders and remembers what calls gave."""

    def __init__(self, main, folder, values, monkeypatch, *, ignore=(), link=()):
        self.main, self.folder, self.values, self.link = main, folder, values, link
        self.monkeypatch, self.ignore = monkeypatch, ignore
        self.known, self.count = {}, itertools.count()

    def __call__(self, words):
        if words not in self.known:
            self.known[words] = self._call(words)
        return self.known[words]

    def _call(self, words):
        place = self.folder / f"call{next(self.count)}"
        place.mkdir()
        bars, calls = [], []
        start = tqdm.std.tqdm.__init__

        def bar(this, *arguments, **settings):
            bars.append((settings.get("desc"), settings.get("disable", False)))
            start(this, *arguments, **{**settings, "disable": True})

        def pool(_, workers=None, *arguments, **settings):
            raise _PoolMade(f"{workers} processes")

        out, err = io.StringIO(), io.StringIO()
        with (
            self.monkeypatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.chdir(place)
            patch.setattr(tqdm.std.tqdm, "__init__", bar)
            patch.setattr(ProcessPoolExecutor, "__init__", pool)
            try:
                status = self.main(shlex.split(words.format(**self.values)), calls)
            except SystemExit as stop:
                status = stop.code
        files = {
            str(file.relative_to(place)): self._digest(file)
            for file in sorted(place.rglob("*"))
            if file.is_file() and not _NOTES.fullmatch(file.name) and file.name not in self.ignore
        }
        said = [_ADDRESS.sub("", text.getvalue().replace(str(place), "")) for text in (out, err)]
        return status, *said, files, bars, repr(calls).replace(str(place), "")

    def _digest(self, file):
        data = file.read_bytes()
        if file.suffix in (".json", ".jsonl"):
            data = data.replace(os.fsencode(file.parent), b"")
        return hashlib.sha256(data).hexdigest()


def check(call, base, option, entry):
    """Assert that an option changes what a call gives, or is refused where the table says so.

    ``entry``: words that are added to ``base``, or a pair of another base and words.
    """
    base, words = entry if isinstance(entry, tuple) else (base, entry)
    mark, words = (words[0], words[1:]) if words[0] in (REFUSED, ANY) else ("", words)
    before, after = call(base), call(words[1:] if words[0] == INSTEAD else f"{base} {words}")
    assert before[0] in (0, 1) or mark == ANY, before[:3]
    if mark == REFUSED:
        assert after[0] == 2, after[:3]
        assert option.lstrip("-") in after[2], after[2]
        return
    assert after[0] in (0, 1) or mark == ANY, after[:3]
    assert before != after, f"{option} changes nothing: {words}"


def check_table(parsers, table):
    """Assert that a table has an entry for every option of each parser, and no other."""
    for name, parser in parsers.items():
        assert set(table[name]) ^ set(options_of(parser)) == set(), name
    assert set(table) == set(parsers)

"""`musicbert data`: public data sets, their licences, how to fetch them; fingerprints of test pieces."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from musicbert.cli.inputs import add_action

DESCRIPTION = (
    "List public data sets and fetch them from their publishers, checked and resumable; take fingerprints "
    "of test pieces, which `musicbert build --exclude-music` leaves out."
)
EPILOG = """examples:
  musicbert data list
  musicbert data get pianist8 --output data
  musicbert data get emopia --output data --unverified
  musicbert data fingerprints pm2s=PM2S_features bps_motif=BPS_motif ratings=segments/ --output tests.npz

Repeat the command to continue an interrupted download. Mind the licence of each data set.

exit status: 0 done; 2 bad usage, or it could not be fetched; 130 stopped by Ctrl-C."""
LIST = """examples:
  musicbert data list
  musicbert data list --json"""
GET = """examples:
  musicbert data get pianist8 --output data
  musicbert data get emopia --output data --unverified"""

FINGERPRINTS = """examples:
  musicbert data fingerprints pm2s=PM2S_features bps_motif=BPS_motif --output tests.npz
  musicbert data fingerprints ratings=segmented_midi.zip my_test_pieces/ --output tests.npz
  musicbert data fingerprints tests.npz VGMIDI=vgmidi/ --output more_tests.npz

A fingerprint is the hashes of a piece's windows of nine notes as intervals; no music can be made of it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert data`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = add_action(
        actions, "list", "what there is", description="List the public data sets.", examples=LIST
    )
    listed.add_argument("--json", action="store_true", help="as JSON")
    get = add_action(
        actions, "get", "fetch one", description="Fetch a data set from its publisher.", examples=GET
    )
    add = get.add_argument
    add("name", metavar="NAME", help="as `musicbert data list` names it")
    add("--output", "-o", type=Path, default=Path("data"), help="folder (%(default)s)")
    add("--sha256", metavar="HEX", help="checksum that the file must have")
    add("--unverified", action="store_true", help="fetch a file without a known checksum, and print it")
    add("--quiet", action="store_true", help="no progress bar")
    tests = add_action(
        actions,
        "fingerprints",
        "what a corpus must not hold",
        description="Take the fingerprints of test pieces.",
        examples=FINGERPRINTS,
    )
    kinds = (
        "data set, named as its reader (pieces of training parts do not count), or MIDI files, of any name"
    )
    tests.add_argument("sources", nargs="+", metavar="[NAME=]PATH", help=kinds)
    tests.add_argument("--output", "-o", type=Path, required=True, help="file to write (.npz)")
    tests.add_argument("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Run the action; return the exit status."""
    from musicbert.corpus.files.public_data import public_data

    if options.action == "list":
        entries = public_data()
        if options.json:
            print(json.dumps({name: asdict(entry) for name, entry in entries.items()}, indent=1))
            return 0
        for name, entry in entries.items():
            checked = "checksum known" if entry.sha256 else "checksum not known yet"
            print(f"{name:14} {entry.title} ({entry.used_for})")
            print(f"{'':14} licence: {entry.licence}; {checked}; {entry.page}")
        return 0
    return _fingerprints(options) if options.action == "fingerprints" else _get(options)


def _fingerprints(options: argparse.Namespace) -> int:
    from functools import partial

    from musicbert.corpus.builder.held_out import SUFFIX, fingerprints_of, name_and_path
    from musicbert.corpus.readers import SOURCES
    from musicbert.corpus.readers.benchmark import held_out_fingerprints
    from musicbert.corpus.splits.fingerprints import Fingerprints
    from musicbert.errors import DatasetError
    from musicbert.progress import progress_bar

    if options.output.suffix.lower() != SUFFIX:
        raise DatasetError("bad-options", f"Fingerprints are a {SUFFIX} file", path=options.output)
    bar = partial(progress_bar, desc="fingerprints", unit="file", shown=not options.quiet)
    pieces, unread = {}, []
    for source in options.sources:
        name, path = name_and_path(source)
        if name in SOURCES:
            found, failed = held_out_fingerprints(name, path)
        else:
            more, failed = fingerprints_of([source], bar)
            found = more.pieces
        pieces |= found
        unread += failed
    together = Fingerprints(pieces)
    together.save(options.output)
    print(f"{options.output}: fingerprints of {len(together):,} pieces")
    for each in unread:
        print(f"not read: {each.path}: {each.detail or each.outcome}", file=sys.stderr)
    return 0


def _get(options: argparse.Namespace) -> int:
    from musicbert.corpus.files.public_data import find_public_data
    from musicbert.errors import DatasetError
    from musicbert.weights.download import download, sha256_of

    entry = find_public_data(options.name)
    checksum = options.sha256 or entry.sha256
    target = options.output / entry.file
    if target.is_file():
        actual = sha256_of(target)
        if checksum is not None and actual != checksum.lower():
            raise DatasetError("bad-checksum", f"The file exists, but its SHA-256 is {actual}", path=target)
        print(f"{target} exists already, SHA-256 {actual}")
        return 0
    if checksum is None and not options.unverified:
        raise DatasetError(
            "no-checksum",
            f"No checksum of {entry.name} is known, so a damaged or replaced file would go unnoticed",
            path=entry.url,
            hint="give --sha256 if you know it, or --unverified to fetch it and see its checksum",
        )
    print(f"licence: {entry.licence} ({entry.page})", file=sys.stderr)
    bar = None if options.quiet else _Bar()
    try:
        download(entry.url, target, sha256=checksum, size=entry.size, progress=bar)
    finally:
        if bar is not None:
            bar.close()
    print(f"{target} fetched, SHA-256 {sha256_of(target)}")
    return 0


class _Bar:
    """A progress bar of bytes."""

    def __init__(self) -> None:

        from musicbert.progress import progress_bar

        self.bar = progress_bar(unit="B", unit_scale=True, desc="fetch")

    def __call__(self, have: int, total: int | None) -> None:
        self.bar.total = total
        self.bar.update(have - self.bar.n)

    def close(self) -> None:
        self.bar.close()

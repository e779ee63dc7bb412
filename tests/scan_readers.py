"""Both readers on all MIDI files of folders and archives: the same score and rows, or the same refusal.

    python tests/scan_readers.py FOLDER_OR_ARCHIVE... --log scan.jsonl [--seconds 600]

Writes a line a file, passes over files that the log has, and stops after some seconds of processor time: run
it again to go on. At the end it prints how many files agree, and those that do not.
"""

import argparse
import json
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from musicbert.encoding import encode
from musicbert.errors import MidiError
from musicbert.midi import read_score
from musicbert.midi.columns import ScoreColumns

SUFFIXES = (".mid", ".midi")
COLUMNS = tuple(ScoreColumns.__dataclass_fields__)


def files_of(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the MIDI files of a folder (archives in it, too), an archive or a file."""
    if path.is_dir():
        for each in sorted(path.iterdir()):
            yield from files_of(each)
    elif path.suffix.lower() in SUFFIXES:
        yield str(path), path.read_bytes()
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.lower().endswith(SUFFIXES):
                    yield f"{path}/{name}", archive.read(name)
    elif ".tar" in path.suffixes:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.lower().endswith(SUFFIXES) and (stream := archive.extractfile(member)):
                    yield f"{path}/{member.name}", stream.read()


def outcome(data: bytes, reader: str) -> list[object]:
    """Columns of the score and its rows, or reasons of errors."""
    try:
        score = read_score(data, reader=reader)
    except MidiError as error:
        return [error.reason]
    try:
        rows: object = encode(score)
    except MidiError as error:
        rows = error.reason
    return [*(getattr(score, name) for name in COLUMNS), rows]


def agree(data: bytes) -> bool:
    """Whether both readers give the same."""
    one, other = outcome(data, "symusic"), outcome(data, "miditoolkit")
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--log", required=True, type=Path)
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args(arguments)
    options.log.touch()
    known = dict(map(json.loads, options.log.read_text().splitlines()))
    with options.log.open("a") as log:
        for name, data in (each for source in options.sources for each in files_of(source)):
            if name in known:
                continue
            if time.process_time() > options.seconds:
                sys.stdout.write("not all yet: run it again\n")
                break
            known[name] = agree(data)
            log.write(json.dumps([name, known[name]]) + "\n")
            log.flush()
    differ = [name for name, same in known.items() if not same]
    sys.stdout.write(f"{len(known) - len(differ)} files agree, {len(differ)} differ\n")
    sys.stdout.writelines(f"{name}\n" for name in differ)


if __name__ == "__main__":
    main()

"""A folder of remixes: one MIDI file, picture and sound a version, and their ranking.

``version-K.mid`` and ``version-K.json`` (its figures) are written when version K is drawn, so a stopped run
goes on where it was, and a later one adds versions. With sound there are ``original.wav`` and
``version-K.wav``: the chosen bars and one before and after. ``ranking.csv`` and ``ranking.json`` list all
versions of the folder, the likeliest first. ``made_from.json`` records what they were made from; a folder
that was made from something else is refused.
"""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.atomic import read_json, write_json, write_text
from musicbert.errors import DatasetError
from musicbert.remixing.versions import Remixer
from musicbert.reuse import MADE_FROM, hold_folder, read_record, require_same, write_record
from musicbert.sound import render

COLUMNS = ("rank", "version", "seed", "notes", "changed", "likelihood", "original", "file")
RANKING = "ranking"


def write_remixes(
    folder: str | PathLike[str],
    remixer: Remixer,
    versions: int,
    record: Mapping[str, Any],
    *,
    sound: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Draw versions 1 to ``versions`` into a folder, those that it holds already apart; return the ranking.

    ``record``: what they are made from (`musicbert.reuse.made_from`). ``sound``: also as WAV files, which are
    added to versions that are there. ``progress`` gets the number of
    versions done and of all. The ranking has `COLUMNS`; likelihoods are nats a note.
    Raises `DatasetError` (``output-exists``, ``other-settings``, ``output-busy``, ``cannot-write``) and
    `MidiError` (``bad-value``: the file cannot hold a version) and those of `musicbert.render`.
    """
    place = Path(folder)
    with hold_folder(place):
        before = read_record(place / MADE_FROM)
        if before is not None:
            require_same(
                before, record, place, "choose another --output, or repeat the options to add versions"
            )
        elif any(place.iterdir()):
            raise DatasetError(
                "output-exists",
                "The output folder is there already and holds other files",
                path=place,
                hint="choose another with --output",
            )
        else:
            write_record(place / MADE_FROM, record)
        if sound:  # first: without a synthesiser nothing is drawn
            source = remixer.score if remixer.original.data is None else remixer.original.data
            _play(place / "original.wav", source, remixer)
        for number in range(1, versions + 1):
            if not _done(place, number):
                _write(place, remixer, number)
            if sound:
                _play(place / f"version-{number}.wav", place / f"version-{number}.mid", remixer)
            if progress is not None:
                progress(number, versions)
        found = [read_json(path) for path in place.glob("version-*.json")]
        found.sort(key=lambda entry: (-entry["likelihood"], entry["version"]))
        ranking = [{"rank": rank, **entry} for rank, entry in enumerate(found, 1)]
        lines = [",".join(COLUMNS), *(",".join(str(entry[name]) for name in COLUMNS) for entry in ranking)]
        write_text(place / f"{RANKING}.csv", "\n".join(lines) + "\n")
        write_json(
            place / f"{RANKING}.json",
            {"likelihood": "pseudo-log-likelihood, nats a note", "versions": ranking},
        )
    return ranking


def _done(place: Path, number: int) -> bool:
    """Whether a version is there: its figures are written last."""
    return (place / f"version-{number}.json").exists() and (place / f"version-{number}.mid").exists()


def _write(place: Path, remixer: Remixer, number: int) -> None:
    version = remixer.version(number)
    name = f"version-{number}.mid"
    version.save(place / name)
    figures = {"version": number, "seed": version.seed, "notes": version.notes, "changed": version.changed}
    likelihoods = {"likelihood": version.likelihood, "original": version.original}
    write_json(place / f"version-{number}.json", {**figures, **likelihoods, "file": name})


def _play(path: Path, source: Any, remixer: Remixer) -> None:
    """Write a sound that is not there yet."""
    if not path.exists():
        start, end = remixer.seconds()
        render(source, path, start=start, end=end)

"""A folder of remixes: one MIDI file, picture and sound a version, and their ranking.

``version-K.mid`` and ``version-K.json`` (its figures) are written when version K is drawn, so a stopped run
goes on where it was, and a later one adds versions. With pictures and sound there are ``original`` and
``version-K`` as ``.png`` and ``.wav``: the chosen bars and one before and after. ``ranking.csv`` and
``ranking.json`` list all. A folder that was made from something else is refused.
"""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.atomic import check_types, read_json, remove_partial, write_json, write_text
from musicbert.encoding.part import part_of
from musicbert.errors import DatasetError
from musicbert.midi import Score, read_score
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
    pictures: bool = False,
    sound: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Draw versions 1 to ``versions`` into a folder, those that it holds already apart; return the ranking.

    ``record``: what they are made from (`musicbert.reuse.made_from`). ``pictures``, ``sound``: also as piano
    rolls and as WAV files, which are added to versions that are there. ``progress`` gets the number of
    versions done and of all. The ranking has `COLUMNS`; likelihoods are nats a note.
    Raises `DatasetError` (``output-exists``, ``other-settings``, ``bad-remix``, ``output-busy``,
    ``cannot-write``),
    `MidiError` (``bad-value``: the file cannot hold a version), and those of `musicbert.viz.piano_roll` and
    `musicbert.render`.
    """
    place = Path(folder)
    with hold_folder(place):
        before = read_record(place / MADE_FROM)
        if before is not None:
            require_same(
                before, record, place, "choose another --output, or repeat the options to add versions"
            )
        elif any(not path.match(f".{MADE_FROM}.*.partial") for path in place.iterdir()):
            raise DatasetError(
                "output-exists",
                "The output folder is there already and holds other files",
                path=place,
                hint="choose another with --output",
            )
        remove_partial(place)  # of a killed run
        if before is None:
            write_record(place / MADE_FROM, record)
        if pictures:  # first, as the sound: where they cannot be made, no version is drawn
            _picture(place / "original.png", remixer.score, remixer)
        if sound:
            source = remixer.score if remixer.original.data is None else remixer.original.data
            _play(place / "original.wav", source, remixer.score, remixer)
        for number in range(1, versions + 1):
            if not _done(place, number):
                _write(place, remixer, number)
            music = place / f"version-{number}.mid"
            if pictures:
                _picture(music.with_suffix(".png"), read_score(music), remixer)
            if sound:
                _play(music.with_suffix(".wav"), music, read_score(music), remixer)
            if progress is not None:
                progress(number, versions)
        found = [_figures(path) for path in place.glob("version-*.json")]
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


def _figures(path: Path) -> dict[str, Any]:
    """Read the figures of a version; raises `DatasetError` (``bad-remix``)."""
    try:
        figures = read_json(path)
        number = (int, float)
        check_types(
            figures, version=int, seed=int, notes=int, changed=int, likelihood=number, original=number
        )
        check_types(figures, file=str)
    except (OSError, ValueError) as error:
        hint = "remove this file: the version is drawn again"
        raise DatasetError("bad-remix", f"The figures are damaged: {error}", path=path, hint=hint) from error
    return dict(figures)


def _write(place: Path, remixer: Remixer, number: int) -> None:
    version = remixer.version(number)
    name = f"version-{number}.mid"
    version.save(place / name)
    figures = {"version": number, "seed": version.seed, "notes": version.notes, "changed": version.changed}
    likelihoods = {"likelihood": version.likelihood, "original": version.original}
    write_json(place / f"version-{number}.json", {**figures, **likelihoods, "file": name})


def _picture(path: Path, score: Score, remixer: Remixer) -> None:
    """Draw the original or a version, unless it is there."""
    if not path.exists():
        from musicbert.viz import piano_roll  # matplotlib takes a second

        before = score is remixer.score
        new = remixer.chosen_notes() if before else remixer.new_notes(score)
        bars = remixer.choice.bars
        title = path.stem if bars is None else f"{path.stem}: bars {bars[0]}-{bars[1]}"
        names = ("stays", "to be written anew" if before else "written anew")
        start, end = remixer.seconds(remixer.score)
        part, _, _ = part_of(remixer.score, start=start, end=end)
        heard = remixer.score.pitch[part & ~remixer.score.drum].tolist()
        start, end = remixer.seconds(score)
        piano_roll(
            score, path, values=new, names=names, start=start, end=end, title=title,
            pitches=(min(heard), max(heard)) if heard else None,
        )  # fmt: skip


def _play(path: Path, source: Any, score: Score, remixer: Remixer) -> None:
    """Write a sound that is not there yet."""
    if not path.exists():
        start, end = remixer.seconds(score)
        render(source, path, start=start, end=end)

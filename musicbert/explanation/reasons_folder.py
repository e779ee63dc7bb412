"""A folder of reasons: ``explanation.json``, and the music that was compared as MIDI and WAV files.

``explanation.json`` lists the files that were written with it (``files``), so that a later run into the same
folder leaves none of them behind. A folder that holds other files is refused.
"""

import re
import shutil
from pathlib import Path

from musicbert.atomic import read_json, write_json
from musicbert.errors import DatasetError
from musicbert.explanation.playing_factors import FACTORS, neutral
from musicbert.explanation.reasons import Explanation

REASONS = "explanation.json"


def written_before(folder: Path) -> list[str]:
    """Files of an earlier run in a folder; raises `DatasetError` (``output-exists``: there are others)."""
    if not folder.is_dir():
        return []
    try:
        known = [REASONS, *map(str, read_json(folder / REASONS)["files"])]
    except (OSError, ValueError, KeyError, TypeError):
        known = []
    there = sorted(path.name for path in folder.iterdir())
    if others := [name for name in there if name not in known]:
        raise DatasetError(
            "output-exists",
            f"The output folder is there already and holds other files ({', '.join(others[:3])}"
            f"{', ...' if len(others) > 3 else ''})",
            path=folder,
            hint="choose another with --output",
        )
    return there


def write_reasons(
    folder: Path, result: Explanation, before: list[str], original: Path | None = None
) -> list[str]:
    """Write reasons and music; return lines that say which file holds which change.

    ``before``: see `written_before`; ``original``: the sound of the music, where sound is wanted.
    """
    score = result.score
    music = {f"without_{factor}": neutral(score, factor) for factor in FACTORS}
    music |= {"original": score, "neutral": neutral(score)}
    heard, lines = {"neutral"}, []
    for each in result.changes or ():
        if each.score is not None:
            name = "_".join(re.findall(r"\w+", each.name.lower())) + ("_up" if each.up else "_down")
            music[name] = each.score
            heard.add(name)
            lines.append(f"more {each.towards}: {folder / name}.mid")
    if found := result.factors:  # what matters most to each dimension is heard, too
        heard |= {f"without_{found.factors[k]}" for k in abs(found.effects).argmax(axis=0)}
    folder.mkdir(parents=True, exist_ok=True)
    for old in before:
        (folder / old).unlink()
    files = []
    for name, made in music.items():
        made.save(folder / f"{name}.mid")
        files.append(f"{name}.mid")
    if original is not None:
        from musicbert.sound import render

        shutil.copyfile(original, folder / "original.wav")
        for name in heard:
            render(music[name], folder / f"{name}.wav")
        files += ["original.wav", *(f"{name}.wav" for name in heard)]
    write_json(folder / REASONS, {**result.to_dict(), "files": sorted(files)})
    return lines

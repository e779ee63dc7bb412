"""Data sets that are folders of MIDI files, one class a folder or a file name: PS, ER and SGC.

Pianist8 (PS)
    ``[<part>/]<pianist>/<file>.mid``, 411 files, 8 pianists. ``published``: five folds over all files by the
    rule of `musicbert.corpus.readers.published.five_folds`, which needs the part that MIDI-BERT put a file
    in.
EMOPIA (ER)
    ``{train,valid,test}/Q<1-4>_<song>_<clip>.mid`` or ``midis/Q....mid``, 1,078 clips; VGMIDI in the same
    layout. ``published``: the same five folds, by clip, so that songs lie in several folds. ``clean``: five
    folds by song.
Tagtraum (SGC)
    ``{train,valid,test}_clean/<0-4>/<file>.mid``, MIDI files of Lakh. ``compatible=True`` takes the first 500
    files of a class for training and 150 for validation, in the order of their names, as published.

Music comes as it is in the files. Versions of one song under several names are found by
`musicbert.corpus.splits.song_groups.regroup`, which then makes the clean folds anew.
"""

import re
from collections import Counter
from functools import partial
from pathlib import PurePosixPath

from musicbert.annotation.folds import PARTS
from musicbert.corpus.readers.contract import Item, Loaded, Source
from musicbert.corpus.readers.files import SourceFiles
from musicbert.corpus.readers.published import five_folds, part_of_name
from musicbert.corpus.readers.tasks import EMOTIONS, PIANISTS
from musicbert.corpus.splits.song_groups import clean_folds
from musicbert.midi import read_score

_PIANIST = rf"(?:^|/)(?:(?P<part>train|valid|test)/)?(?P<label>{'|'.join(PIANISTS)})/(?P<name>[^/]+)\.midi?$"
_EMOTION = r"(?:^|/)(?P<part>train|valid|test|midis)/(?P<name>Q(?P<label>[1-4])_[^/]+)\.midi?$"
_GENRE = r"(?:^|/)(?P<part>train|valid|test)_clean/(?P<label>[0-4])/(?P<name>[^/]+)\.midi?$"
#: Most files of a class in the published program.
_CAPS = {"train": 500, "valid": 150}


def _load(files: SourceFiles, path: str, name: str, label: str, value: int) -> list[Loaded]:
    return [(name, read_score(files.read(path), name=path), {label: value})]


def _folded(
    files: SourceFiles, matches: list[re.Match[str]], source: str, label: str, names: tuple[str, ...]
) -> list[Item]:
    """Items of a set with five published folds; ``names`` are the values of the pattern's ``label``."""
    parts = {
        match.string: match["part"] if match["part"] in PARTS
        else part_of_name(source, match["name"])
        for match in matches
    }  # fmt: skip
    keys = {match.string: _sort_key(parts[match.string], match) for match in matches}
    classes = {keys[match.string]: match["label"] for match in matches}
    groups = {
        match["name"]: _song(match["name"]) if source == "emopia" else match["name"] for match in matches
    }
    published = five_folds(classes)
    clean = clean_folds(groups, {match["name"]: match["label"] for match in matches})
    items = []
    for match in matches:
        path, name = match.string, match["name"]
        splits = {"published": published[keys[path]], "clean": clean[name]}
        value = names.index(match["label"])
        items.append(Item(name, path, groups[name], splits, partial(_load, files, path, name, label, value)))
    return items


def _sort_key(part: str, match: re.Match[str]) -> str:
    """Path by which the published program sorts a file."""
    file = PurePosixPath(match.string).name
    return f"{part}/{match['label']}/{file}" if not match["name"].startswith("Q") else f"{part}/{file}"


def _song(name: str) -> str:
    """Song of a clip: ``Q1_<song>_<clip>``.

    Examples
    --------
    >>> _song("Q1_2Z9SjI131jA_9"), _song("Q3_some_game_theme")
    ('2Z9SjI131jA', 'some_game_theme')
    """
    return re.sub(r"_\d+$", "", name.partition("_")[2])


def _pianist8(files: SourceFiles, _compatible: bool) -> list[Item]:
    matches = files.require(_PIANIST, "[<part>/]<pianist>/<file>.mid")
    return _folded(files, matches, "pianist8", "composer", PIANISTS)


def _emopia(files: SourceFiles, _compatible: bool) -> list[Item]:
    matches = files.require(_EMOTION, "{train,valid,test}/Q<1-4>_<song>_<clip>.mid")
    return _folded(files, matches, "emopia", "emotion", tuple(name[1] for name in EMOTIONS))


def _tagtraum(files: SourceFiles, compatible: bool) -> list[Item]:
    items = []
    taken: Counter[tuple[str, str]] = Counter()
    for match in files.require(_GENRE, "{train,valid,test}_clean/<0-4>/<file>.mid"):
        part, label, path = match["part"], match["label"], match.string
        taken[part, label] += 1
        if compatible and taken[part, label] > _CAPS.get(part, taken[part, label]):
            continue
        name = f"{part}/{match['name']}"
        splits = {"published": part, "clean": part}
        load = partial(_load, files, path, name, "genre", int(label))
        items.append(Item(name, path, match["name"], splits, load))
    return items


def _plain(pattern: str) -> str:
    """Pattern without names of groups, to be part of another."""
    return re.sub(r"\(\?P<\w+>", "(?:", pattern)


PIANIST8 = Source(
    name="pianist8",
    about="411 piano pieces by 8 pianists",
    origin="github.com/joann8512/Pianist8",
    licence="none stated in the repository",
    layout="[<part>/]<pianist>/<file>.mid",
    wanted=_plain(_PIANIST),
    items=_pianist8,
)
EMOPIA = Source(
    name="emopia",
    about="1,078 clips of pop piano in 4 quadrants of emotion",
    origin="EMOPIA 1.0 (Zenodo 5090631)",
    licence="CC BY-NC-SA 4.0",
    layout="EMOPIA_1.0/{train,valid,test}/Q<1-4>_<song>_<clip>.mid, or midis/Q....mid",
    wanted=_plain(_EMOTION),
    items=_emopia,
)
TAGTRAUM = Source(
    name="tagtraum",
    about="MIDI files of Lakh in 5 genres",
    origin="Tagtraum genre annotations (CD2) of the Million Song Dataset, and lmd_matched",
    licence="CC BY 4.0 (Lakh); annotations of their own",
    layout="{train,valid,test}_clean/<0-4>/<file>.mid",
    wanted=_plain(_GENRE),
    items=_tagtraum,
)

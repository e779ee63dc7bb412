"""Which files M2BERT is pre-trained on, found in a folder of data sets; test pieces can be left out.

======== ===================================================== ======================================
corpus   files below the folder of data sets                   with ``exclude_tests``
======== ===================================================== ======================================
asap     ``asap[-dataset]/<piece>/midi_score.mid`` of the 65   without first movements of Beethoven's
         published pieces (``all_asap``: of all)               sonatas (MNID) and PM2S's validation
pop1k7   ``Pop1K7/midi_transcribed/*/*.midi``                  the same
pop909   ``pop909_processed/{train,valid,test}/*.mid``, made   only train
         of ``POP909/<NNN>/`` by `process_pop909`
pianist8 ``[joann8512-]Pianist8[-...]/[<part>/]<pianist>/``    none: each is tested in one of five folds
emopia   ``EMOPIA_<version>/{<part>,midis}/Q*.mid``            none, as Pianist8
lmd      ``<lmd>/*/*/*/*/*.mid`` (lmd_matched), or any other   the same
         ``.mid`` below the folder of Lakh
======== ===================================================== ======================================

Names are compared without regard to case. A ``manifest.csv`` beside the data sets with the columns ``file``
and ``downstream_split`` takes out what it says is ``valid`` or ``test``. Names do not tell the music: other
files of the same compositions are left out by ``musicbert build --exclude-music``. The filter of one time
signature event, 4/4, is a matter of its ``--metres one-4/4``. Verified in
``tests/unit/corpus/readers/test_pretraining.py``.
"""

import csv
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from musicbert.atomic import write_text
from musicbert.corpus.files.folders import build_directory
from musicbert.corpus.files.ledger import OK, Outcome
from musicbert.corpus.readers.beats import align_to_beats, read_beats
from musicbert.corpus.readers.published import asap_pieces, pop909_part
from musicbert.corpus.readers.tasks import PIANISTS
from musicbert.errors import DatasetError, MusicBertError
from musicbert.midi import read_score, write_midi
from musicbert.walk import walk

CORPORA = ("asap", "pop1k7", "pop909", "pianist8", "emopia", "lmd")
_PATTERNS = {
    "asap": r"(?:^|/)asap(?:-dataset)?(?:-[^/]+)?/(?P<piece>.+)/midi_score\.mid$",
    "pop1k7": r"(?:^|/)pop1k7/midi_transcribed/[^/]+/[^/]+\.midi?$",
    "pop909": r"(?:^|/)pop909_processed/(?P<part>train|valid|test)/\d{3}\.mid$",
    "pianist8": rf"(?:^|/)(?:[^/]*-)?pianist8(?:-[^/]+)?/(?:[^/]+/)?(?:{'|'.join(PIANISTS)})/[^/]+\.midi?$",
    "emopia": r"(?:^|/)emopia_[\d.]+/(?:train|valid|test|midis)/q[1-4]_[^/]+\.midi?$",
}
_RAW_POP909 = re.compile(r"(?:^|/)(?P<song>\d{3})/(?P=song)\.mid$")
_SONATA = re.compile(r"beethoven/piano_sonatas/\d+-1(?:_no_repeat)?$", re.IGNORECASE)
LEFT_OUT = "downstream-test"


@dataclass
class Corpus:
    """Files of one of `CORPORA` that pre-training reads, and the test pieces left out, with the reason."""

    name: str
    files: list[Path] = field(default_factory=list)
    left_out: list[Outcome] = field(default_factory=list)


def find_corpora(
    data_sets: str | PathLike[str],
    lmd: str | PathLike[str] | None = None,
    *,
    exclude_tests: bool = False,
    all_asap: bool = False,
) -> list[Corpus]:
    """The corpora of pre-training of which something is there, in the order of `CORPORA`.

    ``exclude_tests`` leaves out what downstream tasks test or validate on (see above); ``all_asap`` takes the
    scores of all pieces of ASAP.

    Raises `DatasetError`: ``not-found``, ``no-corpus``.
    """
    root = Path(data_sets)
    for folder in (root, *([Path(lmd)] if lmd is not None else [])):
        if not folder.is_dir():
            raise DatasetError("not-found", "There is no such folder", path=folder)
    corpora = {name: Corpus(name) for name in CORPORA}
    marked = _marked(root) if exclude_tests else {}
    published = {piece.lower() for piece in asap_pieces("asap_scores")}
    validation = {piece.lower() for piece in asap_pieces("asap_valid")}
    patterns = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _PATTERNS.items()}
    for path in _midis(root):
        inside = path.relative_to(root).as_posix()
        for name, pattern in patterns.items():
            match = pattern.search(inside) or pattern.search(f"{root.name}/{inside}")
            if match is None:
                continue
            why = marked.get(inside, "")
            if name == "asap":
                piece = match["piece"].lower()
                if not all_asap and piece not in published:
                    break
                if exclude_tests and (piece in validation or _SONATA.search(piece)):
                    why = "tested or validated on (MNID, BP, DbP)"
            elif name == "pop909" and exclude_tests and match["part"].lower() != "train":
                why = f"{match['part']} of ME and VE"
            elif name in ("pianist8", "emopia") and exclude_tests:
                why = "tested in one of five folds"
            _add(corpora[name], path, inside, why)
            break
    if lmd is not None:
        folder = Path(lmd)
        matched = [path for path in _midis(folder) if len(path.relative_to(folder).parts) == 5]
        for path in matched or _midis(folder):
            _add(corpora["lmd"], path, path.relative_to(folder).as_posix(), "")
    present = [corpus for corpus in corpora.values() if corpus.files or corpus.left_out]
    if not present:
        raise DatasetError(
            "no-corpus",
            "None of the corpora is there",
            path=root,
            hint="docs/benchmark.md says how each is laid out",
        )
    return present


def _add(corpus: Corpus, path: Path, inside: str, why: str) -> None:
    if not path.is_file():
        why = "not a regular file"
    if why:
        corpus.left_out.append(Outcome(path.stem, LEFT_OUT, path=inside, detail=why))
    else:
        corpus.files.append(path)


def _midis(folder: Path) -> Iterator[Path]:
    for found in walk(folder):
        if found.path.lower().endswith((".mid", ".midi")):
            yield Path(found.path)


def _marked(root: Path) -> dict[str, str]:
    """Files that a manifest names as validation or test of a downstream task."""
    path = root / "manifest.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if not {"file", "downstream_split"} <= set(rows.fieldnames or ()):
            return {}
        return {
            row["file"]: f"{row['downstream_split']} by manifest.csv"
            for row in rows
            if row["downstream_split"] in ("valid", "test")
        }


def process_pop909(
    songs: str | PathLike[str],
    out: str | PathLike[str],
    *,
    progress: Callable[[list[Path]], Iterable[Path]] = iter,
) -> list[Outcome]:
    """Put the songs of POP909 (``<NNN>/``, at any depth) on their beats: ``<out>/<part>/<NNN>.mid``.

    The songs of an earlier call are made anew, and replaced when all are there; the parts are the published
    ones (``train_3beat``: songs in three that the tables of beats let pass). Returns an outcome a song
    (``not-published`` where the lists leave it out). Raises `DatasetError`: ``wrong-layout`` where there is
    no song; those of `build_directory`.
    """
    root = Path(songs)
    songs_midi = [path for path in _midis(root) if _RAW_POP909.search(path.as_posix())]
    if not songs_midi:
        raise DatasetError("wrong-layout", "There is no <NNN>/<NNN>.mid of POP909 in it", path=root)
    with build_directory(out, overwrite=True, recognise=_is_ours) as target:
        return [
            _process_song(path, path.relative_to(root).as_posix(), target) for path in progress(songs_midi)
        ]


def _is_ours(folder: Path) -> bool:
    return {path.name for path in folder.iterdir()} <= {"train", "valid", "test"}


def _process_song(path: Path, inside: str, target: Path) -> Outcome:
    """Write a song on its beats; say what became of it."""
    part = pop909_part(int(path.stem))
    if part is None or part == "train_3beat":
        return Outcome(path.stem, "not-published" if part is None else "not-in-four", path=inside)
    try:
        tables = [
            read_beats((path.parent / f"beat_{kind}.txt").read_text(encoding="utf-8"), inside)
            for kind in ("audio", "midi")
        ]
        score = align_to_beats(read_score(path), *tables)
    except (MusicBertError, OSError, UnicodeDecodeError) as error:
        reason = error.reason if isinstance(error, MusicBertError) else "bad-beats"
        return Outcome(path.stem, reason, path=inside, detail=str(error))
    (target / part).mkdir(exist_ok=True)
    write_midi(score, target / part / f"{path.stem}.mid")
    return Outcome(path.stem, OK, path=inside, split=part)


def write_lists(corpora: Iterable[Corpus], folder: str | PathLike[str]) -> list[Path]:
    """Write ``<corpus>.txt`` with the absolute path of each file, as ``musicbert build`` takes it."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    lists = []
    for corpus in corpora:
        path = Path(folder) / f"{corpus.name}.txt"
        write_text(path, "".join(f"{os.path.abspath(file)}\n" for file in corpus.files))  # noqa: PTH100
        if corpus.files:
            lists.append(path)
    return lists

"""The tasks ``next`` and ``acc`` from any MIDI files with a melody and an accompaniment.

``next``: does this phrase follow that one? ``acc``: does this accompaniment belong to that melody? True
pairs are phrases of one place of one piece; false ones put the second phrase of another in its place:

* training and validation: for every true pair ``negatives`` false ones with the same first phrase;
* test: every true pair is a query with ``group - 1`` false candidates, no two of them from one phrase, in
  random order.

False phrases are drawn from the same part and, with ``others="song"``, from other songs only; with
``others="same"`` from other places of the same song where it has enough, which is harder: key, tempo and
style then tell nothing. A candidate that is note for note the true one is never false. Parts are divided by
song: versions of one song are in one part (`musicbert.corpus.splits.song_groups`). Everything is drawn from
generators seeded by the seed, the part and the query, so it depends on neither the number of workers nor the
order of the files.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np

from musicbert.annotation.folds import PARTS, rank
from musicbert.arrays import Ints
from musicbert.atomic import write_json, write_text
from musicbert.corpus.files.archive import Member, MidiSource
from musicbert.corpus.files.folders import Spool, build_directory
from musicbert.corpus.files.ledger import Outcome, write_ledger
from musicbert.corpus.files.matching import rejected
from musicbert.corpus.sentences.pairs.phrases import Phrase, PhraseOptions, melody_track, phrases
from musicbert.corpus.sentences.pairs.pirhdy import BAR_POSITIONS, GROUP, PairTask
from musicbert.corpus.sentences.pairs.rawset import PairReport, PartWriter, is_pair_set, text_of
from musicbert.corpus.sentences.songs import SongPiece, read_songs
from musicbert.corpus.splits.song_groups import song_marks
from musicbert.encoding import N_FIELDS, content_md5, dictionary_text, encode_notes
from musicbert.encoding.octuple import notes_beyond_limit
from musicbert.errors import DatasetError
from musicbert.midi import read_score

#: Pairs drawn at once, and how often, before all are looked through.
_AT_ONCE, _DRAWS = 128, 4


@dataclass(frozen=True)
class GenerateOptions:
    """How pieces become pairs."""

    task: PairTask
    cut: PhraseOptions = field(default_factory=PhraseOptions)  # how pieces become phrases
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)  # of the songs, for train, valid and test
    negatives: int = 1  # false pairs for each true one in training and validation
    group: int = GROUP  # candidates of a test query, the true one included
    others: Literal["song", "same"] = "song"  # false phrases come from other songs, or from the same one
    most_queries: int = 0  # maximum number of test queries; all if 0
    seed: int = 7  # of every draw
    workers: int = 1


def _read(member: Member, content: bytes, *, options: GenerateOptions) -> SongPiece[list[Phrase]]:
    score = read_score(content, name=member.path)
    accompanied = options.task == "acc"
    piece_phrases = phrases(score, options.cut, accompanied=accompanied)
    rows, note_index = encode_notes(score)
    # versions of a song are found by its melody, whatever stands above it in some bars
    melody = score.track[note_index] == melody_track(score, options.cut.melody)
    melody_mark = song_marks(score, rows[melody], note_index[melody])[1]
    if options.task == "next" and not _successors(piece_phrases, options.cut.bars):
        raise DatasetError("no-phrase", "No phrase follows another")
    marks = content_md5(rows), melody_mark
    return SongPiece(len(score), marks, piece_phrases, beyond_limit=notes_beyond_limit(score))


def _successors(found: Sequence[Phrase], bars: int) -> list[int]:
    """Phrases that the next one follows at once."""
    return [at for at in range(len(found) - 1) if found[at + 1].bar == found[at].bar + bars]


@dataclass(frozen=True, eq=False)
class _Pairs:
    """True pairs of a part, by song: numbers of the two phrases in the spool, and of the song."""

    firsts: Ints
    seconds: Ints
    songs: Ints


def generate(
    midi: str | PathLike[str],
    output: str | PathLike[str],
    options: GenerateOptions,
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> PairReport:
    """Write a raw set of pairs (`musicbert.corpus.sentences.pairs.rawset`) from MIDI files (folder or zip).

    Raises `DatasetError`: those of `MidiSource` and `build_directory`; ``nothing-readable`` where no file
    gives a phrase; ``empty-split``, ``too-few-phrases`` where a part has too few for its queries.
    """
    if options.group < 2 or options.negatives < 1 or min(options.shares) < 0 or options.shares[2] <= 0:
        message = "a group has 2 candidates or more, and a pair 1 negative or more; shares are not negative"
        raise ValueError(message)
    made = build_directory(output, overwrite=overwrite, recognise=is_pair_set)
    with made as folder, Spool(folder) as spool:
        outcomes, parts = _collect(midi, options, spool, progress)
        write_text(folder / "dict.txt", dictionary_text())
        counts = {}
        for part in PARTS:
            if part != "valid" or options.shares[1] > 0:
                with PartWriter(folder, part) as writer:
                    _write_part(part, parts[part], writer, spool, options)
                counts[part] = writer.counts()
        left_out = Counter(file.outcome for file in outcomes if not file.ok)
        report = PairReport(counts, dict(left_out.most_common()))
        about = {
            "task": options.task,
            "source": Path(midi).resolve().name,
            "seed": options.seed,
            "group": options.group,
            "others": options.others,
            "bars": options.cut.bars,
            "level_velocity": options.cut.level_velocity,
            "shares": list(options.shares),
            "parts": counts,
            "left_out": report.left_out,
            "shared_queries": 0,
        }
        write_json(folder / "about.json", about)
        write_ledger(folder / "ledger.jsonl", outcomes)
    return report


def _collect(
    midi: str | PathLike[str], options: GenerateOptions, spool: Spool, progress: bool
) -> tuple[list[Outcome], dict[str, _Pairs]]:
    """Read all files, set their phrases aside and divide the true pairs by song."""

    def name(outcome: Outcome) -> str:
        return outcome.path or outcome.name

    with MidiSource(midi) as source:
        outcomes, numbers, groups = read_songs(
            source,
            source.members,
            partial(_read, options=options),
            lambda found: _set_aside(found, options, spool),
            name=name,
            workers=options.workers,
            progress="phrases" if progress else "",
        )
        others = rejected(source)
    if not groups:
        raise DatasetError(
            "nothing-readable",
            f"None of the {len(outcomes)} files gives a phrase: {dict(Counter(o.outcome for o in outcomes))}",
            path=midi,
            hint="name the tracks with --melody and --accompaniment",
        )
    part_of = _divide(groups.values(), options)
    outcomes = [replace(o, split=part_of[groups[name(o)]]) if o.ok else o for o in outcomes]
    collected: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    songs = {song: number for number, song in enumerate(sorted(set(groups.values())))}
    for file, song in sorted(groups.items(), key=lambda item: (item[1], item[0])):
        collected[part_of[song]] += [(first, second, songs[song]) for first, second in numbers[file]]
    parts = {}
    for part in PARTS:
        parts[part] = _Pairs(*np.array(collected[part], np.int64).reshape(-1, 3).T)
    return outcomes + others, parts


def _set_aside(found: Sequence[Phrase], options: GenerateOptions, spool: Spool) -> list[tuple[int, int]]:
    """Put phrases into the spool and return the true pairs of the piece."""
    if options.task == "acc":
        return [(spool.append(phrase.melody), spool.append(phrase.accompaniment)) for phrase in found]
    numbers = [spool.append(phrase.melody) for phrase in found]
    return [(numbers[at], numbers[at + 1]) for at in _successors(found, options.cut.bars)]


def _divide(groups: Iterable[str], options: GenerateOptions) -> dict[str, str]:
    """Put whole songs into parts, by a seeded order of their names."""
    order = sorted(set(groups), key=lambda name: rank(options.seed, name))
    edges = np.cumsum(options.shares) / np.sum(options.shares) * len(order)
    return {
        name: PARTS[min(int(np.searchsorted(edges, at, side="right")), 2)] for at, name in enumerate(order)
    }


def _write_part(part: str, pairs: _Pairs, writer: PartWriter, spool: Spool, options: GenerateOptions) -> None:
    if len(pairs.firsts) == 0:
        hint = "give more files, or other --shares"
        raise DatasetError("empty-split", f"No pair is left for {part}", hint=hint)
    testing = part == "test"
    false = options.group - 1 if testing else options.negatives
    queries = np.arange(len(pairs.firsts))
    if testing and 0 < options.most_queries < len(queries):
        rng = np.random.default_rng([options.seed, PARTS.index(part)])
        queries = np.sort(rng.choice(queries, options.most_queries, replace=False))
    shift = options.cut.bars if options.task == "next" else 0
    for number, query in enumerate(queries.tolist()):
        rng = np.random.default_rng([options.seed, PARTS.index(part), query])
        candidates = pairs.seconds[[query, *_false(pairs, query, false, spool, options, rng)]]
        order = rng.permutation(len(candidates)) if testing else range(len(candidates))
        first = spool[int(pairs.firsts[query])].reshape(-1, N_FIELDS)
        rows = [_join(first, spool[int(candidates[at])].reshape(-1, N_FIELDS), shift) for at in order]
        labels = (np.asarray(order) == 0).astype(np.int64)
        firsts = np.full(len(rows), shift * BAR_POSITIONS)
        writer.write(text_of(rows), labels, np.full(len(rows), number), firsts)


def _false(
    pairs: _Pairs, query: int, count: int, spool: Spool, options: GenerateOptions, rng: np.random.Generator
) -> list[int]:
    """Draw pairs whose second phrases are false for a query, all different and none the true one."""
    truth = spool[int(pairs.seconds[query])].tobytes()
    chosen: dict[bytes, int] = {}
    for at in _others(pairs, query, options, rng):
        content = spool[int(pairs.seconds[at])].tobytes()
        if content != truth:
            chosen.setdefault(content, at)
        if len(chosen) == count:
            return list(chosen.values())
    raise DatasetError(
        "too-few-phrases",
        f"A query needs {count} false phrases and there are {len(chosen)}",
        hint="give more files, a larger share for this part, or a smaller --group",
    )


def _others(pairs: _Pairs, query: int, options: GenerateOptions, rng: np.random.Generator) -> Iterator[int]:
    """Yield other pairs in random order: some at random first, as one is rarely drawn twice, then all."""
    song = pairs.songs[query]
    if options.others == "same":
        begin, end = np.searchsorted(pairs.songs, [song, song + 1])
        yield from (at for at in (begin + rng.permutation(end - begin)).tolist() if at != query)
    for _ in range(_DRAWS):
        some = rng.integers(0, len(pairs.songs), _AT_ONCE)
        yield from some[pairs.songs[some] != song].tolist()
    yield from rng.permutation(np.flatnonzero(pairs.songs != song)).tolist()


def _join(first: Ints, second: Ints, shift: int) -> Ints:
    """Put two phrases into one piece, the second moved by bars."""
    moved = second.copy()
    moved[:, 0] += shift
    both = np.concatenate([first, moved])
    return both[np.lexsort(both.T[::-1])]

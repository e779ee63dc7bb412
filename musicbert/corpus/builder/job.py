"""`build_corpus`: from sources to a finished corpus, going on where a killed run stopped.

All work is in ``.OUTPUT.building`` beside the output, in three steps, each made of pieces that are there
completely or not at all: shards of encoded files, parts of the corpus, and the renaming of the finished
folder. A run that finds such a folder of its own options does what is missing, so a run that was killed at
any moment and started again ends with the same bytes as one that was not. The folder takes about 16 bytes a
note.

The output holds ``dict.txt`` (of compound words ``meta.json``), ``<split>.bin`` and ``.idx`` (or
``midi_<split>.txt``), optional ``<split>.performance.npy`` (float32 [shape=(notes of the split, P)]),
``ledger.jsonl`` (one line a file, determined by the input alone), ``build.json`` (options and counts) and
``timings.jsonl`` (milliseconds a file: the one thing that no two runs share). Corpora of several shards have
``shard0``, ``shard1``, ... in between.
"""

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.atomic import read_json, remove_partial, write_json
from musicbert.corpus.builder.assemble import (
    Part,
    PartDone,
    Range,
    RangeDone,
    finish_part,
    plan_parts,
    plan_ranges,
    write_part,
    write_range,
)
from musicbert.corpus.builder.changes import changes, present, recorded
from musicbert.corpus.builder.held_out import fingerprints_of, hashes_of_tests
from musicbert.corpus.builder.index import divide, make_index
from musicbert.corpus.builder.options import BuildOptions
from musicbert.corpus.builder.report import BuildReport, write_reports
from musicbert.corpus.builder.runner import Runner, open_runner
from musicbert.corpus.builder.shards import committed
from musicbert.corpus.builder.sources import Entry, check_sources, list_files
from musicbert.corpus.builder.worker import Chunk, ChunkDone, describe_corpus, encode_chunk
from musicbert.corpus.files.folders import check_destination
from musicbert.corpus.files.ledger import read_ledger
from musicbert.errors import DatasetError
from musicbert.progress import progress_bar
from musicbert.reuse import (
    differences,
    file_differences,
    hold_folder,
    made_from,
    read_record,
    write_record,
)

#: Files that an error names.
SHOWN = 3
#: A chunk is full at so many files, or so many bytes of MIDI: about a second of work.
CHUNK_FILES, CHUNK_BYTES = 128, 4 << 20


def build_corpus(
    sources: str | PathLike[str] | Iterable[str | PathLike[str]],
    output: str | PathLike[str],
    options: BuildOptions | None = None,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    overwrite: bool = False,
    restart: bool = False,
    progress: bool = True,
) -> BuildReport:
    """Build a corpus, or go on with one.

    ``sources`` are folders, zip or tar archives, lists of URLs, or URLs of folders. The folder ``output``
    appears only when it is complete; ``overwrite`` replaces an earlier corpus, ``restart`` discards what an
    earlier run of the same output left. With a scheduler (see `open_runner`), sources other than URLs and the
    folder of the output must be on a file system that its workers see under the same paths.

    Raises
    ------
    DatasetError
        ``bad-options``, an unusable source (`list_files`), an existing or busy output (`build_directory`),
        ``other-run`` or ``source-changed`` (what an earlier run left was made of other options or files),
        ``nothing-to-write`` (the ledger is then at ``OUTPUT.ledger.jsonl``), those of `fingerprints_of`,
        ``unread-tests`` (a test piece could not be read).
    """
    options = options or BuildOptions()
    names = [sources] if isinstance(sources, str | PathLike) else list(sources)
    given = [os.fspath(name) for name in names]
    output = Path(output).absolute()
    work = output.parent / f".{output.name}.building"
    plan = made_from(
        {"sources": given, **json.loads(options.to_json())}, hashes_of_tests(options.exclude_music)
    )
    begun = work.is_dir()
    if not begun:  # before a folder is made
        check_destination(output, overwrite, _is_ours)
        check_sources(given)
    with hold_folder(work, path=output):
        if begun:
            if _finished(work, output, plan, overwrite, options):  # killed when only `work` had still to go
                _tidy(work)
                return BuildReport.read(output)
            check_destination(output, overwrite, _is_ours)
            check_sources(given)
        _claim(work, plan, restart)
        _keep_fingerprints(work, options)
        with open_runner(workers, scheduler) as runner:
            chunks, files = _encode(given, work, options, runner, progress)
            report = _assemble(chunks, files, work, output, options, runner, progress)
        check_destination(output, overwrite, _is_ours)
        _publish(work, output, plan)
        _tidy(work)
    return report


def _is_ours(folder: Path) -> bool:
    return (folder / "ledger.jsonl").exists()


def _finished(work: Path, output: Path, plan: dict[str, Any], overwrite: bool, options: BuildOptions) -> bool:
    """Whether this very run has put its output in place already.

    Raises `DatasetError` (``source-changed``).
    """
    if not work.is_dir() or not (output / "build.json").exists() or (work / "out").exists():
        return False
    note = work / "published"
    if read_record(note) != plan if note.exists() else overwrite or any(work.iterdir()):
        return False
    before = recorded(vars(outcome) for outcome in read_ledger(output / "ledger.jsonl"))
    now = present(list_files(plan["settings"]["sources"], exclude=options.exclude), before, options)
    lines = file_differences(before, now)
    if lines and not overwrite:
        _refuse(lines, output, "choose another --output, or pass --overwrite")
    return not lines


def _refuse(lines: Sequence[str], path: Path, hint: str) -> None:
    raise DatasetError(
        "source-changed",
        f"The sources are not those that this was made from: {'; '.join(lines)}",
        path=path,
        hint=hint,
    )


def _tidy(work: Path) -> None:
    """Remove the work folder, last of all the note that says that it may be removed."""
    for entry in work.iterdir():
        if entry.name != "published":
            _remove(entry)
    shutil.rmtree(work, ignore_errors=True)


def _remove(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _claim(work: Path, plan: dict[str, Any], restart: bool) -> None:
    """Make sure that what is in the work folder belongs to this run."""
    note = work / "plan.json"
    over = (work / "published").exists() and not (work / "out").exists()
    begun = any((work / "shards").glob("*")) or (work / "encoded.json").exists() or (work / "out").exists()
    # the plan is the first thing written; beside nothing else it binds nobody
    if restart or over or not note.exists() or not begun:
        for entry in work.iterdir():
            _remove(entry)
    elif lines := differences(read_record(note), plan):
        raise DatasetError(
            "other-run",
            f"An unfinished run of this output was another one: {'; '.join(lines)}",
            path=work,
            hint="repeat its command to go on, or begin afresh with --restart",
        )
    if not note.exists():
        write_record(note, plan)
    (work / "shards").mkdir(exist_ok=True)


def _fingerprints(work: Path) -> Path:
    return work / "tests.npz"


def _keep_fingerprints(work: Path, options: BuildOptions) -> None:
    """Put what must not be in the corpus where the workers find it."""
    if options.exclude_music and not _fingerprints(work).exists():
        together, unread = fingerprints_of(options.exclude_music)
        if unread:
            named = "; ".join(f"{each.path} ({each.outcome})" for each in unread[:SHOWN])
            raise DatasetError(
                "unread-tests",
                f"{len(unread)} test pieces could not be read, and would go unnoticed: {named}",
                hint="leave them out, or make a list of fingerprints with `musicbert data fingerprints`",
            )
        together.save(_fingerprints(work))


def _encode(
    sources: Sequence[str], work: Path, options: BuildOptions, runner: Runner, progress: bool
) -> tuple[int, int]:
    """Make the shards that are missing; return the numbers of shards and of files.

    Raises `DatasetError` (``source-changed``).
    """
    note, shards = work / "encoded.json", work / "shards"
    tests = str(_fingerprints(work)) if options.exclude_music else ""

    def listing() -> Iterator[Chunk]:
        for number, entries in enumerate(_chunks(list_files(sources, exclude=options.exclude))):
            yield Chunk(number, entries, str(shards), options, tests=tests)

    if lines := changes(listing, shards, runner, complete=note.exists()):
        _refuse(lines, work, "begin afresh with --restart")
    if note.exists():
        known = read_json(note)
        return known["chunks"], known["files"]
    total = None
    if not any("://" in source or source.endswith(("gz", "xz", "bz2")) for source in sources):
        total = sum(1 for _ in list_files(sources, exclude=options.exclude))
    chunks = files = 0
    with progress_bar(total=total, desc="encoding", unit="file", shown=progress) as bar:

        def missing() -> Iterator[Chunk]:
            nonlocal chunks, files
            for chunk in listing():
                chunks, files = chunk.number + 1, files + len(chunk.entries)
                if committed(shards, chunk.number):
                    bar.update(len(chunk.entries))
                else:
                    yield chunk

        done: ChunkDone
        for done in runner.run(encode_chunk, missing(), _without_killers(work)):
            bar.update(done.files)
    write_json(note, {"chunks": chunks, "files": files})
    return chunks, files


def _chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    chunk: list[Entry] = []
    size = 0
    for entry in entries:
        chunk.append(entry)
        size += entry.member.size if entry.place is not None else 0
        if len(chunk) == CHUNK_FILES or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _without_killers(work: Path) -> Callable[[Chunk, Callable[[Any], bool]], Chunk]:
    """Say which files of a chunk end the process that reads them: each is tried alone."""

    def find(chunk: Chunk, kills: Callable[[Any], bool]) -> Chunk:
        probe = str(work / "probe")
        crashed = [
            index
            for index, entry in enumerate(chunk.entries)
            if kills(replace(chunk, entries=[entry], folder=probe))
        ]
        return replace(chunk, crashed=tuple(crashed))

    return find


def _assemble(
    chunks: int, files: int, work: Path, output: Path, options: BuildOptions, runner: Runner, progress: bool
) -> BuildReport:
    """Divide the files, write the parts that are missing, and the reports."""
    index = make_index(work / "shards", chunks, files, options.seed, work / "signatures")
    divide(index, options)
    target = work / "out"
    target.mkdir(exist_ok=True)
    parts = list(plan_parts(index, work, target, options))
    if not parts:
        outcomes = write_reports(index, [], chunks, work, target, options).outcomes
        hint = "there is no MIDI file in the sources"
        if outcomes:
            ledger = output.with_name(f"{output.name}.ledger.jsonl")
            (target / "ledger.jsonl").replace(ledger)
            hint = f"found: {', '.join(f'{n} {reason}' for reason, n in outcomes.items())}; see {ledger}"
        _tidy(work)  # there is nothing to go on with
        raise DatasetError("nothing-to-write", "no file could be encoded", path=output, hint=hint)
    done = _write(parts, runner, progress)
    for folder in {part.folder for part in done}:
        describe_corpus(Path(folder), options)
    return write_reports(index, done, chunks, work, target, options)


def _write(parts: Sequence[Part], runner: Runner, progress: bool) -> list[PartDone]:
    """Write parts, large ones by all workers at once."""
    ranges = {part.plan: plan_ranges(part, runner.local_workers) for part in parts}
    tasks: list[Part | Range] = []
    for part in parts:
        tasks += ranges[part.plan] or [part]
    done: list[PartDone] = []
    written: dict[str, list[RangeDone]] = defaultdict(list)
    with progress_bar(total=len(tasks), desc="writing", unit="part", shown=progress) as bar:
        for result in runner.run(_write_task, tasks):
            if isinstance(result, PartDone):
                done.append(result)
            else:
                written[result.plan].append(result)
            bar.update()
    return done + [finish_part(part, written[part.plan]) for part in parts if ranges[part.plan]]


def _write_task(task: Part | Range) -> PartDone | RangeDone:
    return write_part(task) if isinstance(task, Part) else write_range(task)


def _publish(work: Path, output: Path, plan: dict[str, Any]) -> None:
    """Put the finished folder in its place."""
    remove_partial(work / "out")
    old = output.parent / f".{output.name}.old"
    write_record(work / "published", plan)
    if output.is_dir():
        shutil.rmtree(old, ignore_errors=True)
        output.rename(old)
    (work / "out").rename(output)
    shutil.rmtree(old, ignore_errors=True)

"""`musicbert build`: MIDI files become a corpus for pre-training."""

import argparse
import os
import sys
from pathlib import Path

from musicbert.cli.inputs import add_policies, policies_of, refuse_policies, share, too_many_failures
from musicbert.command_line import STOPPED, refuse_unused
from musicbert.corpus.builder import BuildOptions, BuildReport, build_corpus

DESCRIPTION = "Turn MIDI files into a corpus for pre-training: a data-bin for fairseq-train, or text."
EPILOG = """examples:
  musicbert build lmd_full.tar.gz --output lmd_data_bin --workers 8
  musicbert build maestro/ pop909.zip --output piano_data_bin --exclude '(?i)d960' --performance-input
  musicbert build urls.txt --output corpus_data_raw --format text
  musicbert build pop909/ Pianist8.zip --encoding cp --output cp_data_bin
  musicbert build s3://bucket/midi/ --output corpus_data_bin --scheduler tcp://head:8786

Repeat the command to continue after an interruption, even after kill -9.

exit status: 0 done; 1 done, but more files failed than --max-failure-rate allows; 2 an error, nothing was
written (if no file could be encoded, only OUTPUT.ledger.jsonl); 130 stopped by Ctrl-C."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert build`."""
    defaults = BuildOptions()
    add = parser.add_argument
    kinds = "folder, MIDI file, .zip, .tar[.gz|.xz|.bz2], text file of URLs or paths, or URL of a folder"
    add("sources", nargs="+", metavar="SOURCE", help=kinds)
    add("--output", "-o", type=Path, required=True, help="folder to write")
    add("--encoding", choices=("octuple", "cp", "cp-m2bert", "cp-midibert"), default=defaults.encoding,
        help="octuples, or compound words: corrected or as published (%(default)s)")  # fmt: skip
    add("--metres", choices=("any", "one-4/4"), default=defaults.metres,
        help="one-4/4: only pieces with one time signature event, 4/4 (M2BERT's; %(default)s)")  # fmt: skip
    add("--format", choices=("bin", "text", "both"), default=defaults.output,
        help=".bin and .idx for fairseq-train, text for fairseq-preprocess (%(default)s)")  # fmt: skip
    add("--shard-tokens", type=int, default=defaults.shard_tokens, metavar="N",
        help="tokens of train in one shard; 0: one shard (%(default)s)")  # fmt: skip
    add("--performance-input", action="store_true", help="also write pedal and timing inputs")
    add("--score-input", action="store_true",
        help="and place in the beat and its length, by ASAP's annotations beside the files")  # fmt: skip
    add("--exclude", default="", metavar="REGEX", help="leave out files whose path matches")
    add("--exclude-music", nargs="+", default=[], metavar="TESTS",
        help="leave out files that hold the music of test pieces: fingerprints of `musicbert data "
        "fingerprints`, or a folder or archive of MIDI files")  # fmt: skip
    add("--seed", type=int, default=defaults.seed, help="of split, order, windows and bars (%(default)s)")

    group = parser.add_argument_group("windows and splits")
    add = group.add_argument
    add("--window", type=int, default=defaults.window, help="notes of a sequence (%(default)s)")
    add("--overlap", type=int, default=defaults.overlap, help="sequences that hold a note (%(default)s)")
    add(
        "--shares", type=float, nargs=3, default=defaults.shares, metavar=("TRAIN", "VALID", "TEST"),
        help="shares of the files (98 1 1)",
    )  # fmt: skip
    add(
        "--split", choices=("count", "hash"), default=defaults.split,
        help="cut a seeded order at the shares, or by a hash, stable when files are added (%(default)s)",
    )  # fmt: skip
    add("--keep-duplicates", action="store_true", help="keep files with the same notes as an earlier one")
    add("--ignore-near-duplicates", action="store_true", help="allow versions of a song in different splits")

    add_policies(parser)
    group = parser.add_argument_group("running")
    add = group.add_argument
    add(
        "--bar-overflow", choices=("drop", "restart", "error"), default=defaults.policies.bar_overflow,
        help="what happens to a window of more than 256 bars (%(default)s)",
    )  # fmt: skip
    add("--reader", choices=("symusic", "miditoolkit"), default=defaults.reader)
    add("--workers", type=int, default=1, help="processes (%(default)s)")
    add("--scheduler", metavar="ADDRESS", help="dask.distributed scheduler to work on")
    add("--overwrite", action="store_true", help="replace an earlier corpus")
    add("--restart", action="store_true", help="start again instead of continuing an unfinished run")
    add(
        "--max-failure-rate", type=share, default=0.05, metavar="SHARE",
        help="exit with status 1 if more of the files cannot be encoded, in 0-1 (%(default)s)",
    )  # fmt: skip
    add("--quiet", action="store_true", help="no progress bar")


def options_of(given: argparse.Namespace) -> BuildOptions:
    """Return the options of a command line."""
    same = ("encoding", "metres", "window", "overlap", "seed", "split", "exclude", "shard_tokens", "reader",
            "channel_programs", "repeats")  # fmt: skip
    return BuildOptions(
        **{name: getattr(given, name) for name in same},
        shares=tuple(given.shares),
        exclude_music=tuple(given.exclude_music),
        duplicates="keep" if given.keep_duplicates else "drop",
        near_duplicates="ignore" if given.ignore_near_duplicates else "group",
        performance=given.performance_input,
        score=given.score_input,
        output=given.format,
        policies=policies_of(given),
    )


def run(given: argparse.Namespace) -> int:
    """Build and print a summary; return the exit status."""
    refuse_policies(given, given.encoding)
    if given.encoding != "octuple":
        refuse_unused(
            given, ["window", "overlap"], f"with --encoding {given.encoding}: a sequence is a piece"
        )
    if given.scheduler:
        refuse_unused(given, ["workers"], "with --scheduler, which has workers of its own")
    try:
        report = build_corpus(
            given.sources,
            given.output,
            options_of(given),
            workers=given.workers,
            scheduler=given.scheduler,
            overwrite=given.overwrite,
            restart=given.restart,
            progress=not given.quiet,
        )
    except KeyboardInterrupt:
        print("stopped; repeat the command to continue", file=sys.stderr)
        return STOPPED
    print(summary(report, given.output))
    what = "the files could not be encoded"
    return int(too_many_failures(report.failure_rate, given.max_failure_rate, what, given.output))


def summary(report: BuildReport, output: Path) -> str:
    """Return a summary of a few lines."""
    outcomes = ", ".join(f"{number:,} {reason}" for reason, number in report.outcomes.items())
    lines = [f"{output}: {report.found:,} files found: {outcomes} (ledger.jsonl names each)"]
    lines += [
        f"  {split}: {size['files']:,} files, {size['sequences']:,} sequences, {size['notes']:,} notes"
        if size["files"]
        else f"  {split}: empty, nothing written"
        for split, size in report.splits.items()
    ]
    missing = [name for name in ("train", "valid") if not report.splits.get(name, {"files": 1})["files"]]
    if missing:
        names = " and no ".join(
            {"train": "training part", "valid": "validation part"}[name] for name in missing
        )
        lines.append(
            f"  no {names}: training needs both. Give more files, or repeat with --overwrite and larger "
            "shares, such as --shares 80 10 10"
        )
    if report.notes.get("beyond_limit"):
        text = f"  {report.notes['beyond_limit']:,} notes after 1,024 bars of 4/4 are left out"
        lines.append(f"{text} (--beyond-limit keep takes them)")
    if report.notes.get("programs_elsewhere"):
        text = f"  {report.notes['programs_elsewhere']:,} notes have a program that another track sets"
        lines.append(f"{text} on their channel (--channel-programs channel reads it)")
    if report.scores:
        lines.append(
            f"  {report.scores:,} files are written scores: one velocity for all notes, no performer's timing"
        )
    if missing := report.outcomes.get("no-music21"):
        text = f"  {missing:,} written scores (MusicXML, ABC, Humdrum, MEI) are left out: reading them needs"
        lines.append(f"{text} pip install 'musicbert[scores]'")
    if report.shards > 1:
        folders = os.pathsep.join(str(output / f"shard{number}") for number in range(report.shards))
        lines.append(f"  {report.shards} shards; fairseq-train takes them as {folders}")
    return "\n".join(lines)

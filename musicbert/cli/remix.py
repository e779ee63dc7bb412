"""`musicbert remix`: parts of a MIDI file written anew by a model, in several ranked versions."""

import argparse
from pathlib import Path
from typing import get_type_hints

from musicbert.cli.filling import VALUES, add_filling, draws, filling_of, refuse_unhidden, replaced
from musicbert.cli.inputs import (
    add_model,
    add_policies,
    bar_range,
    open_model,
    policies_of,
    read_said,
    share,
    source_of,
)
from musicbert.command_line import refuse_unused

DESCRIPTION = "Let the model write parts of a MIDI file anew, in several versions, the likeliest first."
EPILOG = f"""examples:
  musicbert remix piece.mid --list
  musicbert remix piece.mid --bars 5-8 --fields pitch duration --output remixes
  musicbert remix piece.mid --bars 1-4 --drums pattern --programs drums --share 1 --output beats
  musicbert remix piece.mid --instrument 0=violin --scale C-major --versions 5 --output violins

The folder gets version-1.mid, version-2.mid, ..., ranking.csv and ranking.json
(with --pictures original.png, version-1.png, ...; with --sound the same as .wav).
Whatever is not chosen stays in the file as it is. Repeat a command with more
--versions to add some. Versions are ranked by their
pseudo-log-likelihood per note: how likely the model finds the new notes, in nats (0 is certain).

{VALUES}

exit status: 0 done; 2 bad usage or input."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert remix`."""
    add = parser.add_argument
    add("input", metavar="INPUT", help="MIDI file")
    add_model(parser, default="musicbert-mini")
    add("--list", action="store_true", help="only show the tracks and instruments of the file")
    add("--output", "-o", type=Path, default=Path("remix"), help="folder to write (%(default)s)")
    add("--versions", type=int, default=3, help="how many (%(default)s)")
    add("--pictures", action="store_true", help="also piano rolls of the chosen bars, before and after")
    add("--sound", action="store_true", help="also WAV files of the chosen bars, before and after")
    add("--rank-passes", type=int, default=8, help="passes of the model to rank one (%(default)s)")
    add = parser.add_argument_group("what to write anew").add_argument
    add("--bars", type=bar_range, metavar="FIRST-LAST", help="bars, counted from 1 (all)")
    add("--tracks", nargs="+", metavar="TRACK", help="tracks by number, counted from 1, or name (all)")
    add("--programs", nargs="+", metavar="NAME", help="instruments by name or program; drums are 128 (all)")
    add("--share", type=share, default=0.5, help="share of these notes, 0-1 (%(default)s)")
    add("--fields", nargs="+", default=["pitch"], metavar="FIELD", help="what of a note (pitch)")
    add(
        "--drums",
        choices=("keep", "fields", "pattern"),
        default="keep",
        help="keep; change as other notes; new rhythm, drums and velocities (%(default)s)",
    )
    add(
        "--instrument", nargs="+", type=replaced, default=[], metavar="OLD=NEW",
        help="instruments that play in place of others in these bars and tracks, by name or program",
    )  # fmt: skip
    add_filling(parser, order="confident", temperature="1", top_p=0.95, context=200)
    add_policies(parser, whole=True)


def run(options: argparse.Namespace) -> int:
    """Write the versions; return the exit status."""
    from musicbert.encoding import Policies
    from musicbert.predict.runner import line_progress
    from musicbert.remixing import Choice, Remixer, write_remixes
    from musicbert.remixing.versions import DEFAULTS
    from musicbert.reuse import hash_of, hashes_of, made_from
    from musicbert.weights import resolve

    refuse_unused(options, ["labels"], "by remix: it names the outputs of heads, which remix does not run")
    if options.list:
        kept = {"input", "list", "channel_programs", "repeats", *get_type_hints(Policies)}
        refuse_unused(options, sorted(set(options.given) - kept - {"run", "command"}), "with --list")
        return _show_parts(options)
    if options.versions < 1 or options.rank_passes < 1:
        raise ValueError("--versions and --rank-passes are at least 1")
    choice = Choice(
        options.bars,
        options.tracks,
        options.programs,
        options.share,
        options.fields,
        options.drums,
        dict(options.instrument),
    )
    refuse_unhidden(options, choice.hidden_fields)
    how = filling_of(options, distinct=DEFAULTS.distinct)
    versions = options.versions
    if not draws(how):
        refuse_unused(options, ["versions"], "with --temperature 0, where all versions are the same")
        versions = 1
    model = open_model(options)
    _, source, programs = source_of(options)
    remixer = Remixer(
        source,
        model=model,
        choice=choice,
        options=how,
        seed=options.seed,
        rank_passes=options.rank_passes,
        policies=policies_of(options),
        channel_programs=programs,
    )
    left_out = {"input", "output", "versions", "model", "list", "run", "command", "given", "device"}
    left_out |= {"pictures", "sound"}
    settings = {
        f"--{name.replace('_', '-')}": value for name, value in vars(options).items() if name not in left_out
    }
    files = {**hashes_of(options.input), "model": hash_of(resolve(options.model))}
    ranking = write_remixes(
        options.output,
        remixer,
        versions,
        made_from(settings, files),
        pictures=options.pictures,
        sound=options.sound,
        progress=line_progress("version"),
    )
    other = f", {remixer.replaced} played by another instrument" if remixer.replaced else ""
    print(
        f"original: {ranking[0]['original']:.2f} nats a note; {ranking[0]['notes']} notes written anew{other}"
    )
    print("rank  file             nats a note  notes changed  seed")
    for entry in ranking:
        print(
            f"{entry['rank']:4}  {entry['file']:15}  {entry['likelihood']:11.2f}  "
            f"{entry['changed']:13}  {entry['seed']:4}"
        )
    return 0


def _show_parts(options: argparse.Namespace) -> int:
    from musicbert.encoding import encode_notes
    from musicbert.remixing import list_parts

    score = read_said(options.input, options)
    print("track  name                  notes  bars       instruments")
    for part in list_parts(score, *encode_notes(score, policies=policies_of(options))):
        names = ", ".join(f"{name} ({program})" for program, name in part["instruments"].items())
        bars_ = "-".join(map(str, part["bars"]))
        print(f"{part['track']:5}  {part['name'][:20]:20}  {part['notes']:5}  {bars_:9}  {names}")
    return 0

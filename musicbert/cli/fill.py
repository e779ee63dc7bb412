"""`musicbert fill`: hide parts of a MIDI file and let a model fill them in."""

import argparse
import sys
from pathlib import Path

from musicbert.cli.filling import VALUES, add_filling, draws, filling_of, refuse_unhidden, replaced
from musicbert.cli.inputs import add_model, add_policies, bar_range, open_model, policies_of, source_of
from musicbert.command_line import refuse_unused
from musicbert.corpus.files.archive import MIDI_SUFFIXES
from musicbert.errors import ConfigError

DESCRIPTION = "Hide fields of chosen notes of a MIDI file and let the language model fill them in."
EPILOG = f"""examples:
  musicbert fill piece.mid --model musicbert-mini --fields pitch --bars 5-8 --output filled.mid
  musicbert fill piece.mid --model musicbert-mini --fields pitch duration --programs drums --order notes \\
      --temperature 1.0 --top-p 0.9 --seed 3 --output drums.mid --table drums.csv
  musicbert fill piece.mid --model musicbert-mini --fields program --share 0.15 --output other.mid
  musicbert fill piece.mid --model musicbert-mini --instrument 0=violin --scale C-major --output v.mid

Fields: bar, position, program (128 is percussion), pitch (128 and more are percussion), duration, velocity,
time_signature, tempo. Every hidden token becomes a token of its own field. --temperature 0 takes the most
probable one. The table has a line for each hidden token: note, field, value before, value after, probability
of the new value.

{VALUES}

exit status: 0 done; 2 bad usage or input."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert fill`."""
    add = parser.add_argument
    add("input", metavar="INPUT", help="MIDI file")
    add_model(parser)
    add("--output", "-o", type=Path, required=True, help="MIDI file to write")
    add("--table", type=Path, help=".csv of the hidden tokens to write")
    group = parser.add_argument_group("what to hide")
    add = group.add_argument
    add("--fields", nargs="+", default=["pitch"], metavar="FIELD", help="fields (pitch)")
    add("--bars", type=bar_range, metavar="FIRST-LAST", help="bars, counted from 1 (all)")
    add("--programs", nargs="+", metavar="NAME", help="instruments by name or program; drums are 128 (all)")
    add("--tracks", nargs="+", metavar="TRACK", help="tracks by number, counted from 1, or name (all)")
    add("--notes", nargs="+", type=int, metavar="N", help="notes, numbered as encode has them (all)")
    add("--share", type=float, default=1.0, help="share of those notes, 0-1 (%(default)s)")
    add(
        "--instrument", nargs="+", type=replaced, default=[], metavar="OLD=NEW",
        help="instruments that play in place of others in these notes, bars and tracks, by name or program",
    )  # fmt: skip
    add = add_filling(parser)
    add("--distinct", action="store_true", help="no two notes of a program on one pitch at one place")
    add_policies(parser, whole=True)


def run(options: argparse.Namespace) -> int:
    """Fill and write; return the exit status."""
    from musicbert.atomic import write_text
    from musicbert.encoding import FIELDS
    from musicbert.midi.instruments import instrument_number
    from musicbert.remixing.choice import track_indices

    refuse_unused(options, ["labels"], "by fill: it names the outputs of heads, which fill does not run")
    refuse_unhidden(options, options.fields)
    if options.output.suffix.lower() not in (*MIDI_SUFFIXES, ""):
        raise ConfigError("bad-suffix", "A MIDI file is written: its name ends in .mid", path=options.output)
    how = filling_of(options, distinct=options.distinct)
    if (
        not draws(how) and options.share == 1 and "seed" in options.given
    ):  # harmless: scripts give one by habit
        print("--seed changes nothing: --temperature 0 and --share 1 draw nothing", file=sys.stderr)
    model = open_model(options)
    score, source, programs = source_of(options)
    filled = model.fill(
        source,
        policies=policies_of(options),
        channel_programs=programs,
        fields=options.fields,
        notes=options.notes,
        bars=None if options.bars is None else (options.bars[0] - 1, options.bars[1] - 1),
        programs=None if options.programs is None else [*map(instrument_number, options.programs)],
        tracks=None if options.tracks is None else track_indices(options.tracks, score),
        share=options.share,
        seed=options.seed,
        instruments={instrument_number(old): instrument_number(new) for old, new in options.instrument},
        options=how,
    )
    filled.save(options.output)
    if options.table is not None:
        lines = ["note,field,before,after,probability"]
        for row, field in zip(*filled.mask.nonzero(), strict=True):
            values = (row, FIELDS[field], filled.original.rows[row, field], filled.rows[row, field])
            lines.append(",".join(map(str, (*values, float(filled.probability[row, field])))))
        write_text(options.table, "\n".join(lines) + "\n")
    return 0

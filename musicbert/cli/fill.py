"""`musicbert fill`: hide parts of a MIDI file and let a model fill them in."""

import argparse
import sys
from pathlib import Path

from musicbert.cli.inputs import add_model, add_policies, open_model, policies_of, read_said
from musicbert.command_line import refuse_unused

DESCRIPTION = "Hide fields of chosen notes of a MIDI file and let the language model fill them in."
EPILOG = """examples:
  musicbert fill piece.mid --model musicbert-mini --fields pitch --bars 4 7 --output filled.mid
  musicbert fill piece.mid --model musicbert-mini --fields pitch duration --programs 128 --order notes \\
      --temperature 1.0 --top-p 0.9 --seed 3 --output drums.mid --table drums.csv
  musicbert fill piece.mid --model musicbert-mini --fields program --share 0.15 --output other.mid

Fields: bar, position, program (128 is percussion), pitch (128 and more are percussion), duration, velocity,
time_signature, tempo. Every hidden token becomes a token of its own field. --temperature 0 takes the most
probable one. The table has a line for each hidden token: note, field, value before, value after, probability
of the new value.

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
    add("--bars", nargs=2, type=int, metavar=("FIRST", "LAST"), help="bars, from 0 (all)")
    add("--programs", nargs="+", type=int, metavar="N", help="programs (all)")
    add("--notes", nargs="+", type=int, metavar="N", help="notes, numbered as encode has them (all)")
    add("--share", type=float, default=1.0, help="share of those notes, 0-1 (%(default)s)")
    group = parser.add_argument_group("how to choose")
    add = group.add_argument
    add(
        "--order",
        choices=("once", "confident", "notes", "tokens"),
        default="once",
        help="all at once; most probable first in --steps passes; note by note; token by token (%(default)s)",
    )
    add("--steps", type=int, default=8, help="passes of --order confident (%(default)s)")
    add("--temperature", type=float, default=0.0, help="0: the most probable (%(default)s)")
    add("--top-k", type=int, default=0, help="among the k most probable; 0: all (%(default)s)")
    add("--top-p", type=float, default=1.0, help="among those of this probability (%(default)s)")
    add("--seed", type=int, default=0, help="%(default)s")
    add_policies(parser, whole=True)


def run(options: argparse.Namespace) -> int:
    """Fill and write; return the exit status."""
    from musicbert.atomic import write_text
    from musicbert.encoding import FIELDS
    from musicbert.predict import FillOptions

    refuse_unused(options, ["labels"], "by fill: it names the outputs of heads, which fill does not run")
    if options.order != "confident":
        refuse_unused(options, ["steps"], f"with --order {options.order}")
    if options.temperature == 0:
        refuse_unused(options, ["top_k", "top_p"], "with --temperature 0, which takes the most probable one")
        if options.share == 1 and "seed" in options.given:  # harmless, and scripts give one by habit
            print("--seed changes nothing: --temperature 0 and --share 1 draw nothing", file=sys.stderr)
    how = FillOptions(
        order=options.order,
        steps=options.steps,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
    )
    model = open_model(options)
    read_said(options.input, options)
    filled = model.fill(
        options.input,
        policies=policies_of(options),
        channel_programs=options.channel_programs,
        fields=options.fields,
        notes=options.notes,
        bars=None if options.bars is None else tuple(options.bars),
        programs=options.programs,
        share=options.share,
        seed=options.seed,
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

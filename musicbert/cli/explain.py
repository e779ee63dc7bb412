"""`musicbert explain`: reasons for the predictions of a model about one performance."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from musicbert.command_line import refuse_unused

DESCRIPTION = "Explain what a model predicts for one performance."
EPILOG = """examples:
  musicbert explain piece.mid
  musicbert explain piece.mid --dimension pedal --change --output reasons --sound
  musicbert explain piece.mid --output reasons.html
  musicbert explain piece.mid --model ratings.npz
  musicbert explain piece.mid --model runs/ratings/model --dimension pedal --output reasons
  musicbert explain piece.mid --model runs/ratings/model --dimension pedal --notes --against other.mid

Each factor of the playing (tempo, timing, loudness, dynamics, voicing, articulation, pedal) is made neutral
in the music, alone and together with others, and the model judges each result. The numbers are Shapley
values: they add up to the prediction minus that of the neutral performance. Where the model reads features of
the playing, a second sentence names measured properties, compared with rated performances.
docs/explanations.md says what each number means and how far to trust it.

--output is a page (.html: one file with the reasons and the notes that matter most, no network needed) or a
folder for explanation.json and MIDI files: the music as it is (original.mid), with each factor neutral
(without_FACTOR.mid), and with all of them (neutral.mid). --change adds one for each change that was found.
--sound writes the original, neutral and changed music, and that without what matters most, as .wav. A folder
of an earlier run is written anew; one with other files is refused.

exit status: 0 done; 2 bad usage or input."""

#: suffixes of --output that make a page
PAGES = (".html", ".htm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert explain`."""
    from musicbert.cli.inputs import add_channel_programs, add_repeats

    add = parser.add_argument
    add("input", metavar="INPUT", help="MIDI file")
    add(
        "--model",
        help="committee of ratings (.npz), folder of `musicbert finetune`, or fine-tuned checkpoint "
        "(default: the profile of `musicbert analyse`)",
    )
    add("--head", help="head of a checkpoint that has several")
    add("--network", help="network whose states a committee reads (default: as the committee names it)")
    add("--written", metavar="MIDI", help="the written music, for a committee that compares with it")
    add("--dimension", nargs="+", metavar="NAME", help="dimensions to explain, or parts of their names (all)")
    add("--refits", nargs="+", metavar="MODEL", help="the model trained again: shows which effects are noise")
    add(
        "--notes",
        action="store_true",
        help="notes, bars and voices as well (at most four dimensions; seconds to minutes each)",
    )
    add(
        "--against",
        nargs="+",
        metavar="MIDI",
        help="with --notes: other performances of the same bars, with which a network's notes are compared",
    )
    add(
        "--change",
        action="store_true",
        help="the smallest change that moves a dimension as well",
    )
    add("--by", type=float, help="with --change: how far (default: one rater's standard error)")
    add("--output", "-o", type=Path, metavar="PATH", help="folder for reasons and music, or a page (.html)")
    add("--sound", action="store_true", help="with a folder: original, neutral and changed music as WAV, too")
    add("--device", help="cpu, cuda, ... (a GPU if there is one)")
    add_channel_programs(parser)
    add_repeats(parser)


def run(options: argparse.Namespace) -> int:
    """Explain, print and write; return the exit status."""
    from musicbert.atomic import write_text
    from musicbert.cli.inputs import read_channels
    from musicbert.explanation import explain, open_target, reads_features
    from musicbert.explanation.reasons_folder import written_before
    from musicbert.midi import read_score

    page = options.output is not None and options.output.suffix.lower() in PAGES
    if not options.change:
        refuse_unused(options, ["by"], "without --change")
    if options.output is None or page:
        refuse_unused(options, ["sound"], "without a folder as --output")
    before = [] if options.output is None or page else written_before(options.output)
    score = read_channels(options.input, options)
    with TemporaryDirectory() as made:
        heard = None
        if options.sound:  # first: where it cannot be played, nothing is computed in vain
            from musicbert.sound import render

            heard = Path(made) / "original.wav"
            render(score, heard)
        how = {name: getattr(options, name) for name in ("head", "network", "device")}
        how["written"] = None if options.written is None else read_score(options.written)
        model, *refits = (open_target(each, **how) for each in (options.model, *(options.refits or ())))
        more = {"properties": reads_features(model), "notes": options.notes, "change": options.change}
        result = explain(
            score,
            options.dimension,
            model=model,
            parts=("factors", *(part for part, wanted in more.items() if wanted)),
            refits=refits,
            against=options.against or (),
            by=options.by,
        )
        print(result)
        if page:
            from musicbert.explanation.page import page_of_reasons

            write_text(options.output, page_of_reasons(result, model, str(options.input)))
        elif options.output is not None:
            from musicbert.explanation.reasons_folder import write_reasons

            for line in write_reasons(options.output, result, before, heard):
                print(line)
    return 0

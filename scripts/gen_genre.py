"""Genre (topmagd) and style (masd) of Lakh MIDI files: SUBSET_data_raw with a folder for each of five folds.

python scripts/gen_genre.py topmagd --map midi_genre_map.json --midi lmd_full.zip
"""

import sys
from dataclasses import fields
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from musicbert.command_line import Parser, exit_status


@partial(exit_status, stopped="stopped; nothing was written")
def main(arguments: list[str] | None = None) -> None:
    """Parse the arguments, write, report."""
    from musicbert.corpus.sentences.genre import GenreOptions, build_genre
    from musicbert.corpus.splits.task_folds import RULES

    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("subset", help="topmagd (13 genres), masd (25 styles), or another set of the map")
    add("--map", type=Path, required=True, help="midi_genre_map.json")
    add("--midi", type=Path, required=True, help="folder or zip of files named by their md5")
    add("--output", type=Path, help="folder to write (default: SUBSET_data_raw, or _bin)")
    add("--overwrite", action="store_true", help="replace an earlier set")
    add(
        "--split",
        dest="rule",
        choices=tuple(RULES),
        default="grouped",
        help="grouped: versions of a song in one fold; published: by file, which leaks (%(default)s)",
    )
    add("--folds", dest="n_folds", type=int, default=5, help="folds (%(default)s)")
    add(
        "--valid",
        choices=("groups", "none"),
        default="groups",
        help="groups: songs of the training part; none: the test is validated on, as published (%(default)s)",
    )
    add("--length", type=int, default=1000, help="notes of a window (%(default)s)")
    add("--windows", type=int, default=4, help="training windows of a piece (%(default)s)")
    add("--test-windows", type=int, default=1, help="windows scored of a piece (%(default)s)")
    add("--seed", type=int, default=7, help="seed of every draw (%(default)s)")
    add("--workers", type=int, default=1, help="processes; the result is the same (%(default)s)")
    add(
        "--format",
        dest="layout",
        choices=("text", "bin"),
        default="text",
        help="text for scripts/binarize_genre.sh, or at once what it would make (%(default)s)",
    )
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error("--workers is at least 1")
    output = options.output or Path(f"{options.subset}_data_{'raw' if options.layout == 'text' else 'bin'}")
    report = build_genre(
        options.map,
        options.midi,
        output,
        GenreOptions(**{field.name: getattr(options, field.name) for field in fields(GenreOptions)}),
        overwrite=options.overwrite,
        progress=True,
    )
    print(f"{output}\n{report.summary()}")


if __name__ == "__main__":
    sys.exit(main())

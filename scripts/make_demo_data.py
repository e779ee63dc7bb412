"""Make the demo's data: performances, simulated ratings, and the segments held out for the test.

Example: python scripts/make_demo_data.py --output demo/data
"""

from __future__ import annotations

import sys
from pathlib import Path

from musicbert.atomic import write_text
from musicbert.command_line import Parser, exit_status


@exit_status
def main() -> None:
    """Parse the arguments and write the files."""
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("--output", type=Path, required=True, help="folder to write")
    add("--seed", type=int, default=7, help="%(default)s")
    add("--performers", type=int, default=6, help="%(default)s")
    add("--segments", type=int, default=20, help="of each movement (%(default)s)")
    given = parser.parse_args()
    from musicbert.annotation.names import parse_segment
    from musicbert.synthesis import make_set, write_made_set

    made = make_set(given.seed, performers=given.performers, segments=given.segments)
    ratings, music = write_made_set(made, given.output)
    held_out = given.segments - given.segments // 5  # the last fifth of the music is never trained on
    test = [name for name in made.scores if parse_segment(name).number > held_out]
    write_text(given.output / "test.id", "".join(f"{name}\n" for name in test))
    print(f"{len(made.scores)} performances ({len(test)} for the test) in {music}, {ratings}")


if __name__ == "__main__":
    sys.exit(main())

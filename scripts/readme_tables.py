"""Write the result tables of the README from the files in results/.

Example: python scripts/readme_tables.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from readme_tables import readme_tables, replace_section

from musicbert.atomic import write_text
from musicbert.errors import MusicBertError


def main() -> int:
    """Parse the arguments and rewrite the section of the README."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="%(default)s")
    parser.add_argument("--readme", type=Path, default=Path("README.md"), help="%(default)s")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail if the tables are not in step"
    )
    given = parser.parse_args()
    try:
        before = given.readme.read_text(encoding="utf-8")
        after = replace_section(before, readme_tables(given.results))
    except MusicBertError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.check:
        return 0 if before == after else 1
    write_text(given.readme, after)
    return 0


if __name__ == "__main__":
    sys.exit(main())

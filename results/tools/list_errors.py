"""The reasons of all errors that the package raises, as the table of `docs/errors.md`.

    python results/tools/list_errors.py          write the page
    python results/tools/list_errors.py --check  exit with 1 where it is out of date

Reasons are read from the code: the first argument of an error class of `musicbert.errors`, with its message
and its hint. Where several places raise one reason, the table shows one message of each error class.
"""

import argparse
import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "errors.md"
HEAD = """# Errors

Every error for bad input is a `MusicBertError` with a `reason`, which stays the same from version to version,
the file (`path`) and, where there is one, the next step (`hint`). The command line prints them as
`FILE: message [reason] (hint)`. In Python:

```python
from musicbert.errors import MidiError

try:
    musicbert.encode("piece.mid")
except MidiError as error:
    print(error.reason, error.path, error.hint)
```

The table is written by `python results/tools/list_errors.py`. Names in braces are filled in when the error is
raised.

| reason | error | what it says | next step |
|---|---|---|---|
"""


def text_of(node: ast.expr | None) -> str:
    """A string as it stands in the code, with the names of what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            value.value if isinstance(value, ast.Constant) else "{" + name_of(value.value) + "}"  # type: ignore[attr-defined]
            for value in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left) + text_of(node.right)
    return ""


def name_of(node: ast.expr) -> str:
    """A short name for what is filled in."""
    names = [part.attr if isinstance(part, ast.Attribute) else part.id for part in ast.walk(node)
             if isinstance(part, ast.Attribute | ast.Name)]  # fmt: skip
    return names[0] if names else "..."


def reasons(package: Path) -> dict[str, dict[str, tuple[str, str]]]:
    """Reason -> error class -> message and hint."""
    table: defaultdict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
                continue
            reason = text_of(node.args[0])
            if not node.func.id.endswith("Error") or not reason or " " in reason or len(node.args) < 2:
                continue
            hint = next((text_of(word.value) for word in node.keywords if word.arg == "hint"), "")
            entry = text_of(node.args[1]), hint
            if sum(map(bool, entry)) > sum(map(bool, table[reason].get(node.func.id, ()))):
                table[reason][node.func.id] = entry
    return dict(sorted(table.items()))


def page(package: Path) -> str:
    """The whole page."""
    rows = [
        f"| `{reason}` | `{name}` | {cell(message)} | {cell(hint)} |"
        for reason, classes in reasons(package).items()
        for name, (message, hint) in sorted(classes.items())
    ]
    return HEAD + "\n".join(rows) + "\n"


def cell(text: str) -> str:
    """Text that may stand in a cell."""
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    new = page(ROOT / "musicbert")
    if parser.parse_args().check:
        return int(PAGE.read_text(encoding="utf-8") != new)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The reasons of all errors that the package raises, as the table of `docs/errors.md`.

    python results/tools/list_errors.py          write the page
    python results/tools/list_errors.py --check  exit with 1 where it is out of date

Reasons are read from the code: the first argument of an error class of `musicbert.errors`, or of a helper
that makes such an error, with message and hint; names stand for what is assigned to them. Where several
places raise one reason, the table shows one message of each error class.
"""

import argparse
import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
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


#: name of a variable -> what is assigned to it
Names = dict[str, list[ast.expr]]


def texts_of(node: ast.expr | None, names: Names) -> list[str]:
    """What a string may be, as it stands in the code, with the names of what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        parts = [
            value.value if isinstance(value, ast.Constant) else "{" + name_of(value.value) + "}"  # type: ignore[attr-defined]
            for value in node.values
        ]
        return ["".join(parts)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [left + right for left in texts_of(node.left, names) for right in texts_of(node.right, names)]
    if isinstance(node, ast.IfExp):
        return texts_of(node.body, names) + texts_of(node.orelse, names)
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    others = {key: values for key, values in names.items() if key != name}
    return [text for value in names.get(name, ()) for text in texts_of(value, others)]


def name_of(node: ast.expr) -> str:
    """A short name for what is filled in."""
    names = [part.attr if isinstance(part, ast.Attribute) else part.id for part in ast.walk(node)
             if isinstance(part, ast.Attribute | ast.Name)]  # fmt: skip
    return names[0] if names else "..."


def assigned(nodes: Iterable[ast.AST]) -> Names:
    """What is assigned to the names of these statements."""
    names: defaultdict[str, list[ast.expr]] = defaultdict(list)
    for node in nodes:
        for target in node.targets if isinstance(node, ast.Assign) else ():
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for left, right in pairs:
                if isinstance(left, ast.Name):
                    names[left.id].append(right)
    return names


def constants(tree: ast.Module) -> Names:
    """Names in capitals of a file and of its classes."""
    bodies = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    found = assigned(node for body in bodies for node in body.body)
    return {name: values for name, values in found.items() if name.isupper()}


def called(node: ast.Call) -> str:
    """Name of the function that a call names, of a method of ``self`` too."""
    return getattr(node.func, "id", "") or (
        node.func.attr if isinstance(node.func, ast.Attribute) and name_of(node.func.value) == "self" else ""
    )


def errors_of(
    function: ast.AST, makers: Mapping[str, ast.Call], names: Names
) -> Iterator[tuple[str, str, str, str]]:
    """Reason, class, message and hint of the errors of a function, also those that a helper makes."""
    for node in ast.walk(function):
        if not isinstance(node, ast.Call) or len(node.args) < 2:
            continue
        made = makers.get(called(node), node)
        kind = getattr(made.func, "id", "")
        hint = next((word.value for word in made.keywords if word.arg == "hint"), None)
        for reason in texts_of(node.args[0], names) if kind.endswith("Error") else ():
            if reason and " " not in reason:
                texts = [(texts_of(each, names) or [""])[0] for each in (node.args[1], hint)]
                yield reason, kind, texts[0], texts[1]


def reasons(package: Path) -> dict[str, dict[str, tuple[str, str]]]:
    """Reason -> error class -> message and hint."""
    table: defaultdict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(package.rglob("*.py"))]
    shared: Names = {}
    methods: dict[str, ast.Call] = {}
    own: list[dict[str, ast.Call]] = []
    for tree in trees:
        shared |= constants(tree)
        own.append({})
        for owner in [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]:
            found = {
                function.name: call
                for function in owner.body
                if isinstance(function, ast.FunctionDef)
                for call in ast.walk(function)
                if isinstance(call, ast.Call)
                and called(call).endswith("Error")
                and call.args
                and getattr(call.args[0], "id", "") == "reason"
                and "reason" in [argument.arg for argument in function.args.args[:2]]
            }
            own[-1] |= found
            methods |= found if owner is not tree else {}
    for tree, makers in zip(trees, own, strict=True):
        known = shared | constants(tree)
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for function in [*functions, tree]:
            names = known | assigned(ast.walk(function) if function is not tree else ())
            for reason, kind, *entry in errors_of(function, methods | makers, names):
                old = table[reason].get(kind)
                if old is None or sum(map(bool, entry)) > sum(map(bool, old)):
                    table[reason][kind] = (entry[0], entry[1])
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

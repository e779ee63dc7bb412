"""`import musicbert` is light."""

import ast
import subprocess
import sys

CODE = """
import sys
before = set(sys.modules)
import musicbert
print(" ".join(sorted(name for name in set(sys.modules) - before if "." not in name)))
"""


def test_import_loads_no_heavy_package():
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    names = set(result.stdout.split())
    assert "musicbert" in names
    assert not names & {"torch", "fairseq", "numpy", "symusic", "miditoolkit", "scipy", "pandas"}


def test_public_names_load_on_first_use():
    import musicbert

    for name in musicbert.__all__:
        assert getattr(musicbert, name) is not None
    assert callable(musicbert.encode)


def imported(body):
    """Names that statements import when a module is imported: not those in functions, or for types only."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imported(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "finalbody", "handlers"):
                yield from imported(getattr(node, field, []))


def source_of(root, name):
    place = root.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def test_the_plug_in_imports_no_package_that_fairseq_does_not(root):
    """fairseq takes seconds; what the plug-in needs beside it is imported when it is used."""
    waiting, seen, others = ["musicbert.fairseq_plugin"], set(), set()
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        if parts[0] != "musicbert":
            others.add(parts[0])
            continue
        for module in (".".join(parts[: k + 1]) for k in range(len(parts))):
            path = source_of(root, module)
            if path and module not in seen:
                seen.add(module)
                waiting += imported(ast.parse(path.read_text()).body)
    assert len(seen) > 100
    # fairseq imports scikit-learn, and so SciPy
    assert others - sys.stdlib_module_names == {"fairseq", "numpy", "omegaconf", "scipy", "torch"}

"""Programs beside the command `musicbert`: their parsers, without running them."""

import contextlib
import importlib.util
import sys
from pathlib import Path

from musicbert.command_line import Parser

ROOT = Path(__file__).parents[2]
#: path of a program (or module) that has a command line
PROGRAMS = [
    "map_midi_to_label.py", "gen_xai.py", "musicbert/corpus/labelled/binarize.py",
    *sorted(f"scripts/{path.name}" for path in (ROOT / "scripts").glob("*.py")),
]  # fmt: skip


class _Asked(Exception):
    """Carries a parser out of a program."""


def load(name):
    """Import a program."""
    if name.startswith("musicbert/"):
        return importlib.import_module(name.removesuffix(".py").replace("/", "."))
    path = ROOT / name
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # scripts import each other
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def parser_of_program(name):
    """The parser with which a program reads its arguments."""
    made = []
    parse = Parser.parse_args

    def asked(self, *_arguments, **_settings):
        made.append(self)
        raise KeyboardInterrupt  # which ends every program

    Parser.parse_args = asked
    before = sys.argv
    sys.argv = [name, "x"]
    try:
        main = load(name).main
        ended = contextlib.suppress(TypeError, AttributeError, KeyboardInterrupt)
        with contextlib.redirect_stderr(None), ended:
            main()
    finally:
        Parser.parse_args, sys.argv = parse, before
    assert made, name
    return made[0]

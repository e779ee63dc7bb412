"""Messages name options that exist: every ``--option`` in a text of the package is one of some program."""

import argparse
import ast
import re

import pytest

from musicbert.cli.main import available, make_parser
from musicbert.cli.main import main as musicbert
from musicbert.recipes import RECIPES
from musicbert.recipes.options import make_parser as recipe_parser
from options.programs import PROGRAMS, parser_of_program

OPTION = re.compile(r"(?<![\w-])(?<!var\()--[a-z][a-z0-9-]+")  # `var(--name)` is a colour of a page
#: of fairseq-train, pytest, pip and programs of the system, and of the shell recipes
FOREIGN = {
    "--user-dir", "--init-from", "--restore-file", "--checkpoint-suffix", "--max-positions", "--shorten-method",
    "--save-dir", "--reset-optimizer", "--arch", "--task", "--criterion", "--sample-break-mode", "--batch-size",
    "--max-tokens", "--no-build-isolation", "--no-deps", "--ntasks-per-node", "--disable-validation", "--layerwise-betas",
    "--max-update", "--max-epoch", "--stop-time-hours", "--srcdict", "--fp16-no-flatten-grads", "--warmup-updates",
    "--clip-norm", "--autocast-bf16", "--is-fine-tuning", "--tokens-per-sample", "--update-freq", "--standalone", "--local-addr", "--cpu",
}  # fmt: skip


def texts(tree):
    """Strings of a file that are no documentation."""
    docs = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docs:
            yield node.value


def options(parser):
    """Options of a parser and of those below it."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from options(below)


@pytest.fixture(scope="module")
def known():
    parsers = [*(make_parser(name) for name in available())]
    parsers += [recipe_parser(recipe, prog=name) for name, recipe in RECIPES.items()]
    parsers += [parser_of_program(name) for name in PROGRAMS]
    return {option for parser in parsers for option in options(parser)}


def fairseq_flags(root):
    """Flags that the plug-in adds to fairseq-train: fields of its configurations."""
    text = "\n".join(path.read_text() for path in (root / "musicbert" / "fairseq_plugin").rglob("*.py"))
    return {f"--{name.replace('_', '-')}" for name in re.findall(r"^    (\w+): .* = flag\(", text, re.M)}


def test_messages_name_options_that_exist(root, known):
    wrong, known = [], known | FOREIGN | fairseq_flags(root)
    for path in sorted((root / "musicbert").rglob("*.py")):
        for text in texts(ast.parse(path.read_text(encoding="utf-8"))):
            if " " in text:  # a message, not a word of a command line
                unknown = set(OPTION.findall(text)) - known
                wrong += [f"{path.relative_to(root)}: {name} in {text!r}" for name in sorted(unknown)]
    assert not wrong


@pytest.mark.parametrize("option", ["--mid-bar-metre", "--unsupported-metre", "--beyond-limit"])
def test_music_that_a_policy_refuses_names_the_option(option, caller, places):
    name = {"--mid-bar-metre": "midbar", "--unsupported-metre": "unsupported", "--beyond-limit": "beyond"}
    call = caller(lambda words, _: musicbert(words))
    status, _, said, *_ = call(f"encode {{{name[option]}}} {option} error")
    assert status != 0
    assert f"choose {option}" in said

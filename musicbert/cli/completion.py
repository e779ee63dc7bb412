"""`musicbert completion`: scripts with which shells complete commands, options and their choices."""

import argparse
import re
from collections.abc import Iterator
from typing import NamedTuple

DESCRIPTION = "Print a script with which a shell completes commands, options, choices and file names."
EPILOG = """examples:
  musicbert completion bash > ~/.local/share/bash-completion/completions/musicbert
  musicbert completion fish > ~/.config/fish/completions/musicbert.fish
  echo 'source <(musicbert completion zsh)' >> ~/.zshrc          after compinit

The script is made from the commands of this version: make it again after an update.

exit status: 0 done; 2 bad usage."""
BASH = """_musicbert() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} words=
  local one=${{COMP_WORDS[1]}} two="${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}"
  case "$two $prev" in
{choices}
  esac
  if [[ -z $words ]]; then
    if [[ $COMP_CWORD == 1 ]]; then words="{commands}"
    else case "$one" in
{below}
    esac; fi
    if [[ $COMP_CWORD -gt 2 || $cur == -* ]]; then case "$two" in
{options}
    esac; fi
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _musicbert musicbert
"""


class Entry(NamedTuple):
    """A command, or an action or recipe of one, and its options (spellings, choices, help)."""

    words: str
    help: str
    options: list[tuple[list[str], list[str], str]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert completion`."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="shell that reads the script")


def run(options: argparse.Namespace) -> int:
    """Print the script; return the exit status."""
    entries = list(_entries())
    if options.shell == "fish":
        print("\n".join(_fish(entries)))
        return 0
    if options.shell == "zsh":
        print("autoload -Uz bashcompinit && bashcompinit")
    print(_bash(entries), end="")
    return 0


def _entries() -> Iterator[Entry]:
    from musicbert.cli.main import COMMANDS, available, make_parser
    from musicbert.recipes import RECIPES
    from musicbert.recipes.options import make_parser as recipe_parser

    for name in available():
        parser = _below(make_parser(name))[name]
        yield Entry(name, COMMANDS[name], _options(parser))
        for action, below in _below(parser).items():
            yield Entry(f"{name} {action}", below.description or "", _options(below))
        for recipe, kind in RECIPES.items() if name == "train" else ():
            text = (kind.__doc__ or "").partition(".")[0]
            yield Entry(f"{name} {recipe}", text, _options(recipe_parser(kind, prog=recipe)))


def _below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Parsers of the sub-commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _options(parser: argparse.ArgumentParser) -> list[tuple[list[str], list[str], str]]:
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or action.help == argparse.SUPPRESS:
            continue
        metavar = action.metavar if isinstance(action.metavar, str) else ""
        choices = list(map(str, action.choices or (metavar.split("|") if "|" in metavar else ())))
        text = re.sub(r"[;,]? ?%\(\w+\)\w", "", (action.help or "").partition(" (")[0])
        found.append((list(action.option_strings), choices, text))
    return found


def _bash(entries: list[Entry]) -> str:
    choices, options = [], []
    below: dict[str, list[str]] = {}
    for entry in entries:
        command, _, action = entry.words.partition(" ")
        if action:
            below.setdefault(command, []).append(action)
        pattern = f'"{entry.words}"' if action else f'"{command} "*'
        options.append(
            f'      {pattern}) words="{" ".join(n for names, _, _ in entry.options for n in names)}";;'
        )
        for names, values, _ in entry.options:
            if not names and values:
                below.setdefault(command, []).extend(values)
            for name in names if values else ():
                last = f"{pattern[:-1]} {name}" if action else f'{pattern}" {name}'
                choices.append(f'    {last}") words="{" ".join(values)}";;')
    # an action comes before its command
    options.sort(key=lambda line: "*" in line.partition(")")[0])
    return BASH.format(
        choices="\n".join(choices),
        commands=" ".join(entry.words for entry in entries if " " not in entry.words),
        below="\n".join(f'      "{name}") words="{" ".join(words)}";;' for name, words in below.items()),
        options="\n".join(options),
    )


def _fish(entries: list[Entry]) -> Iterator[str]:
    def quoted(text: str) -> str:
        return "'" + " ".join(text.split()).replace("%%", "%").replace("\\", "\\\\").replace("'", "\\'") + "'"

    for entry in entries:
        *above, last = entry.words.split()
        seen = f"__fish_seen_subcommand_from {above[0]}" if above else "__fish_use_subcommand"
        about = quoted(entry.help.partition(".")[0])
        yield f"complete -c musicbert -n {quoted(seen)} -f -a {last} -d {about}"
        place = " && ".join(f"__fish_seen_subcommand_from {word}" for word in entry.words.split())
        for names, values, text in entry.options:
            spelled = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in names)
            more = f" -x -a {quoted(' '.join(values))}" if values else ""
            if names or values:
                yield f"complete -c musicbert -n {quoted(place)} {spelled}{more} -d {quoted(text)}"

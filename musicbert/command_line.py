"""What all programs share: their parser, the options that were given, and their exit status.

Exit status: 0 done; 1 done, but some inputs failed; 2 bad usage or input, nothing was done; 130 stopped by
Ctrl-C; 141 the reader of the output stopped reading.
"""

import argparse
import os
import select
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

from musicbert.errors import ConfigError, MusicBertError, nearest

BAD_INPUT, STOPPED, CLOSED_PIPE = 2, 130, 141  # 128 + SIGINT and 128 + SIGPIPE, as shells count
#: extra of this package -> packages that come with it
EXTRAS = {
    "models": "torch safetensors scipy pandas pyarrow openpyxl sklearn matplotlib threadpoolctl yaml",
    "train": "fairseq omegaconf tensorboard",
    "remote": "aiohttp s3fs gcsfs",
    "cluster": "distributed",
    "hub": "huggingface_hub",
    "scores": "music21",
    "page": "starlette uvicorn pebble",
}
#: turns for which a thread of OpenMP waits before it sleeps (read when torch is imported)
SPINS = "10000"
#: environment variable that shows the traceback of an unexpected error
TRACEBACK = "MUSICBERT_TRACEBACK"


class Parser(argparse.ArgumentParser):
    """A parser that prints texts as they are and names the nearest option or choice after an error.

    `given` of its result holds the names of the arguments that were on the command line.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{"formatter_class": argparse.RawDescriptionHelpFormatter, **settings})

    def parse_known_args(  # type: ignore[override]
        self, args: Any = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse has it; an unknown option is an error of the sub-command that got it."""
        words = list(sys.argv[1:] if args is None else args)
        options, unknown = super().parse_known_args(words, namespace)
        options = options or argparse.Namespace()
        if unknown:
            self.error(unknown_option(self, unknown[0]))
        if not hasattr(options, "given"):  # a sub-command has its own
            options.given = self._given(words)
        return options, unknown

    def _given(self, words: list[str]) -> frozenset[str]:
        defaults = {action: action.default for action in self._actions}
        try:
            for action in self._actions:
                action.default = argparse.SUPPRESS
            return frozenset(vars(super().parse_known_args(words, argparse.Namespace())[0]))
        finally:
            for action, default in defaults.items():
                action.default = default

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        if action.type is Path and not arg_string:  # it would mean this folder
            raise argparse.ArgumentError(action, "the path is empty: is a variable of the shell not set?")
        return super()._get_value(action, arg_string)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            hint = nearest(str(value), map(str, action.choices or ()))
            raise argparse.ArgumentError(
                action, f"{error.message}; {hint}" if hint else error.message
            ) from None

    def error(self, message: str) -> NoReturn:
        """End the program with one line, and not with the list of all options."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def unknown_option(parser: argparse.ArgumentParser, word: str) -> str:
    """Say that a parser does not know an argument."""
    name = word.partition("=")[0]
    if not word.startswith("-"):
        return f"unexpected argument {name}"
    hint = nearest(name, parser._option_string_actions)
    return f"unknown option {name}" + (f", {hint}" if hint else "")


def refuse_unused(options: argparse.Namespace, names: Sequence[str], why: str, *, fatal: bool = True) -> None:
    """Refuse options that were given where they have no effect: raises `ConfigError` (``unused-option``).

    ``fatal=False``: only say so on the standard error.
    """
    unused = [f"--{name.replace('_', '-')}" for name in names if name in options.given]
    if unused and not fatal:
        sys.stderr.write(f"note: {', '.join(unused)}: not used {why}\n")
    elif unused:
        raise ConfigError(
            "unused-option", f"{', '.join(unused)}: not used {why}", hint="leave it out, or change the others"
        )


def exit_status(main: Callable[..., int | None], *, stopped: str = "stopped") -> Callable[..., int]:
    """Wrap the ``main`` of a program: what it raises ends in one line and an exit status.

    ``stopped``: what Ctrl-C prints. Threads of torch wait shortly for each other before they sleep, in child
    processes too, unless the user sets it otherwise: on a busy machine they would waste most of the time.
    """

    @wraps(main)
    def run(*arguments: Any) -> int:
        if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
            os.environ["GOMP_SPINCOUNT"] = SPINS
        try:
            status = main(*arguments) or 0
            sys.stdout.flush()  # a closed pipe shows here, not when Python ends
            return status
        except BrokenPipeError as error:
            if reader_is_gone():
                # `head` has what it wanted; Python must not flush into the pipe again
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return CLOSED_PIPE
            text = str(error)
        except (MusicBertError, OSError, ValueError) as error:
            text = str(error)
        except KeyboardInterrupt:
            sys.stderr.write(f"{stopped}\n")
            return STOPPED
        except Exception as error:
            if os.environ.get(TRACEBACK):
                raise
            text = _unexpected(error)
        sys.stderr.write(f"error: {text}\n")
        return BAD_INPUT

    return run


def _unexpected(error: Exception) -> str:
    """One line for a missing package, too little memory, or an error that nobody foresaw."""
    package = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and package not in ("", "musicbert"):
        extra = next((name for name, packages in EXTRAS.items() if package in packages.split()), None)
        install = f"pip install 'musicbert[{extra}]'" if extra else f"pip install {package}"
        if extra in ("models", "train"):
            install += " (section Install of the README: get a torch for CPUs first)"
        return f"This needs the package {package}, which is not installed: {install}"
    if isinstance(error, MemoryError):
        return "There is not enough memory"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "musicbert" in frame.filename] or frames
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return f"unexpected error at {where}: {said} ({TRACEBACK}=1 shows the traceback)"


def reader_is_gone() -> bool:
    """Whether the standard output is a pipe that nobody reads any more (on Windows: taken for granted)."""
    if not hasattr(select, "poll"):
        return True
    look = select.poll()
    look.register(sys.stdout.fileno(), 0)
    return any(state & select.POLLERR for _, state in look.poll(0))

"""One process of a training run in several: what ``torchrun`` starts.

    torchrun --standalone --nproc-per-node 2 -m musicbert.fairseq_plugin.launch DATA --task ... --cpu

fairseq finds torchrun's processes on GPUs only, and processes that it starts itself do not find the classes
of a plug-in that is not installed. So every process runs this module, which imports the plug-in and tells
fairseq its place in the run. With a single process it does the same as ``fairseq-train``.
"""

import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence

from musicbert.errors import MusicBertError
from musicbert.recipes.screen import FAILED


def distributed_arguments(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Options of ``fairseq-train`` that say which process of the run this is, unless already given.

    ``environment``: ``WORLD_SIZE``, ``RANK`` and ``LOCAL_RANK``, as torchrun sets them.
    """
    world = int(environment.get("WORLD_SIZE", "1"))
    options = {"--distributed-world-size": str(world)}
    if world > 1:
        options |= {
            "--distributed-rank": environment["RANK"],
            "--device-id": environment["LOCAL_RANK"],
            "--distributed-init-method": "env://",
        }
        if "--cpu" in arguments:
            options |= {"--distributed-backend": "gloo", "--ddp-backend": "legacy_ddp"}
    given = {argument.partition("=")[0] for argument in arguments}
    added = [word for name, value in options.items() if name not in given for word in (name, value)]
    return [*added, "--distributed-no-spawn"] if world > 1 else added


def log_as_fairseq() -> None:
    """Log in fairseq's format, even if another module set up logging before fairseq was imported."""
    logging.basicConfig(
        format="%(asctime)s | %(levelname)s | %(name)s | %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        level=logging.INFO,
        stream=sys.stdout,
        force=True,
    )


def main() -> None:
    """Train."""
    from fairseq_cli.train import cli_main

    log_as_fairseq()
    sys.argv += distributed_arguments(sys.argv[1:], os.environ)
    try:
        cli_main()
    except Exception as error:
        traceback.print_exc()
        causes = [error]
        while cause := causes[-1].__cause__ or causes[-1].__context__:
            causes.append(cause)  # type: ignore[arg-type]
        ours = next((cause for cause in causes if isinstance(cause, MusicBertError)), None)
        text = str(ours or f"{type(error).__name__}: {error}").replace("\n", " ")
        sys.stderr.write(f"{FAILED}{text}\n")
        sys.exit(2 if ours else 1)


if __name__ == "__main__":
    main()

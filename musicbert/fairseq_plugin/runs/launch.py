"""One process of a training run in several: what ``torchrun`` starts.

    torchrun --standalone --nproc-per-node 2 -m musicbert.fairseq_plugin.runs.launch DATA --task ... --cpu

fairseq finds the processes of torchrun on GPUs only (on a CPU it divides by the number of GPUs), and the
processes that it starts itself cannot find the classes of a plug-in that is not installed. So every process
runs this module, which imports the plug-in and tells fairseq its place in the run. One process needs none of
it and does what ``fairseq-train`` does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from musicbert.fairseq_plugin.runs.run_process import log_as_fairseq

__all__ = ["distributed_arguments", "main"]


def distributed_arguments(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Options of ``fairseq-train`` that say which process of the run this is.

    Parameters
    ----------
    arguments
        Those of the command line. What they say already is left as it is.
    environment
        ``WORLD_SIZE``, ``RANK`` and ``LOCAL_RANK``, as torchrun sets them.
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
    said = {argument.partition("=")[0] for argument in arguments}
    added = [word for name, value in options.items() if name not in said for word in (name, value)]
    return [*added, "--distributed-no-spawn"] if world > 1 else added


def main() -> None:
    """Train."""
    from fairseq_cli.train import cli_main

    # fairseq sets this up when it is the first to be imported, which the plug-in was here
    log_as_fairseq()
    sys.argv += distributed_arguments(sys.argv[1:], os.environ)
    cli_main()


if __name__ == "__main__":
    main()

"""What a process does first that is to do one run of many: end with its parent, write into the run's log."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
from os import PathLike

__all__ = ["end_with_parent", "log_as_fairseq", "write_into"]


def end_with_parent() -> None:
    """End this process when the one that started it is killed: two must never write into one run."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def write_into(path: str | PathLike[str]) -> None:
    """Send everything that this process prints and logs to the end of a file, in fairseq's format of lines.

    fairseq sets up logging where nothing else did before; in a server process something may have.
    """
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    log_as_fairseq()


def log_as_fairseq() -> None:
    """Set up logging in fairseq's format of lines, whatever set it up before."""
    logging.basicConfig(
        format="%(asctime)s | %(levelname)s | %(name)s | %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        level=logging.INFO,
        stream=sys.stdout,
        force=True,
    )

"""Where a result comes from: command, configuration, commit, versions, seed and hashes of the data.

Written into every result file, without anything about the machine: absolute paths are cut to their last part.
"""

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from typing import Any

#: Packages whose version can change a number.
PACKAGES = ("numpy", "scipy", "scikit-learn", "symusic", "torch", "fairseq-fixed")

#: filled in by ``git archive`` (``.gitattributes``)
ARCHIVAL = ".git_archival.txt"


def file_hash(path: str | PathLike[str]) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ("git", *arguments), cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _archived_commit() -> str | None:
    """Commit of a checkout without git, as ``git archive`` wrote it into ``.git_archival.txt``."""
    try:
        text = (Path(__file__).parents[1] / ARCHIVAL).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    node = re.search(r"^node: ([0-9a-f]{40,64})$", text, re.MULTILINE)
    return node.group(1) if node else None


def _hardware() -> dict[str, Any]:
    """Processor, and the GPU if torch already uses one (nothing is imported or started for it)."""
    hardware: dict[str, Any] = {"machine": platform.machine(), "cores": os.cpu_count()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        hardware["gpu"] = torch.cuda.get_device_name()
    return hardware


def _versions(packages: Iterable[str]) -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _without_folders(argument: str) -> str:
    key, equals, value = argument.rpartition("=")
    return f"{key}{equals}{Path(value).name}" if value.startswith(("/", "..", "~")) else argument


def command_line(command: Sequence[str]) -> str:
    """Return the words of a command line as they are recorded: absolute paths cut to their last part."""
    return " ".join(_without_folders(word) for word in command)


def provenance(
    command: Sequence[str],
    *,
    inputs: Mapping[str, str | PathLike[str]],
    seed: int,
    configuration: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe how a result was made.

    ``inputs``: role -> file, recorded by name and SHA-256; ``configuration``: further settings, JSON-ready.
    Returns a JSON-ready dictionary. ``commit`` is None outside a checkout or archive; ``changed`` says
    whether tracked code differed from that commit (None: unknown).
    """
    commit = _git("rev-parse", "HEAD")
    changed = None if commit is None else bool(_git("status", "--porcelain", "-uno", "--", "."))
    return {
        "command": command_line(command),
        "configuration": dict(configuration or {}),
        "commit": commit or _archived_commit(),
        "changed": changed,
        "versions": _versions(PACKAGES),
        "hardware": _hardware(),
        "seed": seed,
        "data": {
            role: {"name": Path(path).name, "sha256": file_hash(path)}
            for role, path in sorted(inputs.items())
            if Path(path).is_file()
        },
    }

"""Whether what lies in a folder may be used again, and which process may write into it.

Whatever is kept and used again (data sets, runs, baselines, features) stands beside a record of what it was
made from: the settings, and the hash of every source file. It is used again for the same only; otherwise an
error names what differs.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.atomic import MAX_MANIFEST, read_json, write_json
from musicbert.errors import DatasetError
from musicbert.provenance import file_hash
from musicbert.walk import walk

if sys.platform != "win32":
    import fcntl

#: file of the record in a folder
MADE_FROM = "made_from.json"
#: version of the record; another one is another record
FORMAT = 1
#: differences, and names of files, that an error shows
_SHOWN = 6


def made_from(settings: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """Record what something is made from, JSON-ready.

    ``settings``: every option that changes the result, under the name that the user knows; ``files``: the
    hash of each source file by its name (or why it cannot be read).
    """
    version = sys.modules["musicbert"].__version__  # an import would close a circle
    record = {"version of musicbert": version, "format of the record": FORMAT, **settings}
    return dict(json.loads(json.dumps({"settings": record, "files": dict(files)})))


def hashes_of(path: str | PathLike[str]) -> dict[str, str]:
    """Return the SHA-256 of a file, or of every file of a folder by its path in it; nothing if it is missing.

    Hidden files are left out.
    """
    root = Path(path)
    if not root.is_dir():
        return {root.name: file_hash(root)} if root.exists() else {}
    return {found.inside: file_hash(found.path) for found in walk(root) if Path(found.path).is_file()}


def hash_of(path: str | PathLike[str]) -> str:
    """Return one hash of a file or a folder (see `hashes_of`)."""
    return record_hash(sorted(hashes_of(path).items()))


def record_hash(record: Any) -> str:
    """Return the SHA-256 of anything JSON-ready."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()


def read_record(path: str | PathLike[str]) -> Any:
    """Return a record of `made_from`; None where there is none."""
    try:
        return read_json(path, most=MAX_MANIFEST)
    except (OSError, ValueError):
        return None


def write_record(path: str | PathLike[str], record: Mapping[str, Any]) -> None:
    """Write a record of `made_from`."""
    write_json(path, record, indent=None)


def differences(before: Any, now: Mapping[str, Any]) -> list[str]:
    """Say how two records of `made_from` differ, a line a setting, then the files."""
    if not isinstance(before, Mapping) or not {"settings", "files"} <= set(before):
        return ["there is no record of what it was made from (an earlier version wrote none)"]
    old, new = before["settings"], now["settings"]
    lines = [
        f"{name}: {_shown(old.get(name))} -> {_shown(new.get(name))}"
        for name in dict.fromkeys([*new, *old])
        if old.get(name) != new.get(name)
    ]
    return lines + file_differences(before["files"], now["files"])


def file_differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Say which files were changed, added and removed; both: hash by name."""
    kinds = {
        "other bytes": [name for name in now if name in before and before[name] != now[name]],
        "added": [name for name in now if name not in before],
        "removed": [name for name in before if name not in now],
    }
    return [f"{kind}: {_names(names)}" for kind, names in kinds.items() if names]


def require_same(before: Any, now: Mapping[str, Any], path: str | PathLike[str], hint: str) -> None:
    """Refuse what was made from something else; raises `DatasetError` (``other-settings``)."""
    lines = differences(before, now)
    if lines:
        more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        raise DatasetError(
            "other-settings",
            f"This was made from something else: {'; '.join(lines[:_SHOWN] + more)}",
            path=path,
            hint=hint,
        )


def _shown(value: Any) -> str:
    named = {None: "none", "": "yes"}  # a flag without a value is ""
    text = named.get(value, value) if value is None or isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


@contextmanager
def hold_folder(folder: str | PathLike[str], *, path: str | PathLike[str] | None = None) -> Iterator[None]:
    """Make a folder, and hold it for this process while the block runs.

    The system lets go of it when the process dies. A new folder goes again if nothing was written.
    ``path``: name of the output for the message.
    Raises `DatasetError`: ``output-busy`` where another run holds it; ``cannot-write``.
    """
    path = folder if path is None else path
    new = not Path(folder).exists()
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(
            "cannot-write",
            f"The output folder cannot be made: {error.strerror}",
            path=path,
            hint="choose another with --output",
        ) from error
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not is_open_at(descriptor, folder):  # another run removed or moved it before it was held
                raise BlockingIOError
        except BlockingIOError:
            raise DatasetError(
                "output-busy", "Another run is writing this output", path=path, hint="wait for it, or stop it"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        if new and is_open_at(descriptor, folder):
            with suppress(OSError):  # it holds something, or was moved
                Path(folder).rmdir()
        os.close(descriptor)


def is_open_at(descriptor: int, path: str | PathLike[str]) -> bool:
    """Whether an open file or folder still has this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))  # noqa: PTH116 - beside `fstat`
    except FileNotFoundError:
        return False

"""Models of the Hugging Face Hub: ``owner/name``, or ``owner/name@revision`` (a branch, tag or commit).

Only weights and settings are fetched, never code, into the Hub's own cache; safetensors come before pickles,
which are read by `musicbert.weights.pickles`. Where the Hub cannot be reached, the cache is used; a revision
that is a whole commit is taken from there without asking. Every file is compared with the hash by which the
cache names it.
"""

import hashlib
import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.errors import CheckpointError, first_line
from musicbert.weights.container import IN_FOLDER
from musicbert.weights.download import MAX_BYTES, sha256_of

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w][\w./-]*)?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
#: shards of weights, and the files of settings
_SHARDS = {
    "model.safetensors.index.json": re.compile(r"model-\d+-of-\d+\.safetensors"),
    "pytorch_model.bin.index.json": re.compile(r"pytorch_model-\d+-of-\d+\.bin"),
}
_SETTINGS = ("config.json", "vocab.json")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
#: length of a Git hash, by which the cache names small files; large ones have their SHA-256
_GIT = 40


def is_hub_name(name: str) -> bool:
    """Whether this may be a name of the Hub, and no path: its first part is not a folder here."""
    return bool(_NAME.fullmatch(name)) and not Path(name).exists() and not Path(name.split("/")[0]).exists()


def from_hub(name: str, *, cache: str | PathLike[str] | None = None) -> Path:
    """Return the folder of a model of the Hub in its cache, fetched if it is not there.

    ``cache``: in place of the Hub's own (``HF_HOME``). Raises `CheckpointError`: ``needs-package``;
    ``unknown-name`` (no such model or revision, or not open to the user); ``no-weights``; ``too-large``;
    ``no-network`` (unreachable, and not in the cache); ``bad-checksum``.
    """
    try:
        import huggingface_hub as hub
        from huggingface_hub import errors
    except ModuleNotFoundError as error:
        raise CheckpointError(
            "needs-package",
            "There is no such file or folder, and a model of the Hugging Face Hub needs huggingface_hub",
            path=name,
            hint="check the path, or pip install 'musicbert[hub]'",
        ) from error
    owned, _, revision = name.partition("@")
    where: dict[str, Any] = {"repo_id": owned, "revision": revision or None, "cache_dir": cache}
    if _COMMIT.fullmatch(revision) and (kept := _kept(hub, errors, where)):
        return _checked(kept, name)
    try:
        info = hub.HfApi().model_info(owned, revision=where["revision"], files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        where["revision"] = info.sha
        for file in _wanted(sizes, name):
            folder = Path(hub.hf_hub_download(filename=file, **where)).parent
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise CheckpointError(
            "unknown-name",
            f"There is no such file or folder, and no such model on the Hub: {first_line(error)}",
            path=name,
            hint="check the path, or owner/name@revision; for a closed model: hf auth login",
        ) from error
    except OSError as error:  # offline, or the server fails
        kept = _kept(hub, errors, {**where, "revision": revision or None})
        if kept is None:
            raise CheckpointError(
                "no-network",
                "There is no such file or folder, the Hub cannot be reached, and its cache has no such "
                f"model: {first_line(error)}",
                path=name,
                hint="check the path, or fetch the model where there is a network",
            ) from error
        return _checked(kept, name)
    return _checked(folder, name)


def _kept(hub: Any, errors: Any, where: Mapping[str, Any]) -> Path | None:
    """Folder of a revision in the cache, if it has weights there."""
    try:
        folder = Path(hub.snapshot_download(local_files_only=True, **where))
    except (errors.LocalEntryNotFoundError, errors.HFValidationError):
        return None
    return folder if any((folder / file).is_file() for file in IN_FOLDER) else None


def _wanted(sizes: Mapping[str, int], name: str) -> list[str]:
    """Files to fetch, the weights last."""
    main = next((file for file in IN_FOLDER if file in sizes), None)
    if main is None:
        message = f"The model has none of {', '.join(IN_FOLDER)}"
        raise CheckpointError("no-weights", message, path=name, hint="choose another model")
    shards = [file for file in sizes if main in _SHARDS and _SHARDS[main].fullmatch(file)]
    wanted = [*(file for file in _SETTINGS if file in sizes), *sorted(shards), main]
    if (size := sum(sizes[file] for file in wanted)) > MAX_BYTES:
        message = f"Its files have {size} bytes, more than {MAX_BYTES}: no model that is read here"
        raise CheckpointError("too-large", message, path=name)
    return wanted


def _is_wanted(file: str) -> bool:
    """Whether this is a file of weights or settings."""
    return file in (*IN_FOLDER, *_SETTINGS) or any(shard.fullmatch(file) for shard in _SHARDS.values())


def _checked(folder: Path, name: str) -> Path:
    """Compare the files of weights and settings with the hashes in the names of what their links lead to."""
    for file in folder.iterdir():
        expected = file.resolve().name
        if not (_is_wanted(file.name) and _HASH.fullmatch(expected)):
            continue
        if len(expected) == _GIT:
            content = file.read_bytes()
            found = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        else:
            found = sha256_of(file)
        if found != expected:
            raise CheckpointError(
                "bad-checksum",
                f"{file.name} in the cache of the Hub has the hash {found}, not {expected}",
                path=name,
                hint=f"remove {file.resolve()}, and fetch the model again",
            )
    return folder

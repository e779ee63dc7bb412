"""From what a user writes (a path or a name) to a checkpoint on disk, downloaded if necessary.

A name is looked for below ``checkpoints/`` of the current folder and of the source tree, or, where the
package is installed, among the weights that came with it (``musicbert/shipped/``), then in the cache folder
(``~/.cache/musicbert``), each time as a folder, as ``NAME.pt`` or ``NAME.safetensors``, and under the file
name that its publisher gave it. Then come the tables of downloads: ``sources.json`` in any of those folders
(``{"NAME": {"url": ..., "sha256": ..., "file": ...}}``) and :data:`PUBLISHED`. ``owner/name`` is a model of
the Hugging Face Hub (`musicbert.weights.hub`), unless ``owner`` is a folder here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

from musicbert.atomic import read_json
from musicbert.errors import CheckpointError, nearest
from musicbert.weights.container import IN_FOLDER
from musicbert.weights.download import download
from musicbert.weights.hub import from_hub, is_hub_name


@dataclass(frozen=True)
class Source:
    """Where a checkpoint comes from; without ``url`` and ``sha256`` it is not downloaded."""

    #: file name
    file: str
    url: str | None = None
    sha256: str | None = None
    #: page on which people find it
    page: str | None = None


_PUBLISHER = "https://drive.google.com/drive/folders/1aGcEB3qZoJ_ZE4qqmrrs6-JAp3z1vkE4"
#: the published checkpoints; their publisher offers a page, and no checksum
PUBLISHED: dict[str, Source] = {
    "musicbert_small": Source("checkpoint_last_musicbert_small.pt", page=_PUBLISHER),
    "musicbert_base": Source("checkpoint_last_musicbert_base.pt", page=_PUBLISHER),
}
_IN_FOLDER = (*IN_FOLDER, "checkpoint_best.pt", "checkpoint_last.pt")


def resolve(
    name: str | PathLike[str],
    *,
    folders: Sequence[str | PathLike[str]] | None = None,
    cache: str | PathLike[str] | None = None,
    sources: Mapping[str, Source] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Find a checkpoint: a file, or a folder with one of `IN_FOLDER`.

    ``name``: a file, a folder, or a name (see the module docstring). ``folders``: where names are looked for,
    in place of the ``checkpoints`` folders. ``cache``: where downloads go (``~/.cache/musicbert``).
    ``sources``: more names, before those of the tables. ``progress``: see
    :func:`~musicbert.weights.download.download`.

    Raises `CheckpointError` (``not-found`` for a path; ``unknown-name``; ``by-hand``: to be downloaded by the
    user; ``bad-sources``; those of ``download``).
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir() and (checkpoint := _inside(path)):
        return checkpoint
    text = fspath(name)
    if not isinstance(name, Path) and is_hub_name(text):
        return from_hub(text, cache=cache)
    if path.is_dir() or len(path.parts) != 1 or path.suffix in (".pt", ".bin", ".safetensors"):
        raise CheckpointError(
            "not-found",
            "This folder does not hold a checkpoint" if path.is_dir() else "There is no such checkpoint",
            path=path,
            hint="check the path",
        )
    if folders is None:
        package = Path(__file__).resolve().parents[1]
        folders = (Path("checkpoints"), package.parent / "checkpoints", package / "shipped")
    store = Path.home() / ".cache" / "musicbert" if cache is None else Path(cache)
    places = [*map(Path, folders), store]
    known = {**PUBLISHED, **_tables(places), **(sources or {})}
    source = known.get(text)
    for place in places:
        if checkpoint := _below(place, text, source):
            return checkpoint
    if source is None:
        names = sorted({*known, *_held(places)})
        near = nearest(text, names)
        raise CheckpointError(
            "unknown-name",
            f"No checkpoint is called {text!r}; known names are {', '.join(names)}",
            hint=(f"{near} Otherwise " if near else "") + f"give a path, or put it at {places[0] / text}",
        )
    if source.url is None or source.sha256 is None:
        raise CheckpointError(
            "by-hand",
            f"{text} cannot be downloaded automatically: its publisher gives no address with a checksum",
            hint=f"download {source.file} from {source.page or 'its publisher'} and put it at "
            f"{places[0] / source.file}",
        )
    return download(source.url, store / source.file, sha256=source.sha256, progress=progress)


def _inside(folder: Path) -> Path | None:
    """Checkpoint of a folder: the folder itself where it is one of ours."""
    for file in _IN_FOLDER:
        if (folder / file).is_file():
            return folder if file in IN_FOLDER else folder / file
    return None


def _held(places: Sequence[Path]) -> set[str]:
    """Names of the models in these folders, those that come with the package among them."""
    entries = (entry for place in places if place.is_dir() for entry in place.iterdir())
    return {entry.name for entry in entries if entry.is_dir() and _inside(entry)}


def _below(place: Path, name: str, source: Source | None) -> Path | None:
    files = [f"{name}.pt", f"{name}.safetensors"] + ([source.file] if source else [])
    file = next((place / file for file in files if (place / file).is_file()), None)
    return _inside(place / name) or file


def _tables(places: Sequence[Path]) -> dict[str, Source]:
    """Entries of the ``sources.json`` files; the first folder wins."""
    known: dict[str, Source] = {}
    for place in reversed(places):
        path = place / "sources.json"
        if not path.is_file():
            continue
        try:
            for name, entry in read_json(path).items():
                source = Source(**{"file": f"{name}.pt", **entry})
                given = [value for value in (source.url, source.sha256, source.page) if value is not None]
                if not all(isinstance(value, str) for value in (source.file, *given)):
                    raise ValueError(f"the entry of {name!r} holds more than text")
                plain = Path(source.file).name == source.file and source.file.isprintable()
                if not plain or source.file in ("", "..") or "\\" in source.file:
                    raise ValueError(f"file {source.file!r} is not a plain file name")
                known[name] = source
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError("bad-sources", f"Not a table of sources: {error}", path=path) from error
    return known

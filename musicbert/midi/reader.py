"""`read_score`: anything that holds one piece of music becomes a `Score`, or one `MidiError`.

Bad input raises nothing else, and a file that was read only in part is an error; `musicbert.midi.limits` has
the bounds. Both readers follow the rules of ``docs/encoding.md``, which also says what is read on purpose
although other parsers reject it.
"""

import os
import stat
from os import PathLike
from pathlib import Path
from typing import IO, Any, Literal

from musicbert.errors import MidiError, first_line
from musicbert.midi import messages, parsers
from musicbert.midi.channels import with_channel_programs
from musicbert.midi.columns import check_score
from musicbert.midi.events import instruments, may_have_instruments
from musicbert.midi.limits import DEFAULT_LIMITS, ReadLimits, check_header, deadline
from musicbert.midi.notation import Repeats, notation_format, read_notation
from musicbert.midi.score import Score

Reader = Literal["symusic", "miditoolkit"]
ChannelPrograms = Literal["track", "channel"]


def read_score(
    source: str | PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Score | Any,
    *,
    reader: Reader = "symusic",
    limits: ReadLimits | None = None,
    name: str | None = None,
    channel_programs: ChannelPrograms = "track",
    repeats: Repeats = "once",
) -> Score:
    """Read one piece: MIDI, or a written score (MusicXML, ABC, Humdrum, MEI: `musicbert.midi.notation`).

    Parameters
    ----------
    source
        Path, bytes of a file, binary file object, `Score`, ``symusic.Score`` or
        ``miditoolkit.MidiFile``.
    reader
        ``"symusic"`` (native, the default) or ``"miditoolkit"`` (pure Python, by mido, on which miditoolkit
        is built; about 100 times slower). Both give the same score (``docs/encoding.md``).
    name
        Name of the source in errors where it has no path (an archive member, for example).
    channel_programs
        ``"track"``: a program change holds for the notes of its channel in its own track, as in the published
        preprocessing. ``"channel"``: in all tracks, as the standard says.
    repeats
        Of a written score: ``"once"``, the music as on the page, or ``"played"``, repeats unfolded.

    Raises
    ------
    MidiError
        ``not-found``, ``empty-file``, ``unreadable``, ``too-large``, ``too-many-notes``, ``timeout``,
        ``no-notes``, ``bad-division``, ``bad-value``; of written scores ``bad-score``, ``no-music21``,
        ``unsupported-notation``, ``several-pieces``.
    TypeError, ValueError
        `source` is of another type; `reader` is unknown.
    """
    limits = limits or DEFAULT_LIMITS
    if reader not in ("symusic", "miditoolkit"):
        raise ValueError(f'reader is "symusic" or "miditoolkit", not {reader!r}')
    if channel_programs not in ("track", "channel"):
        raise ValueError(f'channel_programs is "track" or "channel", not {channel_programs!r}')
    name = name or name_of(source)
    data = read_bytes(source, limits=limits, name=name)
    if data is not None and (notation := notation_format(data, name)):
        score = read_notation(data, notation, limits=limits, path=name, repeats=repeats)
    elif data is not None:
        score = _parse(data, reader, limits, name)
        if channel_programs == "channel":
            score = with_channel_programs(score, data)
    elif channel_programs == "channel":
        raise ValueError("channel_programs needs the file: a score has lost its channels")
    else:
        score = source if isinstance(source, Score) else _convert(source, name)
    check_score(score, limits=limits, path=name)
    return score


def read_bytes(source: Any, *, limits: ReadLimits | None = None, name: str | None = None) -> bytes | None:
    """Bytes of a file (path, bytes or binary file object); None for an object that is no file.

    Raises `MidiError` (``not-found``, ``unreadable``, ``too-large``) and `TypeError` (a text file object).
    """
    limits = limits or DEFAULT_LIMITS
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, PathLike)):
        return _read_file(Path(source), limits)
    if not isinstance(source, Score) and hasattr(source, "read"):
        return _read_stream(source, limits, name)
    return None


def name_of(source: Any) -> str | None:
    """Path of a file, or name of a file object, where it has one."""
    if isinstance(source, bytes):
        return None
    if isinstance(source, (str, PathLike)):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) and hasattr(source, "read") else None


def _read_file(path: Path, limits: ReadLimits) -> bytes:
    """All bytes of a regular file that is not too large."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device could block, or never end
            raise MidiError("unreadable", "this is not a regular file", path=path)
        if status.st_size > limits.max_bytes:
            raise _too_large(status.st_size, limits, str(path))
        with path.open("rb") as stream:
            return _read_stream(stream, limits, str(path))
    except FileNotFoundError as error:
        raise MidiError("not-found", "there is no such file", path=path) from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise MidiError("unreadable", f"the file cannot be opened: {error}", path=path) from error


def _read_stream(stream: IO[bytes], limits: ReadLimits, name: str | None) -> bytes:
    """Read to the end of a stream, and no further than the limit."""
    try:
        data = stream.read(limits.max_bytes + 1)
    except (OSError, EOFError, ValueError) as error:
        raise MidiError("unreadable", f"reading failed: {error}", path=name) from error
    if not isinstance(data, bytes):
        raise TypeError("a file object must be opened in binary mode")
    return data


def _too_large(size: int, limits: ReadLimits, path: str | None) -> MidiError:
    return MidiError(
        "too-large",
        f"more than {limits.max_bytes} bytes ({size})",
        path=path,
        hint="raise ReadLimits.max_bytes if you trust the file",
    )


def _parse(data: bytes, reader: Reader, limits: ReadLimits, path: str | None) -> Score:
    """Check the header, then let a parser read the bytes."""
    if len(data) > limits.max_bytes:
        raise _too_large(len(data), limits, path)
    data = check_header(data, path)
    if may_have_instruments(data, limits.max_instruments):
        found = instruments(data)
        if found > limits.max_instruments:
            raise MidiError(
                "too-large",
                f"{found} instruments, more than {limits.max_instruments}",
                path=path,
                hint="raise ReadLimits.max_instruments if you trust the file",
            )
    try:
        if reader == "miditoolkit":
            with deadline(limits.timeout, len(data), path):
                return messages.parse_miditoolkit(data)
        return parsers.parse_symusic(data)
    except MidiError:
        raise
    except OverflowError as error:
        raise MidiError("bad-value", "a number in the file is out of range", path=path) from error
    except Exception as error:  # the parsers raise many types (RuntimeError, IndexError, EOFError, ...)
        raise MidiError(
            "unreadable",
            f"{reader} cannot parse the file: {first_line(error)}",
            path=path,
            hint="the file is damaged: get it again, or save it anew with a music program",
        ) from error


def _convert(source: Any, path: str | None) -> Score:
    """Convert an object of one of the two libraries."""
    kind = type(source)
    family = kind.__module__.partition(".")[0]
    if family not in ("symusic", "miditoolkit"):
        name = kind.__qualname__ if family == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        raise TypeError(
            "source is a path, bytes, a binary file object, a Score, a symusic.Score or a "
            f"miditoolkit.MidiFile, not {name}"
        )
    try:
        if family == "symusic":
            return parsers.from_symusic(source)
        return messages.from_miditoolkit(source)
    except (AttributeError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise MidiError(
            "bad-value", f"the {family} object is damaged: {first_line(error)}", path=path
        ) from error

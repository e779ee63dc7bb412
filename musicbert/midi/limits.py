"""What a reader may spend on one file, and the checks that cost nothing before a parser sees it.

A native parser cannot be interrupted from Python, so the default reader is bounded by bytes: its time grows
in proportion to them (measured on hostile files of 22 MB: 0.1 s for one track, 20 s for 256,000 tracks of all
programs). The miditoolkit reader is pure Python and is interrupted after ``timeout`` seconds where the
platform lets it (main thread, ``SIGALRM``); elsewhere it takes no file above `UNTIMED_BYTES`.

Layout of a Standard MIDI File: ``MThd``, length 6, then three big-endian 16-bit words: format 0-2, number of
tracks, division (ticks of a quarter note; bit 15 set means SMPTE frames); then chunks, ``MTrk`` ones being
tracks.
"""

import signal
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from musicbert.errors import MidiError
from musicbert.file_kinds import file_kind

#: Largest file for the miditoolkit reader where nothing can interrupt it.
UNTIMED_BYTES = 1 << 20
#: Seconds after which an alarm that had no effect rings again.
RING_AGAIN_S = 0.25
#: Length of the header chunk, tag and length word included.
HEADER_BYTES = 14


@dataclass(frozen=True)
class ReadLimits:
    """Bounds on one file.

    Attributes
    ----------
    max_bytes
        Largest file in bytes. The largest piece of the Lakh, ASAP and MAESTRO files seen here has 1.6 MB.
    max_notes
        Most notes of one file.
    max_instruments
        Programs with notes, counted for every channel of every track: the parser makes an object of about
        ten kilobytes for each.
    max_ticks
        Last tick at which anything may happen (upstream accepts below 2^31).
    timeout
        Seconds that the miditoolkit reader, or music21, may take (upstream gives its parser 600).
    """

    max_bytes: int = 16 << 20
    max_notes: int = 1_000_000
    max_instruments: int = 16_384
    max_ticks: int = 2**31 - 1
    timeout: float = 60.0


DEFAULT_LIMITS = ReadLimits()


def check_header(data: bytes, path: str | None) -> bytes:
    """Check the header and count the tracks before any parser runs.

    Returns the same bytes, with a longer header chunk (allowed by the standard) cut to 6 bytes.
    Raises `MidiError`: ``empty-file``, ``unreadable`` (no header, unknown format, or fewer tracks than the
    header says: the file is cut off), ``bad-division`` (0, or SMPTE time).
    """
    if not data:
        raise MidiError("empty-file", "the file has no bytes", path=path)
    if data[:4] != b"MThd" or len(data) < HEADER_BYTES:
        kind = file_kind(data, path)
        what = f": it is {kind.what}" if kind else " (no complete MThd header)"
        hint = kind.hint if kind else None
        raise MidiError("unreadable", f"not a Standard MIDI File{what}", path=path, hint=hint)
    length, form, declared, division = struct.unpack_from(">IHHH", data, 4)
    if form > 2:
        raise MidiError("unreadable", f"MIDI format {form} does not exist", path=path)
    if division == 0 or division >= 0x8000:
        what = "0" if division == 0 else "in SMPTE frames, which have no beats"
        raise MidiError("bad-division", f"the division (ticks of a quarter note) is {what}", path=path)
    if length != 6:
        if length < 6:
            raise MidiError("unreadable", f"the header chunk has {length} of 6 bytes", path=path)
        data = data[:4] + struct.pack(">I", 6) + data[8:HEADER_BYTES] + data[8 + length :]
    tracks, at = 0, HEADER_BYTES
    while at + 8 <= len(data) and tracks < declared:
        tracks += data[at : at + 4] == b"MTrk"
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "big")
    if tracks < declared:
        raise MidiError(
            "unreadable", f"the file ends after {tracks} of {declared} tracks: it is cut off", path=path
        )
    return data


class TimeUpError(Exception):
    """Raised inside the parser by the alarm."""


@contextmanager
def deadline(
    seconds: float,
    n_bytes: int,
    path: str | None,
    *,
    most: int = UNTIMED_BYTES,
    hint: str = 'use reader="symusic"',
) -> Iterator[None]:
    """Interrupt pure-Python work after some seconds.

    An alarm set by the caller is kept: ours is set only if it comes first, and the other is restored with its
    remaining time.

    Raises `MidiError`: ``timeout`` when time is up; ``too-large`` where nothing can interrupt and the file
    has more than ``most`` bytes.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        if n_bytes > most:
            raise MidiError(
                "too-large",
                f"{n_bytes} bytes: outside the main thread nothing could interrupt the parser",
                path=path,
                hint=hint,
            )
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TimeUpError

    others = signal.getitimer(signal.ITIMER_REAL)[0]
    if 0 < others <= seconds:
        yield
        return
    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, ring)
    # repeatedly, since Python drops an exception raised inside a callback of the garbage collector
    signal.setitimer(signal.ITIMER_REAL, seconds, RING_AGAIN_S)
    try:
        yield
        if time.monotonic() - began > seconds:  # the work has caught the alarm itself
            raise TimeUpError
    except Exception:
        if time.monotonic() - began < seconds:
            raise
        raise MidiError("timeout", f"not read within {seconds:g} s", path=path, hint=hint) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if others:
            signal.setitimer(signal.ITIMER_REAL, max(others - (time.monotonic() - began), 0.001))

"""Arrays set aside on disk, to be read one at a time: sets larger than memory, built in one pass.

A spool is one file of uint16 values without a name in the result; the lengths stay in memory (8 bytes an
array). It is a scratch file: it goes when the block ends.
"""

from __future__ import annotations

import tempfile
from array import array
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

__all__ = ["Spool"]

_LARGEST = 0xFFFF


class Spool:
    """Append arrays, read them back by number; use it as a context manager.

    Parameters
    ----------
    folder
        Where the scratch file lies.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".spool")  # noqa: SIM115 - closed by __exit__
        self._starts = array("q", [0])

    def append(self, values: NDArray[np.integer]) -> int:
        """Set an array aside (flattened) and return its number.

        Raises
        ------
        ValueError
            A value does not fit into 16 bits.
        """
        if values.size and not 0 <= int(values.min()) <= int(values.max()) <= _LARGEST:
            raise ValueError("a value does not fit into 16 bits")
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(values, np.uint16).data)
        self._starts.append(self._starts[-1] + values.size)
        return len(self) - 1

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, number: int) -> NDArray[np.int64]:
        """Return an array, flat [shape=(size,), int64]."""
        begin, end = self._starts[number], self._starts[number + 1]
        self._file.seek(2 * begin)
        return np.frombuffer(self._file.read(2 * (end - begin)), np.uint16).astype(np.int64)

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

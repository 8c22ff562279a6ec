"""Opens gzip, bzip2 and plain files, told apart by their first bytes, and reads their decompressed bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import re
from pathlib import Path

from viaduct.tasks.opening import require_plain

_GZIP = b"\x1f\x8b"
_BZIP2 = re.compile(rb"BZh[1-9]1AY&SY")
_CHUNK = 1 << 16


def open_data(path: Path) -> io.BufferedReader:
    """Opens the file to read its bytes, decompressed if it is compressed.

    Raises DataError for a pipe or a device, OSError for a missing file. A damaged archive raises OSError without an
    errno, EOFError or zlib.error while it is read.
    """
    require_plain(path)
    with path.open("rb") as file:
        start = file.read(10)
    if start.startswith(_GZIP):
        return io.BufferedReader(gzip.open(path, "rb"))  # finds lines in C
    return io.BufferedReader(_Bzip2(path)) if _BZIP2.match(start) else path.open("rb")


class _Bzip2(io.RawIOBase):
    """Reads all streams of a file. `bz2.open` takes bytes that start no stream for the end, and so loses the rest."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._stream = bz2.BZ2Decompressor()

    def readable(self) -> bool:
        """Always True."""
        return True

    def readinto(self, into: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill in the bytes that are available next; returns their number, 0 at the end."""
        found = b""
        while not found:
            rest = self._stream.unused_data or (self._file.read(_CHUNK) if self._wants_more() else b"")
            if self._stream.eof:
                if not rest:
                    return 0
                self._stream = bz2.BZ2Decompressor()
            elif not rest and self._stream.needs_input:
                raise EOFError("it ends inside a stream")
            found = self._stream.decompress(rest, len(into))
        into[: len(found)] = found
        return len(found)

    def _wants_more(self) -> bool:
        return self._stream.eof or self._stream.needs_input

    def close(self) -> None:
        """Close the file too."""
        self._file.close()
        super().close()

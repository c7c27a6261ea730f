"""The files that are handed over: found, looked through once, and read again piece by piece when they are sent.

Unpacked files stay where they are. Gzip cannot be read from the middle, so it is unpacked into one nameless temporary file, which is gone
when this process is, however it ends.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tempfile
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from msgspec import Struct

from hce.foundation.types.errors import Refused
from hce.service.fhir.bundle import GZIP_MAGIC, MAX_BUNDLE_BYTES
from hce.service.fhir.scan import Found, Passed, scan

LINE_SUFFIXES: Final = (".ndjson", ".jsonl")
SUFFIXES: Final = (".json", *LINE_SUFFIXES)
"""What is looked at in a folder, with or without .gz behind; a file named by itself is always looked at."""
MAX_LINES_BYTES = 64 << 30
"""Of one NDJSON file, unpacked: a bound on what a small gzip file can become on disk."""
PIECE_BYTES = 1 << 20


class SourceChanged(Refused):
    """A file is not what it was when it was looked through."""

    code = "import.source_changed"
    status = 409


class Source(Struct, frozen=True):
    path: Path
    name: str
    """As people know it: relative to the folder they named."""

    @property
    def lines(self) -> bool:
        return _plain(self.path).endswith(LINE_SUFFIXES)


def find_sources(paths: Iterable[Path]) -> tuple[list[Source], int]:
    """Files named, and those inside folders named, in the order of their names; how many others were left aside."""
    sources: list[Source] = []
    aside = 0
    for path in paths:
        if not path.is_dir():
            sources.append(Source(path, path.name))
            continue
        for inner in sorted(_inside(path)):
            if _plain(inner).endswith(SUFFIXES):
                sources.append(Source(inner, str(inner.relative_to(path))))
            else:
                aside += 1
    return sources, aside


def _inside(folder: Path) -> Iterator[Path]:
    """Every file that is not hidden; links to folders are not followed."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place) / name for name in names if not name.startswith("."))


def _plain(path: Path) -> str:
    return path.name.lower().removesuffix(".gz")


class Files:
    """Open files of one import. Use as a context manager."""

    def __init__(self, sources: list[Source]) -> None:
        self.sources = sources
        self._unpacked: dict[int, int] = {}
        """Number of a packed file -> where it begins in the spool."""
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__
        self._open: tuple[int, BinaryIO] | None = None
        self._reading = threading.Lock()
        """Bundles of several people are put together at one time."""

    def __enter__(self) -> Files:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(OSError):  # on a full disk the last bytes, which nobody needs, may not be written
            self._spool.close()
        if self._open is not None:
            self._open[1].close()

    def look_through(self, number: int, base: str) -> Iterator[Found | Passed]:
        """What is in one file. One that cannot be read, or unpacked because the disk is full, is one `Passed` that says so."""
        source = self.sources[number]
        try:
            with source.path.open("rb") as file:
                packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
                file.seek(0)
                if not packed:
                    yield from scan(file, number, source.lines, base)
                    return
                unpacked = self._unpack(number, file)
        except OSError as error:
            yield Passed(number, -1, "", "", "import.unreadable", error.strerror or "")
            return
        if unpacked is None:
            yield Passed(number, -1, "", "", "fhir.bundle_malformed", "gzip that is damaged or unpacks to too much")
        else:
            yield from scan(unpacked, number, source.lines, base)

    def _unpack(self, number: int, file: BinaryIO) -> BinaryIO | None:
        """The file unpacked at the end of the spool; None when it cannot be, or is too large. Raises OSError."""
        limit = MAX_LINES_BYTES if self.sources[number].lines else MAX_BUNDLE_BYTES
        start = self._spool.seek(0, io.SEEK_END)
        try:
            with gzip.GzipFile(fileobj=file) as packed:
                while piece := packed.read(PIECE_BYTES):
                    self._spool.write(piece)
                    if self._spool.tell() - start > limit:
                        self._spool.truncate(start)
                        return None
                self._spool.flush()
        except (gzip.BadGzipFile, EOFError, zlib.error):
            self._spool.truncate(start)
            return None
        except OSError:
            self._spool.truncate(start)
            raise
        self._unpacked[number] = start
        self._spool.seek(start)
        return self._spool

    def content(self, found: Found) -> bytes:
        """The exact bytes of one resource. Raises `SourceChanged`, OSError."""
        number = found.place.file
        if number in self._unpacked:
            content = os.pread(self._spool.fileno(), found.place.length, self._unpacked[number] + found.place.start)
        else:
            with self._reading:
                content = os.pread(self._opened(number).fileno(), found.place.length, found.place.start)
        if hashlib.sha256(content).digest() != found.digest:
            raise SourceChanged(file=self.sources[number].name)
        return content

    def called(self, found: Found) -> str:
        """Where a resource is, for people."""
        return f"{self.sources[found.place.file].name}[{found.entry}] {found.type}/{found.id}"

    def _opened(self, number: int) -> BinaryIO:
        """The file, kept open while the next pieces come from it too."""
        if self._open is None or self._open[0] != number:
            if self._open is not None:
                self._open[1].close()
            self._open = (number, self.sources[number].path.open("rb"))
        return self._open[1]

"""A backup is one tar file: a head that says what it is, files, and last the size and SHA-256 of each.

    backup.json     {"format": "hce/backup/1", "what", "name", "genesis", "made_ms", "with_keys"}
    files/...       as they lay under the network's folder
    digests.cbor    DAG-CBOR {path: [bytes, SHA-256]} of everything before it

The digests come last, so a file that was cut off has none and is refused. They tell damage, not forgery: whoever can write the backup
can write the digests too, so a backup belongs where only its owner writes. `tar tf` lists it.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Final, Literal

import msgspec
from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.store.disk import PRIVATE_FILE, make_directory, sync_directory
from hce.foundation.types.errors import Corrupt, Malformed, Refused, Unavailable

FORMAT: Final = "hce/backup/1"
HEAD_NAME, DIGESTS_NAME, FILES = "backup.json", "digests.cbor", "files/"
MAX_SMALL_BYTES = 64 << 20
"""Head and digests: about a million files."""
CHUNK_BYTES = 1 << 20
_SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")

What = Literal["node", "gateway"]


class BackupExists(Refused):
    """There is a file at that place already; a backup overwrites nothing."""

    code = "backup.exists"
    status = 409


class BackupDamaged(Corrupt):
    """The backup is cut off or not what was written."""

    code = "backup.damaged"


class BackupMoved(Unavailable):
    """A file became shorter while it was copied."""

    code = "backup.moved"


class Head(Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup says of itself."""

    format: Literal["hce/backup/1"]
    what: What
    name: str
    """Index of the node, name of the gateway."""
    genesis: str
    """Hex of the genesis CID: which network."""
    made_ms: int
    with_keys: bool


class Digest(Struct, frozen=True, array_like=True):
    size_bytes: int
    sha256: bytes


class Writer:
    """Adds files to a backup that is being made."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.digests: dict[str, Digest] = {}

    def add(self, name: str, path: Path) -> None:
        """The file as long as it is now. `BackupMoved` when it shrinks meanwhile."""
        with path.open("rb") as file:
            self._add(FILES + name, file, os.fstat(file.fileno()).st_size)

    def add_small(self, name: str, content: bytes) -> None:
        self._add(name, io.BytesIO(content), len(content))

    def _add(self, name: str, file: BinaryIO, size: int) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, PRIVATE_FILE
        hashed = _Hashed(file)
        try:
            self._tar.addfile(entry, hashed)  # type: ignore[arg-type]  # all it calls is read
        except OSError as error:
            if error.errno is None:  # the file ended early; a disk's error has a number
                raise BackupMoved(file=name) from error
            raise
        self.digests[name] = Digest(size, hashed.sha256.digest())


class _Hashed:
    """Reads on and hashes what it read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int) -> bytes:
        found = self._file.read(size)
        self.sha256.update(found)
        return found


@contextmanager
def writing(path: Path, head: Head) -> Iterator[Writer]:
    """A new backup, readable by its owner only; durable when the block ends, gone when it raises. `BackupExists`."""
    make_directory(path.parent)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    except FileExistsError as error:
        raise BackupExists(path=str(path)) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                writer = Writer(tar)
                writer.add_small(HEAD_NAME, msgspec.json.encode(head))
                yield writer
                writer.add_small(DIGESTS_NAME, encode(writer.digests))
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def unpack(path: Path, folder: Path) -> Head:
    """Every file of a backup into a folder, its digest checked; the head. `BackupDamaged`.

    What is written is never more than was handed in: no entry may be sparse, which tar would fill up with zeros.
    """
    found: dict[str, Digest] = {}
    head, promised = b"", None
    try:
        with tarfile.open(path, mode="r:") as tar:
            for entry in tar:
                if promised is not None or entry.name in found or not entry.isreg() or entry.issparse():
                    raise BackupDamaged("an entry that does not belong there", file=entry.name)
                stream = tar.extractfile(entry)
                assert stream is not None  # it is a regular file
                if entry.name in (HEAD_NAME, DIGESTS_NAME):
                    content = _small(stream.read(min(entry.size, MAX_SMALL_BYTES + 1)))
                    if entry.name == DIGESTS_NAME:
                        promised = decode_as(dict[str, Digest], content, max_bytes=MAX_SMALL_BYTES)
                        continue
                    head, found[entry.name] = content, Digest(len(content), hashlib.sha256(content).digest())
                else:
                    found[entry.name] = _extract(stream, folder / _relative(entry.name))
        if promised != found:
            raise BackupDamaged("a file is not what was written", path=str(path))
        return msgspec.json.decode(head, type=Head)
    except (tarfile.TarError, EOFError, Malformed, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackupDamaged(path=str(path)) from error


def _small(content: bytes) -> bytes:
    if len(content) > MAX_SMALL_BYTES:
        raise BackupDamaged("a head too large", max_bytes=MAX_SMALL_BYTES)
    return content


def _relative(name: str) -> Path:
    """Below the folder and nowhere else."""
    parts = name.removeprefix(FILES).split("/")
    if not name.startswith(FILES) or any(_SAFE.fullmatch(part) is None for part in parts):
        raise BackupDamaged("a name that no backup has", file=name)
    return Path(*parts)


def _extract(stream: IO[bytes], target: Path) -> Digest:
    make_directory(target.parent)
    hashed = _Hashed(stream)
    size = 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as file:
        while chunk := hashed.read(CHUNK_BYTES):
            file.write(chunk)
            size += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    return Digest(size, hashed.sha256.digest())

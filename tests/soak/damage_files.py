"""What disks and people do to files. Every way leaves bytes a node cannot have written, or bytes it wrote at another time or place."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import NamedTuple

from hce.foundation.codec.cid import is_named
from hce.foundation.store.packs import HEADER_BYTES, walk_pack

PAGE_BYTES = 4_096


class Copy(NamedTuple):
    """A blob as it lies in a pack file, whole."""

    path: Path
    offset: int
    """Of the payload."""
    length: int


def packs_of(data: Path) -> list[Path]:
    return sorted((data / "packs").glob("pack-*.hcp"))


def whole_copies(data: Path) -> dict[bytes, list[Copy]]:
    """Every copy of every blob in a node's packs that is what its name says."""
    found: dict[bytes, list[Copy]] = {}
    for path in packs_of(data):
        content = path.read_bytes()
        for record in walk_pack(path):
            if is_named(record.cid, content[record.offset : record.offset + record.length]):
                found.setdefault(record.cid, []).append(Copy(path, record.offset, record.length))
    return found


SHARD_WAYS = ("flip", "head", "truncate", "zero", "swap")


def damage_copy(copy: Copy, way: str, other: bytes, chance: random.Random) -> None:
    """One blob where it lies. `other`: the bytes of another blob, for `swap`."""
    with copy.path.open("r+b") as file:
        payload = os.pread(file.fileno(), copy.length, copy.offset)
        if way == "flip":
            at = chance.randrange(copy.length)
            os.pwrite(file.fileno(), bytes([payload[at] ^ 1 << chance.randrange(8)]), copy.offset + at)
        elif way == "head":
            at = copy.offset - 1 - chance.randrange(HEADER_BYTES)
            (byte,) = os.pread(file.fileno(), 1, at)
            os.pwrite(file.fileno(), bytes([byte ^ 1 << chance.randrange(8)]), at)
        elif way == "truncate":
            kept = chance.randrange(copy.length)
            os.pwrite(file.fileno(), bytes(b ^ 0xA5 for b in payload[kept:]), copy.offset + kept)
        elif way == "zero":
            os.pwrite(file.fileno(), bytes(copy.length), copy.offset)
        else:
            os.pwrite(file.fileno(), (other * (copy.length // max(1, len(other)) + 1))[: copy.length], copy.offset)
        os.fsync(file.fileno())


def undamage(copy: Copy, header: bytes, payload: bytes) -> None:
    """Puts the bytes back."""
    with copy.path.open("r+b") as file:
        os.pwrite(file.fileno(), header + payload, copy.offset - HEADER_BYTES)


def header_of(copy: Copy) -> bytes:
    with copy.path.open("rb") as file:
        return os.pread(file.fileno(), HEADER_BYTES, copy.offset - HEADER_BYTES)


FILE_WAYS = ("flip", "truncate", "delete", "zero", "stale", "swap nodes", "swap files")
"""Whole files; the last two exchange two files between nodes or within one."""


def damage_file(path: Path, way: str, chance: random.Random) -> None:
    """One file in place, by a way that needs no other file."""
    size = path.stat().st_size if path.exists() else 0
    if way == "delete" or size == 0:
        path.unlink(missing_ok=True)
    elif way == "truncate":
        os.truncate(path, chance.randrange(size))
    else:
        with path.open("r+b") as file:
            for _ in range(chance.choice((1, 3, 12))):
                at = chance.randrange(size)
                if way == "zero":
                    at -= at % PAGE_BYTES
                    os.pwrite(file.fileno(), bytes(min(PAGE_BYTES, size - at)), at)
                else:
                    (byte,) = os.pread(file.fileno(), 1, at)
                    os.pwrite(file.fileno(), bytes([byte ^ 1 << chance.randrange(8)]), at)
            os.fsync(file.fileno())


def exchange(first: Path, second: Path) -> None:
    """Two files take each other's place."""
    aside = first.with_name(first.name + ".aside")
    for path in (first, second):
        path.touch()
    first.rename(aside)
    shutil.move(second, first)
    shutil.move(aside, second)


def put_back(kept: Path, path: Path) -> bool:
    """A file as it was earlier; False when none was kept."""
    if not kept.exists():
        return False
    shutil.copyfile(kept, path)
    return True

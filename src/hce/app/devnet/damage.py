"""Damages a demo node's files on disk, while it runs or not, so that anybody can watch the node make them whole again.

Each way is one that real disks and people have. Of shards: a flipped bit, a truncated file, a deleted file, bytes of another shard. Of the
rest: `tables` zeroes pages of the tables that say where shards lie, `keys` flips a bit of every key that envelopes are sealed under.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from hce.app.devnet.home import Home
from hce.foundation.codec.cid import RAW, cid_of_raw
from hce.foundation.store.packs import PackRecord, walk_pack
from hce.foundation.types.errors import NotFound

Way = Literal["flip", "truncate", "delete", "swap"]
WAYS: tuple[Way, ...] = ("flip", "truncate", "delete", "swap")
OTHER_WAYS = ("tables", "keys")
_PAGE_BYTES, _SLOT_BYTES = 4_096, 32


def packs_of(home: Home, index: int) -> list[Path]:
    """The pack files of a node."""
    return sorted((home.node(index) / "data" / "packs").glob("pack-*.hcp"))


def shards_of(home: Home, index: int) -> dict[bytes, bytes]:
    """Every shard in a node's packs as it lies there, whole or not; of several copies the last."""
    return {record.cid: content for _, record, content in _shards(home, index)}


def damage_node(home: Home, index: int, way: str) -> int:
    """One node, by the name of a way: how many shards, pages or keys are damaged. Raises `NotFound`."""
    data = home.node(index) / "data"
    if way == "tables" and data.exists():
        return _each(data / "placements" / "data.mdb", _PAGE_BYTES, 2, lambda page: bytes(len(page)))
    if way == "keys" and data.exists():
        return _each(data / "mailbox" / "slots", _SLOT_BYTES, 1, lambda key: bytes([key[0] ^ 1]) + key[1:] if any(key) else key)
    chosen = next((one for one in WAYS if one == way), None)
    if chosen is None or not 0 <= index < len(home.network()["nodes"]):
        raise NotFound("node or way of damage", node=index, way=way)
    return damage_shards(home, index, chosen)


def damage_shards(home: Home, index: int, way: Way, only: frozenset[bytes] | None = None) -> int:
    """Damages all shards of a node (or those in `only`; then always by flipping); how many were there."""
    found = [(path, record) for path, record, _ in _shards(home, index) if only is None or record.cid in only]
    if only is not None or way == "flip":
        for path, record in found:
            if cid_of_raw(_read(path, record)) == record.cid:
                _write(path, record.offset + record.length // 2, _flipped(path, record))
    elif way == "truncate":
        for path in packs_of(home, index):
            os.truncate(path, path.stat().st_size // 2)
    elif way == "delete":
        for path in packs_of(home, index):
            path.unlink()
    else:
        for (path, record), (other, source) in zip(found, found[1:] + found[:1], strict=True):
            _write(path, record.offset, _read(other, source)[: record.length])
    return len(found)


def put_back(home: Home, index: int, shards: dict[bytes, bytes]) -> None:
    """Writes the original bytes over damaged ones where they lie: undoes a `flip`."""
    for path, record, _ in list(_shards(home, index)):
        if record.cid in shards:
            _write(path, record.offset, shards[record.cid])


def _each(path: Path, size: int, first: int, changed: Callable[[bytes], bytes]) -> int:
    """Every piece of a file from the first one on; how many became others."""
    count = 0
    with path.open("r+b") as file:
        for number in range(first, path.stat().st_size // size):
            file.seek(number * size)
            before = file.read(size)
            if (after := changed(before)) != before:
                file.seek(number * size)
                file.write(after)
                count += 1
        os.fsync(file.fileno())
    return count


def _shards(home: Home, index: int) -> Iterator[tuple[Path, PackRecord, bytes]]:
    for path in packs_of(home, index):
        for record in walk_pack(path):
            if record.cid.startswith(RAW):
                yield path, record, _read(path, record)


def _read(path: Path, record: PackRecord) -> bytes:
    with path.open("rb") as file:
        file.seek(record.offset)
        return file.read(record.length)


def _flipped(path: Path, record: PackRecord) -> bytes:
    return bytes([_read(path, record)[record.length // 2] ^ 1])


def _write(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

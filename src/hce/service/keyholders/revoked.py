"""Grants this node has seen revoked: durable before the vote leaves, so that no restart forgets one.

A node treats a revocation as effective when it has precommitted a block with it. The ledger names the revocations of a block before
the vote is signed, `add` makes them durable and returns, then the vote goes out. A valid signed revocation that comes by any other
path (pool, link, API) is checked by the ledger and added the same way. Ids may be forgotten once the revocation is final, because then
the chain says it.

Each id is kept with the signed revocation it came by: a node that lost its own list asks for these (`hearing.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from hce.foundation.store.kv import Commit, KeyValueStore, commit_durably

_TABLE, _MARKS = "revoked", "marks"
_LOST, _BEGUN = b"lost", b"begun"
MAP_BYTES = 16 << 20
"""A revocation is some 400 bytes; the map grows when twenty thousand wait to become final."""


class RevokedSet:
    """Grant ids, in memory and on disk. One writer; any thread may ask."""

    def __init__(self, store: KeyValueStore, lost_ms: int | None = None) -> None:
        self._store = store
        with store.read() as snapshot:
            begun = snapshot.get(_MARKS, _BEGUN) is not None
        if not begun:
            with store.write() as batch:  # one commit: a kill leaves no list that is begun and does not know that one was lost
                batch.put(_MARKS, _BEGUN, b"")
                if lost_ms is not None:
                    batch.put(_MARKS, _LOST, lost_ms.to_bytes(8, "big"))
        with store.read() as snapshot:
            self._ids = {key for key, _ in snapshot.scan(_TABLE)}
            raw = snapshot.get(_MARKS, _LOST)
        self.lost_ms = None if raw is None else int.from_bytes(raw, "big")
        """Until when what this node had seen revoked is unknown; None: this list holds everything."""

    @classmethod
    def open(cls, path: Path, *, lost_ms: int | None = None, identity: bytes = b"revoked", commit: Commit = commit_durably) -> Self:
        """`lost_ms`: now, for a node that ran before. A list that nobody has opened before then takes the place of one that is lost."""
        store = KeyValueStore.open(path, tables=(_TABLE, _MARKS), identity=identity, map_size=MAP_BYTES, commit=commit)
        try:
            return cls(store, lost_ms)
        except BaseException:
            store.close()
            raise

    @property
    def damaged(self) -> bool:
        """Whether the table met damage since it was opened."""
        return self._store.damaged

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __contains__(self, grant_id: object) -> bool:
        return grant_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, signed: Mapping[bytes, bytes]) -> None:
        """Refuse these grants from now on; durable on return. By grant, the signed transaction that revokes it.

        Memory first: should the disk fail, the node errs on the strict side.
        """
        self._ids |= set(signed)
        with self._store.write() as batch:
            for grant_id in sorted(signed):
                if batch.get(_TABLE, grant_id) is None:
                    batch.put(_TABLE, grant_id, signed[grant_id])

    def page(self, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Grants above `after` in order, with the signed transactions that revoke them."""
        with self._store.read() as snapshot:
            return list(snapshot.scan(_TABLE, start=after + b"\0", limit=limit))

    def doubt(self, lost_ms: int) -> None:
        """What this node saw revoked up to now may be missing here: its disk was set back. Durable on return."""
        self.lost_ms = lost_ms
        with self._store.write() as batch:
            batch.put(_MARKS, _LOST, lost_ms.to_bytes(8, "big"))

    def known_again(self) -> None:
        """What was unknown is here or on chain."""
        self.lost_ms = None
        with self._store.write() as batch:
            batch.delete(_MARKS, _LOST)

    def forget(self, grant_ids: Iterable[bytes]) -> None:
        """Drop ids whose revocation is final on chain. The chain refuses them before memory lets them go."""
        named = set(grant_ids)
        with self._store.write() as batch:
            for grant_id in sorted(named):
                batch.delete(_TABLE, grant_id)
        self._ids -= named

"""A mailbox whose tables are damaged, made anew from every row that can still be read.

Feeds, inboxes, envelopes and erasures come back from the peers in any case. Logs of receipts, leaves of anchors, void tokens, cards and
receipts of own reading are this node's alone: what a damaged page takes of them is lost, so the rest must not go with it.

Rows that stand for themselves are taken over. What follows from others is derived: names and arrivals of items, counts and bytes. Marks are
left out, so that all final blocks are told again and peers are asked for everything. A record whose row or key is gone is wanted then.
Of a store that does not say that it is this node's nothing is taken: another node's rows have checksums too.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from hce.foundation.codec.dagcbor import decode_as
from hce.foundation.store.kv import DEFAULT_MAP_BYTES, IDENTITY_KEY, META, KeyValueStore, WriteTxn
from hce.foundation.store.salvage import readable_rows
from hce.service.mailbox import anchors, records, replica, streams, tokens

DERIVED = (streams.NAMES, streams.ARRIVED, replica.MARKS)
"""Tables that are not taken over."""
ROWS_AT_ONCE = 2_000


def rebuild(folder: Path, tables: tuple[str, ...], identity: bytes, map_size: int = DEFAULT_MAP_BYTES) -> int:
    """Puts new tables in the place of `folder/tables`, which nobody has open; how many rows were taken over."""
    damaged, fresh = folder / "tables", folder / "tables.new"
    shutil.rmtree(fresh, ignore_errors=True)
    taken, own = 0, (IDENTITY_KEY, identity) in readable_rows(damaged, META)
    with KeyValueStore.open(fresh, tables=tables, identity=identity, map_size=map_size) as store:
        for table in tables:
            if own and table not in DERIVED:
                taken += _take_over(store, table, readable_rows(damaged, table))
        with store.write() as batch:
            streams.count_again(batch)
            records.count_again(batch)
            tokens.count_again(batch)
            anchors.close_known(batch)
    shutil.rmtree(damaged)
    fresh.rename(damaged)
    return taken


def _take_over(store: KeyValueStore, table: str, rows: Iterator[tuple[bytes, bytes]]) -> int:
    count = 0
    while some := list(islice(rows, ROWS_AT_ONCE)):
        with store.write() as batch:
            for key, value in some:
                _put_once(batch, table, key, value)
        count += len(some)
    return count


def _put_once(batch: WriteTxn, table: str, key: bytes, value: bytes) -> None:
    """A stored item must be one that can be read; other rows are believed by their checksum."""
    if table == streams.ITEMS:
        decode_as(streams.StoredItem, value)
    batch.put(table, key, value)

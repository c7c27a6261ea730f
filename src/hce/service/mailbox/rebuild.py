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

from hce.foundation.store.kv import DEFAULT_MAP_BYTES, IDENTITY_KEY, META, KeyValueStore
from hce.foundation.store.salvage import Row, readable_rows
from hce.service.mailbox import anchors, records, replica, streams, tokens

DERIVED = (streams.NAMES, streams.ARRIVED, replica.MARKS)
"""Tables that are not taken over."""
ROWS_AT_ONCE = 2_000


def rebuild(folder: Path, tables: tuple[str, ...], identity: bytes, map_size: int = DEFAULT_MAP_BYTES) -> int:
    """Puts new tables in the place of `folder/tables`, which nobody has open; how many rows were taken over."""
    damaged, fresh = folder / "tables", folder / "tables.new"
    shutil.rmtree(fresh, ignore_errors=True)
    own = (META, IDENTITY_KEY, identity) in readable_rows(damaged, [META])
    with KeyValueStore.open(fresh, tables=tables, identity=identity, map_size=map_size) as store:
        rows = readable_rows(damaged, [table for table in tables if table not in DERIVED]) if own else iter(())
        taken = _take_over(store, rows)
        with store.write() as batch:
            streams.count_again(batch)
            records.count_again(batch)
            tokens.count_again(batch)
            anchors.order_again(batch)
    shutil.rmtree(damaged)
    fresh.rename(damaged)
    return taken


def _take_over(store: KeyValueStore, rows: Iterator[Row]) -> int:
    """Rows are believed by their checksum."""
    count = 0
    while some := list(islice(rows, ROWS_AT_ONCE)):
        with store.write() as batch:
            for table, key, value in some:
                batch.put(table, key, value)
        count += len(some)
    return count

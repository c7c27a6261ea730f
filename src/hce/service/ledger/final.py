"""The last final state: tables of the ledger, and reads from one snapshot of them.

Besides the two authenticated maps there is what execution needs from the past (the ids of the replay window, the last header) and what
readers ask for (receipts, where a transaction is, the entries of a grant). All of it is written in the one batch that makes a height
final, so none can run ahead of another. Tables marked * are derived: no root covers them, and replaying the blocks builds them again.

    ledger.meta        what `Meta` names -> bytes
    ledger.heads       height 8 -> [time_ms, LedgerHeader]
    ledger.ids         health transaction id -> height 8, replay window only
    ledger.ids_at      height 8 -> ids of that block one after another, replay window only
    ledger.results   * height 8 -> BlockResults
    ledger.where     * health transaction id or eth hash -> height 8, place in its list 4
    ledger.entries   * grant id, ordinal 8 -> entry id
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import partial

from msgspec import Struct

from hce.foundation.codec.dagcbor import encode
from hce.foundation.proofs.authmap import MapProof
from hce.foundation.store.journal import HEALTH, VALUE
from hce.foundation.store.kv import KeyValueStore, ReadTxn, WriteTxn
from hce.foundation.store.mapnodes import MapDelta, MapStore
from hce.foundation.types.blocks import LedgerHeader, Node
from hce.foundation.types.errors import Bug
from hce.foundation.types.scalars import Height, TimeMs
from hce.service.contracts.value.accounts import Account, SystemTransfer, account_key, decode_account
from hce.service.contracts.value.execute import ValueReceipt
from hce.service.ledger.errors import HeightUnknown
from hce.service.terms.proofs import HealthReceipt
from hce.service.terms.states import HealthReader, decode_state, key_node

MAPS = {HEALTH: MapStore(HEALTH), VALUE: MapStore(VALUE)}
META, HEADS, IDS, IDS_AT = "ledger.meta", "ledger.heads", "ledger.ids", "ledger.ids_at"
RESULTS, WHERE, ENTRIES = "ledger.results", "ledger.where", "ledger.entries"
LEDGER_TABLES = (*MAPS[HEALTH].tables, *MAPS[VALUE].tables, META, HEADS, IDS, IDS_AT, RESULTS, WHERE, ENTRIES)
"""What `KeyValueStore.open` must be told."""
ID_BYTES = 36


class Meta(Enum):
    """Keys of `ledger.meta`."""

    GENESIS = b"genesis"
    """CID of the genesis this ledger began with."""
    HEIGHT = b"height"
    """Last final height, 8 bytes."""


class Head(Struct, frozen=True, array_like=True):
    """What the ledger keeps of a final height."""

    time_ms: TimeMs
    header: LedgerHeader


class BlockResults(Struct, frozen=True, array_like=True):
    """What became of the transactions of one block, in their order."""

    health: list[HealthReceipt]
    value: list[ValueReceipt]
    transfers: list[SystemTransfer]


class FinalView:
    """Reads of one snapshot: everything it answers belongs to the same height."""

    def __init__(self, snapshot: ReadTxn | WriteTxn) -> None:
        self._snapshot = snapshot
        # Not through this view: a cycle would keep the snapshot's reader slot until the garbage collector comes by.
        self.health = HealthReader(partial(MAPS[HEALTH].get, snapshot))

    def get(self, space: str, key: bytes) -> bytes | None:
        """A value of one of the two maps; the reader a block's journal stands on."""
        return MAPS[space].get(self._snapshot, key)

    def compute_delta(self, space: str, changes: Mapping[bytes, bytes | None]) -> MapDelta:
        """What `changes` make of one map, written nowhere."""
        return MAPS[space].compute_root(self._snapshot, changes)[1]

    def prove(self, space: str, key: bytes) -> tuple[bytes | None, MapProof]:
        """A value of one of the two maps (None when absent) and its proof under the root of this height."""
        return MAPS[space].prove(self._snapshot, key)

    @property
    def height(self) -> Height:
        raw = self._snapshot.get(META, Meta.HEIGHT.value)
        if raw is None:
            raise Bug("a ledger was read before its genesis was written")
        return int.from_bytes(raw, "big")

    def head(self, height: Height) -> Head:
        """`HeightUnknown` above the last final one."""
        raw = self._snapshot.get(HEADS, height_key(height))
        if raw is None:
            raise HeightUnknown(height=height)
        return decode_state(Head, raw)

    def account(self, address: bytes) -> Account:
        return decode_account(self.get(VALUE, account_key(address)))

    def seen(self, tx_id: bytes) -> bool:
        """Whether the id stands in a block of the replay window of the next height."""
        return self._snapshot.get(IDS, tx_id) is not None

    def nodes(self) -> list[Node]:
        """The set in force, in schedule order."""
        found: list[Node] = []
        while (raw := self.get(HEALTH, key_node(len(found)))) is not None:
            found.append(decode_state(Node, raw))
        return found

    def results(self, height: Height) -> BlockResults:
        raw = self._snapshot.get(RESULTS, height_key(height))
        if raw is None:
            raise HeightUnknown(height=height)
        return decode_state(BlockResults, raw)

    def where(self, tx_id: bytes) -> tuple[Height, int] | None:
        """Height and place in its list of a final transaction, by health id or eth hash."""
        raw = self._snapshot.get(WHERE, tx_id)
        return None if raw is None else (int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big"))

    def entry_ids(self, grant_id: bytes, start: int, limit: int) -> Iterator[tuple[int, bytes]]:
        """(ordinal, entry id) of a grant, ascending from `start`. Only while the snapshot is open."""
        scanned = self._snapshot.scan(ENTRIES, prefix=grant_id, start=grant_id + start.to_bytes(8, "big"), limit=limit)
        return ((int.from_bytes(key[-8:], "big"), bytes(value)) for key, value in scanned)


@contextmanager
def final_view(store: KeyValueStore) -> Iterator[FinalView]:
    """A view of the last final state. Close it soon, as every snapshot."""
    with store.read() as snapshot:
        yield FinalView(snapshot)


def height_key(height: int) -> bytes:
    return height.to_bytes(8, "big")


def put_head(txn: WriteTxn, height: Height, head: Head) -> None:
    """Make a height the last final one."""
    txn.put(HEADS, height_key(height), encode(head))
    txn.put(META, Meta.HEIGHT.value, height_key(height))


def put_window(txn: WriteTxn, height: Height, ids: list[bytes], window: int) -> None:
    """Remember the ids of this block and forget those that no valid body can repeat in the next one."""
    for tx_id in ids:
        txn.put(IDS, tx_id, height_key(height))
    txn.put(IDS_AT, height_key(height), b"".join(ids))
    if height < window:
        return
    oldest = height_key(height - window)
    forgotten = txn.get(IDS_AT, oldest) or b""
    for at in range(0, len(forgotten), ID_BYTES):
        txn.delete(IDS, forgotten[at : at + ID_BYTES])
    txn.delete(IDS_AT, oldest)


def put_results(txn: WriteTxn, height: Height, results: BlockResults) -> None:
    """Receipts, and where to find each transaction."""
    txn.put(RESULTS, height_key(height), encode(results))
    names = ([receipt.tx_id for receipt in results.health], [receipt.hash for receipt in results.value])
    for listed in names:
        for place, name in enumerate(listed):
            txn.put(WHERE, name, height_key(height) + place.to_bytes(4, "big"))

"""The Application of consensus (`network/consensus/application.py`): executes blocks before they are voted on, keeps what became final.

Execution never writes. It runs over a journal on a snapshot of the final state and ends in an `Outcome`: the header, and the exact
tables to write. `commit` writes one outcome in one batch: state of both maps, head, receipts, replay window. So a kill at any instant
leaves either the height before or the height after, and a proposal that was thrown away leaves nothing at all.

Outcomes of processed proposals are kept by what went in (context and whole block), so that the block that wins is not executed again.
Nothing depends on that: without it `finalize` executes afresh and must come to the same bytes.

Consensus calls from one thread; `check_tx`, `check_txs` and `revoke_seen` may come from any.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, TypeVarTuple

from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.hashing import keccak256
from hce.foundation.store.journal import HEALTH, VALUE, Journal
from hce.foundation.store.kv import KeyValueStore, WriteTxn
from hce.foundation.store.mapnodes import MapDelta
from hce.foundation.types.blocks import MAX_LISTS_BYTES, LedgerBlock, LedgerHeader
from hce.foundation.types.errors import Bug, HceError, TooLarge
from hce.foundation.types.scalars import Cid, Height, TimeMs
from hce.network.consensus.application import BlockContext
from hce.service.contracts.health import apply, revokes_of
from hce.service.contracts.value.accounts import ACCOUNT_PREFIX, decode_account, is_account_key
from hce.service.contracts.value.header import decode_header
from hce.service.contracts.value.transactions import ValueTx
from hce.service.ledger.admission import Admission, AnyTx, is_health, require_countable
from hce.service.ledger.door import Door
from hce.service.ledger.errors import GenesisMismatch, HeaderMismatch, NotNextHeight, PayerCannotPay, ReplayDiffers
from hce.service.ledger.execution import BlockExecution, Executed, ExecutionEnv, check_window, execute, fee_of
from hce.service.ledger.final import (
    ENTRIES,
    LEDGER_TABLES,
    MAPS,
    META,
    BlockResults,
    FinalView,
    Head,
    Meta,
    final_view,
    put_head,
    put_results,
    put_window,
)
from hce.service.ledger.genesis import write_genesis
from hce.service.ledger.headers import (
    execution_env,
    health_txs_root,
    ledger_header,
    require_equal,
    require_version,
    value_txs_root,
)
from hce.service.ledger.pool import Pool, PoolLimits
from hce.service.ledger.proposal import fill_block
from hce.service.ledger.queries import Queries
from hce.service.ledger.supply import require_supply_kept
from hce.service.terms.genesis import Genesis, Params, genesis_cid
from hce.service.terms.states import EntryState
from hce.service.terms.transactions import HealthTx, UnknownKind, parse_kind

REVOKE = "grant.revoke"
KEPT_OUTCOMES = 4
"""Executed proposals remembered at one height."""
FILL_BUDGET_MS = 200
"""Local time a proposer spends on filling one block."""

CHECKED_TOGETHER = 25
"""Arriving transactions that share one view of the final state: some three milliseconds, so that it is never old."""

T = TypeVar("T")
U = TypeVarTuple("U")
OnRevokes = Callable[[Mapping[bytes, bytes]], None]
"""Takes signed revocations by the grant they revoke; returns when the keyholders have them fsynced."""


class Outcome(Struct, frozen=True):
    """An executed block, ready to be written."""

    height: Height
    time_ms: TimeMs
    header: LedgerHeader
    executed: Executed
    health: MapDelta
    value: MapDelta


class Ledger:
    """State and rules of one node. Make the state of height 0 with `Ledger.create`, once."""

    def __init__(
        self,
        store: KeyValueStore,
        genesis: Genesis,
        *,
        on_revokes: OnRevokes,
        monotonic_ns: Callable[[], int],
        pool_limits: PoolLimits | None = None,
        fill_budget_ms: int = FILL_BUDGET_MS,
    ) -> None:
        """Open an existing ledger. `GenesisMismatch` when the store holds another one or none, `UnknownVersion` for newer rules."""
        self._store = store
        self._genesis = genesis
        self._on_revokes = on_revokes
        self._monotonic_ns = monotonic_ns
        self._fill_budget_ms = fill_budget_ms
        self._admission = Admission(genesis.chain, genesis.eip155_id)
        self._outcomes: OrderedDict[bytes, Outcome] = OrderedDict()
        self._finalized: Outcome | None = None
        self._door: Door | None = None
        self.pool = Pool(pool_limits or PoolLimits())
        self.queries = Queries(store)
        with store.read() as snapshot:
            stored = snapshot.get(META, Meta.GENESIS.value)
            if stored != genesis_cid(genesis):
                raise GenesisMismatch(expected=genesis_cid(genesis).hex(), actual=stored.hex() if stored else None)
            view = FinalView(snapshot)
            require_version(view.head(view.height).header.version)

    @staticmethod
    def tables() -> tuple[str, ...]:
        """What `KeyValueStore.open` must be told."""
        return LEDGER_TABLES

    @staticmethod
    def exists(store: KeyValueStore) -> bool:
        """Whether `create` was done."""
        with store.read() as snapshot:
            return snapshot.get(META, Meta.GENESIS.value) is not None

    @staticmethod
    def create(store: KeyValueStore, genesis: Genesis) -> None:
        """Write the state of height 0 into an empty store. `GenesisInvalid`, `UnknownVersion`."""
        write_genesis(store, genesis)

    @property
    def height(self) -> Height:
        """Last height whose commit is durable."""
        return self.queries.final_height

    def check_tx(self, raw: bytes) -> bytes:
        """Take a signed transaction of either chain into the pool; its id (CID or eth hash). Again is no error. Raises `Refused`.

        What costs little is asked first: whether it waits already, whether a block may hold it, whether its payer can pay.
        """
        answer = self.check_txs([raw])[0]
        if isinstance(answer, bytes):
            return answer
        try:
            raise answer
        finally:
            del answer  # else error and frame would keep each other until garbage is collected

    def check_txs(self, raws: Sequence[bytes]) -> list[bytes | HceError]:
        """The same for each in its order: its id, or why it was refused. Some share a view of the final state."""
        answers: list[bytes | HceError] = []
        for start in range(0, len(raws), CHECKED_TOGETHER):
            found = [_answer(self._read, raw) for raw in raws[start : start + CHECKED_TOGETHER]]
            taken = _answer(self._take_all, found)
            answers += [taken] * len(found) if isinstance(taken, HceError) else taken
        return answers

    def revoke_seen(self, raw: bytes) -> list[bytes]:
        """A signed revoke that came by any path: blocks its grant at once, long before a block holds it. Raises `Refused`.

        The replay window does not matter here: the owner said it, once is enough.
        """
        tx = self._admission.health(raw)
        if tx.body.kind != REVOKE:
            raise UnknownKind("not a revoke", kind=tx.body.kind)
        return self._block_revoked(tx)

    def prepare_proposal(self, context: BlockContext) -> LedgerBlock:
        """Fill a block from the pool and execute it."""
        with final_view(self._store) as view:
            env = self._env(view, context)
            execution = BlockExecution(Journal(view.get), env, view.seen)
            fill_block(execution, self.pool, env, self._monotonic_ns, self._fill_budget_ms)
            outcome = self._outcome(view, env, execution.finish(), context)
        executed = outcome.executed
        block = LedgerBlock(outcome.header, [tx.raw for tx in executed.health_txs], [tx.raw for tx in executed.value_txs])
        self._keep(_outcome_key(context, block), outcome)
        return block

    def check_lists(self, block: LedgerBlock) -> None:
        """`Refused` unless the lists fit their bounds and the header's roots; nothing of them is parsed."""
        _check_lists(block, self._genesis.params)

    def process_proposal(self, context: BlockContext, block: LedgerBlock) -> None:
        """`Refused` (with the reason) unless execution gives exactly this block."""
        require_version(block.header.version)
        self.check_lists(block)
        outcome = self._execute(context, block)
        require_equal(outcome.header, block.header)

    def before_precommit(self, block_id: Cid, block: LedgerBlock) -> None:
        """Hands the grants this block revokes to the keyholders and returns when they are safe; then the vote may be signed."""
        revokes = parse_kind(block.health_txs, self._genesis.chain, REVOKE)
        if revokes:
            self._on_revokes(_by_grant(revokes))

    def finalize(self, context: BlockContext, block: LedgerBlock) -> LedgerHeader:
        """Execute for good. For a height that is final already: its header again, `ReplayDiffers` if the block is another."""
        require_version(block.header.version)
        with final_view(self._store) as view:
            if context.height <= view.height:
                header = view.head(context.height).header
                if header != block.header:
                    raise ReplayDiffers(height=context.height)
                return header
        self._finalized = self._execute(context, block)
        return self._finalized.header

    def commit(self, height: Height) -> None:
        """Write the finalized height, in one batch. A height that is final already is left alone.

        `ReadersOpen`, with nothing written, when the store's map is full while a snapshot is open; calling again is right.
        """
        if height <= self.height:
            return
        outcome = self._finalized
        if outcome is None or outcome.height != height:
            raise Bug("commit of a height that was not finalized")
        with self._store.write() as txn:
            self._write(txn, outcome)
        self._finalized = None
        self._outcomes.clear()
        executed = outcome.executed
        accounts = {
            key[len(ACCOUNT_PREFIX) :]: decode_account(raw) for key, raw in executed.value_changes.items() if is_account_key(key)
        }
        self.pool.after_block(height, executed.health_txs, executed.value_txs, accounts)

    def _read(self, raw: bytes) -> AnyTx | bytes:
        """What needs no view of the state; a transfer that waits already is only its name.

        A revoke blocks its grant here: no snapshot is open while the keyholders fsync.
        """
        if not is_health(raw):
            tx_hash = keccak256(raw)
            return tx_hash if tx_hash in self.pool else self._admission.value(raw)
        tx = self._admission.read_health(raw)
        if tx.body.kind == REVOKE and tx.id not in self.pool and not self.queries.seen(tx.id):
            self._admission.require_signed(tx)
            self._block_revoked(tx)
        return tx

    def _take_all(self, found: list[AnyTx | bytes | HceError]) -> list[bytes | HceError]:
        """What was read into the pool, over one view."""
        with final_view(self._store) as view:
            return [one if isinstance(one, bytes | HceError) else _answer(self._take, one, view) for one in found]

    def _take(self, tx: AnyTx, view: FinalView) -> bytes:
        """Into the pool, unless it waits there already; its name."""
        if isinstance(tx, ValueTx):
            if tx.hash not in self.pool:
                self.pool.add_value(tx, view.account(tx.sender), view.height)
            return tx.hash
        if tx.id in self.pool:
            self._admission.require_signed(tx)  # else nodes would pass it on under signatures that anybody made up
        else:
            self._take_health(tx, view)
        return tx.id

    def _take_health(self, tx: HealthTx, view: FinalView) -> None:
        """A transaction that does not wait yet, read but not checked."""
        door = self._door_at(view)
        env, payer = door.env, tx.body.payer
        check_window(tx, env.health, view.seen)
        if payer is None:
            self._admission.require_signed(tx)
            # Nobody pays for a free transaction that fails, so one that would fail now does not wait.
            BlockExecution(Journal(view.get), env, view.seen).add_health(tx)
            self.pool.add_free(tx)
            return
        balance, fee = door.funds_of(payer, tx, view), fee_of(tx, env.health)
        if fee > balance:
            raise PayerCannotPay(payer=payer.hex(), fee=fee, balance=balance)
        self._admission.require_signed(tx)
        self.pool.add_paid(tx, payer, fee, balance)

    def _block_revoked(self, tx: HealthTx) -> list[bytes]:
        """Tell the keyholders of a revoke the state agrees with."""
        with final_view(self._store) as view:
            apply(tx, Journal(view.get), self._door_at(view).env.health)
        self._on_revokes(_by_grant([tx]))
        return revokes_of([tx])

    def _execute(self, context: BlockContext, block: LedgerBlock) -> Outcome:
        """The outcome of these lists, remembered or afresh."""
        key = _outcome_key(context, block)
        known = self._outcomes.get(key)
        if known is not None:
            return known
        health_txs, value_txs = self._admission.lists(block, self._genesis.params)
        with final_view(self._store) as view:
            env = self._env(view, context)
            executed = execute(Journal(view.get), env, view.seen, health_txs, value_txs)
            outcome = self._outcome(view, env, executed, context)
        self._keep(key, outcome)
        return outcome

    def _outcome(self, view: FinalView, env: ExecutionEnv, executed: Executed, context: BlockContext) -> Outcome:
        require_supply_kept(executed.value_changes, lambda key: view.get(VALUE, key))
        health = view.compute_delta(HEALTH, executed.health_changes)
        value = view.compute_delta(VALUE, executed.value_changes)
        parent_head = view.head(view.height).header.value_head
        header = ledger_header(env, executed, parent_head, context.parent, health.root, value.root)
        return Outcome(context.height, context.time_ms, header, executed, health, value)

    def _env(self, view: FinalView, context: BlockContext) -> ExecutionEnv:
        if context.height != view.height + 1:
            raise NotNextHeight(expected=view.height + 1, actual=context.height)
        parent = decode_header(view.head(view.height).header.value_head)
        return execution_env(self._genesis, view.nodes(), parent, context)

    def _door_at(self, view: FinalView) -> Door:
        """For judging what arrives. Made once a height."""
        known = self._door
        if known is not None and known.env.health.height == view.height + 1:
            return known
        head = view.head(view.height)
        nodes = view.nodes()
        earliest = BlockContext(view.height + 1, head.header.next_epoch, head.time_ms + 1, nodes[0].operator, _NO_PARENT)
        door = self._door = Door(execution_env(self._genesis, nodes, decode_header(head.header.value_head), earliest))
        return door

    def _keep(self, key: bytes, outcome: Outcome) -> None:
        self._outcomes[key] = outcome
        while len(self._outcomes) > KEPT_OUTCOMES:
            self._outcomes.popitem(last=False)

    def _write(self, txn: WriteTxn, outcome: Outcome) -> None:
        """Everything one height leaves behind."""
        executed = outcome.executed
        MAPS[HEALTH].apply(txn, outcome.health)
        MAPS[VALUE].apply(txn, outcome.value)
        put_head(txn, outcome.height, Head(outcome.time_ms, outcome.header))
        put_window(txn, outcome.height, [tx.id for tx in executed.health_txs], self._genesis.params.replay_window)
        results = BlockResults(executed.health_receipts, executed.value_receipts, executed.system_transfers)
        put_results(txn, outcome.height, results)
        for key, raw in executed.health_changes.items():
            if key.startswith(b"entry/") and raw is not None:
                entry = decode_as(EntryState, raw)
                txn.put(ENTRIES, entry.grant_id + entry.ordinal.to_bytes(8, "big"), key.removeprefix(b"entry/"))


_NO_PARENT = b"\x01\x71\x12\x20" + bytes(32)
"""A block id for judging what arrives: no rule of this version reads it."""


def _answer(ask: Callable[[*U], T], *arguments: *U) -> T | HceError:
    """What it returns, or the named error it raises, without the frames that would keep a view of the state alive."""
    try:
        return ask(*arguments)
    except HceError as refusal:
        return refusal.with_traceback(None)


def _by_grant(revokes: list[HealthTx]) -> dict[bytes, bytes]:
    """Signed revocations by the grant they revoke."""
    return dict(zip(revokes_of(revokes), (tx.raw for tx in revokes), strict=True))


def _check_lists(block: LedgerBlock, params: Params) -> None:
    """Size, number and roots of the lists, in this order, before anything of them is parsed: roots cost some 9 us a transaction."""
    size = sum(map(len, block.health_txs)) + sum(map(len, block.value_txs))
    if size > MAX_LISTS_BYTES:
        raise TooLarge("a block's lists", actual_bytes=size, max_bytes=MAX_LISTS_BYTES)
    require_countable(block, params)
    if block.header.health_head.txs_root != health_txs_root(block.health_txs):
        raise HeaderMismatch("not the root of the health list", field="health_head")
    if decode_header(block.header.value_head).transactions_root != value_txs_root(block.value_txs):
        raise HeaderMismatch("not the root of the value list", field="value_head")


def _outcome_key(context: BlockContext, block: LedgerBlock) -> bytes:
    return hashlib.sha256(encode([list(_fields(context)), block])).digest()


def _fields(context: BlockContext) -> tuple[int, int, int, bytes, bytes]:
    return context.height, context.epoch, context.time_ms, context.proposer, context.parent

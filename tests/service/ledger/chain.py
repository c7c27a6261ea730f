"""A ledger on a real store with one node, an organisation or two, and rich accounts: everything real, keys made from names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from eth_account import Account
from msgspec import Struct

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.store.journal import HEALTH, VALUE, Journal
from hce.foundation.store.kv import Commit, KeyValueStore, commit_durably
from hce.foundation.types.blocks import LedgerBlock, LedgerHeader, Node
from hce.foundation.types.scalars import amount_to_bytes
from hce.network.consensus.application import BlockContext
from hce.service.contracts.value.accounts import decode_account, is_account_key
from hce.service.contracts.value.header import decode_header
from hce.service.ledger.admission import Admission
from hce.service.ledger.execution import Executed, ExecutionEnv, execute
from hce.service.ledger.final import MAPS, FinalView, final_view
from hce.service.ledger.headers import execution_env, ledger_header
from hce.service.ledger.ledger import Ledger
from hce.service.ledger.pool import PoolLimits
from hce.service.terms.genesis import TOTAL_SUPPLY_AHCE, Genesis, GenesisBalance, GenesisNode, Params
from hce.service.terms.payloads import (
    AccessOpen,
    CompartmentOpen,
    GrantOpen,
    GrantRevoke,
    OrganisationCertificate,
    OrganisationVote,
    grant_id,
    org_id,
    owner_digest,
    tank_address,
)
from hce.service.terms.states import HealthReader, KeyholderState
from hce.service.terms.transactions import make_body, sign_tx

CHAIN = bytes(range(16))
EIP155 = 20_771
START_MS = 1_760_000_000_000
DAY_MS = 86_400_000
HCET = 10**18
GWEI = 10**9
ALICE, BOB = (Account.from_key(hashlib.sha256(name).digest()) for name in (b"alice", b"bob"))
"""Accounts with coins at genesis."""


def key(name: str) -> SigningKey:
    """The same key for the same name, for ever."""
    return SigningKey(hashlib.sha256(name.encode()).digest())


def bytes32(name: str) -> bytes:
    """32 bytes that stand for a random value."""
    return hashlib.sha256(b"bytes32 " + name.encode()).digest()


def address_of(account: Any) -> bytes:
    return bytes.fromhex(account.address[2:])


OPERATOR = bytes([9]) * 20
NODE = Node(OPERATOR, *(key(f"node {use}").public for use in ("consensus", "link", "service")))
PARAMS = Params(replay_window=10)
"""A short window, so that tests reach its end."""
UNTIL = 11
"""A `valid_until` that blocks 1 to 11 take."""


def genesis_of(params: Params = PARAMS) -> Genesis:
    half = TOTAL_SUPPLY_AHCE // 2
    return Genesis(
        version=1,
        chain=CHAIN,
        eip155_id=EIP155,
        time_ms=START_MS,
        params=params,
        nodes=[GenesisNode(NODE, b"")],
        balances=[GenesisBalance(address_of(account), amount_to_bytes(half)) for account in (ALICE, BOB)],
        keyholders=KeyholderState(bytes(32), 1, bytes(32), [bytes(32)], 0),
    )


def certificate(name: str) -> OrganisationCertificate:
    powers = ["claims", "emergency", "read", "research", "write"]
    return OrganisationCertificate(
        key(name).public, bytes(1216), name, "CH", "hospital", powers, START_MS, START_MS + 3_650 * DAY_MS
    )


def org(name: str) -> bytes:
    return org_id(CHAIN, key(name).public)


def tank(name: str) -> bytes:
    return tank_address(org(name))


def health_tx(
    kind: str, payload: Struct, signers: Sequence[tuple[str, str]], payer: str | None, valid_until: int, chain: bytes = CHAIN
) -> bytes:
    """Signed bytes; signers as (role, name of the key)."""
    body = make_body(chain, kind, payload, org(payer) if payer else None, valid_until)
    return sign_tx(body, [(role, key(name)) for role, name in signers])


def vote(name: str, valid_until: int) -> bytes:
    payload = OrganisationVote(certificate(name), True, key("node service").public)
    return health_tx("organisation.vote", payload, [("node", "node service")], None, valid_until)


def enrol(owner: str, payer: str, valid_until: int) -> bytes:
    payload = CompartmentOpen(owner_digest(key(owner).public), owner_digest(key(owner + " recovery").public))
    return health_tx("compartment.open", payload, [("payer", payer)], payer, valid_until)


def grant_of(name: str, days: int = 30) -> GrantOpen:
    commitment = hashlib.sha256(name.encode()).digest()
    reader, revoke = key(name + " reader").public, key(name + " revoke").public
    return GrantOpen(commitment, reader, revoke, START_MS, START_MS + days * DAY_MS)


def grant_name(name: str) -> bytes:
    return grant_id(CHAIN, grant_of(name))


def open_grant(name: str, payer: str, valid_until: int) -> bytes:
    return health_tx("grant.open", grant_of(name), [("revoke_key", name + " revoke"), ("payer", payer)], payer, valid_until)


def revoke_grant(name: str, valid_until: int) -> bytes:
    return health_tx("grant.revoke", GrantRevoke(grant_name(name)), [("revoke_key", name + " revoke")], None, valid_until)


def access(name: str, number: int, payer: str, valid_until: int) -> bytes:
    payload = AccessOpen(grant_name(name), hashlib.sha256(b"%d" % number).digest())
    return health_tx("access.open", payload, [("reader", name + " reader"), ("payer", payer)], payer, valid_until)


def pay(sender: Any, to: bytes, amount: int, nonce: int, **fields: Any) -> bytes:
    """A signed type-2 transfer; `fields` replace any of it."""
    fees = {"maxFeePerGas": 2 * GWEI, "maxPriorityFeePerGas": GWEI} if "gasPrice" not in fields else {}
    tx = {"chainId": EIP155, "nonce": nonce, "to": to, "value": amount, "gas": 21_000, **fees, **fields}
    return bytes(sender.sign_transaction(tx).raw_transaction)


class Chain:
    """One node's ledger and the little consensus that drives it."""

    def __init__(
        self,
        folder: Path,
        *,
        params: Params = PARAMS,
        commit: Commit = commit_durably,
        pool_limits: PoolLimits | None = None,
        monotonic_ns: Callable[[], int] = lambda: 0,
        on_revokes: Callable[[list[bytes]], None] | None = None,
    ) -> None:
        self.genesis = genesis_of(params)
        self.params = params
        self.store = KeyValueStore.open(folder, tables=Ledger.tables(), map_size=1 << 24, commit=commit)
        if not Ledger.exists(self.store):
            Ledger.create(self.store, self.genesis)
        self.revoked: list[bytes] = []
        self.ledger = Ledger(
            self.store,
            self.genesis,
            on_revokes=on_revokes or self.revoked.extend,
            monotonic_ns=monotonic_ns,
            pool_limits=pool_limits,
        )
        self.queries = self.ledger.queries

    def close(self) -> None:
        self.store.close()

    @property
    def next_height(self) -> int:
        return self.ledger.height + 1

    def context(self, **fields: Any) -> BlockContext:
        """Of the next block: a second later, its parent named by its height."""
        height = fields.pop("height", self.next_height)
        made = BlockContext(height, 0, START_MS + 1_000 * height, OPERATOR, cid_of_raw(b"block %d" % (height - 1)))
        return msgspec.structs.replace(made, **fields)

    def forge(self, health: Sequence[bytes] = (), value: Sequence[bytes] = (), **fields: Any) -> LedgerBlock:
        """A right block of exactly these lists, made without the ledger's own memory. Raises what execution raises."""
        header, _ = self.run(health, value, **fields)
        return LedgerBlock(header, list(health), list(value))

    def run(self, health: Sequence[bytes] = (), value: Sequence[bytes] = (), **fields: Any) -> tuple[LedgerHeader, Executed]:
        admission = Admission(CHAIN, EIP155)
        context = self.context(**fields)
        with final_view(self.store) as view:
            env, head = self.env(view, context), view.head(view.height).header.value_head
            health_txs, value_txs = [admission.health(raw) for raw in health], [admission.value(raw) for raw in value]
            executed = execute(Journal(view.get), env, view.seen, health_txs, value_txs)
            roots = [view.compute_delta(space, changes).root for space, changes in _changes(executed)]
        return ledger_header(env, executed, head, context.parent, roots[0], roots[1]), executed

    def env(self, view: FinalView, context: BlockContext) -> ExecutionEnv:
        """The numbers of the next block."""
        return execution_env(self.genesis, view.nodes(), decode_header(view.head(view.height).header.value_head), context)

    def add(self, health: Sequence[bytes] = (), value: Sequence[bytes] = ()) -> LedgerHeader:
        """Make a block of these lists final."""
        return self.finish(self.forge(health, value))

    def finish(self, block: LedgerBlock) -> LedgerHeader:
        """Make this block final, as consensus does."""
        context = self.context()
        self.ledger.process_proposal(context, block)
        self.ledger.before_precommit(cid_of_raw(encode(block.header)), block)
        header = self.ledger.finalize(context, block)
        assert header == block.header
        self.ledger.commit(context.height)
        return header

    def propose(self) -> LedgerBlock:
        return self.ledger.prepare_proposal(self.context())

    def found(self, *names: str, coins: int = HCET) -> None:
        """Certify organisations and fill their tanks, in one block."""
        nonce = self.queries.account(address_of(ALICE)).nonce
        votes = [vote(name, self.next_height) for name in names]
        self.add(votes, [pay(ALICE, tank(name), coins, nonce + place) for place, name in enumerate(names)])

    @property
    def health(self) -> HealthReader:
        """Typed reads of the health map, each from the state that is final when it is made."""
        return HealthReader(self._health_value)

    def _health_value(self, name: bytes) -> bytes | None:
        with final_view(self.store) as view:
            return view.get(HEALTH, name)

    def supply(self) -> int:
        """Sum of all balances there are, aHCE."""
        with self.store.read() as snapshot:
            return sum(decode_account(raw).balance for name, raw in snapshot.scan(MAPS[VALUE].state) if is_account_key(name))

    def balance(self, address: bytes) -> int:
        return self.queries.account(address).balance


def _changes(executed: Executed) -> tuple[tuple[str, dict[bytes, bytes | None]], ...]:
    return ("health", executed.health_changes), ("value", executed.value_changes)

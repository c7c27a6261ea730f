"""The light client: decides whether a header is final, from the genesis alone. Pure.

While the node set is the genesis set, one commit of quorum(n) of it proves any header. A header that names another next set is
refused here until set changes exist (they will be followed through `next_validators`, header by header).

A proof says nothing about now: at first contact an old header is as well proven as the newest. So state is believed only from a
header younger than a bound. A chain that has halted has no such header; who wants its last state says so (`max_age_ms=None`).
"""

from __future__ import annotations

from collections.abc import Sequence

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import encode
from hce.foundation.types.clock import Clock
from hce.foundation.types.errors import PeerFault
from hce.network.consensus.commit import verify_commit
from hce.service.terms.genesis import Genesis, validators_cid
from hce.service.terms.proofs import BadProof, FinalHeader, HealthReceipt, StateProof, TxProof, require_state, require_tx

MAX_HEADER_AGE_MS = 10 * 60_000
"""Oldest header that speaks about now: far more than clocks differ, far less than it takes to revoke and be forgotten."""


class HeaderTooOld(PeerFault):
    """A proven header from too long ago: the node lags behind, the chain has halted, or this machine's clock is wrong."""

    code = "header.too_old"


class NotFinal(PeerFault):
    """A header that is not proven final by the nodes this client trusts."""

    code = "header.not_final"


class LightClient:
    """Trusts one genesis and nothing else. Remembers the highest height it has seen proven."""

    def __init__(self, genesis: Genesis, clock: Clock, max_age_ms: int | None = MAX_HEADER_AGE_MS) -> None:
        """`max_age_ms` None takes headers of any age: for a chain known to have halted."""
        self.genesis = genesis
        self._clock = clock
        self._max_age_ms = max_age_ms
        self.height = 0
        """Highest proven height."""
        self.time_ms = genesis.time_ms
        self._nodes = genesis.node_list
        self._validators = validators_cid(self._nodes)
        self._last: FinalHeader | None = None

    def head(self, final: FinalHeader) -> FinalHeader:
        """A proven header that speaks about now; raises as `accept`, and `HeaderTooOld`."""
        self.accept(final)
        age_ms = self._clock.now_ms() - final.header.time_ms
        if self._max_age_ms is not None and age_ms > self._max_age_ms:
            raise HeaderTooOld(height=final.header.height, age_ms=age_ms, max_ms=self._max_age_ms)
        return final

    def accept(self, final: FinalHeader) -> FinalHeader:
        """The header, if quorum(n) of the trusted nodes precommitted it, whenever; raises `CommitInvalid` or `NotFinal`."""
        if final == self._last:
            return final
        if final.commit is None:
            raise NotFinal("no commit", height=final.header.height)
        verify_commit(self.genesis.chain, self._nodes, final.header, final.commit)
        if cid_of_dag_cbor(encode(final.ledger)) != final.header.ledger_header:
            raise BadProof("ledger header", height=final.header.height)
        if final.ledger.next_validators != self._validators:
            raise NotFinal("the node set changed; this version follows the genesis set only", height=final.header.height)
        if final.header.height > self.height:
            self.height, self.time_ms = final.header.height, final.header.time_ms
        self._last = final
        return final

    def state(self, keys: Sequence[bytes], proof: StateProof, not_before: int = 0) -> dict[bytes, bytes | None]:
        """Proven values of health keys in one final block of at least height `not_before`."""
        self.head(proof.final)
        if proof.final.header.height < not_before:
            raise NotFinal("older than asked for", expected=not_before, actual=proof.final.header.height)
        return require_state(proof, keys)

    def transaction(self, tx_id: bytes, proof: TxProof) -> HealthReceipt:
        """Proven receipt of the transaction with this id, however long ago."""
        self.accept(proof.final)
        receipt = require_tx(proof)
        if receipt.tx_id != tx_id:
            raise BadProof("another transaction", expected=tx_id.hex(), actual=receipt.tx_id.hex())
        return receipt

"""One table from kind to contract, and the only way into it.

The order of a transaction's life: `parse` (terms) -> `check_stateless` (before execution, in any order, once) -> `payer_key` and
the tank (ledger) -> `apply` at a journal checkpoint the ledger rolls back when it raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from hce.foundation.codec.dagcbor import encode
from hce.foundation.store.journal import HEALTH, Journal
from hce.service.contracts.health import access, anchors, compartments, credentials, grants, portal, records
from hce.service.contracts.health.env import BlockEnv, HealthState
from hce.service.contracts.health.errors import PayerMismatch, StepsExceeded
from hce.service.contracts.health.steps import count_steps
from hce.service.terms.certification import require_organisation
from hce.service.terms.genesis import Genesis
from hce.service.terms.states import KEY_KEYHOLDERS, HealthReader, key_node
from hce.service.terms.transactions import HealthTx, WrongChain, check_signatures


def _nothing_more(payload: Any) -> None:
    """The struct's own bounds say all."""


class Contract(NamedTuple):
    check: Callable[[Any], None]
    """What the payload alone must hold beyond its types."""
    run: Callable[[HealthTx, Any, HealthState, BlockEnv], list[bytes]]


CONTRACTS: Final[Mapping[str, Contract]] = {
    "organisation.vote": Contract(credentials.check_vote, credentials.vote_organisation),
    "organisation.revoke": Contract(_nothing_more, credentials.revoke_organisation),
    "credential.issue": Contract(credentials.check_credential, credentials.issue_credential),
    "credential.revoke": Contract(_nothing_more, credentials.revoke_credential),
    "compartment.open": Contract(_nothing_more, compartments.open_compartment),
    "compartment.rotate": Contract(_nothing_more, compartments.rotate_compartment),
    "record.commit": Contract(records.check_batch, records.commit_records),
    "grant.open": Contract(grants.check_grant, grants.open_grant),
    "grant.revoke": Contract(_nothing_more, grants.revoke_grant),
    "access.open": Contract(_nothing_more, access.open_access),
    "anchor.post": Contract(_nothing_more, anchors.post_anchor),
    "portal.vote": Contract(_nothing_more, portal.vote_portal),
}
"""Exactly the kinds of `terms.transactions.ROLES`."""


def check_stateless(tx: HealthTx, chain: bytes) -> None:
    """What needs no state: chain, payload, bounds, signatures. Raises `Refused`. Costs one Ed25519 check per signature."""
    if tx.body.chain != chain:
        raise WrongChain(expected=chain.hex(), actual=tx.body.chain.hex())
    CONTRACTS[tx.body.kind].check(tx.body.payload)
    check_signatures(tx)


def payer_key(tx: HealthTx, state: HealthReader, env: BlockEnv) -> None:
    """The payer signed with the current key of a certified organisation. The free kinds have no payer and pass."""
    if tx.body.payer is None:
        return
    payer = require_organisation(state, tx.body.payer, None, env.height, env.time_ms)
    if tx.signer("payer") != payer.certificate.org_key:
        raise PayerMismatch("not the payer's current key", payer=tx.body.payer.hex())


def apply(tx: HealthTx, journal: Journal, env: BlockEnv) -> list[bytes]:
    """Run one transaction that passed `check_stateless`. Returns the ids it made; raises `Refused` when the state says no.

    A refusal may leave writes behind: the caller rolls the journal back to its checkpoint.
    """
    if count_steps(tx) > env.params.tx_steps:
        raise StepsExceeded(actual=count_steps(tx), tx_steps=env.params.tx_steps)
    state = HealthState(journal)
    payer_key(tx, state, env)
    return CONTRACTS[tx.body.kind].run(tx, tx.body.payload, state, env)


def revokes_of(txs: list[HealthTx]) -> list[bytes]:
    """Grant ids these transactions revoke, in order. Give it executed ones only: a refused revoke revokes nothing."""
    return [tx.body.payload.grant_id for tx in txs if tx.body.kind == "grant.revoke"]


def genesis_writes(journal: Journal, genesis: Genesis) -> None:
    """The health map at height 0: the node set and the keyholders' public half."""
    for index, node in enumerate(genesis.node_list):
        journal.put(HEALTH, key_node(index), encode(node))
    journal.put(HEALTH, KEY_KEYHOLDERS, encode(genesis.keyholders))

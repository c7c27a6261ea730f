"""Access entries: nothing is opened to anyone before the intention to open it is final, counted, under a living grant."""

from __future__ import annotations

import msgspec

from hce.service.contracts.health.env import BlockEnv, HealthState
from hce.service.contracts.health.errors import (
    EntryExists,
    GrantExpired,
    GrantNotYetValid,
    GrantRevoked,
    GrantUnknown,
    GrantWrongKey,
)
from hce.service.terms.certification import require_organisation
from hce.service.terms.payloads import AccessOpen, entries_hash, entry_id
from hce.service.terms.states import EntryState, GrantState, key_entry, key_grant
from hce.service.terms.transactions import HealthTx


def open_access(tx: HealthTx, access: AccessOpen, state: HealthState, env: BlockEnv) -> list[bytes]:
    """Write the entry and count it under its grant. Produces the entry_id."""
    assert tx.body.payer is not None  # of the kind, by `parse`
    require_organisation(state, tx.body.payer, "read", env.height, env.time_ms)
    grant = state.grant(access.grant_id)
    if grant is None:
        raise GrantUnknown(grant_id=access.grant_id.hex())
    if tx.signer("reader") != grant.reader_key:
        raise GrantWrongKey(role="reader", expected=grant.reader_key.hex())
    _require_alive(grant, access.grant_id, env)
    made = entry_id(env.chain, access.grant_id, access.commitment)
    if state.entry(made) is not None:
        raise EntryExists(entry_id=made.hex())
    state.put(key_entry(made), EntryState(access.grant_id, access.commitment, env.height, env.time_ms, grant.entries))
    counted = msgspec.structs.replace(grant, entries=grant.entries + 1, entries_hash=entries_hash(grant.entries_hash, made))
    state.put(key_grant(access.grant_id), counted)
    return [made]


def _require_alive(grant: GrantState, grant_id: bytes, env: BlockEnv) -> None:
    """Judged at the block's own time; a revocation earlier in the same block counts."""
    if grant.revoked_height is not None:
        raise GrantRevoked(grant_id=grant_id.hex(), revoked_height=grant.revoked_height)
    if env.time_ms < grant.not_before_ms:
        raise GrantNotYetValid(grant_id=grant_id.hex(), not_before_ms=grant.not_before_ms, time_ms=env.time_ms)
    if env.time_ms >= grant.expires_at_ms:
        raise GrantExpired(grant_id=grant_id.hex(), expires_at_ms=grant.expires_at_ms, time_ms=env.time_ms)

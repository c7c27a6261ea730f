"""Grants: public halves only. The chain learns a commitment, two one-time keys and two instants; never whose, never for whom.

A grant's id is a digest of these five. The same body has one id for ever, so what was revoked or ran out cannot be opened again.
"""

from __future__ import annotations

import msgspec

from hce.service.contracts.health.env import BlockEnv, HealthState
from hce.service.contracts.health.errors import (
    DatesRefused,
    GrantExists,
    GrantKeysEqual,
    GrantRevoked,
    GrantUnknown,
    GrantWrongKey,
)
from hce.service.terms.payloads import GrantOpen, GrantRevoke, grant_id
from hce.service.terms.states import GrantState, key_grant
from hce.service.terms.transactions import HealthTx

MAX_GRANT_MS = 3_653 * 86_400_000
"""Ten years, ms: how far ahead of the block a grant may end. A forgotten grant dies by itself."""
NO_ENTRIES_HASH = bytes(32)
"""entries_hash of a grant nobody has used."""


def check_grant(grant: GrantOpen) -> None:
    if grant.reader_key == grant.revoke_key:
        raise GrantKeysEqual
    if grant.not_before_ms >= grant.expires_at_ms:
        raise DatesRefused("empty", not_before_ms=grant.not_before_ms, expires_at_ms=grant.expires_at_ms)


def open_grant(tx: HealthTx, grant: GrantOpen, state: HealthState, env: BlockEnv) -> list[bytes]:
    """Put the public half under its id; the payer is the grantee's organisation. Produces the grant_id."""
    if tx.signer("revoke_key") != grant.revoke_key:
        raise GrantWrongKey(role="revoke_key", expected=grant.revoke_key.hex())
    if not env.time_ms < grant.expires_at_ms <= env.time_ms + MAX_GRANT_MS:
        raise DatesRefused("over already, or beyond ten years", expires_at_ms=grant.expires_at_ms, time_ms=env.time_ms)
    made = grant_id(env.chain, grant)
    if state.grant(made) is not None:
        raise GrantExists(grant_id=made.hex())
    assert tx.body.payer is not None  # of the kind, by `parse`
    opened = GrantState(
        commitment=grant.commitment,
        reader_key=grant.reader_key,
        revoke_key=grant.revoke_key,
        not_before_ms=grant.not_before_ms,
        expires_at_ms=grant.expires_at_ms,
        payer=tx.body.payer,
        height=env.height,
        revoked_height=None,
        entries=0,
        entries_hash=NO_ENTRIES_HASH,
    )
    state.put(key_grant(made), opened)
    return [made]


def revoke_grant(tx: HealthTx, revoke: GrantRevoke, state: HealthState, env: BlockEnv) -> list[bytes]:
    """End a grant in this block. Free: it was prepaid with the grant. An expired grant can still be revoked."""
    found = state.grant(revoke.grant_id)
    if found is None:
        raise GrantUnknown(grant_id=revoke.grant_id.hex())
    if tx.signer("revoke_key") != found.revoke_key:
        raise GrantWrongKey(role="revoke_key", expected=found.revoke_key.hex())
    if found.revoked_height is not None:
        raise GrantRevoked(grant_id=revoke.grant_id.hex(), revoked_height=found.revoked_height)
    state.put(key_grant(revoke.grant_id), msgspec.structs.replace(found, revoked_height=env.height))
    return []

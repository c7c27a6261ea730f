"""Who may do what at which address. Pure: signatures, the final state and the time are handed in.

A place is opened to the node as the keys that make its address, so the address itself says who may ask:

    kind                                            place                       signed by
    feed, envelopes                                 feed_read_key, owner_key    feed_read_key (owner and grantees)
    owner, quarantine                               feed_read_key, owner_key    owner_key
    accept, reject, erase, revoke-token             feed_read_key, owner_key    owner_key
    log                                             log_read_key, owner_key     log_read_key
    inbox, drop                                     org_id                      the organisation's key in the final state
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from hce.foundation.crypto.sign import verify
from hce.service.mailbox.errors import BadSignature, Stale, WrongChain
from hce.service.mailbox.final import FinalState
from hce.service.terms.certification import require_organisation
from hce.service.terms.grants import SignedToken, feed_address, token_message
from hce.service.terms.mailbox import SignedAct, SignedRead, act_message, place_address, read_message

FRESH_MS = 120_000
"""How far a request's time may be from the node's clock, either way: two minutes."""

Lane = Literal["feed", "quarantine"]

_SIGNER_IN_PLACE = {
    "feed": 0,
    "envelopes": 0,
    "log": 0,
    "owner": 1,
    "quarantine": 1,
    "accept": 1,
    "reject": 1,
    "erase": 1,
    "revoke-token": 1,
}
"""Which key of the place signs; kinds that are not here are signed by the organisation the place names."""


def check_read(final: FinalState, signed: SignedRead, chain: bytes, now_ms: int, fresh_ms: int) -> bytes:
    """The address a read may be answered from; raises `WrongChain`, `Stale`, `BadSignature`, `OrganisationNotCertified`, `Malformed`."""
    read = signed.read
    _check_moment(read.chain, read.time_ms, chain, now_ms, fresh_ms)
    _check_signature(final, read.what, read.place, read_message(read), signed.signature, now_ms)
    return place_address(read.what, read.place)


def check_act(final: FinalState, signed: SignedAct, chain: bytes, now_ms: int, fresh_ms: int) -> bytes:
    """The address an act may change; raises as `check_read`."""
    act = signed.act
    _check_moment(act.chain, act.time_ms, chain, now_ms, fresh_ms)
    _check_signature(final, act.what, act.place, act_message(act), signed.signature, now_ms)
    return place_address(act.what, act.place)


def lane_of(
    feed: bytes, token: SignedToken | None, chain: bytes, org_id: bytes, now_ms: int, is_revoked: Callable[[bytes, int], bool]
) -> Lane:
    """Straight into the feed with a write token in force, else into quarantine until the owner accepts.

    The organisation's own signature over the batch was checked by the intake.
    """
    if token is None:
        return "quarantine"
    in_force = (
        feed_address(token.feed_read_key, token.owner_key) == feed
        and token.token.feed == feed
        and token.token.org_id == org_id
        and token.token.serial >= 0
        and now_ms < token.token.expires_ms
        and verify(token.owner_key, token_message(chain, token.token), token.signature)
        and not is_revoked(feed, token.token.serial)
    )
    return "feed" if in_force else "quarantine"


def _check_moment(signed_chain: bytes, time_ms: int, chain: bytes, now_ms: int, fresh_ms: int) -> None:
    if signed_chain != chain:
        raise WrongChain(expected=chain.hex(), actual=signed_chain.hex())
    if abs(now_ms - time_ms) > fresh_ms:
        raise Stale(now_ms=now_ms, time_ms=time_ms, fresh_ms=fresh_ms)


def _check_signature(final: FinalState, what: str, place: list[bytes], message: bytes, signature: bytes, now_ms: int) -> None:
    place_address(what, place)
    if not verify(_signer(final, what, place, now_ms), message, signature):
        raise BadSignature(kind=what)


def _signer(final: FinalState, what: str, place: list[bytes], now_ms: int) -> bytes:
    position = _SIGNER_IN_PLACE.get(what)
    if position is not None:
        return place[position]
    return require_organisation(final.health, place[0], None, final.height, now_ms).certificate.org_key

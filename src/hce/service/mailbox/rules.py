"""Who may do what at which address. Pure: signatures, the final state and the time are handed in.

A place is opened to the node as the keys that make its address; who may ask follows from it and from the final state:

    kind                                            place                       signed by
    feed, envelopes                                 feed_read_key, owner_key    feed_read_key (owner and grantees)
    log                                             log_read_key, owner_key     log_read_key
    owner, quarantine, own-reads                    feed_read_key, owner_key    the compartment's current owner key
    accept, reject, erase, revoke-token             feed_read_key, owner_key    the compartment's current owner key
    drop-log                                        log_read_key, owner_key     the compartment's current owner key
    inbox, drop                                     org_id                      the organisation's key in the final state
    (post)                                          org_id                      the current owner key of any compartment

That a place belongs to the compartment is `places.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from hce.foundation.crypto.sign import verify
from hce.foundation.types.errors import Malformed
from hce.service.mailbox.errors import BadSignature, Stale, WrongChain, WrongNode
from hce.service.mailbox.final import FinalState
from hce.service.mailbox.places import require_current
from hce.service.terms.certification import require_organisation
from hce.service.terms.grants import SignedToken, feed_address, inbox_address, token_message
from hce.service.terms.mailbox import (
    Ownership,
    SignedAct,
    SignedPost,
    SignedRead,
    act_message,
    place_address,
    post_message,
    read_message,
)

FRESH_MS = 120_000
"""How far a request's time may be from the node's clock, either way: two minutes."""

Lane = Literal["feed", "quarantine"]

_BY_READ_KEY = frozenset({"feed", "envelopes", "log"})
_BY_ORGANISATION = frozenset({"inbox", "drop"})
"""All other kinds are the owner's."""


class Here(NamedTuple):
    """Which node is asked, and when."""

    chain: bytes
    node: int
    now_ms: int
    fresh_ms: int


def check_read(final: FinalState, signed: SignedRead, here: Here) -> bytes:
    """The address a read may be answered from, if the place is the owner's who asks.

    Raises `WrongChain`, `WrongNode`, `Stale`, `BadSignature`, `NotCurrentOwner`, `OrganisationNotCertified`, `Malformed`.
    """
    read = signed.read
    check_moment(read.chain, read.node, read.time_ms, here)
    _check_signature(final, read.what, read.place, read.owner, read_message(read), signed.signature, here.now_ms)
    return place_address(read.what, read.place)


def check_act(final: FinalState, signed: SignedAct, here: Here) -> bytes:
    """The address an act may change, if the place is the owner's who asks; raises as `check_read`."""
    act = signed.act
    check_moment(act.chain, act.node, act.time_ms, here)
    _check_signature(final, act.what, act.place, act.owner, act_message(act), signed.signature, here.now_ms)
    return place_address(act.what, act.place)


def check_post(final: FinalState, signed: SignedPost, here: Here) -> bytes:
    """Address of the inbox: that of a certified organisation, and the poster owns a compartment. Raises as `check_read`."""
    post = signed.post
    check_moment(post.chain, post.node, post.time_ms, here)
    require_organisation(final.health, post.org_id, None, final.height, here.now_ms)
    if not verify(post.owner.owner_key, post_message(post), signed.signature):
        raise BadSignature(kind="post")
    require_current(final.health, post.owner)
    return inbox_address(post.org_id)


def lane_of(
    feed: bytes, token: SignedToken | None, chain: bytes, org_id: bytes, now_ms: int, is_void: Callable[[SignedToken], bool]
) -> Lane:
    """Straight into the feed with a write token in force, else into quarantine until the owner accepts.

    `is_void` is asked for tokens that hold otherwise: revoked, or of a key that does not own the feed any more.

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
        and not is_void(token)
    )
    return "feed" if in_force else "quarantine"


def check_moment(chain: bytes, node: int, time_ms: int, here: Here) -> None:
    """Signed for this network and node, and now."""
    require_chain(chain, here)
    if node != here.node:
        raise WrongNode(expected=here.node, actual=node)
    if abs(here.now_ms - time_ms) > here.fresh_ms:
        raise Stale(now_ms=here.now_ms, time_ms=time_ms, fresh_ms=here.fresh_ms)


def require_chain(chain: bytes, here: Here) -> None:
    if chain != here.chain:
        raise WrongChain(expected=here.chain.hex(), actual=chain.hex())


def _check_signature(
    final: FinalState, what: str, place: list[bytes], owner: Ownership | None, message: bytes, signature: bytes, now_ms: int
) -> None:
    place_address(what, place)
    if not verify(_signer(final, what, place, owner, now_ms), message, signature):
        raise BadSignature(kind=what)
    if owner is not None:
        require_current(final.health, owner)


def _signer(final: FinalState, what: str, place: list[bytes], owner: Ownership | None, now_ms: int) -> bytes:
    if (owner is None) != (what in _BY_READ_KEY or what in _BY_ORGANISATION):
        raise Malformed("an owner asks as one, others do not", kind=what)
    if owner is not None:
        return owner.owner_key
    if what in _BY_READ_KEY:
        return place[0]
    return require_organisation(final.health, place[0], None, final.height, now_ms).certificate.org_key

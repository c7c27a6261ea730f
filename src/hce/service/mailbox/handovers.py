"""Earlier keys that owners keep, sealed for themselves: the newest for each log address.

    handovers   log address -> SignedHandover

Who asks must know the address, and that takes the owner's words or a grant. What comes from another node's answer is as good: the owner
signed it, so devices put it back where it is missing. Keeping one also binds the log's place to its compartment (`places.py`).
"""

from __future__ import annotations

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.sign import verify
from hce.foundation.store.kv import Reader, WriteTxn
from hce.service.mailbox import places
from hce.service.mailbox.errors import BadSignature, HandoverOlder, Stale
from hce.service.mailbox.final import FinalState
from hce.service.mailbox.quotas import Bounds
from hce.service.mailbox.rules import Here, require_chain
from hce.service.terms.grants import CLOCK_SKEW_MS
from hce.service.terms.handovers import SignedHandover, handover_address, handover_message
from hce.service.terms.mailbox import Ownership

HANDOVERS = "handovers"
TABLES = (HANDOVERS,)


def check(final: FinalState, signed: SignedHandover, here: Here) -> None:
    """Signed by the current owner, or by the next one with the current one beside, and not tomorrow.

    Raises `WrongChain`, `Stale`, `BadSignature`, `NotCurrentOwner`.
    """
    handover = signed.handover
    require_chain(handover.chain, here)
    if handover.issued_ms > here.now_ms + CLOCK_SKEW_MS:
        raise Stale(now_ms=here.now_ms, time_ms=handover.issued_ms, fresh_ms=CLOCK_SKEW_MS)
    if not verify(handover.owner_key, handover_message(handover), signed.signature):
        raise BadSignature(kind="handover")
    current = handover.owner_key
    if signed.sponsor is not None:
        current = signed.sponsor.owner_key
        if not verify(current, handover_message(handover), signed.sponsor.signature):
            raise BadSignature(kind="handover")
    places.require_current(final.health, Ownership(handover.compartment_id, current))


def put(batch: WriteTxn, signed: SignedHandover, bounds: Bounds) -> None:
    """Keep it in place of an older one; the same again changes nothing. Raises `HandoverOlder`, and as `places.bind`."""
    address = handover_address(signed.handover)
    kept = get(batch, address)
    if kept is not None and kept != signed and kept.handover.issued_ms >= signed.handover.issued_ms:
        raise HandoverOlder(kept_ms=kept.handover.issued_ms, issued_ms=signed.handover.issued_ms)
    places.bind(batch, address, signed.handover.compartment_id, bounds)
    batch.put(HANDOVERS, address, encode(signed))


def get(tables: Reader, address: bytes) -> SignedHandover | None:
    """Also once its owner key is the compartment's no more: words that were replaced are told so by it."""
    raw = tables.get(HANDOVERS, address)
    return None if raw is None else decode_as(SignedHandover, raw)

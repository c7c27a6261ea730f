"""The bytes that leave a keyholder: the receipt to the owner and the reply to the reader. Pure but for fresh randomness."""

from __future__ import annotations

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.seal import seal
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.crypto.threshold import KeyShare, partials, weighed
from hce.service.keyholders.release import Approved, ApprovedRecord
from hce.service.terms.grants import (
    ReleasedPartial,
    ReleaseReceipt,
    ReleaseReply,
    SignedReceipt,
    dleq_transcript,
    receipt_info,
    receipt_message,
    release_info,
)


def receipt_item_id(approved: Approved) -> bytes:
    """Names a receipt in the owner's log: one for each entry, however often and in whatever parts it is asked for."""
    return digest("hce/receipt-item/1", approved.entry_id)


def signed_receipt(
    chain: bytes, approved: Approved, node: int, height: int, time_ms: int, service_key: SigningKey
) -> SignedReceipt:
    """Who gets key parts of which records at most, signed by this node."""
    records = list(approved.entry_records)
    receipt = ReleaseReceipt(chain, approved.entry_id, approved.access, records, node, height, time_ms)
    return SignedReceipt(receipt, service_key.sign(receipt_message(receipt)))


def sealed_receipt(chain: bytes, approved: Approved, signed: SignedReceipt) -> bytes:
    """What the owner's log keeps: only the owner's log key opens it."""
    return seal(approved.log_key, receipt_info(chain), encode(signed))


def make_reply(chain: bytes, approved: Approved, node: int, share: KeyShare) -> ReleaseReply:
    """Partial decryptions: with proofs (0.12 ms a record), or weighed (0.04 ms). CPU bound."""
    if approved.together is not None:
        parts_alone = weighed(share, [record.capsule for record in approved.records], approved.together)
        return ReleaseReply(node, approved.key_id, approved.sharing_epoch, [], parts_alone)
    asked = [(record.capsule, _transcript(chain, approved, node, record)) for record in approved.records]
    parts = zip(approved.records, partials(share, asked), strict=True)
    return ReleaseReply(
        node, approved.key_id, approved.sharing_epoch, [ReleasedPartial(record.record_id, part) for record, part in parts], []
    )


def sealed_reply(chain: bytes, approved: Approved, node: int, share: KeyShare) -> bytes:
    """One X-Wing seal over the whole reply, to the response key the entry committed to."""
    reply = make_reply(chain, approved, node, share)
    return seal(approved.response_key, release_info(chain, approved.entry_id, node), encode(reply))


def _transcript(chain: bytes, approved: Approved, node: int, record: ApprovedRecord) -> bytes:
    return dleq_transcript(
        chain, approved.key_id, approved.sharing_epoch, node, approved.entry_id, record.record_id, approved.response_key
    )

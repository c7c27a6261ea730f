"""The formulas of the two locks and the owner's wrap (`docs/formats.md`, section Records), each in one place.

    session_secret --ss-a, record--> ssA --+
    seed_b --capsule's label-------> ssB --+--> WK (bound to header, lock_a, capsule, key id, epoch) --> wraps the DEK
    session_secret --opening, record-----> seals the opening
    owner_secret --owner-wrap, record----> seals DEK + seed_b for the owner

Every key here seals one message: each names a record, and a record is sealed once.
"""

from __future__ import annotations

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.derive import hkdf
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.threshold import Capsule
from hce.service.terms.records import RecordHeader, capsule_label, wrapping_info

SECRET_BYTES = 32
RECORD_KIND = "record"
"""The label kind of an ordinary record (an emergency capsule has its own)."""


def share_a(session_secret: SecretBytes, record_id: bytes) -> bytes:
    """ssA: lock A's half of the wrapping key."""
    return hkdf(session_secret, encode(["hce/ss-a/1", record_id]))


def opening_key(session_secret: SecretBytes, record_id: bytes) -> bytes:
    return hkdf(session_secret, encode(["hce/opening/1", record_id]))


def owner_wrap_key(owner_secret: SecretBytes, record_id: bytes) -> bytes:
    return hkdf(owner_secret, encode(["hce/owner-wrap/1", record_id]))


def wrapping_key(ss_a: bytes, ss_b: bytes, header: RecordHeader, lock_a: bytes, capsule: Capsule, reading_epoch: int) -> bytes:
    """WK: both halves, bound to everything that could be swapped."""
    return hkdf(ss_a + ss_b, wrapping_info(header, lock_a, capsule, reading_epoch))


def label_of(header: RecordHeader) -> bytes:
    """The label lock B's capsule of this record carries."""
    return capsule_label(RECORD_KIND, header.chain, header.record_id, header.policy_commitment, header.key_id)

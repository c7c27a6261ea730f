"""Writes `records.json`: one record sealed, granted, released and opened, with every value on the way.

.venv/bin/python -m tests.vectors.hce.make_records

Bytes are hex after `0x`. Randomness comes from SHAKE-256 streams named in the file. HPKE draws its own: what it drew (`drawn`) is kept
from the file that is there, checked by opening, and made afresh only where there is none. So the file is the same each time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.aead import aead_open
from hce.foundation.crypto.seal import OpeningKey, seal
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.crypto.threshold import deal, encapsulate, partial
from hce.foundation.crypto.words import seed_from_words, words_from_entropy
from hce.service.terms.grants import (
    AccessRequest,
    ReleasedPartial,
    ReleaseReceipt,
    ReleaseReply,
    SignedReceipt,
    card_message,
    dleq_transcript,
    grant_message,
    parcel_info,
    receipt_info,
    receipt_message,
    release_info,
    release_message,
    token_message,
)
from hce.service.terms.payloads import org_id
from hce.service.terms.records import (
    ContentItem,
    author_message,
    lock_a_info,
    make_header,
    owner_lock_info,
    wrapping_info,
)
from hce.service.terms.states import KeyholderState
from hce.service.vault import compartments, granting, locks, opening, sealing

FILE = Path(__file__).with_name("records.json")
CHAIN = bytes(range(16))
NOW_MS = 1_760_000_000_000
DAY_MS = 86_400_000
HEIGHT = 100
CREDENTIAL_ID = hashlib.sha256(b"credential").digest()
CONTENT = '{"resourceType":"Observation","id":"o1","note":"Nüchtern 空腹"}'.encode()

Drawn = dict[str, bytes]


def key(name: str) -> SigningKey:
    return SigningKey(hashlib.sha256(name.encode()).digest())


def stream(label: str) -> Callable[[int], bytes]:
    """The next bytes of SHAKE-256(label)."""
    hashed, place = hashlib.shake_256(label.encode()), 0

    def draw(count: int) -> bytes:
        nonlocal place
        place += count
        return hashed.digest(place)[-count:]

    return draw


def vectors(drawn: Drawn) -> dict[str, Any]:
    """The whole file; adds to `drawn` what is missing there."""
    words = words_from_entropy(hashlib.sha256(b"patient").digest(), "en")
    keys = compartments.CompartmentKeys(seed_from_words(words), 0)
    inbox_seed = hashlib.sha256(b"inbox").digest()
    organisation = org_id(CHAIN, key("organisation").public)
    dealt = deal(9, 6, hashlib.sha256(b"keyholders").digest())
    keyholders = KeyholderState(dealt.key_id, 6, dealt.public_key, dealt.member_keys, 0)
    card = compartments.make_card(keys, CHAIN, 0, 0, NOW_MS)
    token = compartments.make_token(keys, CHAIN, organisation, 0, 1, NOW_MS + DAY_MS)

    session_locks = _locks(card.card, drawn)
    session = sealing.AuthoringSession(
        CHAIN, organisation, CREDENTIAL_ID, key("author"), card.card, keyholders, stream("sealing"), session_locks
    )
    item = ContentItem("Observation/o1", "application/fhir+json", CONTENT)
    sealed = session.seal([item], "lab", "2025-03-04", NOW_MS, [bytes(32)])
    batch = sealing.make_batch([session])

    request = AccessRequest(
        CHAIN,
        organisation,
        key("reader").public,
        OpeningKey(inbox_seed).public,
        "treatment",
        "read",
        "2025-01-01",
        "2025-12-31",
    )
    made = granting.make_grant(
        keys,
        CHAIN,
        0,
        request,
        not_before_ms=NOW_MS,
        expires_at_ms=NOW_MS + DAY_MS,
        date_from="2025-01-01",
        date_to="2025-12-31",
        purpose="treatment",
        mode="read",
        reading_epochs=[0],
        card=card,
        random=stream("granting"),
    )
    drawn.setdefault("parcel", made.parcel)
    parcel = granting.open_parcel(OpeningKey(inbox_seed), drawn["parcel"], CHAIN, {key("reader").public})

    prepared = granting.make_access(made.body, CREDENTIAL_ID, [sealed.record_id], "treatment", "ward round", stream("access"))
    read = opening.read_session(keys.reading(0), batch.feed_writes[0].session_entry, CHAIN, card.card.compartment_id, 0)
    opened = read.openings[sealed.record_id]
    asked = granting.make_release_request(
        prepared, made.body, made.owner_signature, {sealed.record_id: (opened, sealed.envelope)}, key("clinician")
    )
    reply = _reply(dealt, keyholders, sealed, prepared, node=3)
    info = release_info(CHAIN, prepared.entry_id, 3)
    drawn.setdefault("reply", seal(prepared.access.response_key, info, encode(reply)))
    receipt = ReleaseReceipt(CHAIN, prepared.entry_id, prepared.access, [sealed.record_id], 3, HEIGHT, NOW_MS)
    signed_receipt = SignedReceipt(receipt, key("node 3").sign(receipt_message(receipt)))
    drawn.setdefault("receipt", seal(keys.log.public, receipt_info(CHAIN), encode(signed_receipt)))
    return {
        "about": "docs/formats.md, sections Records, People, Release",
        "chain": shown(CHAIN),
        "streams": "sealing: nonce, salt, dek, seed_b; granting: nonce; access: salt, response seed (32 bytes each)",
        "drawn": {name: shown(value) for name, value in drawn.items()},
        "people": {
            "words": words,
            "seed": shown(seed_from_words(words).reveal()),
            "index": 0,
            "keys": _people(keys, made.body.nonce),
            "compartment_id": shown(keys.compartment_id(CHAIN)),
            "owner_digest": shown(keys.owner_digest),
            "recovery_digest": shown(keys.recovery_digest),
            "feed_address": shown(keys.feed_address(0)),
            "log_address": shown(keys.log_address),
            "card": named(card),
            "card_message": shown(card_message(card.card)),
            "token": named(token),
            "token_message": shown(token_message(CHAIN, token.token)),
        },
        "keyholders": {"seed": shown(hashlib.sha256(b"keyholders").digest()), "n": 9, "state": named(keyholders)},
        "record": _record(keys, keyholders, session_locks, sealed, batch, opened),
        "grant": {
            "inbox_seed": shown(inbox_seed),
            "request": shown(encode(request)),
            "body": named(made.body),
            "body_bytes": shown(encode(made.body)),
            "message": shown(grant_message(made.body)),
            "owner_signature": shown(made.owner_signature),
            "public": named(made.public),
            "grant_id": shown(made.grant_id),
            "parcel_info": shown(parcel_info(CHAIN)),
            "parcel": named(parcel),
            "parcel_bytes": shown(encode(parcel)),
        },
        "access": {
            "body": named(prepared.access),
            "body_bytes": shown(encode(prepared.access)),
            "reason": "ward round",
            "commitment": shown(prepared.commitment),
            "entry_id": shown(prepared.entry_id),
        },
        "release": {
            "message": shown(release_message(CHAIN, prepared.entry_id, prepared.access.response_key, [sealed.record_id])),
            "request": shown(encode(asked)),
            "reply_info": shown(info),
            "reply": named(reply),
            "reply_bytes": shown(encode(reply)),
            "receipt_info": shown(receipt_info(CHAIN)),
            "receipt": named(signed_receipt),
            "receipt_bytes": shown(encode(signed_receipt)),
        },
    }


def _locks(card: Any, drawn: Drawn) -> sealing.SessionLocks:
    """Secrets of the session from a stream; the locks that carry them as they were once drawn."""
    made = sealing.draw_locks(card, stream("session"))
    drawn.setdefault("lock_a", made.lock_a)
    drawn.setdefault("owner_lock", made.owner_lock)
    return sealing.SessionLocks(made.session_secret, made.owner_secret, drawn["lock_a"], drawn["owner_lock"])


def _reply(dealt: Any, keyholders: KeyholderState, sealed: Any, prepared: Any, node: int) -> ReleaseReply:
    transcript = dleq_transcript(
        CHAIN, keyholders.key_id, 0, node, prepared.entry_id, sealed.record_id, prepared.access.response_key
    )
    part = partial(dealt.shares[node], sealed.envelope.capsule, transcript, hashlib.sha256(b"entropy").digest())
    return ReleaseReply(node, keyholders.key_id, 0, [ReleasedPartial(sealed.record_id, part)], [])


def _people(keys: compartments.CompartmentKeys, grant_nonce: bytes) -> dict[str, Any]:
    return {
        "owner": shown(keys.owner.public),
        "recovery": shown(keys.recovery.public),
        "root": shown(keys.root.public),
        "reading_seed_0": shown(keys.reading_seed(0).reveal()),
        "reading_0": shown(keys.reading(0).public),
        "reading_seed_1": shown(keys.reading_seed(1).reveal()),
        "feed_0": shown(keys.feed(0).public),
        "log": shown(keys.log.public),
        "log_read": shown(keys.log_read.public),
        "revoke": shown(keys.revoke(grant_nonce).public),
    }


def _record(
    keys: compartments.CompartmentKeys,
    keyholders: KeyholderState,
    session_locks: sealing.SessionLocks,
    sealed: sealing.SealedRecord,
    batch: sealing.Batch,
    opened: Any,
) -> dict[str, Any]:
    """Everything a second implementation computes on its way to or from a record."""
    name, compartment_id = sealed.record_id, keys.compartment_id(CHAIN)
    header = make_header(CHAIN, name, sealed.entry.policy_commitment, keyholders.key_id)
    owner = opening.owner_open(keys.root, session_locks.owner_lock, sealed.owner_wrap, header, compartment_id)
    capsule, ss_b = encapsulate(keyholders.public_key, locks.label_of(header), owner.seed_b.reveal())
    ss_a = locks.share_a(session_locks.session_secret, name)
    info = wrapping_info(header, session_locks.lock_a, capsule, 0)
    manifest = opening.open_record(owner.dek, sealed.ciphertext, header, sealed.entry.key_commitment)
    entry = batch.feed_writes[0].session_entry
    return {
        "session_secret": shown(session_locks.session_secret.reveal()),
        "owner_secret": shown(session_locks.owner_secret.reveal()),
        "lock_a_info": shown(lock_a_info(CHAIN, compartment_id, 0)),
        "owner_lock_info": shown(owner_lock_info(CHAIN, compartment_id)),
        "nonce": shown(sealed.entry.nonce),
        "record_id": shown(name),
        "policy": named(sealed.policy),
        "policy_bytes": shown(encode(sealed.policy)),
        "header_bytes": shown(encode(header)),
        "manifest": named(manifest),
        "manifest_bytes": shown(encode(manifest)),
        "dek": shown(owner.dek.reveal()),
        "padded_manifest": shown(aead_open(owner.dek.reveal(), sealed.ciphertext, encode(header))),
        "ciphertext": shown(sealed.ciphertext),
        "ciphertext_cid": shown(sealed.ciphertext_cid),
        "author_key": shown(key("author").public),
        "author_message": shown(author_message(CHAIN, name, sealed.policy, sealed.ciphertext_cid)),
        "author_signature": shown(opened.author_signature),
        "label": shown(locks.label_of(header)),
        "seed_b": shown(owner.seed_b.reveal()),
        "capsule": named(capsule),
        "ss_a": shown(ss_a),
        "ss_b": shown(ss_b),
        "wrapping_info": shown(info),
        "wrapping_key": shown(locks.wrapping_key(ss_a, ss_b, header, session_locks.lock_a, capsule, 0)),
        "envelope": named(sealed.envelope),
        "owner_wrap_key": shown(locks.owner_wrap_key(session_locks.owner_secret, name)),
        "owner_wrap": shown(sealed.owner_wrap),
        "entry": named(sealed.entry),
        "placement": shown(batch.placement),
        "placement_cid": shown(cid_of_dag_cbor(batch.placement)),
        "opening": named(opened),
        "opening_bytes": shown(encode(opened)),
        "opening_key": shown(locks.opening_key(session_locks.session_secret, name)),
        "session_entry": shown(entry),
        "envelopes_root": shown(batch.envelopes_root),
    }


def named(value: Any) -> Any:
    """Structs as fields by name, bytes as hex."""
    if isinstance(value, msgspec.Struct):
        return {field: named(getattr(value, field)) for field in value.__struct_fields__}
    return [named(item) for item in value] if isinstance(value, list) else shown(value)


def shown(value: Any) -> Any:
    return "0x" + value.hex() if isinstance(value, bytes) else value


def kept() -> Drawn:
    """What HPKE drew for the file that is there."""
    if not FILE.exists():
        return {}
    return {name: bytes.fromhex(value[2:]) for name, value in json.loads(FILE.read_text())["drawn"].items()}


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(kept()), indent=1, ensure_ascii=False) + "\n")

"""Asking for access, collecting grants, reading under them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from hce.foundation.codec.dagcbor import convert, decode_as, encode
from hce.foundation.types.errors import HceError, Malformed, NotFound
from hce.service.gateway.practice import Practice
from hce.service.index.store import Asked, Held
from hce.service.sdk.errors import Failed
from hce.service.sdk.mail import Mail
from hce.service.sdk.owner import OfferedGrant, decode_offer
from hce.service.sdk.reader import Reader, ReadResult
from hce.service.terms.grants import AccessRequest, GrantParcel, Purpose, grant_id_of
from hce.service.terms.payloads import GrantOpen
from hce.service.terms.states import key_grant
from hce.service.terms.transactions import add_signature, parse
from hce.service.vault.errors import ParcelNotOurs
from hce.service.vault.granting import open_parcel, require_same_grant

INBOX_MARK = "inbox"
"""Where the index remembers the last inbox item that was looked at."""
MAX_REASON_CHARS = 500


class Collected(Struct, frozen=True):
    """What came of one look into the inbox: grants that are final now, and items that were refused, by their number."""

    grants: list[str]
    refused: dict[int, str]


class HeldGrant(Struct, frozen=True):
    """A grant as the staff see it."""

    grant_id: str
    credential_id: str
    purpose: str
    date_from: str
    date_to: str
    expires_at_ms: int


async def ask(
    practice: Practice, credential_id: bytes, purpose: Purpose, mode: Literal["read", "read-write"], date_from: str, date_to: str
) -> AccessRequest:
    """A request for one of the staff, with a reader key of its own; show it to the patient (a QR, a message)."""
    practice.keyring.clinician(credential_id)
    reader_key = practice.keyring.new_reader_key()
    request = convert(
        AccessRequest,
        [
            practice.network.chain,
            credential_id,
            reader_key.public,
            practice.keys.inbox.public,
            purpose,
            mode,
            date_from,
            date_to,
        ],
    )
    practice.index.put_asked(Asked(reader_key.public, credential_id, encode(request)))
    return request


async def collect(practice: Practice) -> Collected:
    """Looks through new inbox items: each offer that is ours is countersigned, made final and kept."""
    async with practice.collecting:
        return await _collect(practice)


async def _collect(practice: Practice) -> Collected:
    inbox = Mail(practice.network, practice.clock, [practice.org_id], practice.keys.signing)
    grants: list[str] = []
    refused: dict[int, str] = {}
    for item in await inbox.items("inbox", after=practice.index.mark(INBOX_MARK)):
        try:
            grants.append((await _take(practice, decode_offer(item.data))).hex())
        except HceError as error:
            if error.status >= 500:
                raise
            refused[item.seq] = error.code
        practice.index.set_mark(INBOX_MARK, item.seq)
    return Collected(grants, refused)


async def _take(practice: Practice, offer: OfferedGrant) -> bytes:
    """Checks an offer, pays for it, waits until it is final; the grant's id."""
    parcel = open_parcel(practice.keys.inbox, offer.parcel, practice.network.chain, practice.keyring.reader_keys())
    asked = practice.index.asked(parcel.body.reader_key)
    if asked is None or asked.credential_id != parcel.body.grantee:
        raise ParcelNotOurs("granted to somebody else than asked", grantee=parcel.body.grantee.hex())
    countersigned = add_signature(offer.grant_tx, "payer", practice.keys.signing)
    tx = parse(countersigned, practice.network.chain)
    if tx.body.kind != "grant.open":
        raise Malformed("not a grant to countersign", kind=tx.body.kind)
    require_same_grant(parcel.body, convert(GrantOpen, tx.body.payload))
    name = grant_id_of(parcel.body)
    if (await practice.network.reader(key_grant(name))).grant(name) is None:
        try:
            await practice.network.submit(countersigned, tx.id)
        except Failed as error:
            if error.code != "grant.exists":
                raise
    practice.index.put_held(Held(name, parcel.body.reader_key, encode(parcel)))
    return name


def held_grants(practice: Practice) -> list[HeldGrant]:
    found = []
    for held in practice.index.held():
        body = decode_as(GrantParcel, held.parcel).body
        found.append(
            HeldGrant(held.grant_id.hex(), body.grantee.hex(), body.purpose, body.date_from, body.date_to, body.expires_at_ms)
        )
    return found


def reader_for(practice: Practice, grant_id: bytes) -> Reader:
    """The reader of a held grant. Raises `NotFound`, `KeyNotFound`."""
    held = practice.index.held_grant(grant_id)
    if held is None:
        raise NotFound("grant", grant_id=grant_id.hex())
    parcel = decode_as(GrantParcel, held.parcel)
    credential_id = parcel.body.grantee
    return Reader(
        practice.network,
        practice.clock,
        parcel,
        practice.keyring.reader_key(held.reader_key),
        credential_id,
        practice.keyring.clinician(credential_id),
        practice.payer,
    )


async def read(practice: Practice, grant_id: bytes, records: Sequence[bytes], reason: str) -> ReadResult:
    """Opens these records (all that are granted, when none is named) under one new access entry."""
    reader = reader_for(practice, grant_id)
    wanted = list(records) or sorted(await reader.listing())
    if not wanted:
        raise NotFound("no record under this grant", grant_id=grant_id.hex())
    if len(reason) > MAX_REASON_CHARS:
        raise Malformed("reason too long", max_chars=MAX_REASON_CHARS)
    return await reader.read(wanted, reader.parcel.body.purpose, reason)

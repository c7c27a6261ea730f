"""Asking for access, collecting grants, reading under them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Literal

from msgspec import Struct

from hce.foundation.codec.dagcbor import convert, decode_as, encode
from hce.foundation.types.errors import HceError, Malformed, NotFound, Refused
from hce.service.gateway.practice import Practice
from hce.service.index.store import Asked, Held, SeenOffer
from hce.service.sdk.mail import SLOW_S, Mail
from hce.service.sdk.node import NodeClient
from hce.service.sdk.owner import OfferedGrant, decode_offer
from hce.service.sdk.reader import Reader, ReadResult
from hce.service.terms.grants import (
    MAX_RECORDS_PER_ENTRY,
    AccessRequest,
    GrantBody,
    GrantParcel,
    Purpose,
    grant_id_of,
    public_grant,
)
from hce.service.terms.mailbox import MailItem
from hce.service.terms.states import HealthReader, key_grant
from hce.service.terms.transactions import HealthTx, add_signature, check_signatures, parse
from hce.service.vault.errors import ParcelNotOurs
from hce.service.vault.granting import open_parcel

MAX_REASON_CHARS = 500
MAX_WISH_CHARS = 120
"""Of the reason a request names: it travels in a code that people hold in front of a camera."""
MAX_WISH_DAYS = 3_653
MAX_LISTED = 500
"""Requests that are shown, the newest; and grants, with what the chain says of each."""
MAX_GRANT_LIFE_MS = 3_653 * 24 * 3_600_000
"""Ten years: a grant that ends later is not paid for. The ledger refuses it too, but would keep the fee."""
OFFERS_AT_A_TIME = 8
"""Offers looked at side by side, so that a slow one holds up no other."""
MAX_TRIES = 12
"""Looks at an offer that fails for a passing reason; with doubling pauses about an hour, longer than its transaction can live."""
FIRST_PAUSE_MS = 1_000
OFFER_MEMORY_MS = 100 * 24 * 3_600_000
"""Longer than a node keeps an inbox item."""


class NotAsAsked(Refused):
    """A grant with other terms than the request it answers, or a transaction that is not the grant's."""

    code = "grant.not_as_asked"


class AlreadyAnswered(Refused):
    """The request was answered with another grant before; each request is paid for once."""

    code = "grant.already_answered"
    status = 409


class Collected(Struct, frozen=True):
    """What came of one look into the inbox: grants that are final now, and items that were refused, by the digest of their bytes."""

    grants: list[str]
    refused: dict[str, str]


class HeldGrant(Struct, frozen=True):
    """A grant as the staff see it."""

    grant_id: str
    credential_id: str
    compartment_id: str
    patient_id: str
    """"" when whose compartment it is is not enrolled here."""
    purpose: str
    mode: str
    date_from: str
    date_to: str
    not_before_ms: int
    expires_at_ms: int
    revoked: bool
    """As the final chain says it."""


class Wish(Struct, frozen=True):
    """What a request says beside its terms: of whom, for how long, why. Nothing of it binds the owner."""

    patient_id: str = ""
    lasts_days: int = 0
    reason: str = ""


class MadeRequest(Struct, frozen=True):
    """A request as the staff see it."""

    request: str
    """Hex of the `AccessRequest`, to show again."""
    credential_id: str
    patient_id: str
    purpose: str
    mode: str
    date_from: str
    date_to: str
    lasts_days: int
    reason: str
    asked_at_ms: int
    grant_id: str
    """"" until a grant that answers it is final."""


NO_WISH = Wish()


async def ask(
    practice: Practice,
    credential_id: bytes,
    purpose: Purpose,
    mode: Literal["read", "read-write"],
    date_from: str,
    date_to: str,
    wish: Wish = NO_WISH,
) -> AccessRequest:
    """A request for one of the staff, with a reader key of its own; show it to the patient (a QR, a message)."""
    practice.keyring.clinician(credential_id)
    if date_from > date_to:
        raise Malformed("the last day lies before the first", date_from=date_from, date_to=date_to)
    if wish.patient_id:
        practice.enrolled(wish.patient_id)
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
    asked_ms = practice.clock.now_ms()
    asked = Asked(reader_key.public, credential_id, encode(request), wish.patient_id, wish.lasts_days, wish.reason, asked_ms)
    practice.index.put_asked(asked)
    return request


def made_requests(practice: Practice) -> list[MadeRequest]:
    """Newest first, at most MAX_LISTED."""
    answered = {held.reader_key: held.grant_id.hex() for held in practice.index.held()}
    return [_made(asked, answered.get(asked.reader_key, "")) for asked in practice.index.latest_asked(MAX_LISTED)]


def _made(asked: Asked, grant_id: str) -> MadeRequest:
    terms = decode_as(AccessRequest, asked.request)
    return MadeRequest(
        asked.request.hex(),
        asked.credential_id.hex(),
        asked.patient_id,
        terms.purpose,
        terms.mode,
        terms.date_from,
        terms.date_to,
        asked.lasts_days,
        asked.reason,
        asked.asked_ms,
        grant_id,
    )


async def collect(practice: Practice) -> Collected:
    """Looks through the inbox at every node: each offer that is ours is countersigned, made final and kept, then dropped there.

    Nodes number items on their own, so an item is known by its bytes. One that fails is tried again later; those behind it go on.
    """
    async with practice.collecting:
        now_ms = practice.clock.now_ms()
        practice.index.forget_offers(now_ms - OFFER_MEMORY_MS)
        inbox = Mail(practice.network, practice.clock, [practice.org_id], practice.keys.signing)
        looks = await practice.network.every_node(lambda node: inbox.walk(node, "inbox"), SLOW_S)
        found = [(node, items) for node, items in zip(practice.network.nodes, looks, strict=True) if isinstance(items, list)]
        if not found:
            raise next(answer for answer in looks if isinstance(answer, HceError))
        offers = {_digest(item.data): item.data for _, items in found for item in items}
        collected = await _take_all(practice, offers, now_ms)
        for node, items in found:
            await _drop_handled(practice, inbox, node, items)
        return collected


async def _take_all(practice: Practice, offers: Mapping[bytes, bytes], now_ms: int) -> Collected:
    grants: list[str] = []
    refused: dict[str, str] = {}
    places = asyncio.Semaphore(OFFERS_AT_A_TIME)

    async def take(name: bytes, raw: bytes) -> None:
        before = practice.index.offer(name)
        if before is not None and (before.done or now_ms < before.next_try_ms):
            return
        tries = 1 if before is None else before.tries + 1
        code, done = "", True
        async with places:
            try:
                grants.append((await _take(practice, decode_offer(raw))).hex())
            except HceError as error:
                code, done = error.code, error.status < 500 or tries >= MAX_TRIES
                if done:
                    refused[name.hex()] = code
                if done and error.status >= 500:
                    _give_up(practice, raw)
        practice.index.put_offer(SeenOffer(name, code, tries, now_ms + (FIRST_PAUSE_MS << tries), done))

    await asyncio.gather(*(take(name, raw) for name, raw in offers.items()))
    return Collected(grants, refused)


def _give_up(practice: Practice, raw: bytes) -> None:
    """The offer's transaction is long dead: its request may be answered with another."""
    with suppress(HceError):
        sealed = decode_offer(raw).parcel
        parcel = open_parcel(practice.keys.inbox, sealed, practice.network.chain, practice.keyring.reader_keys())
        practice.index.drop_claim(grant_id_of(parcel.body))


async def _drop_handled(practice: Practice, inbox: Mail, node: NodeClient, items: Sequence[MailItem]) -> None:
    """Clears the inbox at one node up to the first item that may still come to something; a node that does not obey is no matter."""
    last = 0
    for item in items:
        seen = practice.index.offer(_digest(item.data))
        if seen is None or not seen.done:
            break
        last = item.seq
    if last:
        with suppress(HceError):
            await inbox.act(node, "drop", last)


def _digest(item: bytes) -> bytes:
    return hashlib.sha256(item).digest()


async def _take(practice: Practice, offer: OfferedGrant) -> bytes:
    """Checks an offer, pays for it, waits until it is final; the grant's id. Pays for nothing but what was asked for, and once."""
    parcel = open_parcel(practice.keys.inbox, offer.parcel, practice.network.chain, practice.keyring.reader_keys())
    asked = practice.index.asked(parcel.body.reader_key)
    if asked is None or asked.credential_id != parcel.body.grantee:
        raise ParcelNotOurs("granted to somebody else than asked", grantee=parcel.body.grantee.hex())
    require_as_asked(parcel.body, decode_as(AccessRequest, asked.request), practice.clock.now_ms())
    countersigned = add_signature(offer.grant_tx, "payer", practice.keys.signing)
    tx = parse(countersigned, practice.network.chain)
    require_only_this_grant(tx, parcel.body, practice.org_id)
    name = grant_id_of(parcel.body)
    if not practice.index.claim(Held(name, parcel.body.reader_key, encode(parcel), tx.id, final=False)):
        raise AlreadyAnswered(grant_id=name.hex())
    if (await practice.network.reader(key_grant(name))).grant(name) is None:
        try:
            await practice.network.submit(countersigned, tx.id)
        except Refused as error:
            if error.code != "grant.exists":
                practice.index.drop_claim(name)
                raise
    practice.index.claim_is_final(name)
    return name


def require_as_asked(body: GrantBody, request: AccessRequest, now_ms: int) -> None:
    """The owner gives what was asked for, or less of it; raises `NotAsAsked`."""
    if body.purpose != request.purpose:
        raise NotAsAsked("purpose", expected=request.purpose, actual=body.purpose)
    if not request.date_from <= body.date_from <= body.date_to <= request.date_to:
        raise NotAsAsked("dates", expected=[request.date_from, request.date_to], actual=[body.date_from, body.date_to])
    if body.mode not in ("read", request.mode):
        raise NotAsAsked("mode", expected=request.mode, actual=body.mode)
    if not now_ms < body.expires_at_ms <= now_ms + MAX_GRANT_LIFE_MS:
        raise NotAsAsked("over already, or lasts too long", expires_at_ms=body.expires_at_ms, max_ms=MAX_GRANT_LIFE_MS)


def require_only_this_grant(tx: HealthTx, body: GrantBody, payer: bytes) -> None:
    """The transaction registers this grant's public half at our expense and does nothing else; raises `NotAsAsked`."""
    if tx.body.kind != "grant.open":
        raise NotAsAsked("another kind of transaction", actual=tx.body.kind)
    if tx.body.payer != payer:
        raise NotAsAsked("another payer", actual=tx.body.payer)
    if tx.body.payload != public_grant(body):
        raise NotAsAsked("another grant's public half")
    if tx.signer("revoke_key") != body.revoke_key:
        raise NotAsAsked("signed with another revoke key")
    check_signatures(tx)


async def held_grants(practice: Practice) -> list[HeldGrant]:
    """In the order they came, the latest MAX_LISTED of them, each with what the final chain says."""
    held = practice.index.held()[-MAX_LISTED:]
    chain = await practice.network.reader(*(key_grant(one.grant_id) for one in held)) if held else None
    people = {patient.compartment_id: patient.patient_id for patient in practice.people()}
    return [_shown(one, chain, people) for one in held]


def _shown(held: Held, chain: HealthReader | None, people: Mapping[bytes, str]) -> HeldGrant:
    body = decode_as(GrantParcel, held.parcel).body
    state = None if chain is None else chain.grant(held.grant_id)
    return HeldGrant(
        grant_id=held.grant_id.hex(),
        credential_id=body.grantee.hex(),
        compartment_id=body.compartment_id.hex(),
        patient_id=people.get(body.compartment_id, ""),
        purpose=body.purpose,
        mode=body.mode,
        date_from=body.date_from,
        date_to=body.date_to,
        not_before_ms=body.not_before_ms,
        expires_at_ms=body.expires_at_ms,
        revoked=state is not None and state.revoked_height is not None,
    )


def reader_for(practice: Practice, grant_id: bytes, records_per_entry: int = MAX_RECORDS_PER_ENTRY) -> Reader:
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
        records_per_entry,
    )


async def read(practice: Practice, grant_id: bytes, records: Sequence[bytes], reason: str) -> ReadResult:
    """Opens these records (all that are granted, when none is named) under new access entries, each for up to 1,000 records."""
    reader = reader_for(practice, grant_id)
    wanted = list(records) or sorted(await reader.listing())
    if not wanted:
        raise NotFound("no record under this grant", grant_id=grant_id.hex())
    if len(reason) > MAX_REASON_CHARS:
        raise Malformed("reason too long", max_chars=MAX_REASON_CHARS)
    return await reader.read(wanted, reader.parcel.body.purpose, reason)

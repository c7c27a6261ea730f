"""The scenes in which somebody tries what must not work. Each answers with the code it was refused with, or "accepted"."""

from __future__ import annotations

import asyncio
import os
import time

from msgspec import Struct, structs

from hce.app.tour.stage import DAY_MS, FIRST_DAY, LAST_DAY, Language, Person, Practice, Result, Stage, Tell, new_person, refusal
from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.sign import SigningKey
from hce.service.sdk.author import Author
from hce.service.sdk.reader import Reader
from hce.service.sdk.reading import CheckedRecord
from hce.service.terms.grants import release_message
from hce.service.terms.records import ContentItem
from hce.service.vault.compartments import make_card
from hce.service.vault.granting import PreparedAccess, make_access, make_grant, make_release_request
from hce.service.vault.sealing import AuthoringSession, make_batch

EXPIRY_POLL_S = 0.5


async def write_uncertified(stage: Stage, person: Person, tell: Tell) -> str:
    """An organisation nobody voted for seals a record as well as anybody can, and tries to store and commit it."""
    network = stage.network
    quack = Practice(network)
    card = (await person.owner.card()).card
    token = person.owner.token(quack.org_id, 2)
    session = AuthoringSession(network.chain, quack.org_id, bytes(32), quack.person, card, network.genesis.keyholders)
    session.seal([ContentItem("note", "text/plain", b"trust me")], "document", "2026-01-01", _now_ms())
    batch = make_batch([session], len(network.genesis.nodes))
    code = await refusal(lambda: Author(network, quack.org_id, quack.key).publish(batch, {token.token.feed: token}))
    tell("tour.uncertified", code=code)
    return code


async def read_without_grant(stage: Stage, practice: Practice, tell: Tell) -> str:
    """A certified clinician invents an owner, has them sign a grant, and puts an access entry under it on chain."""
    keys = new_person(stage.network, "en").owner.keys
    now_ms = _now_ms()
    forged = make_grant(
        keys,
        stage.network.chain,
        0,
        practice.ask(),
        not_before_ms=0,
        expires_at_ms=now_ms + DAY_MS,
        date_from=FIRST_DAY,
        date_to=LAST_DAY,
        purpose="treatment",
        mode="read",
        reading_epochs=[0],
        card=make_card(keys, stage.network.chain, 0, 0, now_ms),
    )
    prepared = make_access(forged.body, practice.credential_id, [os.urandom(32)], "treatment", "curious")
    code = await refusal(lambda: practice.reader(forged).enter(prepared))
    tell("tour.no_grant", code=code)
    return code


class Entered(Struct, frozen=True):
    """A final access entry with everything the keyholders were shown for it."""

    reader: Reader
    prepared: PreparedAccess
    checked: list[CheckedRecord]


async def enter(practice: Practice, reader: Reader) -> Entered:
    """An access entry that is final and for which the keyholders have released."""
    entered = await _prepare(practice, reader)
    await reader.enter(entered.prepared)
    await ask_again(entered)
    return entered


async def ask_again(entered: Entered) -> None:
    """Asks the keyholders themselves, with an entry that was final and good before."""
    await entered.reader.ask_keyholders(entered.prepared, entered.reader.release_request(entered.prepared, entered.checked))


async def at_the_keyholders(practice: Practice, reader: Reader, tell: Tell) -> tuple[Result, Entered]:
    """Under a real grant: asking before the entry is final, and replaying a final opening towards another key."""
    early = await _prepare(practice, reader)
    result: Result = {"release_before_final": await refusal(lambda: ask_again(early))}
    tell("tour.before_final", code=result["release_before_final"])
    await reader.enter(early.prepared)
    await ask_again(early)
    thief = structs.replace(early.prepared, response_key=OpeningKey.from_seed(os.urandom(32)))
    result["replayed_opening"] = await refusal(lambda: _replay(practice.person, reader, thief, early.checked))
    tell("tour.replayed", code=result["replayed_opening"])
    return result, early


async def uncertified_author(stage: Stage, practice: Practice, language: Language, tell: Tell) -> Result:
    """A certified organisation commits a record whose author nobody certified. The chain cannot see authors; owner and keyholders do."""
    network = stage.network
    person = new_person(network, language)
    keys = person.owner.keys
    digests = {"owner_digest": keys.owner_digest.hex(), "recovery_digest": keys.recovery_digest.hex()}
    await stage.hospital.post("/v1/compartments", digests)
    card, token = (await person.owner.card()).card, person.owner.token(practice.org_id, 1)
    quack = SigningKey(os.urandom(32))
    session = AuthoringSession(network.chain, practice.org_id, os.urandom(32), quack, card, network.genesis.keyholders)
    record = session.seal([ContentItem("note", "text/plain", b"trust me")], "document", "2026-01-01", _now_ms())
    batch = make_batch([session], len(network.genesis.nodes))
    await Author(network, practice.org_id, practice.key).publish(batch, {token.token.feed: token})

    refused = (await person.owner.read_own()).refused.get(record.record_id)
    made = await person.owner.grant(practice.ask(), lasts_ms=DAY_MS, date_from=FIRST_DAY, date_to=LAST_DAY)
    reader = await practice.accept(made)
    (listed,) = (await reader.listing())[record.record_id]
    prepared = make_access(made.body, practice.credential_id, [record.record_id], "treatment", "who wrote this")
    await reader.enter(prepared)
    wanted = {record.record_id: (listed.opening, record.envelope)}
    request = make_release_request(prepared, made.body, made.owner_signature, wanted, practice.person)
    result: Result = {
        "read_of_uncertified_author": "opened" if refused is None else refused.code,
        "release_of_uncertified_author": await refusal(lambda: reader.ask_keyholders(prepared, request)),
    }
    tell("tour.uncertified_author", owner=result["read_of_uncertified_author"], nodes=result["release_of_uncertified_author"])
    return result


async def _prepare(practice: Practice, reader: Reader) -> Entered:
    listing = await reader.listing()
    names = sorted(listing)[:3]
    prepared = make_access(reader.parcel.body, practice.credential_id, names, "treatment", "second look")
    checked, _ = await reader.check(names, listing)
    return Entered(reader, prepared, checked)


async def read_after_expiry(reader: Reader, tell: Tell) -> str:
    """Waits until the grant has ended by the chain's own clock, then reads."""
    while reader.network.light.time_ms < reader.parcel.body.expires_at_ms:
        await asyncio.sleep(EXPIRY_POLL_S)
        await reader.network.head()
    names = sorted(await reader.listing())[:1]
    code = await refusal(lambda: reader.read(names, "treatment", "too late"))
    tell("tour.after_expiry", code=code)
    return code


async def _replay(person: SigningKey, reader: Reader, thief: PreparedAccess, checked: list[CheckedRecord]) -> None:
    """The same entry and openings, but the answer is to go to the thief's key; even signed anew by the right person."""
    access = structs.replace(thief.access, response_key=thief.response_key.public)
    honest = reader.release_request(thief, checked)
    message = release_message(reader.parcel.body.chain, thief.entry_id, access.response_key, honest.requested)
    stolen = structs.replace(honest, access=access, credential_signature=person.sign(message))
    await reader.ask_keyholders(thief, stolen)


def _now_ms() -> int:
    return int(time.time() * 1_000)

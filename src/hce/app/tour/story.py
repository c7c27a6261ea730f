"""The scenes, in order. Each does real things, compares what came back with what was promised, and tells it in words.

A promise that is not kept does not stop the story: its key shows what happened instead, and the tour ends with exit code 1.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec

from hce.app.devnet.genesis import HCET
from hce.app.devnet.people import fill_tank
from hce.app.tour.canary import canaries_of, find_in_files
from hce.app.tour.stage import FIRST_DAY, LAST_DAY, Person, Practice, Result, Stage, new_person
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.secp import EthSigningKey
from hce.foundation.types.clock import SystemClock
from hce.foundation.types.errors import HceError
from hce.service.sdk.author import Author
from hce.service.sdk.errors import code_of
from hce.service.sdk.reading import check_listed
from hce.service.terms.grants import AccessRequest, SignedToken
from hce.service.terms.payloads import AccessOpen, org_id, tank_address
from hce.service.terms.records import ContentItem
from hce.service.terms.states import key_grant
from hce.service.vault.auditing import AuditReport
from hce.service.vault.granting import MadeGrant, make_access
from hce.service.vault.sealing import AuthoringSession, make_batch

Tell = Callable[..., None]
DAY_MS = 24 * 3_600_000
SHORT_GRANT_MS = 6_000
"""Life of the grant whose end the story waits for."""
FINALITY_PROBES = 15
"""Transactions timed one after another, spread over the import."""
TANK_TOP_UP_AHCE = HCET


async def play(stage: Stage, bundle: bytes, language: Any, tell: Tell) -> Result:
    """The whole story over one patient's Bundle."""
    started = time.monotonic()
    result: Result = {"nodes": len(stage.network.genesis.nodes)}
    probing = asyncio.create_task(_probe_finality(stage))
    try:
        result["tank_funded"] = await _attempt(lambda: _fund_tank(stage, tell))
        person = await _enrol(stage, bundle, language, tell)
        result["write_by_uncertified"] = await _write_uncertified(stage, person, tell)
        written = await _import(stage, bundle, tell)
        result["records_written"] = len(written)
        originals = _resources(bundle)
        result |= await _own_reading(person, originals, tell)
        result |= await _granted_reading(stage, person, originals, tell)
        result |= await _end(stage, person, originals, tell)
    finally:
        times = await probing
    result["finality_ms"] = {"p50": _percentile(times, 50), "p95": _percentile(times, 95)}
    result["seconds"] = round(time.monotonic() - started, 1)
    return result


def promises_kept(result: Result) -> bool:
    """What exit code 0 means: every promise of the story, none missing."""
    expected: Result = {
        "record_bytes_identical": True,
        "read_after_grant": True,
        "read_without_grant": "grant.unknown",
        "read_after_revoke": "grant.revoked",
        "read_after_expiry": "grant.expired",
        "write_by_uncertified": "organisation.not_certified",
        "release_before_final": "entry.unknown",
        "replayed_opening": "access.commitment_differs",
        "revoke_without_payer": True,
        "owner_checked_both_locks": True,
        "tank_funded": True,
        "plaintext_found_on_nodes": 0,
        "restart_same_chain": True,
    }
    return (
        all(result.get(key) == value for key, value in expected.items())
        and result.get("records_written", 0) > 0
        and result.get("log_entries_on_chain") == result.get("log_entries_opened") != 0
    )


async def _attempt(scene: Callable[[], Awaitable[bool]]) -> bool | str:
    """True or False as the scene found, or the code of the error it met."""
    try:
        return await scene()
    except HceError as error:
        return code_of(error)


async def _refusal(scene: Callable[[], Awaitable[object]]) -> str:
    """The code something was refused with; "accepted" when it was not refused."""
    try:
        await scene()
    except HceError as error:
        return code_of(error)
    return "accepted"


async def _fund_tank(stage: Stage, tell: Tell) -> bool:
    hospital = bytes.fromhex((await stage.hospital.get("/v1/status"))["org_id"])
    address = tank_address(hospital)
    before = int((await stage.network.any_node(lambda node: node.account(address)))["balance_ahce"])
    await fill_tank(stage.home, stage.network, hospital, TANK_TOP_UP_AHCE)
    after = int((await stage.network.any_node(lambda node: node.account(address)))["balance_ahce"])
    tell("tour.tank", balance=f"{after / HCET:.4f}", height=stage.network.light.height)
    return after > before


async def _enrol(stage: Stage, bundle: bytes, language: Any, tell: Tell) -> Person:
    person = new_person(stage.network, language)
    tell("tour.words", words=" ".join(person.words.split()[:3]))
    keys = person.owner.keys
    opened = await stage.hospital.post(
        "/v1/compartments", {"owner_digest": keys.owner_digest.hex(), "recovery_digest": keys.recovery_digest.hex()}
    )
    hospital = bytes.fromhex((await stage.hospital.get("/v1/status"))["org_id"])
    card, token = await person.owner.card(), person.owner.token(hospital, 1)
    await stage.hospital.post(
        "/v1/patients", {"patient": _patient(bundle), "card": encode(card).hex(), "token": encode(token).hex()}
    )
    tell("tour.enrolled", compartment=opened["compartment_id"][:12])
    return person


async def _write_uncertified(stage: Stage, person: Person, tell: Tell) -> str:
    """An organisation nobody voted for seals a record as well as anybody can, and tries to store and commit it."""
    network = stage.network
    quack = Practice(network)
    card = (await person.owner.card()).card
    token = person.owner.token(quack.org_id, 2)
    session = AuthoringSession(network.chain, quack.org_id, bytes(32), quack.person, card, network.genesis.keyholders)
    session.seal([ContentItem("note", "text/plain", b"trust me")], "document", "2026-01-01", int(time.time() * 1_000))
    batch = make_batch([session])
    code = await _refusal(lambda: Author(network, quack.org_id, quack.key).publish(batch, {token.token.feed: token}))
    tell("tour.uncertified", code=code)
    return code


async def _import(stage: Stage, bundle: bytes, tell: Tell) -> list[str]:
    names: list[str] = []
    async for event in stage.hospital.import_bundle(bundle):
        if event["event"] == "planned":
            tell("tour.planned", records=event["records"], resources=event["resources"])
        elif event["event"] == "finished":
            names = event["records"]
            tell("tour.imported", records=len(names), resources=event["resources"])
    return names


async def _own_reading(person: Person, originals: dict[str, bytes], tell: Tell) -> Result:
    """The owner opens everything with the root key; no node's key share is asked for."""
    own = await person.owner.read_own()
    items = {item.name: item.content for record in own.opened.values() for item in record.manifest.items}
    identical = items == originals
    tell("tour.own_reading", records=len(own.opened), identical=identical)
    return {
        "record_bytes_identical": identical,
        "owner_checked_both_locks": not own.refused and own.both_locks_checked == len(own.opened) > 0,
    }


async def _granted_reading(stage: Stage, person: Person, originals: dict[str, bytes], tell: Tell) -> Result:
    """The clinic's doctor: refused without a grant, reads everything with one, refused after it is revoked."""
    result: Result = {}
    practice = Practice(stage.network)
    await practice.certify(stage.home, "Harbour Practice 港湾诊所", ["read"])
    result["read_without_grant"] = await _read_without_grant(stage, person, practice)
    tell("tour.no_grant", code=result["read_without_grant"])

    doctor = next(one for one in await stage.clinic.get("/v1/staff") if "read" in one["powers"])
    asked = await stage.clinic.post(
        "/v1/access-requests",
        {"credential_id": doctor["credential_id"], "purpose": "treatment", "date_from": FIRST_DAY, "date_to": LAST_DAY},
    )
    request = decode_as(AccessRequest, bytes.fromhex(asked["request"]))
    made = await person.owner.grant(request, lasts_ms=DAY_MS, date_from=FIRST_DAY, date_to=LAST_DAY)
    granted = await person.owner.wait_granted(made)
    tell("tour.granted", name=doctor["name"], height=granted.height)
    result["read_after_grant"] = await _attempt(lambda: _clinic_reads(stage, made, originals, tell))

    short = await _short_grant(stage, person, practice)
    result |= await _attacks(stage, practice, short, tell)
    report = await person.owner.audit([made, short])
    result |= _told_log(report, tell)

    receipt = await person.owner.revoke(made.grant_id, made.body.nonce)
    result["revoke_without_payer"] = receipt.ok and not receipt.fee
    tell("tour.revoked", height=stage.network.light.height)
    result["read_after_revoke"] = await _refusal(lambda: _clinic_call(stage, made))
    tell("tour.after_revoke", code=result["read_after_revoke"])
    result["read_after_expiry"] = await _after_expiry(practice, short)
    tell("tour.after_expiry", code=result["read_after_expiry"])
    return result


async def _read_without_grant(stage: Stage, person: Person, practice: Practice) -> str:
    """A certified doctor signs a grant to themself and puts an access entry for it on chain."""
    request = practice.ask()
    stranger = new_person(stage.network, "en")
    forged = make_forged_grant(person, stranger, request)
    reader = practice.reader(forged)
    prepared = make_access(forged.body, practice.credential_id, [os.urandom(32)], "treatment", "curious")
    return await _refusal(lambda: reader.enter(prepared))


def make_forged_grant(person: Person, stranger: Person, request: AccessRequest) -> MadeGrant:
    """A grant signed by somebody who owns nothing: valid in form, registered nowhere."""
    from hce.service.vault.compartments import make_card
    from hce.service.vault.granting import make_grant

    del person
    keys = stranger.owner.keys
    now_ms = int(time.time() * 1_000)
    return make_grant(
        keys,
        request.chain,
        0,
        request,
        not_before_ms=0,
        expires_at_ms=now_ms + DAY_MS,
        date_from=FIRST_DAY,
        date_to=LAST_DAY,
        purpose="treatment",
        mode="read",
        reading_epochs=[0],
        card=make_card(keys, request.chain, 0, 0, now_ms),
    )

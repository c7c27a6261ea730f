"""The scenes, in order. Each does real things, compares what came back with what was promised, and tells it in words.

A promise that is not kept does not stop the story: its key shows what happened instead, and the tour ends with exit code 1.
"""

from __future__ import annotations

import asyncio
import base64
import time
from contextlib import suppress

from hce.app.devnet.genesis import HCET
from hce.app.devnet.people import fill_tank
from hce.app.tour import attacks
from hce.app.tour.canary import canaries_of, find_in_files
from hce.app.tour.patient import patient_of, resources_of
from hce.app.tour.quorum import expected, play_quorum
from hce.app.tour.stage import (
    DAY_MS,
    FIRST_DAY,
    LAST_DAY,
    Language,
    Person,
    Practice,
    Result,
    Stage,
    Tell,
    attempt,
    contents_of,
    new_person,
    node_name,
    refusal,
)
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.secp import EthSigningKey
from hce.service.terms.grants import AccessRequest
from hce.service.terms.payloads import tank_address
from hce.service.vault.auditing import AuditReport
from hce.service.vault.granting import MadeGrant

SHORT_GRANT_MS = 12_000
"""Life of the grant whose end the story waits for: long enough for the scenes under it on a slow machine."""
TANK_TOP_UP_AHCE = HCET
ANCHOR_PERIODS_WAITED = 3
"""How long anchors are waited for, in periods: the one that runs, and some for a slow machine."""
MIN_NODES_OF_A_NETWORK = 4
"""Fewer nodes bear no fault at all and are for development."""
PROBE_PAUSES_S = (0.0, 0.35, 0.7)
"""Pauses between timed transactions, so that they arrive at different places between two blocks."""

EXPECTED: Result = {
    "record_bytes_identical": True,
    "read_after_grant": True,
    "read_without_grant": "grant.unknown",
    "read_after_revoke": "grant.revoked",
    "read_after_expiry": "grant.expired",
    "release_after_revoke": frozenset({"release.grant_revoked", "release.revoke_seen"}),
    "release_after_expiry": "release.grant_expired",
    "write_by_uncertified": "organisation.not_certified",
    "read_of_uncertified_author": "record.author_not_certified",
    "release_of_uncertified_author": "release.author_not_certified",
    "release_before_final": "release.entry_unknown",
    "replayed_opening": "release.access_mismatch",
    "revoke_without_payer": True,
    "owner_checked_both_locks": True,
    "tank_funded": True,
    "plaintext_found_on_nodes": 0,
    "restart_same_chain": True,
    "log_complete": True,
    "anchored": True,
}
"""What exit code 0 means, besides records written, a log that is not empty and transactions that were timed. A set: one of these."""


async def play(stage: Stage, bundle: bytes, language: Language, tell: Tell) -> Result:
    """The whole story over one patient's Bundle."""
    started = time.monotonic()
    originals = resources_of(bundle)
    result: Result = {"nodes": len(stage.network.genesis.nodes)}
    result["tank_funded"] = await attempt(lambda: _fund_tank(stage, tell))
    probing = asyncio.create_task(_time_finality(stage))
    try:
        person, patient_id = await _enrol(stage, bundle, language, tell)
        result["write_by_uncertified"] = await attacks.write_uncertified(stage, person, tell)
        result["records_written"] = len(await _import(stage, bundle, patient_id, tell))
        result |= await _own_reading(person, originals, tell)
        result |= await _granted_reading(stage, person, originals, language, tell)
    finally:
        probing.cancel()
        with suppress(asyncio.CancelledError):
            await probing
    if result["nodes"] >= MIN_NODES_OF_A_NETWORK:
        result |= await play_quorum(stage, person, originals, tell)
    result["anchored"] = await attempt(lambda: _is_anchored(stage, person, tell))
    result["finality_ms"] = {"p50": percentile(stage.finality_ms, 50), "p95": percentile(stage.finality_ms, 95)}
    canaries = canaries_of(originals.values())
    hits = [hit for folder in (stage.home.root / "nodes", stage.home.logs) for hit in find_in_files(folder, canaries)]
    result["plaintext_found_on_nodes"] = len(hits)
    tell("tour.canaries", files=len(hits))
    result["restart_same_chain"] = await attempt(lambda: _restart(stage, person, originals, tell))
    result["seconds"] = round(time.monotonic() - started, 1)
    return result


def promises_broken(result: Result) -> list[str]:
    """Keys whose value is not what was promised; empty means that every promise held."""
    promised = EXPECTED | (expected(result["nodes"]) if result["nodes"] >= MIN_NODES_OF_A_NETWORK else {})
    broken = [key for key, value in promised.items() if not _is_kept(value, result.get(key))]
    if not _is_counted(result.get("records_written")):
        broken.append("records_written")
    if result["nodes"] >= MIN_NODES_OF_A_NETWORK:
        broken += [key for key in ("shards_damaged", "shards_restored", "nodes_killed") if not _is_counted(result.get(key))]
    if not result.get("log_entries_on_chain") or result.get("log_entries_opened") != result["log_entries_on_chain"]:
        broken.append("log_entries_opened")
    timed = result.get("finality_ms")
    if not isinstance(timed, dict) or not all(timed.get(name) for name in ("p50", "p95")):
        broken.append("finality_ms")
    return broken


def _is_kept(promised: object, found: object) -> bool:
    return found in promised if isinstance(promised, frozenset) else found == promised


def _is_counted(value: object) -> bool:
    return isinstance(value, int) and value > 0


def percentile(values: list[int], percent: int) -> int | None:
    """Nearest-rank percentile; None of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else None


async def _fund_tank(stage: Stage, tell: Tell) -> bool:
    hospital = bytes.fromhex((await stage.hospital.get("/v1/status"))["org_id"])
    address = tank_address(hospital)
    before = int((await stage.network.any_node(lambda node: node.account(address)))["balance_ahce"])
    await fill_tank(stage.home, stage.network, hospital, TANK_TOP_UP_AHCE)
    after = int((await stage.network.any_node(lambda node: node.account(address)))["balance_ahce"])
    tell("tour.tank", balance=f"{after / HCET:.4f}", height=await stage.network.head())
    return after == before + TANK_TOP_UP_AHCE


async def _time_finality(stage: Stage) -> None:
    """Small transfers one after another while the story goes on: from submitting to the answer that it is final."""
    key = EthSigningKey(stage.home.wallet().secret)
    while True:
        for pause in PROBE_PAUSES_S:
            await asyncio.sleep(pause)
            began = time.monotonic()
            await stage.network.transfer(key, key.address, 1)
            stage.finality_ms.append(round((time.monotonic() - began) * 1_000))


async def _enrol(stage: Stage, bundle: bytes, language: Language, tell: Tell) -> tuple[Person, str]:
    person = new_person(stage.network, language)
    tell("tour.words", words=" ".join(person.words.split()[:3]))
    keys = person.owner.keys
    digests = {"owner_digest": keys.owner_digest.hex(), "recovery_digest": keys.recovery_digest.hex()}
    opened = await stage.hospital.post("/v1/compartments", digests)
    hospital = bytes.fromhex((await stage.hospital.get("/v1/status"))["org_id"])
    card, token = await person.owner.publish_card(), person.owner.token(hospital, 1)
    enrolment = {"patient": patient_of(bundle), "card": encode(card).hex(), "token": encode(token).hex()}
    patient = await stage.hospital.post("/v1/patients", enrolment)
    tell("tour.enrolled", compartment=opened["compartment_id"][:12])
    return person, patient["patient_id"]


async def _import(stage: Stage, bundle: bytes, patient_id: str, tell: Tell) -> list[str]:
    names: list[str] = []
    async for event in stage.hospital.import_bundle(bundle, patient_id=patient_id):
        if event["event"] == "planned":
            tell("tour.planned", records=event["records"], resources=event["resources"])
        elif event["event"] == "finished":
            names = event["records"]
            tell("tour.imported", records=len(names), resources=event["resources"])
    return names


async def _own_reading(person: Person, originals: dict[str, bytes], tell: Tell) -> Result:
    """The owner opens everything with the root key; no node's key share is asked for."""
    own = await person.owner.read_own()
    identical = contents_of(own.opened.values()) == originals
    tell("tour.own_reading", records=len(own.opened), identical=identical)
    return {
        "record_bytes_identical": identical,
        "owner_checked_both_locks": not own.refused and own.both_locks_checked == len(own.opened) > 0,
    }


async def _granted_reading(stage: Stage, person: Person, originals: dict[str, bytes], language: Language, tell: Tell) -> Result:
    """Refused without a grant; read under one; the log; revoked; refused again."""
    result: Result = {}
    practice = Practice(stage.network)
    await practice.certify(stage.home, "Harbour Practice 港湾诊所", ["read", "write"])
    result["read_without_grant"] = await attacks.read_without_grant(stage, practice, tell)

    made = await _grant_to_clinic(stage, person, tell)
    result["read_after_grant"] = await attempt(lambda: _clinic_reads(stage, made, originals, tell))

    short = await person.owner.grant(practice.ask(), lasts_ms=SHORT_GRANT_MS, date_from=FIRST_DAY, date_to=LAST_DAY)
    reader = await practice.accept(short)
    found, entered_short = await attacks.at_the_keyholders(practice, reader, tell)
    result |= found
    lasting = await person.owner.grant(practice.ask(), lasts_ms=DAY_MS, date_from=FIRST_DAY, date_to=LAST_DAY)
    entered_lasting = await attacks.enter(practice, await practice.accept(lasting))

    receipt = await person.owner.revoke(made.grant_id, made.body.nonce)
    result["revoke_without_payer"] = receipt.ok and receipt.fee == b""
    tell("tour.revoked", height=stage.network.light.height)
    result["read_after_revoke"] = await refusal(lambda: _clinic_call(stage, made))
    tell("tour.after_revoke", code=result["read_after_revoke"])
    await person.owner.revoke(lasting.grant_id, lasting.body.nonce)
    result["release_after_revoke"] = await refusal(lambda: attacks.ask_again(entered_lasting))
    tell("tour.release_after_revoke", code=result["release_after_revoke"])
    result |= await attacks.uncertified_author(stage, practice, language, tell)
    result["read_after_expiry"] = await attacks.read_after_expiry(reader, tell)
    result["release_after_expiry"] = await refusal(lambda: attacks.ask_again(entered_short))
    tell("tour.release_after_expiry", code=result["release_after_expiry"])
    return result | _told_log(await person.owner.audit([made, short, lasting]), tell)


async def _grant_to_clinic(stage: Stage, person: Person, tell: Tell) -> MadeGrant:
    doctor = next(one for one in await stage.clinic.get("/v1/staff") if "read" in one["powers"])
    wish = {"credential_id": doctor["credential_id"], "purpose": "treatment", "date_from": FIRST_DAY, "date_to": LAST_DAY}
    asked = await stage.clinic.post("/v1/access-requests", wish)
    request = decode_as(AccessRequest, bytes.fromhex(asked["request"]))
    made = await person.owner.grant(request, lasts_ms=DAY_MS, date_from=FIRST_DAY, date_to=LAST_DAY)
    granted = await person.owner.wait_granted(made)
    tell("tour.granted", name=doctor["name"], height=granted.height)
    return made


async def _clinic_reads(stage: Stage, made: MadeGrant, originals: dict[str, bytes], tell: Tell) -> bool:
    """The other hospital's doctor reads through the clinic's own gateway."""
    contents = await _clinic_call(stage, made)
    identical = contents == originals
    tell("tour.clinic_read", resources=len(contents), identical=identical)
    return identical


async def _clinic_call(stage: Stage, made: MadeGrant) -> dict[str, bytes]:
    answer = await stage.clinic.post(f"/v1/grants/{made.grant_id.hex()}/read", {"reason": "first visit"})
    return {item["name"]: base64.b64decode(item["content"]) for record in answer["records"] for item in record["items"]}


def _told_log(report: AuditReport, tell: Tell) -> Result:
    for read in report.reads:
        tell("tour.log_line", name=read.name, records=len(read.records), purpose=read.purpose)
    tell("tour.log_complete" if report.complete else "tour.log_incomplete", entries=report.entries_on_chain)
    return {
        "log_complete": report.complete,
        "log_entries_on_chain": report.entries_on_chain,
        "log_entries_opened": report.entries_opened,
    }


async def _is_anchored(stage: Stage, person: Person, tell: Tell) -> bool:
    """Waits until every node has put the root of its receipts on chain, and checks that each receipt stands under one."""
    params = stage.network.genesis.params
    deadline = time.monotonic() + ANCHOR_PERIODS_WAITED * params.anchor_blocks * params.block_interval_ms / 1_000
    report = await person.owner.check_anchors()
    while report.waiting and time.monotonic() < deadline:
        await asyncio.sleep(params.block_interval_ms / 1_000)
        report = await person.owner.check_anchors()
    tell("tour.anchored", receipts=report.anchored, complete=report.complete)
    return report.complete and not report.waiting and report.anchored > 0


async def _restart(stage: Stage, person: Person, originals: dict[str, bytes], tell: Tell) -> bool:
    """A node stopped cleanly and started, then killed as by a power cut and started: same genesis, no height lost, records still open."""
    kept = True
    for killed in (False, True):
        node = await stage.network.node(0)
        before = await node.status()
        sealed = encode(await node.final(before["height"]))
        if killed:
            await stage.kill(node_name(0))
        await stage.restart(node_name(0))
        after = await node.status()
        same = encode(await node.final(before["height"])) == sealed
        reopened = contents_of((await person.owner.read_own()).opened.values()) == originals
        tell("tour.killed_and_restarted" if killed else "tour.restarted", before=before["height"], after=after["height"])
        kept = kept and same and reopened and before["genesis"] == after["genesis"] and after["height"] >= before["height"]
    return kept

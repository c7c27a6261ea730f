"""The owner's log: complete or not, and by name; and the sentences people sign."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.seal import seal
from hce.foundation.types.errors import Malformed
from hce.service.terms import states
from hce.service.terms.grants import (
    SignedReceipt,
    access_commitment,
    card_message,
    grant_message,
    receipt_info,
    receipt_message,
    release_message,
)
from hce.service.terms.payloads import GrantRevoke
from hce.service.terms.transactions import make_body
from hce.service.vault import auditing, granting
from hce.service.vault.errors import GrantDiffers
from hce.service.vault.human import grant_sentence, revoke_sentence

CHAIN = bytes(range(16))
NOW_MS = 1_760_000_000_000


class Logged:
    """A patient with two grants, three accesses and one keyholder's receipts."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.written = world.write(3)
        self.grants = [world.grant(), world.grant()]
        self.reads = [self.read(0, self.written[:2]), self.read(0, self.written[2:]), self.read(1, self.written)]

    def read(self, grant: int, written: list[Any]) -> Any:
        made = self.grants[grant]
        prepared = self.world.access(made, written)
        parcel = granting.open_parcel(self.world.inbox, made.parcel, CHAIN, {self.world.reader.public})
        self.world.network.release(self.world.release_request(made, prepared, written, parcel), 0)
        return prepared

    def on_chain(self) -> list[auditing.GrantOnChain]:
        health = self.world.network.health
        return [auditing.GrantOnChain(made.body, health.grant(made.grant_id), self.world.entries(made)) for made in self.grants]

    def log(self) -> auditing.ReadLog:
        network = self.world.network
        return auditing.read_receipts(self.world.keys.log, network.receipts, CHAIN, network.public_service_keys)

    def audit(self, **changes: Any) -> auditing.AuditReport:
        given = {"grants": self.on_chain(), "receipts": self.log().receipts, "people": self.world.network.health}
        return auditing.audit(**(given | changes))


@pytest.fixture
def logged(world: Any) -> Logged:
    return Logged(world)


def codes(report: auditing.AuditReport) -> list[str]:
    return sorted(finding.code for finding in report.findings)


def test_a_complete_log_says_who_read_what_when_and_why(logged: Logged) -> None:
    report = logged.audit()
    assert report.complete
    assert (report.entries_on_chain, report.entries_opened) == (3, 3)
    read = next(read for read in report.reads if read.entry_id == logged.reads[0].entry_id)
    assert read.name == "Dr Li"
    assert read.org_id == logged.world.org_id
    assert read.credential_id == logged.world.credential_id
    assert read.purpose == "treatment"
    assert read.time_ms == NOW_MS
    assert read.nodes == [0]
    assert set(read.records) == {record.sealed.record_id for record in logged.written[:2]}


def test_an_entry_without_a_receipt_is_named(logged: Logged) -> None:
    report = logged.audit(receipts=logged.log().receipts[1:])
    assert codes(report) == ["log.no_receipt"]
    assert report.findings[0].subject == logged.reads[0].entry_id.hex()
    assert (report.entries_on_chain, report.entries_opened) == (3, 2)


def test_an_entry_held_back_is_noticed_by_the_counter(logged: Logged) -> None:
    first, second = logged.on_chain()
    report = logged.audit(grants=[replace(first, entries=first.entries[:1]), second])
    assert "log.entries_missing" in codes(report)
    assert "log.unknown_entry" in codes(report)
    assert not report.complete


def test_an_entry_put_in_place_of_another_is_noticed_by_the_hash(logged: Logged) -> None:
    first, second = logged.on_chain()
    fake = replace(first.entries[0], commitment=bytes(32))
    report = logged.audit(grants=[replace(first, entries=[fake, *first.entries[1:]]), second])
    assert codes(report) == ["log.entries_differ", "log.no_receipt", "log.unknown_entry"]


def test_entries_of_another_grant_do_not_fill_the_counter(logged: Logged) -> None:
    first, second = logged.on_chain()
    moved = replace(second.entries[0], ordinal=1)
    report = logged.audit(grants=[replace(first, entries=[first.entries[0], moved]), second])
    assert "log.entries_missing" in codes(report)


def test_a_grant_left_out_shows_as_receipts_of_unknown_entries(logged: Logged) -> None:
    report = logged.audit(grants=logged.on_chain()[:1])
    assert codes(report) == ["log.unknown_entry"]


def test_a_receipt_with_another_story_is_named(logged: Logged) -> None:
    receipts = logged.log().receipts
    honest = receipts[0].receipt
    other = replace(honest, access=replace(honest.access, purpose="research"))
    signed = SignedReceipt(other, logged.world.network.service_keys[0].sign(receipt_message(other)))
    report = logged.audit(receipts=[signed, *receipts])
    assert codes(report) == ["log.receipt_differs"]
    assert report.entries_opened == 3
    assert codes(logged.audit(receipts=[signed, *receipts[1:]])) == ["log.no_receipt", "log.receipt_differs"]


def test_more_records_than_committed_are_named(logged: Logged) -> None:
    receipts = logged.log().receipts
    honest = receipts[0].receipt
    for records in ([*honest.records, b"r" * 32], [b"r" * 32, honest.records[1]], [b"r" * 32], honest.records[:1], []):
        wide = SignedReceipt(replace(honest, records=records), receipts[0].signature)
        assert codes(logged.audit(receipts=[wide, *receipts[1:]])) == ["log.more_than_committed"]


def test_a_true_receipt_beside_a_false_one_tells_the_records_and_the_false_one_is_named(logged: Logged) -> None:
    receipts = logged.log().receipts
    honest = receipts[0].receipt
    false = SignedReceipt(replace(honest, records=[b"r" * 32], node=8), receipts[0].signature)
    report = logged.audit(receipts=[false, *receipts])
    assert [(finding.code, finding.detail) for finding in report.findings] == [("log.more_than_committed", "node 8")]
    assert next(read.records for read in report.reads if read.entry_id == honest.entry_id) == honest.records


def test_reading_an_entry_in_parts_and_in_any_order_is_a_complete_log(world: Any) -> None:
    logged = Logged(world)
    made, written = logged.grants[0], logged.written
    prepared = world.access(made, written)
    parcel = granting.open_parcel(world.inbox, made.parcel, CHAIN, {world.reader.public})
    for part in ([written[2]], [written[1], written[0]]):
        request = world.release_request(made, prepared, part, parcel)
        requested = request.requested[::-1]
        message = release_message(CHAIN, request.entry_id, request.access.response_key, requested)
        backwards = replace(
            request,
            requested=requested,
            openings=request.openings[::-1],
            credential_signature=world.author_key.sign(message),
        )
        world.network.release(backwards, 0)
    report = logged.audit()
    assert report.complete
    assert next(read.records for read in report.reads if read.entry_id == prepared.entry_id) == prepared.records


def test_junk_and_forgeries_in_the_log_are_named_and_hide_nothing(logged: Logged) -> None:
    network, log_key = logged.world.network, logged.world.keys.log
    honest = logged.log().receipts[0]
    forged = SignedReceipt(replace(honest.receipt, height=1), honest.signature)
    stranger = SignedReceipt(replace(honest.receipt, node=7), honest.signature)
    network.receipts += [b"junk", *(seal(log_key.public, receipt_info(CHAIN), encode(each)) for each in (forged, stranger))]
    network.receipts.append(seal(log_key.public, receipt_info(CHAIN), b"no receipt"))
    log = logged.log()
    assert len(log.receipts) == 3
    assert [finding.code for finding in log.findings] == [
        "log.item_unreadable",
        "log.item_forged",
        "log.item_forged",
        "log.item_unreadable",
    ]


def test_a_grant_body_that_is_not_the_chains_is_refused(logged: Logged) -> None:
    first, second = logged.on_chain()
    with pytest.raises(GrantDiffers):
        logged.audit(grants=[replace(first, body=second.body), second])


def test_a_receipt_opens_the_commitment_of_its_entry(logged: Logged) -> None:
    receipt = logged.log().receipts[0].receipt
    entry = logged.world.network.health.entry(receipt.entry_id)
    assert isinstance(entry, states.EntryState)
    assert access_commitment(receipt.access) == entry.commitment


def test_the_sentence_is_made_from_the_bytes_that_are_signed(world: Any) -> None:
    made = world.grant()
    names = {world.org_id: "Hospital West"}.get
    english = grant_sentence(grant_message(made.body), "en", names)
    assert "Hospital West (" in english
    assert "read your records dated 2025-01-01 to 2025-12-31, for treatment" in english
    assert "2025-10-09" in english
    chinese = grant_sentence(grant_message(made.body), "zh-CN", names)
    assert "诊疗" in chinese
    assert "2025-12-31" in chinese
    assert world.org_id.hex() in grant_sentence(grant_message(made.body), "en", lambda _: None)
    writing = grant_message(replace(made.body, mode="read-write", purpose="research"))
    assert "read and add to" in grant_sentence(writing, "en", names)


def test_a_name_cannot_break_out_of_the_sentence(world: Any) -> None:
    sentence = grant_sentence(grant_message(world.grant().body), "en", lambda _: "X\n\u202eYou sign nothing {end}")
    assert "\n" not in sentence
    assert "\u202e" not in sentence
    assert "{end}" in sentence


def test_nothing_but_a_grant_is_shown_as_a_grant(world: Any) -> None:
    made = world.grant()
    foreign = encode(["hce/grant/1", bytes(16), made.body])
    for message in (card_message(world.card), foreign, b"\x80", encode(["hce/grant/1", CHAIN])):
        with pytest.raises(Malformed):
            grant_sentence(message, "en", lambda _: None)


def test_a_revocation_says_what_it_cannot_undo() -> None:
    body = encode(make_body(CHAIN, "grant.revoke", GrantRevoke(b"g" * 32), None, 700))
    names = {b"g" * 32: "Hospital West"}.get
    assert "Hospital West" in revoke_sentence(body, "en", names)
    assert "cannot be unread" in revoke_sentence(body, "en", names)
    assert "终止" in revoke_sentence(body, "zh-CN", names)
    other = encode(make_body(CHAIN, "credential.revoke", GrantRevoke(b"g" * 32), None, 700))
    with pytest.raises(Malformed):
        revoke_sentence(other, "en", names)

"""Owner and grantee find everything and believe nothing, though the first node they ask hides, forges or cuts short."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from msgspec import structs
from tests.service.running import DAY_MS, LIAR, Change, Liar, OneNode, TwoFaces
from tests.service.sdk.patients import Patient, written

from hce.foundation.codec.dagcbor import decode, decode_as, encode
from hce.service.gateway import granted
from hce.service.gateway.practice import Practice
from hce.service.sdk.owner import CARD_RENEW_MS, Owner
from hce.service.sdk.reader import Reader
from hce.service.terms.mailbox import HeldRecord, MailItem, MailPage, RecordsPage


def mailbox(lie: Callable[[object], object]) -> Change:
    """Changes what a mailbox read answers: a page of items or of records."""

    def change(request: httpx.Request, answer: bytes) -> bytes | None:
        if request.url.path != "/v1/mailbox/read":
            return None
        said = decode(answer)
        page: object = decode_as(RecordsPage, answer) if isinstance(said[1], list) else decode_as(MailPage, answer)
        return encode(lie(page))

    return change


def hide(page: object) -> object:
    return RecordsPage([], []) if isinstance(page, RecordsPage) else MailPage([], False)


def swap(page: object) -> object:
    """Envelopes of one record under the name of another, and junk in the feed."""
    if isinstance(page, RecordsPage):
        names = [one.record_id for one in page.found]
        return RecordsPage(
            [structs.replace(one, record_id=name) for one, name in zip(page.found, names[1:] + names[:1], strict=True)], []
        )
    assert isinstance(page, MailPage)
    return MailPage([MailItem(item.seq, item.time_ms, os.urandom(99)) for item in page.items], False)


def repeat(page: object) -> object:
    """Never an end: the same items as if more came."""
    return MailPage(page.items, True) if isinstance(page, MailPage) else page


def forge(page: object) -> object:
    if isinstance(page, RecordsPage):
        forged = [
            HeldRecord(
                one.record_id, structs.replace(one.envelope, wrapped_dek=bytes(len(one.envelope.wrapped_dek))), one.owner_wrap
            )
            for one in page.found
        ]
        return RecordsPage(forged, [])
    return page


@asynccontextmanager
async def behind(node: OneNode, change: Change) -> AsyncIterator[TwoFaces]:
    liar = Liar(node.url, change)
    async with await TwoFaces.join([LIAR, node.url], node.home.genesis(), transport=liar) as network:
        yield network


def reader_through(network: TwoFaces, practice: Practice, patient: Patient, records_per_entry: int = 1_000) -> Reader:
    honest, practice.network = practice.network, network
    try:
        return granted.reader_for(practice, patient.made.grant_id, records_per_entry)
    finally:
        practice.network = honest


@pytest.mark.parametrize("lie", [hide, swap, repeat, forge])
async def test_a_lying_mailbox_hides_nothing_from_owner_or_grantee(
    node: OneNode, practice: Practice, patient: Patient, lie: Callable[[object], object]
) -> None:
    async with behind(node, mailbox(lie)) as network:
        own = await Owner(network, practice.clock, patient.owner.keys).read_own()
        assert set(own.opened) == set(patient.records)
        assert own.both_locks_checked == len(patient.records)
        result = await reader_through(network, practice, patient).read(patient.records, "treatment", "visit")
        assert (set(result.opened), result.refused) == (set(patient.records), {})


async def test_locks_that_were_not_compared_are_not_counted(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, records = await written(practice)

    def broken(*_: object) -> None:
        raise granted.NotFound("owner wrap")

    monkeypatch.setattr("hce.service.sdk.owner.owner_checks_both_locks", broken)
    own = await owner.read_own()
    assert own.both_locks_checked == 0
    assert set(own.refused) == set(records)


async def test_a_read_of_more_than_an_entry_holds_makes_several(node: OneNode, practice: Practice, patient: Patient) -> None:
    async with behind(node, lambda request, answer: None) as network:
        reader = reader_through(network, practice, patient, records_per_entry=3)
        result = await reader.read(patient.records, "treatment", "everything")
    assert len(patient.records) == 4
    assert len(result.entry_ids) == 2
    assert set(result.opened) == set(patient.records)
    report = await patient.owner.audit([patient.made])
    assert (report.entries_on_chain, report.entries_opened, report.findings) == (2, 2, [])


async def test_records_of_one_entry_are_opened_part_by_part(
    node: OneNode, practice: Practice, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hce.service.sdk.reader.PART_RECORDS", 1)
    async with behind(node, lambda request, answer: None) as network:
        reader = reader_through(network, practice, patient)
        result = await reader.read([*patient.records, bytes(32)], "treatment", "everything and one that is not there")
    assert (set(result.opened), set(result.refused)) == (set(patient.records), {bytes(32)})
    report = await patient.owner.audit([patient.made])
    assert (report.entries_on_chain, report.entries_opened, report.findings) == (1, 1, []), "one entry, one receipt"


class HangsAtEnvelopes(Liar):
    """The liar proves who it is and answers everything but a question for envelopes."""

    waited = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == httpx.URL(LIAR).host and b"envelopes" in await request.aread():
            self.waited += 1
            await asyncio.Event().wait()
        return await super().handle_async_request(request)


async def test_a_node_that_hangs_is_waited_for_once_and_not_in_every_part_of_an_entry(
    node: OneNode, practice: Practice, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hce.service.sdk.reader.PART_RECORDS", 1)
    monkeypatch.setattr("hce.service.sdk.reader.PARTS_BESIDE", 1)
    monkeypatch.setattr("hce.service.sdk.reading.ENVELOPES_S", 0.05)
    hung = HangsAtEnvelopes(node.url, lambda request, answer: None)
    async with await TwoFaces.join([LIAR, node.url], node.home.genesis(), transport=hung) as network:
        reader = reader_through(network, practice, patient)
        result = await reader.read(patient.records, "treatment", "everything")
    assert set(result.opened) == set(patient.records)
    assert (len(patient.records), hung.waited) == (4, 1)


def one_a_page(request: httpx.Request, answer: bytes) -> bytes | None:
    return encode(decode(answer)[:1]) if request.url.path.endswith("/entries") else None


def no_entries(request: httpx.Request, answer: bytes) -> bytes | None:
    return encode([]) if request.url.path.endswith("/entries") else None


def invented_entries(request: httpx.Request, answer: bytes) -> bytes | None:
    return encode([os.urandom(32)]) if request.url.path.endswith("/entries") and "start=0" in str(request.url) else None


@pytest.mark.parametrize("change", [one_a_page, no_entries, invented_entries, mailbox(hide)])
async def test_the_log_is_complete_whatever_the_first_node_keeps_back(
    node: OneNode, practice: Practice, patient: Patient, change: Change
) -> None:
    reader = granted.reader_for(practice, patient.made.grant_id)
    for _ in range(3):
        await reader.read(patient.records[:1], "treatment", "visit")
    async with behind(node, change) as network:
        report = await Owner(network, practice.clock, patient.owner.keys).audit([patient.made])
    assert (report.entries_on_chain, report.entries_opened, report.findings) == (3, 3, [])


async def test_a_list_of_entries_in_many_pages_is_read_to_its_end(node: OneNode, practice: Practice, patient: Patient) -> None:
    reader = granted.reader_for(practice, patient.made.grant_id)
    for _ in range(4):
        await reader.read(patient.records[:1], "treatment", "visit")
    async with await TwoFaces.join([LIAR], node.home.genesis(), transport=Liar(node.url, one_a_page)) as network:
        report = await Owner(network, practice.clock, patient.owner.keys).audit([patient.made])
    assert (report.entries_on_chain, report.entries_opened, report.findings) == (4, 4, [])


async def test_entries_that_no_node_lists_are_named(node: OneNode, practice: Practice, patient: Patient) -> None:
    await granted.reader_for(practice, patient.made.grant_id).read(patient.records[:1], "treatment", "visit")
    liar = Liar(node.url, no_entries)
    async with await TwoFaces.join([LIAR], node.home.genesis(), transport=liar) as network:
        report = await Owner(network, practice.clock, patient.owner.keys).audit([patient.made])
    assert "log.entries_missing" in [finding.code for finding in report.findings]


async def test_an_entry_made_while_the_owner_looks_is_part_of_the_look(node: OneNode, practice: Practice, patient: Patient) -> None:
    """The grant counts an entry that came after the list: the rest of the list is fetched, no finding is made of it."""
    reader = granted.reader_for(practice, patient.made.grant_id)
    await reader.read(patient.records[:1], "treatment", "first")
    looks = 0

    async with behind(node, lambda request, answer: None) as network:
        owner = Owner(network, practice.clock, patient.owner.keys)
        honest = network.nodes[0].entries

        async def entries(grant_id: bytes, start: int = 0) -> list[bytes]:
            nonlocal looks
            found = await honest(grant_id, start)
            looks += 1
            if looks == 2:
                await reader.read(patient.records[:1], "treatment", "meanwhile")
            return found

        network.nodes[0].entries = entries  # type: ignore[method-assign]  # the moment in between is what this is about
        report = await owner.audit([patient.made])
    assert (report.entries_on_chain, report.entries_opened, report.findings) == (2, 2, [])


def test_a_card_is_replaced_well_before_it_ends() -> None:
    assert DAY_MS < CARD_RENEW_MS < 30 * DAY_MS

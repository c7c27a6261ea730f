"""A Bundle becomes records once, whoever stops it in between, and only by an author who is certified."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.service.gateway import killed_import
from tests.service.running import DAY_MS, ManualClock, OneNode, bundle_of

from hce.foundation.types.errors import NotFound
from hce.service.gateway import importing
from hce.service.gateway.importing import Event, Finished, ImportUndecided, import_bundle, settle
from hce.service.gateway.practice import RENEW_BEFORE_MS, Practice, StaffMember
from hce.service.gateway.securing import Outbox
from hce.service.index.store import Index, PendingRecord
from hce.service.keyring.errors import KeyNotFound
from hce.service.keyring.keyring import Keyring
from hce.service.sdk.network import Network
from hce.service.sdk.owner import Owner
from hce.service.terms.certification import CredentialNotCertified
from hce.service.terms.payloads import CredentialRevoke
from hce.service.terms.states import CredentialState, key_credential

YEAR_MS = 365 * DAY_MS


async def imported(practice: Practice, bundle: bytes, **options: bytes | str) -> list[Event]:
    return [event async for event in import_bundle(practice, bundle, **options)]  # type: ignore[arg-type]  # two kinds of options


def finished(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def keep_keys(node: OneNode, name: str, folder: Path) -> Path:
    """A gateway folder of the test's own, with the organisation's keys."""
    folder.mkdir()
    shutil.copytree(node.home.gateway(name) / "keyring", folder / "keyring")
    return folder


@asynccontextmanager
async def practice_in(folder: Path, network: Network, valid_blocks: int = 120) -> AsyncIterator[Practice]:
    index = Index(folder / "index.sqlite")
    try:
        with Keyring.open(folder / "keyring") as keyring, Outbox.open(folder / "outbox", map_size=1 << 20) as outbox:
            yield Practice(network, keyring, index, outbox, ManualClock(), valid_blocks)
    finally:
        index.close()


@pytest.fixture
async def oldtown(node: OneNode, network: Network, tmp_path: Path) -> AsyncIterator[Practice]:
    """A gateway whose staff the test may change."""
    async with practice_in(keep_keys(node, "oldtown", tmp_path / "oldtown"), network) as practice:
        yield practice


async def state_of(practice: Practice, credential_id: bytes | None) -> CredentialState:
    assert credential_id is not None
    state = (await practice.network.reader(key_credential(credential_id))).credential(credential_id)
    assert state is not None
    return state


def custodial_owner(practice: Practice) -> Owner:
    (patient,) = practice.index.patients()
    assert patient.custodial_id is not None
    return Owner(practice.network, practice.clock, practice.keyring.custodial_keys(bytes.fromhex(patient.custodial_id)))


async def test_the_same_bundle_is_written_once(practice: Practice) -> None:
    bundle = bundle_of("once", ["a", "b"])
    assert len(finished(await imported(practice, bundle)).records) == 3
    assert practice.index.pending() == []
    assert finished(await imported(practice, bundle)).records == []


async def test_two_imports_at_one_time_write_once(practice: Practice) -> None:
    bundle = bundle_of("twice", ["a", "b"])
    first, second = await asyncio.gather(imported(practice, bundle), imported(practice, bundle))
    assert len(finished(first).records) + len(finished(second).records) == 3


async def test_only_staff_may_be_named_as_author(practice: Practice) -> None:
    with pytest.raises(KeyNotFound):
        await imported(practice, bundle_of("stranger", ["a"]), author=os.urandom(32))


async def test_an_author_whose_credential_is_over_seals_nothing(oldtown: Practice) -> None:
    (doctor,) = await oldtown.certify_staff([StaffMember("Dr. Ana Test", ["read", "write"])])
    assert len(finished(await imported(oldtown, bundle_of("intime", ["a"]))).records) == 2
    clock = oldtown.clock
    assert isinstance(clock, ManualClock)
    clock.ahead_ms = YEAR_MS + DAY_MS
    with pytest.raises(NotFound):
        await imported(oldtown, bundle_of("late", ["a"]))
    assert doctor.credential_id is not None
    with pytest.raises(CredentialNotCertified):
        await imported(oldtown, bundle_of("late", ["a"]), author=doctor.credential_id)


async def test_an_author_revoked_during_an_import_stops_it(oldtown: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    (doctor,) = await oldtown.certify_staff([StaffMember("Dr. Ana Test", ["read", "write"])])
    monkeypatch.setattr(importing, "BATCH_RECORDS", 1)
    monkeypatch.setattr(importing, "IN_FLIGHT", 1)

    async def revoked_after_the_first_batch() -> None:
        events: list[Event] = []
        async for event in import_bundle(oldtown, bundle_of("revoked", list("abcdef"))):
            events.append(event)
            if len(events) == 2:
                assert doctor.credential_id is not None
                await revoke(oldtown, doctor.credential_id)

    with pytest.raises(CredentialNotCertified):
        await revoked_after_the_first_batch()
    written = oldtown.index.written(oldtown.index.patients()[0].patient_id)
    assert len(written) == 1
    opened = await custodial_owner(oldtown).read_own()
    assert {one.record_id for one in written} <= set(opened.opened), "what was written is readable"


async def revoke(practice: Practice, credential_id: bytes) -> None:
    body = CredentialRevoke(credential_id, "key-lost")
    await practice.network.transact("credential.revoke", body, None, [("organisation", practice.keys.signing)])


async def test_a_credential_is_renewed_when_it_ends_soon_and_not_before(oldtown: Practice) -> None:
    staff = [StaffMember("Dr. Ana Test", ["read", "write"])]
    (first,) = await oldtown.certify_staff(staff)
    body = (await state_of(oldtown, first.credential_id)).body
    now_ms = oldtown.clock.now_ms()
    assert now_ms - DAY_MS < body.not_before_ms <= now_ms, "from now on, not from the certificate's first day"
    clock = oldtown.clock
    assert isinstance(clock, ManualClock)
    clock.ahead_ms = YEAR_MS - RENEW_BEFORE_MS - DAY_MS
    assert await oldtown.certify_staff(staff) == [first]
    clock.ahead_ms = YEAR_MS - RENEW_BEFORE_MS + DAY_MS
    (renewed,) = await oldtown.certify_staff(staff)
    assert renewed.credential_id != first.credential_id
    assert renewed.person_key == first.person_key
    assert first.credential_id is not None
    assert oldtown.keyring.clinician(first.credential_id).public == first.person_key, "grants to the older one still find the key"
    assert await oldtown.certify_staff(staff) == [renewed]


async def test_a_revoked_credential_is_replaced(oldtown: Practice) -> None:
    staff = [StaffMember("Dr. Ana Test", ["read", "write"])]
    (first,) = await oldtown.certify_staff(staff)
    assert first.credential_id is not None
    await revoke(oldtown, first.credential_id)
    (second,) = await oldtown.certify_staff(staff)
    assert second.credential_id != first.credential_id
    assert await oldtown.writer() == second.credential_id


async def test_nobody_gets_more_powers_than_the_organisation(oldtown: Practice) -> None:
    (doctor,) = await oldtown.certify_staff([StaffMember("Dr. Ana Test", ["read", "emergency"]), StaffMember("Nobody", ["claims"])])
    assert (await state_of(oldtown, doctor.credential_id)).body.powers == ["read"]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_gateway_killed_in_the_middle_of_an_import_writes_nothing_twice(
    node: OneNode, network: Network, tmp_path: Path, moment: str
) -> None:
    folder = keep_keys(node, "riverside", tmp_path / "riverside")
    (folder / "bundle.json").write_bytes(bundle_of(f"killed-{moment}", ["a", "b", "c"]))
    async with practice_in(folder, network) as practice:
        await practice.certify_staff([StaffMember("Dr. Lin Test", ["write"])])
    arguments = ["-m", "tests.service.gateway.killed_import", str(node.home.root), str(folder), moment]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    assert await process.wait() == -signal.SIGKILL
    async with practice_in(folder, network, killed_import.VALID_BLOCKS) as practice:
        (patient,) = practice.index.patients()
        assert len(practice.index.pending(patient.patient_id)) == 4
        again = finished(await imported(practice, (folder / "bundle.json").read_bytes()))
        assert len(again.records) == {"before": 4, "after": 0}[moment]
        assert practice.index.pending() == []
        assert len(practice.index.written(patient.patient_id)) == 4
        own = await custodial_owner(practice).read_own()
        names = [item.name for record in own.opened.values() for item in record.manifest.items]
        assert len(names) == len(set(names)) == 4


async def test_an_import_waits_only_so_long_for_what_is_undecided(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bundle_of("undecided", ["a"])
    patient_id = finished(await imported(practice, bundle)).patient_id
    head = await practice.network.head()
    practice.index.put_pending(
        [PendingRecord(os.urandom(32), patient_id, "labs", "2020-01-01", bytes(32), bytes(32), head + 10_000)]
    )
    monkeypatch.setattr(importing, "SETTLE_WAIT_S", 0.0)
    with pytest.raises(ImportUndecided):
        await imported(practice, bundle)
    assert await settle(practice) == 1


async def test_an_import_whose_reader_goes_away_leaves_nothing_locked_or_doubled(practice: Practice) -> None:
    bundle = bundle_of("goneaway", ["a", "b"])
    events = import_bundle(practice, bundle)
    await anext(events)
    await events.aclose()
    assert len(finished(await imported(practice, bundle)).records) == 3

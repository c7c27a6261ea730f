"""New words for an account whose old ones somebody may have: everything is found with the new, nothing new opens with the old."""

from __future__ import annotations

import os

import pytest
from tests.service.running import DAY_MS, bundle_of, identity_of_person
from tests.service.sdk.patients import FIRST_DAY, LAST_DAY, NOTES

from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.types.errors import HceError
from hce.service.gateway import granted
from hce.service.gateway.claiming import Claims
from hce.service.gateway.granted import collect
from hce.service.gateway.importing import Finished, import_bundle
from hce.service.gateway.practice import Practice
from hce.service.index.store import Patient
from hce.service.sdk.claiming import claim_account, finish_claim
from hce.service.sdk.errors import Remote
from hce.service.sdk.handovers import FoundOwner, OwnerReplaced, find_owner
from hce.service.sdk.owner import Owner
from hce.service.sdk.rotating import rotate_account
from hce.service.vault.claiming import card_key
from hce.service.vault.compartments import CompartmentKeys

WRITTEN = len(NOTES) + 1
WAIT_MS = 20_000


def fresh() -> SecretBytes:
    return SecretBytes(os.urandom(64))


async def found_by(practice: Practice, seed: SecretBytes) -> FoundOwner:
    found = await find_owner(practice.network, practice.clock, seed)
    assert found is not None
    return found


async def writes(practice: Practice, name: str, notes: list[str]) -> Patient:
    events = [event async for event in import_bundle(practice, bundle_of(name, notes))]
    assert isinstance(events[-1], Finished)
    patient = practice.index.patient(events[-1].patient_id)
    assert patient is not None
    return patient


async def enrolled(practice: Practice, name: str, owner: Owner) -> None:
    """With the identity of `bundle_of`, so that its records find them."""
    await practice.enrol(identity_of_person(name), await owner.card(), owner.token(practice.org_id, 1))


@pytest.fixture
def name() -> str:
    return os.urandom(6).hex()


@pytest.fixture
def seed() -> SecretBytes:
    return fresh()


@pytest.fixture
async def found(practice: Practice, name: str, seed: SecretBytes) -> FoundOwner:
    """Somebody with own words and records."""
    keys = CompartmentKeys(seed, 0)
    await practice.open_compartment(keys.owner_digest, keys.recovery_digest)
    made = await found_by(practice, seed)
    await enrolled(practice, name, made.owner)
    await writes(practice, name, NOTES)
    return made


async def test_new_words_find_the_old_records_and_the_old_words_are_told_so(
    practice: Practice, name: str, seed: SecretBytes, found: FoundOwner
) -> None:
    new_seed = fresh()
    rotated = await rotate_account(practice.network, practice.clock, found, seed, new_seed)
    assert rotated.owner.compartment_id == found.owner.compartment_id
    again = await found_by(practice, new_seed)
    await enrolled(practice, name, again.owner)
    await writes(practice, name, [*NOTES, "new"])
    for owner in (rotated.owner, again.owner):
        read = await owner.read_own()
        assert (len(read.opened), read.refused) == (WRITTEN + 1, {})
    with pytest.raises(OwnerReplaced):
        await find_owner(practice.network, practice.clock, seed)
    with pytest.raises(Remote, match="not_current_owner"):
        await found.owner.read_own()


async def test_a_grant_of_before_ends_and_a_new_one_opens_everything(
    practice: Practice, seed: SecretBytes, found: FoundOwner
) -> None:
    old = await _granted(practice, found.owner)
    rotated = await rotate_account(practice.network, practice.clock, found, seed, fresh())
    with pytest.raises(HceError, match="release"):
        await granted.read(practice, old, [], "after the rotation")
    read = await granted.read(practice, await _granted(practice, rotated.owner), [], "under the new grant")
    assert (len(read.opened), read.refused) == (WRITTEN, {})


async def test_a_rotation_that_breaks_off_before_its_block_changes_nothing(
    practice: Practice, seed: SecretBytes, found: FoundOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut(*_: object) -> None:
        raise ConnectionError

    new_seed = fresh()
    with monkeypatch.context() as broken:
        broken.setattr(practice.network, "transact", cut)
        with pytest.raises(ConnectionError):
            await rotate_account(practice.network, practice.clock, found, seed, new_seed)
    assert await find_owner(practice.network, practice.clock, new_seed) is None
    assert len((await (await found_by(practice, seed)).owner.read_own()).opened) == WRITTEN
    await rotate_account(practice.network, practice.clock, found, seed, new_seed)
    assert len((await (await found_by(practice, new_seed)).owner.read_own()).opened) == WRITTEN


async def test_a_claimed_account_is_rotated_and_both_times_before_are_read(
    practice: Practice, name: str, seed: SecretBytes
) -> None:
    patient = await writes(practice, name, NOTES)
    claims, network = Claims(practice), practice.network
    card = await claims.print_card(patient.patient_id)
    claimed = await claim_account(network, practice.clock, seed, card_key(card.code), practice.org_id, claims)
    await finish_claim(claimed, practice.org_id, 1, claims)
    await writes(practice, name, [*NOTES, "second"])
    await _rested(practice, claimed.owner)
    new_seed = fresh()
    await rotate_account(network, practice.clock, claimed, seed, new_seed)
    with pytest.raises(OwnerReplaced):
        await find_owner(network, practice.clock, seed)
    again = await found_by(practice, new_seed)
    await enrolled(practice, name, again.owner)
    await writes(practice, name, [*NOTES, "second", "third"])
    read = await again.owner.read_own()
    assert (len(read.opened), read.refused) == (WRITTEN + 2, {})
    assert again.owner.reading_epoch == 2
    opened = await granted.read(practice, await _granted(practice, again.owner), [], "all three feeds")
    assert (len(opened.opened), opened.refused) == (WRITTEN + 2, {})


async def _granted(practice: Practice, owner: Owner) -> bytes:
    request = await granted.ask(practice, await practice.writer(), "treatment", "read", FIRST_DAY, LAST_DAY)
    made = await owner.grant(request, lasts_ms=DAY_MS, date_from=FIRST_DAY, date_to=LAST_DAY)
    assert (await collect(practice)).grants == [made.grant_id.hex()]
    return made.grant_id


async def _rested(practice: Practice, owner: Owner) -> None:
    """A key that rotated waits some blocks before it rotates again."""
    allowed = (await owner.compartment()).grants_valid_from + practice.network.genesis.params.rotation_blocks
    await practice.network.any_node(lambda node: node.block(allowed, WAIT_MS))

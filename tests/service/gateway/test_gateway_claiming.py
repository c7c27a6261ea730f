"""A person takes over the account a hospital kept for them: with a card, once, for keys of their own."""

from __future__ import annotations

import os
from typing import Any

import httpx
import msgspec
import pytest
from msgspec import structs
from tests.service.running import DAY_MS, ManualClock, bundle_of
from tests.service.sdk.patients import FIRST_DAY, LAST_DAY, NOTES

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.secret import SecretBytes
from hce.service.gateway import granted
from hce.service.gateway.claiming import (
    HOUR_MS,
    CardExpired,
    CardUnknown,
    CardUsed,
    ClaimFinished,
    Claims,
    ClaimUnderWay,
    NotCustodial,
    PrintedCard,
    TooManyClaims,
)
from hce.service.gateway.granted import collect
from hce.service.gateway.http import make_app
from hce.service.gateway.importing import Finished, import_bundle
from hce.service.gateway.practice import Practice
from hce.service.index.store import Patient
from hce.service.keyring.errors import AccountClaimed
from hce.service.sdk.claiming import AccountExists, ClaimDesk, ClaimNotOurs, claim_account
from hce.service.sdk.errors import Failed, Remote
from hce.service.sdk.handovers import OwnerReplaced, find_owner
from hce.service.sdk.owner import Owner
from hce.service.terms.claims import ClaimAnswer, ClaimFinish, SignedClaim
from hce.service.terms.handovers import EarlierOwner, EarlierSeed
from hce.service.terms.payloads import CompartmentRotate
from hce.service.vault.claiming import answer_claim, card_key, make_claim
from hce.service.vault.compartments import CompartmentKeys
from hce.service.vault.errors import CardInvalid, ClaimInvalid, HandoverInvalid

WRITTEN = len(NOTES) + 1
"""Records of one patient: the observations, and who they are."""


class Person:
    """Somebody with words and, maybe, a card."""

    def __init__(self, practice: Practice) -> None:
        self.practice = practice
        self.seed = os.urandom(64)

    @property
    def keys(self) -> CompartmentKeys:
        return CompartmentKeys(SecretBytes(self.seed), 0)

    def claim(self, card: PrintedCard) -> SignedClaim:
        return make_claim(self.keys, card_key(card.code), self.practice.network.chain, self.practice.org_id)

    async def take_over(self, card: PrintedCard, desk: ClaimDesk) -> Owner:
        found = await claim_account(
            self.practice.network, self.practice.clock, SecretBytes(self.seed), card_key(card.code), self.practice.org_id, desk
        )
        return found.owner

    async def found(self) -> Owner:
        found = await find_owner(self.practice.network, self.practice.clock, SecretBytes(self.seed))
        assert found is not None
        return found.owner

    async def finish(self, token: bool = True) -> ClaimFinish:
        found = await find_owner(self.practice.network, self.practice.clock, SecretBytes(self.seed))
        assert found is not None
        assert found.handover is not None
        given = found.owner.token(self.practice.org_id, 1) if token else None
        return ClaimFinish(found.handover, await found.owner.card(), given)


class HttpDesk:
    """The same desk over its gateway's HTTP."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def claim(self, signed: SignedClaim) -> ClaimAnswer:
        told = await self._http.post("/v1/claims", json={"signed": encode(signed).hex()})
        assert told.status_code == 200, told.text
        return decode_as(ClaimAnswer, bytes.fromhex(told.json()["answer"]))

    async def finish(self, finish: ClaimFinish) -> None:
        told = await self._http.post("/v1/claims/finish", json={"signed": encode(finish).hex()})
        assert told.status_code == 200, told.text


class LyingDesk:
    """A hospital that answers as if it had handed the account over."""

    def __init__(self, answer: ClaimAnswer) -> None:
        self.answer = answer

    async def claim(self, signed: SignedClaim) -> ClaimAnswer:
        return self.answer

    async def finish(self, finish: ClaimFinish) -> None:
        raise AssertionError("nothing is finished")


@pytest.fixture
async def patient(practice: Practice) -> Patient:
    """Somebody the hospital wrote records for."""
    return await written_for(practice, NOTES)


@pytest.fixture
def claims(practice: Practice) -> Claims:
    return Claims(practice)


@pytest.fixture
def person(practice: Practice) -> Person:
    return Person(practice)


async def written_for(practice: Practice, notes: list[str], name: str = "", patient_id: str | None = None) -> Patient:
    bundle = bundle_of(name or os.urandom(6).hex(), notes)
    events = [event async for event in import_bundle(practice, bundle, patient_id=patient_id)]
    last = events[-1]
    assert isinstance(last, Finished)
    found = practice.index.patient(last.patient_id)
    assert found is not None
    return found


def custodial_keys(practice: Practice, patient: Patient) -> CompartmentKeys:
    assert patient.custodial_id is not None
    return practice.keyring.custodial_keys(bytes.fromhex(patient.custodial_id))


async def claimed(claims: Claims, person: Person, patient: Patient) -> Owner:
    card = await claims.print_card(patient.patient_id)
    owner = await person.take_over(card, claims)
    await claims.finish(await person.finish())
    return owner


async def test_old_records_open_with_the_persons_own_words(
    practice: Practice, claims: Claims, patient: Patient, person: Person
) -> None:
    owner = await claimed(claims, person, patient)
    assert owner.compartment_id == patient.compartment_id, "the account stays the same one"
    read = await owner.read_own()
    assert (len(read.opened), read.refused) == (WRITTEN, {})
    assert read.both_locks_checked == WRITTEN


async def test_what_is_written_afterwards_lies_beside_what_was_before(practice: Practice, claims: Claims, person: Person) -> None:
    name = os.urandom(6).hex()
    patient = await written_for(practice, NOTES, name)
    owner = await claimed(claims, person, patient)
    again = await written_for(practice, [*NOTES, "new"], name)
    assert (again.patient_id, again.custodial_id) == (patient.patient_id, None)
    read = await owner.read_own()
    assert (len(read.opened), read.refused) == (WRITTEN + 1, {})


async def test_a_grant_of_the_new_owner_opens_old_and_new_records(practice: Practice, claims: Claims, person: Person) -> None:
    name = os.urandom(6).hex()
    owner = await claimed(claims, person, await written_for(practice, NOTES, name))
    await written_for(practice, [*NOTES, "new"], name)
    request = await granted.ask(practice, await practice.writer(), "treatment", "read", FIRST_DAY, LAST_DAY)
    made = await owner.grant(request, lasts_ms=DAY_MS, date_from=FIRST_DAY, date_to=LAST_DAY)
    assert (await collect(practice)).grants == [made.grant_id.hex()]
    result = await granted.read(practice, made.grant_id, [], "all of it")
    assert (len(result.opened), result.refused) == (WRITTEN + 1, {})
    report = await owner.audit([made])
    assert report.findings == []
    assert len(report.reads) == 1


async def test_the_log_says_what_the_custodian_read(practice: Practice, claims: Claims, patient: Patient, person: Person) -> None:
    keys = custodial_keys(practice, patient)
    await Owner(practice.network, practice.clock, keys).read_own()
    owner = await claimed(claims, person, patient)
    await owner.read_own()
    told = [one for receipt in (await owner.own_reads()).receipts for one in receipt.by]
    by_custodian = [one for one in told if one.owner_key == keys.owner.public]
    by_person = [one for one in told if one.owner_key == owner.keys.owner.public]
    assert [one.records for one in by_custodian] == [WRITTEN]
    assert [one.records for one in by_person] == [WRITTEN]


async def test_after_the_claim_the_hospital_neither_reads_nor_rotates_nor_grants(
    practice: Practice, claims: Claims, patient: Patient, person: Person
) -> None:
    keys = custodial_keys(practice, patient)
    before = CompartmentKeys(SecretBytes(practice.keyring.custodial_seed(bytes.fromhex(patient.custodial_id or "")).seed), 0)
    await claimed(claims, person, patient)
    with pytest.raises(AccountClaimed):
        custodial_keys(practice, patient)
    kept_back = Owner(practice.network, practice.clock, before)
    with pytest.raises(Remote, match="not_current_owner"):
        await kept_back.read_own()  # a copy of the keys: no node gives owner wraps to it
    back = CompartmentRotate(patient.compartment_id, keys.owner_digest, keys.recovery_digest)
    for role, key in (("recovery", before.recovery), ("owner", before.owner)):
        with pytest.raises((Remote, Failed), match="wrong_key"):
            await practice.network.transact("compartment.rotate", back, None, [(role, key)])
    request = await granted.ask(practice, await practice.writer(), "treatment", "read", FIRST_DAY, LAST_DAY)
    with pytest.raises(Remote, match="not_current_owner"):
        await kept_back.grant(request, lasts_ms=DAY_MS, date_from=FIRST_DAY, date_to=LAST_DAY)


async def test_a_card_is_used_once(practice: Practice, claims: Claims, patient: Patient, person: Person) -> None:
    card = await claims.print_card(patient.patient_id)
    await person.take_over(card, claims)
    thief = Person(practice)
    with pytest.raises(CardUsed):
        await claims.claim(thief.claim(card))
    await claims.finish(await person.finish())
    with pytest.raises(CardUsed):
        await claims.claim(thief.claim(card))
    with pytest.raises(ClaimFinished):
        await claims.claim(person.claim(card))
    with pytest.raises(NotCustodial):
        await claims.print_card(patient.patient_id)


async def test_an_expired_card_is_worth_nothing(practice: Practice, claims: Claims, patient: Patient, person: Person) -> None:
    card = await claims.print_card(patient.patient_id, days=1)
    assert isinstance(practice.clock, ManualClock)
    practice.clock.ahead_ms += DAY_MS
    with pytest.raises(CardExpired):
        await claims.claim(person.claim(card))
    practice.clock.ahead_ms -= DAY_MS
    state = await Owner(practice.network, practice.clock, custodial_keys(practice, patient)).compartment()
    assert state.version == 1, "nothing happened"


async def test_a_new_card_voids_the_one_before(claims: Claims, patient: Patient, person: Person) -> None:
    lost = await claims.print_card(patient.patient_id)
    card = await claims.print_card(patient.patient_id)
    with pytest.raises(CardUnknown):
        await claims.claim(person.claim(lost))
    await claims.claim(person.claim(card))


async def test_wrong_cards_are_refused_and_soon_not_answered_while_ours_always_are(
    practice: Practice, patient: Patient, person: Person
) -> None:
    claims = Claims(practice, unknown_per_hour=2)
    card = await claims.print_card(patient.patient_id)
    guessed = make_claim(
        person.keys, CompartmentKeys(SecretBytes(os.urandom(64)), 0).owner, practice.network.chain, practice.org_id
    )
    for _ in range(2):
        with pytest.raises(CardUnknown):
            await claims.claim(guessed)
    with pytest.raises(TooManyClaims):
        await claims.claim(guessed)
    await claims.claim(person.claim(card))
    assert isinstance(practice.clock, ManualClock)
    practice.clock.ahead_ms += HOUR_MS
    with pytest.raises(CardUnknown):
        await claims.claim(guessed)
    practice.clock.ahead_ms -= HOUR_MS


async def test_a_claim_names_its_organisation_and_both_keys_sign_it(
    practice: Practice, claims: Claims, patient: Patient, person: Person
) -> None:
    card = await claims.print_card(patient.patient_id)
    other = make_claim(person.keys, card_key(card.code), practice.network.chain, bytes(32))
    with pytest.raises(ClaimInvalid):
        await claims.claim(other)
    good = person.claim(card)
    thief = Person(practice).keys
    stolen = structs.replace(
        good.claim, owner_key=thief.owner.public, recovery_digest=thief.recovery_digest, root_key=thief.root.public
    )
    for bad in (
        structs.replace(good, claim=stolen),
        structs.replace(good, owner_signature=bytes(64)),
        structs.replace(good, card_signature=bytes(64)),
    ):
        with pytest.raises(ClaimInvalid):
            await claims.claim(bad)
    await claims.claim(good)


async def test_a_claim_that_broke_off_is_taken_up_again(
    practice: Practice, claims: Claims, patient: Patient, person: Person
) -> None:
    """Before the rotation, before the answer arrived, before the keys were kept, before the hospital forgot: each time once more."""
    card = await claims.print_card(patient.patient_id)
    signed = person.claim(card)
    keys = custodial_keys(practice, patient)
    practice_seed = SecretBytes(practice.keyring.custodial_seed(bytes.fromhex(patient.custodial_id or "")).seed)
    rotation = CompartmentRotate(patient.compartment_id, person.keys.owner_digest, person.keys.recovery_digest)
    await practice.network.transact("compartment.rotate", rotation, None, [("recovery", keys.recovery)])  # and then it was killed
    assert await find_owner(practice.network, practice.clock, SecretBytes(person.seed)) is None, "the words do not find it yet"
    with pytest.raises(ClaimUnderWay):
        await claims.print_card(patient.patient_id)
    await claims.claim(signed)
    assert isinstance(practice.clock, ManualClock)
    owner = await person.take_over(card, Claims(practice))
    assert len((await owner.read_own()).opened) == WRITTEN
    finish = await person.finish(token=False)
    await claims.finish(finish)
    await claims.finish(finish)
    with pytest.raises(OwnerReplaced):
        await find_owner(practice.network, practice.clock, practice_seed)
    found = practice.index.patient(patient.patient_id)
    assert found is not None
    assert found.custodial_id is None


async def test_a_hospital_that_only_says_so_is_not_believed(
    practice: Practice, claims: Claims, patient: Patient, person: Person
) -> None:
    """The right keys, sealed for the right person, and no rotation: the hospital could still read everything."""
    card = await claims.print_card(patient.patient_id)
    keys = custodial_keys(practice, patient)
    seeds = [practice.keyring.custodial_seed(bytes.fromhex(patient.custodial_id or ""))]
    owners = [EarlierOwner(keys.owner.public, 0, 0)]
    answer = answer_claim(person.claim(card).claim, patient.compartment_id, seeds, owners)
    with pytest.raises(ClaimNotOurs):
        await person.take_over(card, LyingDesk(answer))
    stranger = EarlierSeed(os.urandom(64), 0)
    forged = answer_claim(person.claim(card).claim, patient.compartment_id, [stranger], owners)
    with pytest.raises(HandoverInvalid):
        await person.take_over(card, LyingDesk(forged))


async def test_words_that_have_an_account_take_over_no_other(
    practice: Practice, claims: Claims, patient: Patient, person: Person
) -> None:
    await practice.open_compartment(person.keys.owner_digest, person.keys.recovery_digest)
    card = await claims.print_card(patient.patient_id)
    with pytest.raises(AccountExists):
        await person.take_over(card, claims)


async def test_an_account_opened_for_somebody_elses_keys_hides_nothing_from_them(
    practice: Practice, claims: Claims, patient: Patient, person: Person
) -> None:
    """A rotation names both digests on chain, and opening a compartment with them takes nobody's signature but a payer's."""
    await claimed(claims, person, patient)
    decoy = await practice.open_compartment(person.keys.owner_digest, person.keys.recovery_digest)
    owner = await person.found()
    assert owner.compartment_id == patient.compartment_id != decoy
    assert len((await owner.read_own()).opened) == WRITTEN


async def test_the_hospital_forgets_nothing_before_the_keys_are_kept(
    practice: Practice, claims: Claims, patient: Patient, person: Person
) -> None:
    card = await claims.print_card(patient.patient_id)
    await person.take_over(card, claims)
    finish = await person.finish()
    forged = structs.replace(finish.handover, signature=bytes(64))
    with pytest.raises(HandoverInvalid):
        await claims.finish(structs.replace(finish, handover=forged))
    custodial_keys(practice, patient)


async def test_nobody_else_learns_who_is_a_patient_here(
    practice: Practice, claims: Claims, patient: Patient, person: Person
) -> None:
    """Compartments are public on the chain: one after the other could be asked for."""
    owner = await claimed(claims, person, patient)
    finish = await person.finish(token=False)
    elsewhere = CompartmentKeys(SecretBytes(os.urandom(64)), 0)
    stranger = await practice.open_compartment(elsewhere.owner_digest, elsewhere.recovery_digest)
    for name in (owner.compartment_id, stranger):
        asked = structs.replace(finish.card, card=structs.replace(finish.card.card, compartment_id=name), signature=bytes(64))
        with pytest.raises(CardInvalid):
            await claims.finish(structs.replace(finish, card=asked))


async def test_nobody_without_the_token_prints_cards_and_anybody_may_claim(
    practice: Practice, patient: Patient, person: Person
) -> None:
    app = make_app(practice, SecretBytes(b"0f" * 32), dict)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http:
        path = f"/v1/patients/{patient.patient_id}/claim-card"
        assert (await http.post(path, json={})).status_code == 401
        answer = await http.post(path, json={"days": 7}, headers={"authorization": "Bearer " + "0f" * 32})
        card: dict[str, Any] = answer.json()
        await person.take_over(msgspec.convert(card, PrintedCard), HttpDesk(http))
        finished = await http.post("/v1/claims/finish", json={"signed": encode(await person.finish()).hex()})
        assert (finished.status_code, finished.json()) == (200, {})
        refused = await http.post("/v1/claims", json={"signed": "00"})
        assert (refused.status_code, refused.json()["code"]) == (400, "malformed")

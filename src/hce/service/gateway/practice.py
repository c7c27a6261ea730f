"""The organisation behind the gateway: its certificate, its staff, its patients."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec
from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.clock import Clock
from hce.foundation.types.errors import NotFound, Refused
from hce.service.fhir.identity import PatientIdentity
from hce.service.gateway.cards import feed_of, published_card
from hce.service.gateway.people import absolute_names, identity_of, may_be_one, only_match, require_could_be
from hce.service.gateway.securing import Outbox
from hce.service.index.store import Index, Patient
from hce.service.keyring.keyring import Clinician, CustodialAccount, Keyring
from hce.service.sdk.errors import Failed, Remote
from hce.service.sdk.network import Network
from hce.service.sdk.owner import Owner
from hce.service.terms import payloads
from hce.service.terms.certification import CredentialNotCertified, require_credential, require_organisation
from hce.service.terms.grants import CLOCK_SKEW_MS, ContactCard, SignedCard, SignedToken
from hce.service.terms.payloads import CompartmentOpen, CredentialBody, OrganisationCertificate, Power
from hce.service.terms.states import CredentialState, key_compartment, key_credential, key_organisation
from hce.service.vault.compartments import verify_card, verify_token
from hce.service.vault.errors import CardInvalid

STAFF_LIFE_MS = 365 * 24 * 3_600_000
"""A credential this gateway issues is dead after a year, or with its organisation."""
RENEW_BEFORE_MS = 30 * 24 * 3_600_000
"""A credential with less than this to live is replaced."""
COMMIT_VALID_BLOCKS = 120
"""How long a batch may take to become final. After a kill nothing more is written for its person until it is final or dead."""
OWN_ACCOUNT = "organisation"
"""patient_id under which the index keeps the organisation's own compartment; those of people are 16 hex digits."""
MAX_CALLED = 32
"""Names on servers that are remembered of one person, the latest."""
SOMEBODY_NEW = "new"
"""patient_id with which somebody says: these are none of the people here that they may look like."""
OWN_SYSTEM = "urn:hce:organisation"
TOKEN_SERIAL = 0
"""Serial of the first write token of a custodial account."""


class StaffMember(Struct, frozen=True):
    """Somebody the organisation wants certified."""

    name: str
    powers: list[Power]


class PatientUnknown(NotFound):
    """This organisation has no patient of that id."""

    code = "patient.unknown"


class CompartmentUnknown(Refused):
    """The card's compartment is not on the final chain."""

    code = "compartment.unknown"
    status = 404


class _Coming(NamedTuple):
    """Somebody who is looked up or taken in now."""

    identity: PatientIdentity
    gone: asyncio.Event


class Practice:
    """State of one gateway. All methods may be called from one event loop."""

    def __init__(
        self,
        network: Network,
        keyring: Keyring,
        index: Index,
        outbox: Outbox,
        clock: Clock,
        commit_valid_blocks: int = COMMIT_VALID_BLOCKS,
    ) -> None:
        self.network = network
        self.keyring = keyring
        self.index = index
        self.outbox = outbox
        self.clock = clock
        self.keys = keyring.organisation()
        self.commit_valid_blocks = commit_valid_blocks
        self.collecting = asyncio.Lock()
        """Held while the inbox is looked through: an offer is taken once."""
        self._coming: list[_Coming] = []
        self._writing: dict[str, asyncio.Lock] = {}
        self.org_id = payloads.org_id(network.chain, self.keys.signing.public)

    @property
    def payer(self) -> tuple[bytes, SigningKey]:
        """Who pays for this organisation's transactions, and the key that countersigns."""
        return self.org_id, self.keys.signing

    def writing_for(self, patient_id: str) -> asyncio.Lock:
        """Held while records are written for a person: two imports of one Bundle write it once."""
        return self._writing.setdefault(patient_id, asyncio.Lock())

    async def certificate(self) -> OrganisationCertificate:
        """The organisation's proven certificate; raises `OrganisationNotCertified`."""
        reader = await self.network.reader(key_organisation(self.org_id))
        state = require_organisation(reader, self.org_id, None, self.network.light.height, self.clock.now_ms())
        return state.certificate

    async def certify_staff(self, wanted: Sequence[StaffMember]) -> list[Clinician]:
        """Issues a credential to everybody on the list who has none that lasts; called at start and daily.

        Whoever has one that is in force and lives for a while keeps it. Powers are cut to the organisation's own.
        """
        certificate = await self.certificate()
        now_ms = self.clock.now_ms()
        expires_at_ms = min(certificate.expires_at_ms, now_ms + STAFF_LIFE_MS)
        known = {person.name: person for person in self.keyring.clinicians()}
        named = [person.credential_id for person in known.values() if person.credential_id is not None]
        reader = await self.network.reader(*map(key_credential, named))
        for member in wanted:
            found = known.get(member.name)
            state = None if found is None or found.credential_id is None else reader.credential(found.credential_id)
            powers = sorted(set(member.powers) & set(certificate.powers))
            if not powers or (state is not None and not _is_due(state, now_ms, expires_at_ms)):
                continue
            person_key = found.person_key if found is not None else self.keyring.add_clinician(member.name).public
            body = CredentialBody(
                org_id=self.org_id,
                person_key=person_key,
                role="clinician",
                name=member.name,
                powers=powers,
                not_before_ms=max(certificate.not_before_ms, now_ms - CLOCK_SKEW_MS),
                expires_at_ms=expires_at_ms,
            )
            signers = [("organisation", self.keys.signing), ("payer", self.keys.signing)]
            await self.network.transact("credential.issue", body, self.org_id, signers)
            self.keyring.bind_credential(person_key, payloads.credential_id(self.network.chain, body))
        return self.keyring.clinicians()

    async def writer(self) -> bytes:
        """credential_id of the first of the staff who may write now."""
        names = [person.credential_id for person in self.keyring.clinicians() if person.credential_id is not None]
        for name in names:
            try:
                await self.require_author(name)
            except CredentialNotCertified:
                continue
            return name
        raise NotFound("nobody of the staff may write")

    async def require_author(self, credential_id: bytes) -> SigningKey:
        """The key of one of the staff who may write now: what they seal is readable to others.

        Raises `KeyNotFound` (not of this staff), `CredentialNotCertified`, `OrganisationNotCertified`.
        """
        key = self.keyring.clinician(credential_id)
        reader = await self.network.reader(key_credential(credential_id), key_organisation(self.org_id))
        height, now_ms = self.network.light.height, self.clock.now_ms()
        require_organisation(reader, self.org_id, "write", height, now_ms)
        state = require_credential(reader, credential_id, "write", height, now_ms)
        if state.body.person_key != key.public:
            raise CredentialNotCertified("of another key", credential_id=credential_id.hex())
        return key

    async def open_compartment(self, owner_digest: bytes, recovery_digest: bytes) -> bytes:
        """Opens a person's compartment at this organisation's expense; its id. Opening it again finds it open."""
        payload = CompartmentOpen(owner_digest, recovery_digest)
        name = payloads.compartment_id(self.network.chain, payload)
        if (await self.network.reader(key_compartment(name))).compartment(name) is None:
            try:
                await self.network.transact("compartment.open", payload, self.org_id, [("payer", self.keys.signing)])
            except (Failed, Remote) as error:  # an opening that was on its way when this process was killed
                if error.code != "compartment.exists":
                    raise
        return name

    async def enrol(self, identity: PatientIdentity, card: SignedCard | None, token: SignedToken) -> Patient:
        """Takes a person with own keys into the index: card and token are checked against the final chain.

        Without a card, the one they published for the token's feed. Raises `CardInvalid`, `TokenInvalid`, `CompartmentUnknown`.
        """
        now_ms = self.clock.now_ms()
        compartment = token.token.compartment_id if card is None else card.card.compartment_id
        owner_digest = await self._owner_digest(compartment)
        if card is None:
            feed = (compartment, token.owner_key, token.feed_read_key)
            card = await published_card(self.network, self.clock, feed, owner_digest)
        if card is None:
            raise CardInvalid("none is published", compartment_id=compartment.hex())
        checked = verify_card(card, self.network.chain, now_ms, owner_digest)
        verify_token(token, self.network.chain, self.org_id, checked, now_ms)
        return self._remember(identity, None, card, token)

    async def patient_for(self, identity: PatientIdentity, patient_id: str | None) -> Patient:
        """Whose records these are: the named patient, one whose identity matches, or a new custodial account (`SOMEBODY_NEW` makes one
        also for somebody who may look like a patient here).

        Raises `NotThatPerson` when a named patient does not match, when a match is unclear or when there are several: a person has to
        look (F36). `Unidentifiable` when the Bundle says too little about anybody to be found again.
        """
        async with self._alone(identity):
            if patient_id not in (None, SOMEBODY_NEW):
                return self._call(self._named_patient(identity, patient_id), identity)
            found = only_match(self.people(), identity, somebody_new=patient_id == SOMEBODY_NEW)
            return await self._take_custody(identity) if found is None else self._call(found, identity)

    def released(self, patient: Patient, card: SignedCard, token: SignedToken | None) -> None:
        """Somebody took their account over: what is written for them is sealed to their own card from now on.

        Without a token of theirs it waits in quarantine until they accept it.
        """
        own = encode(token) if token is not None else patient.token
        self.index.put_patient(msgspec.structs.replace(patient, custodial_id=None, card=encode(card), token=own))

    async def own_account(self) -> Patient:
        """The organisation's own compartment, for what it keeps about itself; its keys are in the keyring like those of other accounts."""
        found = self.index.patient(OWN_ACCOUNT)
        if found is not None:
            return found
        name = (await self.certificate()).name
        identity = PatientIdentity((), (), "", ((OWN_SYSTEM, self.org_id.hex()),), name)
        async with self._alone(identity):
            return self.index.patient(OWN_ACCOUNT) or await self._take_custody(identity, OWN_ACCOUNT)

    @asynccontextmanager
    async def _alone(self, identity: PatientIdentity) -> AsyncGenerator[None, None]:
        """Held while a person is looked up or taken in: two imports of one stranger make one account, and strangers who are surely two
        do not wait for each other's blocks.
        """
        while (near := next((one for one in self._coming if may_be_one(identity, one.identity)), None)) is not None:
            await near.gone.wait()
        coming = _Coming(identity, asyncio.Event())
        self._coming.append(coming)
        try:
            yield
        finally:
            self._coming.remove(coming)
            coming.gone.set()

    def people(self) -> list[Patient]:
        """Everybody enrolled here, without the organisation's own account."""
        return [patient for patient in self.index.patients() if patient.patient_id != OWN_ACCOUNT]

    def enrolled(self, patient_id: str) -> Patient:
        """One of these; `PatientUnknown`."""
        patient = self.index.patient(patient_id)
        if patient is None or patient_id == OWN_ACCOUNT:
            raise PatientUnknown(patient_id=patient_id)
        return patient

    def _named_patient(self, identity: PatientIdentity, patient_id: str) -> Patient:
        """Whom somebody who has looked says it is; `PatientUnknown`, `NotThatPerson`."""
        patient = self.enrolled(patient_id)
        require_could_be(patient, identity)
        return patient

    def _call(self, patient: Patient, identity: PatientIdentity) -> Patient:
        """Remembers what else a known person is called: later exports may hold what is theirs and not their Patient."""
        before = identity_of(patient)
        fresh = [name for name in absolute_names(identity) if name not in before.called]
        if not fresh:
            return patient
        called = msgspec.structs.replace(before, called=(*before.called, *fresh)[-MAX_CALLED:])
        patient = msgspec.structs.replace(patient, identity=msgspec.json.encode(called))
        self.index.put_patient(patient)
        return patient

    async def card_to_seal(self, patient: Patient) -> ContactCard:
        """The card to seal to, checked against the final chain.

        A custodial account's is made anew; a person's own is fetched from the nodes, or, when none has one, the last that was seen
        while it lives. Raises `CardInvalid` when that has expired or its owner key is no longer the compartment's.
        """
        owner_digest = await self._owner_digest(patient.compartment_id)
        if patient.custodial_id is not None:
            signed = await self._custodial_owner(bytes.fromhex(patient.custodial_id)).card()
            return verify_card(signed, self.network.chain, self.clock.now_ms(), owner_digest)
        feed = feed_of(decode_as(SignedCard, patient.card))
        published = await published_card(self.network, self.clock, feed, owner_digest)
        known = self.index.patient(patient.patient_id) or patient  # what was learned meanwhile stays
        last = decode_as(SignedCard, known.card)
        if published is not None and published.card.issued_ms > last.card.issued_ms:
            last = published
            self.index.put_card(patient.patient_id, encode(last))
        return verify_card(last, self.network.chain, self.clock.now_ms(), owner_digest)

    async def _owner_digest(self, compartment: bytes) -> bytes:
        state = (await self.network.reader(key_compartment(compartment))).compartment(compartment)
        if state is None:
            raise CompartmentUnknown(compartment_id=compartment.hex())
        return state.owner_digest

    def _custodial_owner(self, account_id: bytes) -> Owner:
        return Owner(self.network, self.clock, self.keyring.custodial_keys(account_id))

    async def _take_custody(self, identity: PatientIdentity, patient_id: str | None = None) -> Patient:
        """An account for somebody without keys: kept here, marked so, claimed later. `patient_id` for the organisation's own."""
        identifiers = [f"{system}|{value}" for system, value in identity.identifiers]
        account = self._orphan(identity.shown_name, identifiers) or self.keyring.new_custodial(identity.shown_name, identifiers)
        keys = self.keyring.custodial_keys(account.account_id)
        await self.open_compartment(keys.owner_digest, keys.recovery_digest)
        owner = self._custodial_owner(account.account_id)
        token = owner.token(self.org_id, TOKEN_SERIAL)
        return self._remember(identity, account.account_id.hex(), await owner.card(), token, patient_id)

    def _orphan(self, label: str, identifiers: list[str]) -> CustodialAccount | None:
        """An account made for this very person by a process that was killed before it was in the index: nothing is written to it yet."""
        indexed = {patient.custodial_id for patient in self.index.patients()}
        return next(
            (
                account
                for account in self.keyring.custodial_accounts()
                if not account.claimed
                and account.account_id.hex() not in indexed
                and (account.label, list(account.identifiers)) == (label, identifiers)
            ),
            None,
        )

    def _remember(
        self,
        identity: PatientIdentity,
        custodial_id: str | None,
        card: SignedCard,
        token: SignedToken,
        patient_id: str | None = None,
    ) -> Patient:
        same = next((one for one in self.index.patients() if one.compartment_id == card.card.compartment_id), None)
        patient = Patient(
            patient_id=same.patient_id if same else patient_id or os.urandom(8).hex(),
            label=identity.shown_name,
            identity=msgspec.json.encode(identity),
            custodial_id=custodial_id,
            compartment_id=card.card.compartment_id,
            card=encode(card),
            token=encode(token),
        )
        self.index.put_patient(patient)
        return patient


def _is_due(state: CredentialState, now_ms: int, could_expire_ms: int) -> bool:
    """Whether a credential should be issued anew: it is revoked, or ends soon and a new one would end later."""
    ends_soon = state.body.expires_at_ms - now_ms < RENEW_BEFORE_MS
    return state.revoked_height is not None or (ends_soon and state.body.expires_at_ms < could_expire_ms)

"""People come for what was kept for them: a card is printed once, and whoever holds it takes the account over with keys of their own.

    card      an account of ours, the public half of a key, a day on which it ends
    claim     signed by that key and by the owner key that is to be: our recovery key rotates the compartment to it, final on chain;
              the earlier keys go back, sealed for the claimant alone
    finish    the claimant has those keys at the nodes, under their own: we forget ours, and seal to their card from now on

Every step can be taken again after a break, by the same claimant; by anybody else none. Our custody ends on chain with the rotation,
whatever becomes of our own disk.
"""

from __future__ import annotations

from collections import deque
from contextlib import AbstractAsyncContextManager, nullcontext

from msgspec import Struct

from hce.foundation.types.errors import NotFound, Refused
from hce.service.gateway.practice import Practice
from hce.service.index.store import Patient
from hce.service.keyring.keyring import Claimant, ClaimCard
from hce.service.sdk.errors import Failed, Remote
from hce.service.sdk.handovers import keep_handover
from hce.service.sdk.owner import Owner
from hce.service.terms.claims import Claim, ClaimAnswer, ClaimFinish, SignedClaim
from hce.service.terms.handovers import EarlierOwner, SignedHandover
from hce.service.terms.payloads import CompartmentRotate, owner_digest
from hce.service.terms.states import CompartmentState, key_compartment
from hce.service.vault.claiming import answer_claim, card_key, new_code, verify_claim
from hce.service.vault.compartments import CompartmentKeys, verify_card, verify_token
from hce.service.vault.errors import HandoverInvalid
from hce.service.vault.handovers import verify_handover

DAY_MS = 24 * 3_600_000
CARD_DAYS = 30
"""Life of a card, where nothing else is said."""
MAX_CARD_DAYS = 365
HOUR_MS = 3_600_000
UNKNOWN_PER_HOUR = 60
"""Claims with cards we never printed that are answered in an hour. Cards we did print are always answered."""
CUSTODIAL_EPOCH = 0
"""The only reading epoch a custodial account is written in."""


class NotCustodial(Refused):
    """This person has own keys: there is nothing to hand over."""

    code = "claim.not_custodial"
    status = 409


class ClaimUnderWay(Refused):
    """Somebody has taken this account over with an earlier card: no other card can change that."""

    code = "claim.under_way"
    status = 409


class CardUnknown(NotFound):
    """No card of ours, or one in whose place another was printed."""

    code = "claim.card_unknown"


class CardExpired(Refused):
    """The card's time is over."""

    code = "claim.card_expired"
    status = 410


class CardUsed(Refused):
    """Somebody with other keys has used this card."""

    code = "claim.card_used"
    status = 409


class ClaimFinished(Refused):
    """The account is the claimant's, and nothing of it is left here: their words find it."""

    code = "claim.finished"
    status = 409


class TooManyClaims(Refused):
    """More claims with unknown cards in the last hour than are answered."""

    code = "claim.too_many"
    status = 429


class PrintedCard(Struct, frozen=True):
    """What goes on paper. The code is kept nowhere."""

    patient_id: str
    label: str
    org_id: str
    code: str
    expires_ms: int


class Claims:
    """One organisation's desk for cards."""

    def __init__(self, practice: Practice, unknown_per_hour: int = UNKNOWN_PER_HOUR) -> None:
        self._practice = practice
        self._unknown_per_hour = unknown_per_hour
        self._unknown_ms: deque[int] = deque()

    async def print_card(self, patient_id: str, days: int = CARD_DAYS) -> PrintedCard:
        """A card for a person whose keys we keep; one printed for them before is void.

        Raises `NotFound`, `NotCustodial`, `ClaimUnderWay`.
        """
        practice = self._practice
        patient = next((one for one in practice.people() if one.patient_id == patient_id), None)
        if patient is None:
            raise NotFound("patient", patient_id=patient_id)
        if patient.custodial_id is None:
            raise NotCustodial(patient_id=patient_id)
        account_id = bytes.fromhex(patient.custodial_id)
        async with practice.writing_for(patient_id):
            if practice.keyring.is_claimed(account_id):
                raise ClaimUnderWay(patient_id=patient_id)
            state = await self._state(patient.compartment_id)
            if state.owner_digest != practice.keyring.custodial_keys(account_id).owner_digest:
                raise ClaimUnderWay(patient_id=patient_id)
            code = new_code()
            expires_ms = practice.clock.now_ms() + days * DAY_MS
            practice.keyring.put_card(account_id, card_key(code).public, expires_ms)
        return PrintedCard(patient_id, patient.label, practice.org_id.hex(), code, expires_ms)

    async def claim(self, signed: SignedClaim) -> ClaimAnswer:
        """Makes the compartment the claimant's on chain; the keys of before. Asked again by the same claimant it answers again.

        Raises `ClaimInvalid`, `CardUnknown`, `TooManyClaims`, `CardExpired`, `CardUsed`, `ClaimFinished`.
        """
        practice = self._practice
        claim = verify_claim(signed, practice.network.chain, practice.org_id)
        account_id = self._known(claim).account_id
        async with self._alone(account_id):
            card = self._known(claim)  # as it is now that nobody else writes
            self._require_claimant(card, claim)
            if practice.keyring.is_claimed(account_id):
                raise ClaimFinished(card_key=claim.card_key.hex())
            if card.claimant is None:
                practice.keyring.use_card(claim.card_key, Claimant(claim.owner_key, claim.recovery_digest))
            keys = practice.keyring.custodial_keys(account_id)
            await self._rotate(keys, claim)
            earlier = EarlierOwner(keys.owner.public, CUSTODIAL_EPOCH, CUSTODIAL_EPOCH)
            name = keys.compartment_id(practice.network.chain)
            return answer_claim(claim, name, [practice.keyring.custodial_seed(account_id)], [earlier])

    async def finish(self, finish: ClaimFinish) -> None:
        """Forgets the keys of an account its owner has taken over, once quorum(n) nodes keep them for the owner. Done again it takes the
        card and the token of then.

        Everything is compared with the chain before anybody is looked up: who is a patient here, only an owner is told.
        Raises `CardInvalid`, `TokenInvalid`, `HandoverInvalid`, `HandoverNotKept`, `NotFound`.
        """
        practice = self._practice
        name = finish.card.card.compartment_id
        await self._require_owners(finish)
        patient = next((one for one in practice.people() if one.compartment_id == name), None)
        if patient is None:
            raise NotFound("patient", compartment_id=name.hex())
        async with practice.writing_for(patient.patient_id):
            patient = practice.index.patient(patient.patient_id) or patient
            await self._require_owners(finish)  # still, now that nobody else writes
            if patient.custodial_id is not None:
                await self._forget(bytes.fromhex(patient.custodial_id), finish.handover)
            practice.released(patient, finish.card, finish.token)

    async def _require_owners(self, finish: ClaimFinish) -> None:
        """Card, token and handover are those of the compartment's owner of now. Raises as `finish`."""
        network, now_ms = self._practice.network, self._practice.clock.now_ms()
        name = finish.card.card.compartment_id
        card = verify_card(finish.card, network.chain, now_ms, (await self._state(name)).owner_digest)
        if finish.token is not None:
            verify_token(finish.token, network.chain, self._practice.org_id, card, now_ms)
        handover = finish.handover.handover
        if handover.compartment_id != name:
            raise HandoverInvalid("another compartment than the card's", compartment_id=name.hex())
        verify_handover(finish.handover, network.chain, card.owner_key, handover.log_read_key)

    async def _forget(self, account_id: bytes, signed: SignedHandover) -> None:
        """Our copy of an account's keys goes when quorum(n) nodes keep them for whoever has taken it over."""
        practice = self._practice
        if practice.keyring.is_claimed(account_id):
            return
        if practice.keyring.custodial_keys(account_id).owner.public == signed.handover.owner_key:
            raise NotCustodial("these are the keys kept here")
        await keep_handover(practice.network, signed)
        practice.keyring.claimed(account_id)

    def _known(self, claim: Claim) -> ClaimCard:
        """The card this claim was signed with. Only strangers' cards count, so that nobody can use up the hour for holders of ours."""
        found = self._practice.keyring.card(claim.card_key)
        if found is not None:
            return found
        now_ms = self._practice.clock.now_ms()
        while self._unknown_ms and self._unknown_ms[0] <= now_ms - HOUR_MS:
            self._unknown_ms.popleft()
        if len(self._unknown_ms) >= self._unknown_per_hour:
            raise TooManyClaims(max_per_hour=self._unknown_per_hour)
        self._unknown_ms.append(now_ms)
        raise CardUnknown(card_key=claim.card_key.hex())

    def _require_claimant(self, card: ClaimCard, claim: Claim) -> None:
        """Who used a card may come back after its time; nobody else may use it."""
        if card.claimant is None:
            if self._practice.clock.now_ms() >= card.expires_ms:
                raise CardExpired(expires_ms=card.expires_ms)
        elif card.claimant != Claimant(claim.owner_key, claim.recovery_digest):
            raise CardUsed(card_key=claim.card_key.hex())

    def _alone(self, account_id: bytes) -> AbstractAsyncContextManager[None]:
        """Nothing is written for this person meanwhile."""
        patient = self._patient_of(account_id)
        return nullcontext() if patient is None else self._practice.writing_for(patient.patient_id)

    def _patient_of(self, account_id: bytes) -> Patient | None:
        return next((one for one in self._practice.people() if one.custodial_id == account_id.hex()), None)

    async def _rotate(self, keys: CompartmentKeys, claim: Claim) -> None:
        """Final on return: the compartment's keys are the claimant's. Raises `CardUsed` when they are somebody else's."""
        network = self._practice.network
        name = keys.compartment_id(network.chain)
        wanted = owner_digest(claim.owner_key), claim.recovery_digest
        state = await self._state(name)
        if state.owner_digest == keys.owner_digest:
            await Owner(network, self._practice.clock, keys).publish_card()  # every node learns whose the old feed is
            rotation = CompartmentRotate(name, *wanted)
            try:
                await network.transact("compartment.rotate", rotation, None, [("recovery", keys.recovery)])
            except (Failed, Remote):  # one that was on its way when this process was killed; the state tells
                if (await self._state(name)).owner_digest == keys.owner_digest:
                    raise
            state = await self._state(name)
        if (state.owner_digest, state.recovery_digest) != wanted:
            raise CardUsed(compartment_id=name.hex())

    async def _state(self, compartment_id: bytes) -> CompartmentState:
        found = (await self._practice.network.reader(key_compartment(compartment_id))).compartment(compartment_id)
        if found is None:
            raise NotFound("compartment", compartment_id=compartment_id.hex())
        return found

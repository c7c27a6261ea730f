"""Whom a gateway seals to: the card that is out now, checked against the owner key in force, the enrolled one only while it lives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from msgspec import structs
from tests.service.running import DAY_MS, LIAR, Liar, ManualClock, OneNode, TwoFaces, opened_owner

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.service.fhir.bundle import Entry
from hce.service.fhir.identity import identify
from hce.service.gateway.practice import Practice
from hce.service.index.store import Patient
from hce.service.sdk.owner import Owner
from hce.service.terms.grants import SignedCard
from hce.service.vault.compartments import CARD_LIFE_MS
from hce.service.vault.errors import CardInvalid


class CardBoard:
    """The part of a node that keeps published cards, by feed address; a test may put anything there."""

    def __init__(self) -> None:
        self.cards: dict[str, bytes] = {}
        self.posted = 0
        self.meanwhile: Callable[[], None] = lambda: None
        """Called while a card is on its way."""

    def answer(self, request: httpx.Request, honest: bytes) -> httpx.Response | None:
        path = request.url.path
        if path == "/v1/mailbox/card":
            signed = decode_as(SignedCard, request.content)
            self.posted += 1
            self.cards[self.feed] = encode(signed)
            return httpx.Response(200, stream=httpx.ByteStream(encode(None)))
        if path.startswith("/v1/cards/"):
            self.meanwhile()
            self.feed = path.rsplit("/", 1)[1]
            found = self.cards.get(self.feed)
            if found is None:
                return httpx.Response(404, stream=httpx.ByteStream(b'{"code": "not_found"}'))
            return httpx.Response(200, stream=httpx.ByteStream(found))
        return None


@pytest.fixture
async def board(node: OneNode, practice: Practice) -> AsyncIterator[CardBoard]:
    """The practice's only node keeps cards."""
    board, honest = CardBoard(), practice.network
    async with await TwoFaces.join([LIAR], node.home.genesis(), transport=Liar(node.url, board.answer)) as network:
        practice.network = network
        yield board
        practice.network = honest


@pytest.fixture
async def owner(board: CardBoard, practice: Practice) -> Owner:
    made = await opened_owner(practice)
    return Owner(practice.network, practice.clock, made.keys)


@pytest.fixture
async def patient(owner: Owner, practice: Practice) -> Patient:
    resource = {"resourceType": "Patient", "id": "p", "name": [{"family": "Cards"}], "birthDate": "1980-01-01"}
    identity = identify(Entry(0, "Patient", "p", "", b"", resource))
    return await practice.enrol(identity, await owner.card(), owner.token(practice.org_id, 1))


def later(practice: Practice, ms: int) -> None:
    assert isinstance(practice.clock, ManualClock)
    practice.clock.ahead_ms += ms


async def test_without_a_published_card_the_enrolled_one_serves_while_it_lives(practice: Practice, patient: Patient) -> None:
    assert await practice.card_to_seal(patient) == decode_as(SignedCard, patient.card).card
    later(practice, CARD_LIFE_MS)
    with pytest.raises(CardInvalid):
        await practice.card_to_seal(patient)


async def test_a_published_card_keeps_imports_going_after_thirty_days(practice: Practice, patient: Patient, owner: Owner) -> None:
    later(practice, CARD_LIFE_MS)
    published = await owner.publish_card()
    assert await practice.card_to_seal(patient) == published.card
    known = practice.index.patient(patient.patient_id)
    assert known is not None
    assert decode_as(SignedCard, known.card) == published, "remembered, for the day no node has it"


async def test_what_was_learned_while_the_card_was_fetched_stays(
    practice: Practice, patient: Patient, owner: Owner, board: CardBoard
) -> None:
    later(practice, DAY_MS)
    published = await owner.publish_card()
    renewed = structs.replace(patient, token=b"renewed", label="Learned")
    board.meanwhile = lambda: practice.index.put_patient(renewed)
    assert await practice.card_to_seal(patient) == published.card
    assert practice.index.patient(patient.patient_id) == structs.replace(renewed, card=encode(published))
    newest = structs.replace(published, card=structs.replace(published.card, issued_ms=published.card.issued_ms + 1))
    enrolled_anew = structs.replace(renewed, card=encode(newest))
    board.meanwhile = lambda: practice.index.put_patient(enrolled_anew)
    practice.index.put_patient(patient)
    with pytest.raises(CardInvalid):  # the one that came meanwhile, which nobody signed
        await practice.card_to_seal(patient)
    assert practice.index.patient(patient.patient_id) == enrolled_anew


async def test_an_owner_publishes_anew_before_the_card_ends_and_not_every_time(
    owner: Owner, practice: Practice, board: CardBoard
) -> None:
    await owner.publish_card()
    later(practice, DAY_MS)
    await owner.publish_card()
    assert board.posted == 1
    later(practice, 15 * DAY_MS)
    await owner.publish_card()
    assert board.posted == 2


async def test_what_another_signed_or_for_another_feed_is_not_sealed_to(
    practice: Practice, patient: Patient, owner: Owner, board: CardBoard
) -> None:
    later(practice, DAY_MS)
    published = await owner.publish_card()
    stranger = await opened_owner(practice)
    forged = structs.replace(published, card=structs.replace(published.card, reading_key=stranger.keys.reading(0).public))
    enrolled = decode_as(SignedCard, patient.card).card
    for lie in (encode(forged), encode(await stranger.card()), b"\xff"):
        board.cards = dict.fromkeys(board.cards, lie)
        assert await practice.card_to_seal(patient) == enrolled


async def test_a_card_published_at_a_real_node_is_fetched_from_it(practice: Practice) -> None:
    owner = await opened_owner(practice)
    enrolled = await owner.card()
    resource = {"resourceType": "Patient", "id": "p", "name": [{"family": "Published"}], "birthDate": "1981-01-01"}
    identity = identify(Entry(0, "Patient", "p", "", b"", resource))
    patient = await practice.enrol(identity, enrolled, owner.token(practice.org_id, 1))
    published = await owner.publish_card()
    assert published.card.issued_ms > enrolled.card.issued_ms
    assert await practice.card_to_seal(patient) == published.card
    assert await owner.publish_card() == published, "it lives long enough: nothing new was published"

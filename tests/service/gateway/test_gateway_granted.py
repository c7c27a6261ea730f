"""What the gateway pays for when somebody leaves an offer in its inbox: a grant that was asked for, once, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs
from tests.service.running import DAY_MS, LIAR, Liar, ManualClock, OneNode, TwoFaces, opened_owner

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.errors import Unavailable
from hce.service.gateway import granted
from hce.service.gateway.granted import FIRST_PAUSE_MS, MAX_TRIES, collect
from hce.service.gateway.practice import Practice
from hce.service.index.store import Held
from hce.service.sdk.mail import Mail
from hce.service.sdk.owner import OfferedGrant, Owner
from hce.service.terms.grants import AccessRequest
from hce.service.terms.mailbox import MailItem, MailPage
from hce.service.terms.payloads import CompartmentOpen, tank_address
from hce.service.terms.states import key_grant
from hce.service.terms.transactions import HealthBody, SignedHealthTx, make_body, parse_body, sign_tx
from hce.service.vault.granting import MadeGrant

FIRST_DAY, LAST_DAY = "2020-01-01", "2020-12-31"


async def asked(practice: Practice) -> AccessRequest:
    credential_id = next(one.credential_id for one in practice.keyring.clinicians() if one.credential_id)
    return await granted.ask(practice, credential_id, "treatment", "read", FIRST_DAY, LAST_DAY)


async def offered(owner: Owner, request: AccessRequest, **terms: Any) -> MadeGrant:
    return await owner.grant(request, **({"lasts_ms": DAY_MS, "date_from": FIRST_DAY, "date_to": LAST_DAY} | terms))


async def inbox_of(practice: Practice) -> list[MailItem]:
    mail = Mail(practice.network, practice.clock, [practice.org_id], practice.keys.signing)
    return await mail.walk(practice.network.nodes[0], "inbox")


async def is_on_chain(practice: Practice, made: MadeGrant) -> bool:
    return (await practice.network.reader(key_grant(made.grant_id))).grant(made.grant_id) is not None


async def test_an_offer_is_taken_held_and_cleared_from_the_inbox(practice: Practice) -> None:
    made = await offered(await opened_owner(practice), await asked(practice))
    found = await collect(practice)
    assert (found.grants, found.refused) == ([made.grant_id.hex()], {})
    assert [held.grant_id for held in practice.index.held()] == [made.grant_id]
    assert await inbox_of(practice) == []
    assert (await collect(practice)).grants == []


async def test_one_request_is_paid_for_once(practice: Practice) -> None:
    owner, request = await opened_owner(practice), await asked(practice)
    made = [await offered(owner, request) for _ in range(3)]
    found = await collect(practice)
    assert len(found.grants) == 1
    assert set(found.refused.values()) == {"grant.already_answered"}
    assert [await is_on_chain(practice, one) for one in made].count(True) == 1
    assert await inbox_of(practice) == []


async def test_one_grant_in_several_transactions_is_paid_for_once(practice: Practice) -> None:
    """Each has another end and so another id; all but the first would be final, fail, and keep their fee."""
    owner = await opened_owner(practice)
    made = await offered(owner, await asked(practice))
    (item,) = await inbox_of(practice)
    offer = decode_as(OfferedGrant, item.data)
    body = parse_body(decode_as(SignedHealthTx, offer.grant_tx).body_bytes)
    for less in range(1, 4):
        variant = structs.replace(body, valid_until=body.valid_until - less)
        await owner.leave(practice.org_id, OfferedGrant(sign_tx(variant, [("revoke_key", made.revoke_key)]), offer.parcel))
    before = await tank(practice)
    found = await collect(practice)
    paid = before - await tank(practice)
    assert (found.grants, set(found.refused.values())) == ([made.grant_id.hex()], {"grant.already_answered"})
    before = await tank(practice)
    await offered(owner, await asked(practice))
    await collect(practice)
    assert paid == before - await tank(practice), "as much as any one grant costs"


async def tank(practice: Practice) -> int:
    return int((await practice.network.nodes[0].account(tank_address(practice.org_id)))["balance_ahce"])


@pytest.mark.parametrize(
    ("widened", "terms"),
    [
        ({"purpose": "research"}, {}),
        ({}, {"date_from": "2019-12-31"}),
        ({}, {"date_to": "2021-01-01"}),
        ({}, {"mode": "read-write"}),
        ({}, {"lasts_ms": 3_654 * DAY_MS}),
    ],
)
async def test_terms_nobody_asked_for_are_not_paid_for(practice: Practice, widened: Any, terms: Any) -> None:
    request = await asked(practice)
    made = await offered(await opened_owner(practice), structs.replace(request, **widened), **terms)
    found = await collect(practice)
    assert list(found.refused.values()) == ["grant.not_as_asked"]
    assert not await is_on_chain(practice, made)


async def test_less_than_was_asked_for_is_taken(practice: Practice) -> None:
    made = await offered(await opened_owner(practice), await asked(practice), date_from="2020-06-01", date_to="2020-06-02")
    assert (await collect(practice)).grants == [made.grant_id.hex()]


def a_compartment(body: HealthBody[Any], practice: Practice) -> HealthBody[Any]:
    return make_body(
        practice.network.chain, "compartment.open", CompartmentOpen(bytes(32), bytes(32)), body.payer, body.valid_until
    )


def with_more_payload(body: HealthBody[Any], practice: Practice) -> HealthBody[Any]:
    return structs.replace(body, payload=[*structs.astuple(body.payload), b"x" * 1_000])


def with_later_end(body: HealthBody[Any], practice: Practice) -> HealthBody[Any]:
    return structs.replace(body, payload=structs.replace(body.payload, expires_at_ms=body.payload.expires_at_ms + 1))


def with_another_payer(body: HealthBody[Any], practice: Practice) -> HealthBody[Any]:
    return structs.replace(body, payer=os.urandom(32))


@pytest.mark.parametrize("changed", [a_compartment, with_later_end, with_another_payer, with_more_payload])
async def test_a_transaction_that_does_something_else_is_not_countersigned(
    practice: Practice, changed: Callable[[HealthBody[Any], Practice], HealthBody[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await opened_owner(practice)
    made = await offered(owner, await asked(practice))
    (item,) = await inbox_of(practice)
    offer = decode_as(OfferedGrant, item.data)
    body = changed(parse_body(decode_as(SignedHealthTx, offer.grant_tx).body_bytes), practice)
    signers = [] if body.kind == "compartment.open" else [("revoke_key", made.revoke_key)]
    await owner.leave(practice.org_id, OfferedGrant(sign_tx(body, signers), offer.parcel))
    submitted: list[bytes] = []

    async def submit(raw: bytes, name: bytes) -> None:
        submitted.append(raw)

    monkeypatch.setattr(practice.network, "submit", submit)
    found = await collect(practice)
    assert list(found.refused.values()) == ["malformed" if changed is with_more_payload else "grant.not_as_asked"]
    assert len(submitted) == 1, "the honest offer alone"


async def test_somebody_elses_revoke_key_is_not_paid_for(practice: Practice) -> None:
    owner = await opened_owner(practice)
    made = await offered(owner, await asked(practice))
    (item,) = await inbox_of(practice)
    offer = decode_as(OfferedGrant, item.data)
    body = parse_body(decode_as(SignedHealthTx, offer.grant_tx).body_bytes)
    await owner.leave(practice.org_id, OfferedGrant(sign_tx(body, [("revoke_key", SigningKey(os.urandom(32)))]), offer.parcel))
    found = await collect(practice)
    assert found.grants == [made.grant_id.hex()]
    assert list(found.refused.values()) == ["grant.not_as_asked"]


async def test_a_failing_offer_holds_up_no_other_and_is_tried_again(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = await opened_owner(practice)
    failing, good = [await offered(owner, await asked(practice)) for _ in range(2)]
    honest = practice.network.submit

    async def submit(raw: bytes, name: bytes) -> Any:
        if failing.public.commitment in raw:
            raise Unavailable
        return await honest(raw, name)

    monkeypatch.setattr(practice.network, "submit", submit)
    assert (await collect(practice)).grants == [good.grant_id.hex()]
    assert len(await inbox_of(practice)) == 2, "nothing is dropped past an item that may still come to something"
    monkeypatch.setattr(practice.network, "submit", honest)
    assert (await collect(practice)).grants == [], "not at once"
    later(practice, 2 * FIRST_PAUSE_MS)
    assert (await collect(practice)).grants == [failing.grant_id.hex()]
    assert await inbox_of(practice) == []


async def test_an_offer_that_fails_for_ever_is_given_up(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    request = await asked(practice)
    await offered(await opened_owner(practice), request)
    tries = 0

    async def submit(raw: bytes, name: bytes) -> Any:
        nonlocal tries
        tries += 1
        raise Unavailable

    monkeypatch.setattr(practice.network, "submit", submit)
    (item,) = await inbox_of(practice)
    for _ in range(MAX_TRIES + 3):
        found = await granted._take_all(practice, {granted._digest(item.data): item.data}, practice.clock.now_ms())
        later(practice, DAY_MS // 24)
        if found.refused:
            break
    assert list(found.refused.values()) == ["unavailable"]
    assert tries == MAX_TRIES
    assert practice.index.claim(Held(os.urandom(32), request.reader_key, b"parcel", b"tx", final=False)), (
        "the request is free again"
    )
    later(practice, -(MAX_TRIES * DAY_MS // 24))
    await collect(practice)
    assert await inbox_of(practice) == []


def later(practice: Practice, ms: int) -> None:
    assert isinstance(practice.clock, ManualClock)
    practice.clock.ahead_ms += ms


async def test_a_nodes_own_numbers_hide_no_offer_of_another_node(practice: Practice, node: OneNode) -> None:
    """A node with high numbers in front of the inbox: with one mark for all nodes the real offer was never looked at."""
    made = await offered(await opened_owner(practice), await asked(practice))

    def high_numbers(request: Any, answer: bytes) -> bytes | None:
        if request.url.path != "/v1/mailbox/read":
            return None
        page = decode_as(MailPage, answer)
        return encode(MailPage([MailItem(10**9, item.time_ms, b"junk") for item in page.items], False))

    honest = practice.network
    transport = Liar(node.url, high_numbers)
    async with await TwoFaces.join([LIAR, node.url], node.home.genesis(), transport=transport) as network:
        practice.network = network
        found = await collect(practice)
        practice.network = honest
    assert found.grants == [made.grant_id.hex()]
    assert list(found.refused.values()) == ["malformed"]

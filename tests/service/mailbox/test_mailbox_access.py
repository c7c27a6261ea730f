"""Who may read and change what: the keys that make an address, and nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.errors import Malformed
from hce.service.mailbox import errors, rules
from hce.service.mailbox.nonces import SeenNonces
from hce.service.mailbox.service import Mailbox
from hce.service.terms import grants, states
from hce.service.terms.certification import OrganisationNotCertified
from hce.service.terms.states import OrganisationState

TWO_MINUTES = 120_000
PLACES = {
    "feed": ("place", "feed_reader"),
    "envelopes": ("place", "feed_reader"),
    "owner": ("place", "owner"),
    "quarantine": ("place", "owner"),
    "own-reads": ("place", "owner"),
    "log": ("log_place", "log_reader"),
    "inbox": ("org_id", "org_key"),
}


def place_of(people: Any, what: str) -> list[bytes]:
    named = getattr(people, PLACES[what][0])
    return named if isinstance(named, list) else [named if isinstance(named, bytes) else named.public]


@pytest.mark.parametrize("what", PLACES)
def test_the_key_of_the_place_reads(what: str, people: Any, box: Mailbox) -> None:
    signer = getattr(people, PLACES[what][1])
    assert box.read(people.read(what, place_of(people, what), signer)) is not None


WRONG_SIGNERS = [
    (what, signer)
    for what, (_, right) in PLACES.items()
    for signer in ("owner", "feed_reader", "log_reader", "org_key", "node_key")
    if signer != right
]


@pytest.mark.parametrize(("what", "signer"), WRONG_SIGNERS)
def test_every_other_key_is_refused(what: str, signer: str, people: Any, box: Mailbox) -> None:
    with pytest.raises(errors.BadSignature):
        box.read(people.read(what, place_of(people, what), getattr(people, signer)))


@pytest.mark.parametrize("what", ["accept", "reject", "erase", "revoke-token", "drop-log", "drop"])
def test_acts_need_the_owner_and_dropping_needs_the_organisation(what: str, people: Any, box: Mailbox) -> None:
    place, wrong = ([people.org_id], people.owner) if what == "drop" else (people.place, people.feed_reader)
    with pytest.raises(errors.BadSignature):
        box.act(people.act(what, wrong, place=place))


def test_a_signature_covers_every_field(people: Any, box: Mailbox) -> None:
    signed = people.read("feed", people.place, people.feed_reader)
    with pytest.raises(errors.BadSignature):
        box.read(structs.replace(signed, read=structs.replace(signed.read, after=7)))


def test_a_place_that_does_not_fit_the_kind_is_malformed(people: Any, box: Mailbox) -> None:
    with pytest.raises(Malformed):
        box.read(people.read("feed", [people.feed_reader.public], people.feed_reader))
    with pytest.raises(Malformed):
        box.read(people.read("log", people.place[:1], people.feed_reader))


@pytest.mark.parametrize("off_ms", [-TWO_MINUTES - 1, TWO_MINUTES + 1])
def test_a_request_from_another_time_is_stale(off_ms: int, people: Any, box: Mailbox) -> None:
    with pytest.raises(errors.Stale):
        box.read(people.read("feed", people.place, people.feed_reader, time_ms=people.clock.value_ms + off_ms))


def test_a_captured_request_is_answered_once(people: Any, box: Mailbox) -> None:
    box.deposit(b"\x01" * 32, people.org_id, [people.delivery("a", token=people.token())], b"")
    signed = people.read("feed", people.place, people.feed_reader)
    box.read(signed)
    with pytest.raises(errors.Stale):
        box.read(signed)


def test_nonces_are_forgotten_when_their_request_is_stale_anyway() -> None:
    seen = SeenNonces(100, 2)
    seen.use(b"asker", b"a", 0)
    seen.use(b"asker", b"b", 50)
    with pytest.raises(errors.TooManyRequests):
        seen.use(b"asker", b"c", 100)
    seen.use(b"asker", b"c", 101)


def test_one_askers_flood_locks_out_nobody_else_and_is_forgotten() -> None:
    seen = SeenNonces(100, 1)
    seen.use(b"flood", b"a", 0)
    with pytest.raises(errors.TooManyRequests):
        seen.use(b"flood", b"b", 1)
    seen.use(b"other", b"a", 1)
    assert len(seen) == 2
    seen.use(b"third", b"a", 150)
    assert len(seen) == 1


def test_strangers_who_ask_for_nothing_take_no_memory(people: Any, box: Mailbox) -> None:
    """Places are free to invent: an empty one is answered and not remembered."""
    for number in range(50):
        stranger = SigningKey(number.to_bytes(32, "big"))
        box.read(people.read("feed", [stranger.public, people.owner.public], stranger))
        box.read(people.read("log", [stranger.public, people.owner.public], stranger))
    assert len(box._nonces) == 0


@pytest.mark.parametrize("what", PLACES)
def test_a_request_for_another_node_is_refused(what: str, people: Any, box: Mailbox) -> None:
    with pytest.raises(errors.WrongNode):
        box.read(people.read(what, place_of(people, what), getattr(people, PLACES[what][1]), node=1))


def test_an_act_for_another_node_is_refused(people: Any, box: Mailbox) -> None:
    with pytest.raises(errors.WrongNode):
        box.act(people.act("erase", node=1))


def test_an_owner_says_so_and_others_do_not(people: Any, box: Mailbox) -> None:
    with pytest.raises(Malformed):
        box.read(people.read("owner", people.place, people.owner, owner=None))
    with pytest.raises(Malformed):
        box.read(people.read("feed", people.place, people.feed_reader, owner=people.owning("owner")))


def test_a_request_for_another_chain_is_refused(people: Any, box: Mailbox) -> None:
    with pytest.raises(errors.WrongChain):
        box.read(people.read("feed", people.place, people.feed_reader, chain=bytes(16)))


def test_a_revoked_organisation_cannot_open_its_inbox(people: Any, box: Mailbox) -> None:
    key = states.key_organisation(people.org_id)
    state = decode_as(OrganisationState, people.table[key])
    people.table[key] = encode(structs.replace(state, revoked_height=10))
    with pytest.raises(OrganisationNotCertified):
        box.read(people.read("inbox", [people.org_id], people.org_key))


@pytest.mark.parametrize(
    ("changes", "lane"),
    [
        ({}, "feed"),
        ({"org_id": bytes(32)}, "quarantine"),
        ({"feed": bytes(32)}, "quarantine"),
        ({"expires_ms": 1_800_000_000_000}, "quarantine"),
        ({"serial": -1}, "quarantine"),
        ({"serial": 4}, "quarantine"),
    ],
)
def test_only_a_token_in_force_leads_straight_into_the_feed(changes: Any, lane: str, people: Any) -> None:
    token = people.token(**changes)
    assert _lane(people, token) == lane


def test_a_token_signed_by_anybody_else_leads_into_quarantine(people: Any) -> None:
    assert _lane(people, people.token(signer=people.feed_reader)) == "quarantine"
    other = structs.replace(people.token(signer=people.org_key), owner_key=people.org_key.public)
    assert _lane(people, other) == "quarantine"


def _lane(people: Any, token: grants.SignedToken) -> str:
    """Serial 4 is void."""
    now_ms = people.clock.value_ms
    return rules.lane_of(people.feed, token, people.chain, people.org_id, now_ms, lambda signed: signed.token.serial == 4)

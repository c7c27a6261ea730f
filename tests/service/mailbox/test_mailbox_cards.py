"""Cards that owners publish: authors get the newest, and none of a key that owns nothing any more."""

from __future__ import annotations

from typing import Any

import pytest

from hce.foundation.crypto.sign import SigningKey
from hce.service.mailbox import errors
from hce.service.mailbox.quotas import Bounds, Quotas
from hce.service.mailbox.service import Mailbox
from hce.service.terms.grants import CARD_LIFE_MS, CLOCK_SKEW_MS
from hce.service.terms.mailbox import Ownership

NEW = SigningKey(b"\x31" * 32)


def test_a_published_card_is_fetched_by_the_feeds_address_until_a_newer_one_takes_its_place(people: Any, box: Mailbox) -> None:
    assert box.card(people.feed) is None
    first = people.card()
    box.put_card(first)
    assert box.card(people.feed) == first
    people.clock.value_ms += 1
    second = people.card()
    box.put_card(second)
    box.put_card(second)
    with pytest.raises(errors.CardOlder):
        box.put_card(first)
    assert box.card(people.feed) == second


def test_a_card_dies_with_its_date_and_with_its_owner_key(people: Any, box: Mailbox) -> None:
    box.put_card(people.card(expires_ms=people.clock.value_ms + 10))
    people.clock.value_ms += 10
    assert box.card(people.feed) is None
    box.put_card(people.card())
    people.compartment(NEW, people.compartment_id)
    assert box.card(people.feed) is None
    with pytest.raises(errors.NotCurrentOwner):
        box.put_card(people.card())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"chain": bytes(16)}, errors.WrongChain),
        ({"compartment_id": b"\x07" * 32}, errors.NotCurrentOwner),
        ({"owner_key": NEW.public}, errors.BadSignature),
        ({"signer": NEW}, errors.BadSignature),
        ({"signer": NEW, "owner_key": NEW.public}, errors.NotCurrentOwner),
        ({"expires_ms": 1_800_000_000_000}, errors.CardOutsideDates),
        ({"expires_ms": 1_800_000_000_001 + CARD_LIFE_MS}, errors.CardOutsideDates),
        ({"issued_ms": 1_800_000_000_001 + CLOCK_SKEW_MS, "expires_ms": 1_800_000_000_001 + CARD_LIFE_MS}, errors.CardOutsideDates),
    ],
)
def test_other_cards_are_refused_and_leave_nothing(changes: Any, error: type[Exception], people: Any, box: Mailbox) -> None:
    with pytest.raises(error):
        box.put_card(people.card(**changes))
    with box._store.read() as snapshot:
        assert snapshot.count("cards") == snapshot.count("places") == snapshot.count("heads") == 0


def test_a_card_binds_its_feed_before_anything_lies_there(people: Any, box: Mailbox) -> None:
    """From then on a compartment that a thief opens with the old key does not get the feed."""
    box.put_card(people.card())
    people.compartment(people.owner, b"\x09" * 32)
    with pytest.raises(errors.PlaceOfOtherCompartment):
        box.read(people.read("owner", people.place, people.owner, owner=Ownership(b"\x09" * 32, people.owner.public)))


def test_a_compartment_has_cards_for_a_bounded_number_of_feeds(people: Any, tmp_path: Any) -> None:
    with people.open(tmp_path / "m", quotas=Quotas(places=Bounds(0, 2, 4_000, 4_000, None))) as box:
        for number in range(2):
            box.put_card(people.card(feed_read_key=bytes([number]) * 32))
        with pytest.raises(errors.AddressFull):
            box.put_card(people.card(feed_read_key=b"\x02" * 32))

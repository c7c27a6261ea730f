"""Earlier keys that owners keep: the newest, at the address of their log, until somebody else owns the compartment."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from hce.foundation.crypto.sign import SigningKey
from hce.service.mailbox import errors
from hce.service.mailbox.service import Mailbox
from hce.service.terms.grants import CLOCK_SKEW_MS, log_address
from hce.service.terms.handovers import EarlierOwner, Handover, SignedHandover, Sponsor, handover_message
from hce.service.terms.mailbox import Ownership

NEW = SigningKey(b"\x31" * 32)
BEFORE = SigningKey(b"\x32" * 32)


def handover(people: Any, signer: SigningKey | None = None, **changes: Any) -> SignedHandover:
    fields: dict[str, Any] = {
        "chain": people.chain,
        "compartment_id": people.compartment_id,
        "owner_key": people.owner.public,
        "log_read_key": people.log_reader.public,
        "earlier": [EarlierOwner(BEFORE.public, 0, 0)],
        "sealed": b"sealed",
        "issued_ms": people.clock.value_ms,
    }
    made = Handover(**(fields | changes))
    return SignedHandover(made, (signer or people.owner).sign(handover_message(made)), None)


@pytest.fixture
def address(people: Any) -> bytes:
    return log_address(people.log_reader.public, people.owner.public)


def test_the_newest_is_kept_and_survives_the_process(people: Any, address: bytes, tmp_path: Any) -> None:
    with people.open(tmp_path / "m") as box:
        assert box.handover(address) is None
        first = handover(people)
        box.put_handover(first)
        people.clock.value_ms += 1
        second = handover(people)
        box.put_handover(second)
        box.put_handover(second)
        with pytest.raises(errors.HandoverOlder):
            box.put_handover(first)
    with people.open(tmp_path / "m") as again:
        assert again.handover(address) == second
        people.clock.value_ms += 10 * 365 * 86_400_000
        assert again.handover(address) == second, "it has no end"


def test_an_owner_of_before_keeps_nothing_new_and_is_told_by_what_is_there(people: Any, address: bytes, box: Mailbox) -> None:
    signed = handover(people)
    box.put_handover(signed)
    people.compartment(NEW, people.compartment_id)
    assert box.handover(address) == signed
    people.clock.value_ms += 1
    with pytest.raises(errors.NotCurrentOwner):
        box.put_handover(handover(people))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"chain": bytes(16)}, errors.WrongChain),
        ({"compartment_id": b"\x07" * 32}, errors.NotCurrentOwner),
        ({"owner_key": NEW.public}, errors.BadSignature),
        ({"signer": NEW}, errors.BadSignature),
        ({"signer": NEW, "owner_key": NEW.public}, errors.NotCurrentOwner),
        ({"issued_ms": 1_800_000_000_001 + CLOCK_SKEW_MS}, errors.Stale),
    ],
)
def test_other_handovers_are_refused_and_leave_nothing(changes: Any, error: type[Exception], people: Any, box: Mailbox) -> None:
    with pytest.raises(error):
        box.put_handover(handover(people, **changes))
    with box._store.read() as snapshot:
        assert snapshot.count("handovers") == snapshot.count("places") == 0


def test_the_next_owner_keeps_it_with_the_present_ones_word(people: Any, box: Mailbox) -> None:
    signed = handover(people, signer=NEW, owner_key=NEW.public)
    message = handover_message(signed.handover)
    for stranger in (Sponsor(BEFORE.public, BEFORE.sign(message)), Sponsor(people.owner.public, BEFORE.sign(message))):
        with pytest.raises((errors.NotCurrentOwner, errors.BadSignature)):
            box.put_handover(replace(signed, sponsor=stranger))
    box.put_handover(replace(signed, sponsor=Sponsor(people.owner.public, people.owner.sign(message))))
    assert box.handover(log_address(people.log_reader.public, NEW.public)) is not None


def test_it_binds_the_log_to_the_compartment(people: Any, box: Mailbox) -> None:
    box.put_handover(handover(people))
    people.compartment(people.owner, b"\x09" * 32)
    drop = people.act("drop-log", place=people.log_place, owner=Ownership(b"\x09" * 32, people.owner.public))
    with pytest.raises(errors.PlaceOfOtherCompartment):
        box.act(drop)

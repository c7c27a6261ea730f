"""After a rotation the old owner key reads, changes and lets in nothing more; the new one has what the old one had."""

from __future__ import annotations

from typing import Any

import pytest

from hce.foundation.crypto.sign import SigningKey
from hce.service.mailbox import errors
from hce.service.mailbox.anchors import ReceiptLeaf
from hce.service.mailbox.service import Mailbox
from hce.service.terms.grants import log_address
from hce.service.terms.mailbox import MailPage, Ownership, RecordsPage

NEW = SigningKey(b"\x31" * 32)
OWNER_ACTS = ("accept", "reject", "erase", "revoke-token")


def deposit(box: Mailbox, people: Any, name: str, token: Any = None) -> None:
    box.deposit(people.record_id(name), people.org_id, [people.delivery(name, token=token)], b"")


def rotate(people: Any) -> Ownership:
    people.compartment(NEW, people.compartment_id)
    return Ownership(people.compartment_id, NEW.public)


def quarantine(box: Mailbox, people: Any, signer: SigningKey, owner: Ownership) -> MailPage:
    page = box.read(people.read("quarantine", people.place, signer, owner=owner))
    assert isinstance(page, MailPage)
    return page


@pytest.mark.parametrize("what", OWNER_ACTS)
def test_a_key_that_was_rotated_out_acts_no_more(what: str, people: Any, box: Mailbox) -> None:
    deposit(box, people, "a", people.token())
    rotate(people)
    with pytest.raises(errors.NotCurrentOwner):
        box.act(people.act(what, number=1, records=[people.record_id("a")]))


def test_a_key_that_was_rotated_out_reads_no_wraps_no_quarantine_and_drops_no_receipts(people: Any, box: Mailbox) -> None:
    deposit(box, people, "a", people.token())
    box.append_log(log_address(*people.log_place), people.compartment_id, b"\x03" * 32, b"receipt", ReceiptLeaf(0, bytes(32)))
    rotate(people)
    for what in ("owner", "quarantine"):
        with pytest.raises(errors.NotCurrentOwner):
            box.read(people.read(what, people.place, people.owner, records=[people.record_id("a")]))
    with pytest.raises(errors.NotCurrentOwner):
        box.act(people.act("drop-log", place=people.log_place, number=1))


def test_the_new_owner_reads_accepts_and_erases_in_the_old_feed(people: Any, box: Mailbox) -> None:
    deposit(box, people, "a", people.token())
    deposit(box, people, "b")
    new = rotate(people)
    (waiting,) = quarantine(box, people, NEW, new).items
    box.act(people.act("accept", NEW, owner=new, number=waiting.seq))
    ids = [people.record_id(name) for name in ("a", "b")]
    page = box.read(people.read("owner", people.place, NEW, owner=new, records=ids))
    assert isinstance(page, RecordsPage)
    assert [held.owner_wrap for held in page.found] == [people.delivered(name).owner_wrap for name in ("a", "b")]
    signed = box.act(people.act("erase", NEW, owner=new, records=ids))
    assert signed is not None
    assert signed.receipt.records == ids


def test_another_compartment_opened_with_the_old_key_does_not_get_the_feed_back(people: Any, box: Mailbox) -> None:
    """Opening a compartment asks for no signature of its owner: the thief has one opened with the old key."""
    deposit(box, people, "a", people.token())
    rotate(people)
    people.table[b"comp/" + b"\x09" * 32] = _compartment_of(people)
    thief = Ownership(b"\x09" * 32, people.owner.public)
    with pytest.raises(errors.PlaceOfOtherCompartment):
        box.read(people.read("owner", people.place, people.owner, owner=thief, records=[people.record_id("a")]))
    with pytest.raises(errors.PlaceOfOtherCompartment):
        box.act(people.act("erase", owner=thief, records=[people.record_id("a")]))
    deposit(box, people, "b", people.token(compartment_id=b"\x09" * 32))
    assert len(quarantine(box, people, NEW, Ownership(people.compartment_id, NEW.public)).items) == 1


def test_tokens_of_a_key_that_was_rotated_out_lead_into_quarantine(people: Any, box: Mailbox) -> None:
    deposit(box, people, "a", people.token())
    new = rotate(people)
    deposit(box, people, "b", people.token(serial=2))
    assert len(quarantine(box, people, NEW, new).items) == 1


def test_a_token_of_a_compartment_this_node_does_not_know_yet_holds(people: Any, box: Mailbox) -> None:
    """A node that is behind would else put into quarantine what all others have in the feed."""
    known = people.table.copy()
    people.table.pop(b"comp/" + people.compartment_id)
    deposit(box, people, "a", people.token())
    people.table.update(known)
    assert quarantine(box, people, people.owner, people.owning("owner")).items == []
    page = box.read(people.read("feed", people.place, people.feed_reader))
    assert isinstance(page, MailPage)
    assert len(page.items) == 1


def test_a_stranger_cannot_have_a_feed_bound_to_a_compartment_of_his(people: Any, box: Mailbox) -> None:
    stranger = people.org_key
    theirs = Ownership(people.compartment(stranger), stranger.public)
    with pytest.raises(errors.NotCurrentOwner):
        box.read(people.read("owner", people.place, stranger, owner=theirs))
    assert quarantine(box, people, people.owner, people.owning("owner")).items == []


def _compartment_of(people: Any) -> bytes:
    """The state of a compartment whose owner key is the old one."""
    before: bytes = people.table[b"comp/" + people.compartment_id]
    people.compartment(people.owner, people.compartment_id)
    made: bytes = people.table[b"comp/" + people.compartment_id]
    people.table[b"comp/" + people.compartment_id] = before
    return made

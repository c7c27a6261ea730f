"""Whoever reads with the owner key leaves a receipt at the node, and cannot take it away."""

from __future__ import annotations

from typing import Any

import pytest

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.sign import SigningKey, verify
from hce.service.mailbox import ownreads
from hce.service.mailbox.errors import NotCurrentOwner
from hce.service.mailbox.quotas import DAY_MS
from hce.service.mailbox.service import Mailbox
from hce.service.terms.mailbox import MailPage, OwnRead, OwnReadReceipt, RecordsPage, SignedOwnRead, own_read_message
from hce.service.vault.auditing import read_own_receipts

NEW = SigningKey(b"\x31" * 32)


def deposit(box: Mailbox, people: Any, *names: str) -> None:
    box.deposit(people.nonce(), people.org_id, [people.delivery(*names, token=people.token())], b"")


def own(box: Mailbox, people: Any, *names: str, signer: SigningKey | None = None) -> RecordsPage:
    signer = signer or people.owner
    ids = [people.record_id(name) for name in names]
    page = box.read(people.read("owner", people.place, signer, owner=people.owning("owner", signer), records=ids))
    assert isinstance(page, RecordsPage)
    return page


def receipts(box: Mailbox, people: Any, signer: SigningKey | None = None, **changes: Any) -> MailPage:
    signer = signer or people.owner
    page = box.read(people.read("own-reads", people.place, signer, owner=people.owning("own-reads", signer), **changes))
    assert isinstance(page, MailPage)
    return page


def test_every_read_of_wraps_is_in_the_days_signed_receipt(people: Any, box: Mailbox) -> None:
    deposit(box, people, "a", "b")
    own(box, people, "a", "b")
    own(box, people, "a")
    (item,) = receipts(box, people).items
    signed = decode_as(SignedOwnRead, item.data)
    assert verify(people.node_key.public, own_read_message(signed.receipt), signed.signature)
    by = [OwnRead(people.owner.public, 2, 3)]
    assert signed.receipt == OwnReadReceipt(people.chain, people.feed, "2027-01-15", by, 0, people.clock.value_ms)


def test_reads_that_show_nothing_and_reads_of_grantees_leave_none(people: Any, box: Mailbox) -> None:
    deposit(box, people, "a")
    own(box, people, "never written")
    box.read(people.read("envelopes", people.place, people.feed_reader, records=[people.record_id("a")]))
    assert receipts(box, people).items == []


def test_days_and_keys_are_told_apart_and_paged(people: Any, box: Mailbox) -> None:
    deposit(box, people, "a")
    own(box, people, "a")
    people.compartment(NEW, people.compartment_id)
    own(box, people, "a", signer=NEW)
    people.clock.value_ms += DAY_MS
    own(box, people, "a", signer=NEW)
    first = receipts(box, people, NEW, limit=1)
    assert first.more
    second = receipts(box, people, NEW, limit=1, after=first.items[0].seq)
    assert not second.more
    counted = [[one.owner_key for one in decode_as(SignedOwnRead, page.items[0].data).receipt.by] for page in (first, second)]
    assert counted == [[people.owner.public, NEW.public], [NEW.public]]


def test_only_so_many_days_are_kept(people: Any, box: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownreads, "MAX_DAYS", 2)
    deposit(box, people, "a")
    for _ in range(4):
        own(box, people, "a")
        people.clock.value_ms += DAY_MS
    assert [decode_as(SignedOwnRead, item.data).receipt.day for item in receipts(box, people).items] == ["2027-01-17", "2027-01-18"]


def test_without_a_durable_receipt_no_wrap_leaves(people: Any, tmp_path: Any) -> None:
    failing = False

    def commit(transaction: Any) -> None:
        if failing:
            raise OSError("no disk")
        transaction.commit()

    with people.open(tmp_path / "m", commit=commit) as box:
        deposit(box, people, "a")
        own(box, people, "never written")  # binds the feed
        failing = True
        with pytest.raises(OSError, match="no disk"):
            own(box, people, "a")


def test_the_audit_shows_own_reading_and_names_forgeries(people: Any, box: Mailbox) -> None:
    deposit(box, people, "a")
    own(box, people, "a")
    (item,) = receipts(box, people).items
    keys = {0: people.node_key.public}
    log = read_own_receipts([item.data], people.chain, people.feed, keys)
    assert [(receipt.day, receipt.by[0].records) for receipt in log.receipts] == [("2027-01-15", 1)]
    assert log.findings == []
    signed = decode_as(SignedOwnRead, item.data)
    forged = encode(SignedOwnRead(signed.receipt, bytes(64)))
    log = read_own_receipts([forged, b"junk", item.data], people.chain, people.feed, keys)
    assert [finding.code for finding in log.findings] == ["log.item_forged", "log.item_unreadable"]
    assert len(log.receipts) == 1
    assert read_own_receipts([item.data], people.chain, bytes(32), keys).receipts == []


def test_a_key_that_was_rotated_out_does_not_see_them(people: Any, box: Mailbox) -> None:
    deposit(box, people, "a")
    people.compartment(NEW, people.compartment_id)
    with pytest.raises(NotCurrentOwner):
        receipts(box, people)

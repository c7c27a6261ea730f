"""What goes into a mailbox, who finds it there, and how it goes away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.sign import verify
from hce.service.mailbox import errors, inbox
from hce.service.mailbox.anchors import ReceiptLeaf
from hce.service.mailbox.quotas import DAY_MS, Bounds, Quotas
from hce.service.mailbox.service import Mailbox
from hce.service.mailbox.slots import SLOT_BYTES
from hce.service.terms import mailbox, records
from hce.service.terms.certification import OrganisationNotCertified
from hce.service.terms.grants import feed_address, log_address

NAME = b"\x01" * 32
LEAF = ReceiptLeaf(0, b"\x02" * 32)
SMALL = Bounds(item_bytes=4_000, items=2, address_bytes=9_000, total_bytes=12_000, age_ms=DAY_MS)


def deposit(box: Mailbox, people: Any, *names: str, token: Any = None, name: bytes = NAME) -> bytes:
    return box.deposit(name, people.org_id, [people.delivery(*names, token=token)], b"answer")


def feed(box: Mailbox, people: Any, what: str = "feed", **changes: Any) -> mailbox.MailPage:
    page = box.read(people.read(what, people.place, people.feed_reader if what == "feed" else people.owner, **changes))
    assert isinstance(page, mailbox.MailPage)
    return page


def envelopes(box: Mailbox, people: Any, *names: str, what: str = "envelopes") -> mailbox.RecordsPage:
    signer = people.feed_reader if what == "envelopes" else people.owner
    page = box.read(people.read(what, people.place, signer, records=[people.record_id(name) for name in names]))
    assert isinstance(page, mailbox.RecordsPage)
    return page


def test_with_a_token_entry_and_envelopes_are_in_the_feed_at_once(people: Any, box: Mailbox) -> None:
    assert deposit(box, people, "a", "b", token=people.token()) == b"answer"
    (item,) = feed(box, people).items
    entry = decode_as(records.SessionEntry, item.data)
    assert [opening.record_id for opening in entry.openings] == [people.record_id("a"), people.record_id("b")]
    found = envelopes(box, people, "a", "b", "never written").found
    assert [held.envelope for held in found] == [people.delivered("a").envelope, people.delivered("b").envelope]
    assert [held.owner_wrap for held in found] == [None, None]


def test_owner_wraps_are_for_the_owner(people: Any, box: Mailbox) -> None:
    deposit(box, people, "a", token=people.token())
    assert envelopes(box, people, "a", what="owner").found[0].owner_wrap == people.delivered("a").owner_wrap


def test_without_a_token_nobody_but_the_owner_sees_it_until_it_is_accepted(people: Any, box: Mailbox) -> None:
    deposit(box, people, "a")
    assert feed(box, people).items == []
    assert envelopes(box, people, "a").found == []
    (waiting,) = feed(box, people, "quarantine").items
    assert envelopes(box, people, "a", what="owner").found
    assert box.act(people.act("accept", number=waiting.seq)) is None
    assert [item.data for item in feed(box, people).items] == [waiting.data]
    assert envelopes(box, people, "a").found
    assert feed(box, people, "quarantine").items == []


def test_what_the_owner_rejects_is_gone_and_does_not_come_back(people: Any, box: Mailbox) -> None:
    deposit(box, people, "a")
    (waiting,) = feed(box, people, "quarantine").items
    signed = box.act(people.act("reject", number=waiting.seq))
    assert signed is not None
    assert signed.receipt.records == [people.record_id("a")]
    assert envelopes(box, people, "a", what="owner") == mailbox.RecordsPage([], [people.record_id("a")])
    with pytest.raises(errors.RecordErased):
        deposit(box, people, "a", name=b"\x02" * 32)
    with pytest.raises(errors.ItemUnknown):
        box.act(people.act("accept", number=waiting.seq))


def test_rejecting_a_second_entry_does_not_take_accepted_records_along(people: Any, box: Mailbox) -> None:
    deposit(box, people, "a", token=people.token())
    deposit(box, people, "a", "b", name=b"\x02" * 32)
    (waiting,) = feed(box, people, "quarantine").items
    signed = box.act(people.act("reject", number=waiting.seq))
    assert signed is not None
    assert signed.receipt.records == [people.record_id("b")]
    assert envelopes(box, people, "a").found


def test_a_revoked_token_writes_no_more(people: Any, box: Mailbox) -> None:
    box.act(people.act("revoke-token", number=1))
    deposit(box, people, "a", token=people.token(serial=1))
    assert feed(box, people).items == []
    assert len(feed(box, people, "quarantine").items) == 1


def test_the_same_deposit_again_changes_nothing_and_is_answered_as_before(people: Any, box: Mailbox) -> None:
    deposit(box, people, "a", token=people.token())
    again = box.deposit(NAME, people.org_id, [people.delivery("a", token=people.token())], b"another answer")
    assert again == b"answer"
    assert len(feed(box, people).items) == 1


def test_another_envelope_under_a_stored_id_is_refused(people: Any, box: Mailbox) -> None:
    deposit(box, people, "a", token=people.token())
    delivery = people.delivery("a", token=people.token())
    forged = delivery.records[0]._replace(envelope=people.delivered("b").envelope)
    with pytest.raises(errors.RecordConflict):
        box.deposit(b"\x02" * 32, people.org_id, [delivery._replace(records=[forged])], b"")
    assert envelopes(box, people, "a").found[0].envelope == people.delivered("a").envelope


def test_erasing_wipes_the_key_signs_a_receipt_and_wins_over_every_later_upload(people: Any, tmp_path: Path) -> None:
    path = tmp_path / "mailbox"
    keys = iter([b"\xaa" * 32, b"\xbb" * 32])
    with people.open(path, entropy=lambda _: next(keys)) as box:
        deposit(box, people, "a", "b", token=people.token())
        assert b"\xaa" * 32 in (path / "slots").read_bytes()
        signed = box.act(people.act("erase", records=[people.record_id("a")]))
        assert signed is not None
        assert verify(people.node_key.public, mailbox.deletion_message(signed.receipt), signed.signature)
        assert signed.receipt == mailbox.DeletionReceipt(
            people.chain, people.feed, [people.record_id("a")], 0, people.clock.value_ms
        )
        slots = (path / "slots").read_bytes()
        assert b"\xaa" * 32 not in slots
        assert b"\xbb" * 32 in slots
        assert envelopes(box, people, "a", "b").erased == [people.record_id("a")]
        with pytest.raises(errors.RecordErased):
            deposit(box, people, "a", token=people.token(), name=b"\x02" * 32)
    for file in (path / "tables").iterdir():
        assert encode(people.delivered("b").envelope) not in file.read_bytes()
    with people.open(path) as box:
        assert [held.record_id for held in envelopes(box, people, "a", "b").found] == [people.record_id("b")]


def test_erasing_before_the_upload_keeps_the_upload_out(people: Any, box: Mailbox) -> None:
    people.commit("a")
    box.act(people.act("erase", records=[people.record_id("a")]))
    with pytest.raises(errors.RecordErased):
        deposit(box, people, "a", token=people.token())
    assert feed(box, people).items == []


def test_records_that_never_existed_are_erased_nowhere_and_signed_for_by_nobody(people: Any, box: Mailbox) -> None:
    deposit(box, people, "a", token=people.token())
    signed = box.act(people.act("erase", records=[people.record_id("invented"), people.record_id("a")]))
    assert signed is not None
    assert signed.receipt.records == [people.record_id("a")]
    assert envelopes(box, people, "invented", what="owner").erased == []


def test_tombstones_ahead_of_their_records_and_revoked_serials_are_bounded(people: Any, tmp_path: Path) -> None:
    one = Bounds(0, 1, 4_000, 4_000, None)
    with people.open(tmp_path / "m", quotas=Quotas(tombstones=one, serials=one)) as box:
        people.commit("a", "b")
        box.act(people.act("erase", records=[people.record_id("a")]))
        with pytest.raises(errors.AddressFull):
            box.act(people.act("erase", records=[people.record_id("b")]))
        for _ in range(2):
            box.act(people.act("revoke-token", number=7))
        with pytest.raises(errors.AddressFull):
            box.act(people.act("revoke-token", number=8))


def test_who_owns_no_compartment_writes_nothing_at_invented_feeds(people: Any, box: Mailbox) -> None:
    stranger = people.org_key
    people.commit("a")
    mine = mailbox.Ownership(b"\x07" * 32, stranger.public)
    for what, ownership in (("erase", mine), ("revoke-token", mine), ("erase", people.owning("erase", stranger))):
        with pytest.raises(errors.NotCurrentOwner):
            box.act(
                people.act(what, stranger, place=[stranger.public] * 2, owner=ownership, number=1, records=[people.record_id("a")])
            )
    with box._store.read() as snapshot:
        for table in ("tombstones", "serials", "places", "heads"):
            assert snapshot.count(table) == 0, table


def test_feeds_and_logs_of_one_compartment_are_bounded(people: Any, tmp_path: Path) -> None:
    with people.open(tmp_path / "m", quotas=Quotas(places=Bounds(0, 2, 4_000, 4_000, None))) as box:
        for reader in (people.feed_reader, people.log_reader):
            box.read(people.read("quarantine", [reader.public, people.owner.public], people.owner))
        with pytest.raises(errors.AddressFull):
            box.read(people.read("quarantine", [people.org_key.public, people.owner.public], people.owner))


def test_the_owner_of_another_feed_can_neither_erase_nor_forbid_a_record(people: Any, box: Mailbox) -> None:
    stranger = people.org_key
    place = [stranger.public, stranger.public]
    theirs = mailbox.Ownership(people.compartment(stranger), stranger.public)
    people.commit("a")
    box.act(people.act("erase", stranger, place=place, owner=theirs, records=[people.record_id("a")]))
    deposit(box, people, "a", token=people.token())
    with pytest.raises(errors.RecordOfOtherFeed):
        box.act(people.act("erase", stranger, place=place, owner=theirs, records=[people.record_id("a")]))
    read = people.read("envelopes", place, stranger, records=[people.record_id("a")])
    page = box.read(read)
    assert isinstance(page, mailbox.RecordsPage)
    assert page.found == []
    assert envelopes(box, people, "a").found


def test_an_inbox_takes_from_owners_pages_in_order_and_is_emptied_by_its_organisation(people: Any, box: Mailbox) -> None:
    for text in (b"one", b"two", b"three", b"two"):
        box.post(people.post(text))
    first = box.read(people.read("inbox", [people.org_id], people.org_key, limit=2))
    assert isinstance(first, mailbox.MailPage)
    assert [item.data for item in first.items] == [b"one", b"two"]
    assert first.more
    rest = box.read(people.read("inbox", [people.org_id], people.org_key, after=first.items[-1].seq))
    assert isinstance(rest, mailbox.MailPage)
    assert ([item.data for item in rest.items], rest.more) == ([b"three"], False)
    box.act(people.act("drop", people.org_key, place=[people.org_id], number=first.items[-1].seq))
    left = box.read(people.read("inbox", [people.org_id], people.org_key))
    assert isinstance(left, mailbox.MailPage)
    assert [item.data for item in left.items] == [b"three"]


def inbox_of(box: Mailbox, people: Any) -> list[bytes]:
    page = box.read(people.read("inbox", [people.org_id], people.org_key, limit=500))
    assert isinstance(page, mailbox.MailPage)
    return [item.data for item in page.items]


def test_a_full_inbox_drops_its_oldest_item_and_takes_the_new_one(people: Any, tmp_path: Path) -> None:
    with people.open(tmp_path / "m", quotas=Quotas(inbox=SMALL)) as box:
        for text in (b"one", b"two", b"three"):
            box.post(people.post(text))
        assert inbox_of(box, people) == [b"two", b"three"]
        box.post(people.post(bytes(3_900)))
        box.post(people.post(b"\x01" * 3_900))
        assert inbox_of(box, people) == [bytes(3_900), b"\x01" * 3_900]
        with box._store.read() as snapshot:
            assert snapshot.count("senders") == 2


def test_one_compartment_pushes_out_nobody_elses_item(people: Any, box: Mailbox) -> None:
    stranger = people.org_key
    box.post(people.post(b"an honest offer"))
    flooding = mailbox.Ownership(people.compartment(stranger), stranger.public)
    for number in range(inbox.MAX_WAITING + 10):
        box.post(people.post(b"flood %d" % number, stranger, owner=flooding))
    waiting = inbox_of(box, people)
    assert waiting == [b"an honest offer", *(b"flood %d" % number for number in range(10, inbox.MAX_WAITING + 10))]


def test_only_owners_of_compartments_post_and_only_to_certified_organisations(people: Any, box: Mailbox) -> None:
    nobody = people.org_key
    with pytest.raises(errors.BadSignature):
        box.post(people.post(b"x", nobody))
    with pytest.raises(errors.NotCurrentOwner):
        box.post(people.post(b"x", nobody, owner=mailbox.Ownership(people.compartment_id, nobody.public)))
    with pytest.raises(errors.NotCurrentOwner):
        box.post(people.post(b"x", nobody, owner=mailbox.Ownership(b"\x07" * 32, nobody.public)))
    with pytest.raises(OrganisationNotCertified):
        box.post(people.post(b"x", org_id=b"\x07" * 32))
    with pytest.raises(errors.WrongNode):
        box.post(people.post(b"x", node=1))
    with pytest.raises(errors.WrongChain):
        box.post(people.post(b"x", chain=bytes(16)))
    with box._store.read() as snapshot:
        assert snapshot.count("heads") == snapshot.count("senders") == 0


def test_a_captured_post_does_not_come_back_after_it_was_dropped(people: Any, box: Mailbox) -> None:
    signed = people.post(b"offer")
    box.post(signed)
    box.act(people.act("drop", people.org_key, place=[people.org_id], number=2**40))
    with pytest.raises(errors.Stale):
        box.post(signed)
    assert inbox_of(box, people) == []


def test_a_log_item_is_kept_once(people: Any, box: Mailbox) -> None:
    address = log_address(*people.log_place)
    assert box.append_log(address, people.compartment_id, b"\x03" * 32, b"sealed receipt", LEAF)
    assert not box.append_log(address, people.compartment_id, b"\x03" * 32, b"sealed again", LEAF)
    page = box.read(people.read("log", people.log_place, people.log_reader))
    assert isinstance(page, mailbox.MailPage)
    assert [item.data for item in page.items] == [b"sealed receipt"]


def test_a_full_log_takes_receipts_again_when_its_owner_drops_the_oldest(people: Any, tmp_path: Path) -> None:
    address, log = log_address(*people.log_place), Bounds(4_000, 2, 9_000, 12_000, None)
    with people.open(tmp_path / "m", quotas=Quotas(log=log)) as box:
        for number in (1, 2):
            box.append_log(address, people.compartment_id, bytes([number]) * 32, b"receipt %d" % number, LEAF)
        with pytest.raises(errors.AddressFull):
            box.append_log(address, people.compartment_id, b"\x03" * 32, b"receipt 3", LEAF)
        page = box.read(people.read("log", people.log_place, people.log_reader))
        assert isinstance(page, mailbox.MailPage)
        with pytest.raises(errors.BadSignature):
            box.act(people.act("drop-log", people.log_reader, place=people.log_place, number=page.items[0].seq))
        box.act(people.act("drop-log", place=people.log_place, number=page.items[0].seq))
        assert box.append_log(address, people.compartment_id, b"\x03" * 32, b"receipt 3", LEAF)
        page = box.read(people.read("log", people.log_place, people.log_reader))
        assert isinstance(page, mailbox.MailPage)
        assert [item.data for item in page.items] == [b"receipt 2", b"receipt 3"]


def test_bounds_are_named_and_hold_for_items_addresses_and_kinds(people: Any, tmp_path: Path) -> None:
    with people.open(tmp_path / "m", quotas=Quotas(log=SMALL)) as box:
        put = [
            lambda data, at=at: box.append_log(at * 32, people.compartment_id, digest("item", data), data, LEAF)
            for at in (b"1", b"2", b"3")
        ]
        with pytest.raises(errors.ItemTooLarge):
            put[0](bytes(4_001))
        put[0](bytes(3_000))
        put[0](bytes(3_001))
        with pytest.raises(errors.AddressFull):
            put[0](b"a third item")
        put[1](bytes(4_000))
        with pytest.raises(errors.KindFull):
            put[2](bytes(2_000))
        assert deposit(box, people, "a", token=people.token())  # a full log crowds out nothing else


def test_a_full_quarantine_leaves_the_way_with_a_token_open(people: Any, tmp_path: Path) -> None:
    bounds = Bounds(item_bytes=4_000, items=1, address_bytes=9_000, total_bytes=12_000, age_ms=DAY_MS)
    with people.open(tmp_path / "m", quotas=Quotas(quarantine=bounds)) as box:
        deposit(box, people, "a")
        with pytest.raises(errors.AddressFull):
            deposit(box, people, "b", name=b"\x02" * 32)
        assert envelopes(box, people, "b", what="owner").found == []
        assert deposit(box, people, "b", token=people.token(), name=b"\x02" * 32)


def test_old_quarantine_and_inbox_items_are_swept_with_their_envelopes(people: Any, tmp_path: Path) -> None:
    path = tmp_path / "m"
    with people.open(path) as box:
        deposit(box, people, "kept", token=people.token())
        deposit(box, people, "waits too long", name=b"\x02" * 32)
        box.post(people.post(b"a parcel"))
        assert box.sweep() == 0
        people.clock.value_ms += 91 * DAY_MS
        assert box.sweep() == 4  # an entry in quarantine, a parcel, and the answers to both deposits
        assert feed(box, people, "quarantine").items == []
        assert envelopes(box, people, "waits too long", what="owner").found == []
        assert envelopes(box, people, "kept").found
        slots = (path / "slots").read_bytes()[SLOT_BYTES:]
        assert sum(any(slots[at : at + SLOT_BYTES]) for at in range(0, len(slots), SLOT_BYTES)) == 1
        # Nobody rejected it: it may be sent again.
        assert deposit(box, people, "waits too long", name=b"\x02" * 32)


def test_an_address_that_was_emptied_takes_as_much_as_a_new_one(people: Any, tmp_path: Path) -> None:
    with people.open(tmp_path / "m", quotas=Quotas(inbox=SMALL)) as box:
        for round_ in range(4):
            box.post(people.post(bytes([round_]) * 3_500))
            box.post(people.post(bytes([round_ + 100]) * 3_500))
            assert len(inbox_of(box, people)) == 2
            box.act(people.act("drop", people.org_key, place=[people.org_id], number=2**40))
            with box._store.read() as snapshot:
                assert snapshot.count("senders") == 0
        page = box.read(people.read("inbox", [people.org_id], people.org_key))
        assert page == mailbox.MailPage([], False)


def test_a_wiped_key_under_a_living_row_is_named_as_damage(people: Any, tmp_path: Path) -> None:
    path = tmp_path / "m"
    with people.open(path) as box:
        deposit(box, people, "a", token=people.token())
        with (path / "slots").open("r+b") as slots:
            slots.seek(SLOT_BYTES)
            slots.write(bytes(SLOT_BYTES))
        with pytest.raises(errors.EnvelopeCorrupt):
            envelopes(box, people, "a")
    with people.open(path) as box:
        with pytest.raises(errors.EnvelopeCorrupt):
            envelopes(box, people, "a")
        deposit(box, people, "b", token=people.token())
        assert len(envelopes(box, people, "b").found) == 1, "a new record takes a slot of its own"
    (path / "slots").write_bytes(b"something else".ljust(4 * SLOT_BYTES))
    with pytest.raises(errors.SlotsCorrupt):
        people.open(path)


def test_feeds_do_not_mix(people: Any, box: Mailbox) -> None:
    deposit(box, people, "a", token=people.token())
    stranger = people.org_key
    place = [stranger.public, people.owner.public]
    assert feed_address(*place) != people.feed
    assert box.read(people.read("feed", place, stranger)) == mailbox.MailPage([], False)

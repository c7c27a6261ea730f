"""A mailbox against a model: deposits, accepting, rejecting, erasing, sweeping and restarting in any order.

The model is a dictionary: where each record is. Beside it the counts a quota is judged by must equal what is really there, and the
slot file must hold exactly one key for each living record.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hce.foundation.codec.dagcbor import decode_as
from hce.service.mailbox import records, streams
from hce.service.mailbox.errors import RecordErased
from hce.service.mailbox.quotas import DAY_MS
from hce.service.mailbox.slots import SLOT_BYTES
from hce.service.terms.mailbox import MailPage, RecordsPage

NAMES = [f"record {number}" for number in range(6)]
KINDS = {"feed": b"f", "quarantine": b"q", "records": b"r", "quarantined-records": b"u"}


class MailboxMachine(RuleBasedStateMachine):
    make_people: ClassVar[Any]

    @initialize()
    def begin(self) -> None:
        self.people = type(self).make_people()
        self.people.commit(*NAMES)
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "mailbox"
        self.box = self.people.open(self.path)
        self.where: dict[str, str] = {}
        self.waiting: dict[bytes, list[str]] = {}
        """Quarantined entries by their bytes, with the names they brought."""

    def teardown(self) -> None:
        if hasattr(self, "box"):
            self.box.close()
            self.folder.cleanup()

    @rule(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True), trusted=st.booleans())
    def deposit(self, names: list[str], trusted: bool) -> None:
        token = self.people.token(expires_ms=2**50) if trusted else None
        delivery = self.people.delivery(*names, token=token)
        if any(self.where.get(name) == "erased" for name in names):
            with pytest.raises(RecordErased):
                self.box.deposit(self.people.nonce(), self.people.org_id, [delivery], b"")
            return
        self.box.deposit(self.people.nonce(), self.people.org_id, [delivery], b"")
        known = delivery.post.entry in self._entries("feed")
        if not trusted and not known:
            self.waiting[delivery.post.entry] = names
        for name in names:
            if trusted or name not in self.where:
                self.where[name] = "feed" if trusted else "quarantine"

    @rule(data=st.data(), accept=st.booleans())
    def decide(self, data: st.DataObject, accept: bool) -> None:
        page = self.box.read(self.people.read("quarantine", self.people.place, self.people.owner))
        if not page.items:
            return
        item = data.draw(st.sampled_from(page.items))
        names = self.waiting.pop(item.data)
        self.box.act(self.people.act("accept" if accept else "reject", number=item.seq))
        for name in names:
            if self.where.get(name) == "quarantine":
                self.where[name] = "feed" if accept else "erased"

    @rule(name=st.sampled_from(NAMES))
    def erase(self, name: str) -> None:
        signed = self.box.act(self.people.act("erase", records=[self.people.record_id(name)]))
        assert signed.receipt.records == [self.people.record_id(name)]
        self.where[name] = "erased"

    @rule()
    def grow_old(self) -> None:
        """Every quarantined entry is dropped with the records that waited with it."""
        self.people.clock.value_ms += 31 * DAY_MS
        self.box.sweep()
        for names in self.waiting.values():
            for name in names:
                if self.where.get(name) == "quarantine":
                    del self.where[name]
        self.waiting.clear()

    @rule()
    def restart(self) -> None:
        self.box.close()
        self.box = self.people.open(self.path)

    @invariant()
    def everybody_sees_what_the_model_says(self) -> None:
        ids = {self.people.record_id(name): name for name in NAMES}
        for what, signer, seen in (
            ("envelopes", self.people.feed_reader, {"feed"}),
            ("owner", self.people.owner, {"feed", "quarantine"}),
        ):
            page = self.box.read(self.people.read(what, self.people.place, signer, records=list(ids)))
            assert isinstance(page, RecordsPage)
            assert {ids[held.record_id] for held in page.found} == {name for name, at in self.where.items() if at in seen}
            assert {ids[erased] for erased in page.erased} == {name for name, at in self.where.items() if at == "erased"}
            assert all(held.envelope == self.people.delivered(ids[held.record_id]).envelope for held in page.found)
        assert self._entries("quarantine") == set(self.waiting)

    @invariant()
    def counts_are_what_is_there_and_each_record_has_one_key(self) -> None:
        with self.box._store.read() as snapshot:
            rows = [decode_as(records.RecordRow, raw) for _, raw in snapshot.scan(records.RECORDS)]
            items = {
                kind: [decode_as(streams.StoredItem, raw) for _, raw in snapshot.scan(streams.ITEMS, prefix)]
                for kind, prefix in KINDS.items()
            }
            for kind, prefix in KINDS.items():
                sizes = [len(item.data) + streams.ITEM_OVERHEAD_BYTES for item in items[kind]]
                if kind.endswith("records"):
                    sizes = [len(row.sealed) for row in rows if row.quarantined == (kind != "records")]
                for place in (b"", self.people.feed):
                    raw = snapshot.get(streams.HEADS, prefix + place)
                    head = decode_as(streams.Head, raw) if raw else streams.Head(0, 0, 0)
                    assert (head.count, head.bytes) == (len(sizes), sum(sizes)), kind
        slots = (self.path / "slots").read_bytes()[SLOT_BYTES:]
        keys = {at // SLOT_BYTES for at in range(0, len(slots), SLOT_BYTES) if any(slots[at : at + SLOT_BYTES])}
        assert keys == {row.slot for row in rows}
        assert len(rows) == len(keys)

    def _entries(self, what: str) -> set[bytes]:
        signer = self.people.feed_reader if what == "feed" else self.people.owner
        page = self.box.read(self.people.read(what, self.people.place, signer))
        assert isinstance(page, MailPage)
        return {item.data for item in page.items}


def test_a_mailbox_keeps_forgets_and_counts_as_it_says(make_people: Any) -> None:
    class Machine(MailboxMachine):
        pass

    Machine.make_people = staticmethod(make_people)
    test_case = Machine.TestCase
    test_case.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
    test_case("runTest").runTest()

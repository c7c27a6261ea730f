"""A node that was away gets the mail it missed from peers: what is signed from one, the rest from as many as cannot all be faulty."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hce.foundation.codec.dagcbor import decode, encode
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.store.errors import DiskFull
from hce.foundation.types.errors import Unavailable
from hce.service.mailbox import replica
from hce.service.mailbox.catchup import OVERLAP_MS, MailCatchUp, serve, witnesses_needed
from hce.service.mailbox.errors import AddressFull, RecordErased
from hce.service.mailbox.records import TOMBSTONES
from hce.service.mailbox.replica import MAX_NAMES, ErasedSince
from hce.service.mailbox.service import Mailbox
from hce.service.mailbox.slots import SLOT_BYTES
from hce.service.terms.mailbox import Ownership
from hce.service.terms.records import digest_of_envelope

NAME = b"\x01" * 32


class Network:
    """Mailboxes of n nodes; requests go through memory. `lies` changes answers: (peer, method) -> what to do with the answer."""

    def __init__(self, people: Any, path: Path, n: int, stack: ExitStack) -> None:
        self.people = people
        self.boxes = [stack.enter_context(people.open(path / str(node))) for node in range(n)]
        self.handlers: dict[tuple[int, str], Callable[[int, bytes], Awaitable[bytes]]] = {}
        self.away: set[int] = set()
        self.hanging: set[tuple[int, str]] = set()
        self.requests: list[tuple[int, str]] = []
        self.lies: dict[tuple[int, str], Callable[[Any], Any]] = {}
        for node, box in enumerate(self.boxes):
            serve(box.replica, Channel(self, node), at_once)

    def catch_up(self, node: int, **options: Any) -> MailCatchUp:
        """As after a restart, by a node that was up to date when the clock stood where it stands now."""
        return MailCatchUp(
            replica=self.boxes[node].replica,
            channel=Channel(self, node),
            node=node,
            nodes=len(self.boxes),
            worker=at_once,
            clock=self.people.clock,
            since_ms=self.people.clock.now_ms(),
            **options,
        )

    def deposit(self, *names: str, without: int, token: Any = None) -> None:
        for node, box in enumerate(self.boxes):
            if node != without:
                box.deposit(NAME, self.people.org_id, [self.people.delivery(*names, token=token)], b"answer")

    def final(self, node: int, *names: str) -> None:
        """Blocks that name these records reach the node."""
        envelopes = {name: self.people.delivered(name).envelope for name in names}
        self.boxes[node].replica.expect(
            7, {self.people.record_id(name): digest_of_envelope(envelope) for name, envelope in envelopes.items()}
        )


class Channel:
    def __init__(self, network: Network, node: int) -> None:
        self._network = network
        self._node = node

    async def request(self, peer: int, method: str, payload: bytes, timeout_s: float) -> bytes:
        await asyncio.sleep(0)
        if peer in self._network.away:
            raise Unavailable(peer=peer)
        self._network.requests.append((peer, method))
        if (peer, method) in self._network.hanging:
            await asyncio.Event().wait()
        answer = await self._network.handlers[peer, method](self._node, payload)
        lie = self._network.lies.get((peer, method))
        return answer if lie is None else encode(lie(decode(answer)))

    def serve(self, method: str, handler: Callable[[int, bytes], Awaitable[bytes]], *, max_request_bytes: int) -> None:
        self._network.handlers[self._node, method] = handler


async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


@pytest.fixture
def network(people: Any, tmp_path: Path) -> Iterator[Network]:
    with ExitStack() as stack:
        yield Network(people, tmp_path, 4, stack)


def feed(box: Mailbox, people: Any, what: str = "feed") -> list[bytes]:
    signer = people.feed_reader if what == "feed" else people.owner
    return [item.data for item in box.read(people.read(what, people.place, signer)).items]


def envelopes(box: Mailbox, people: Any, *names: str) -> list[Any]:
    page = box.read(people.read("owner", people.place, people.owner, records=[people.record_id(name) for name in names]))
    return [(held.record_id, held.envelope, held.owner_wrap) for held in page.found]


def test_one_witness_more_than_may_be_faulty() -> None:
    assert [witnesses_needed(n) for n in range(1, 10)] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


async def test_entries_envelopes_and_inbox_items_are_caught_up(people: Any, network: Network) -> None:
    catch_up = network.catch_up(0)
    network.deposit("a", "b", without=0, token=people.token())
    for box in network.boxes[1:]:
        box.post(people.post(b"offer"))
    network.final(0, "a", "b")
    assert await catch_up.round()
    await catch_up.fetch_records()
    assert feed(network.boxes[0], people) == feed(network.boxes[1], people) != []
    assert envelopes(network.boxes[0], people, "a", "b") == envelopes(network.boxes[1], people, "a", "b")
    assert [item.data for item in network.boxes[0].read(people.read("inbox", [people.org_id], people.org_key)).items] == [b"offer"]
    assert network.boxes[0].replica.wanted(b"", 10) == {}


async def test_what_waits_in_quarantine_elsewhere_waits_here_and_is_let_in_when_it_was_elsewhere(
    people: Any, network: Network
) -> None:
    catch_up = network.catch_up(0)
    network.deposit("a", without=0)
    network.final(0, "a")
    await catch_up.round()
    await catch_up.fetch_records()
    assert feed(network.boxes[0], people) == []
    assert len(feed(network.boxes[0], people, "quarantine")) == 1
    for box in network.boxes[1:]:
        (item,) = box.read(people.read("quarantine", people.place, people.owner)).items
        box.act(people.act("accept", number=item.seq))
    await catch_up.round()
    assert len(feed(network.boxes[0], people)) == 1
    assert feed(network.boxes[0], people, "quarantine") == []
    granted = people.read("envelopes", people.place, people.feed_reader, records=[people.record_id("a")])
    assert len(network.boxes[0].read(granted).found) == 1


async def test_an_erasure_reaches_a_node_that_was_away_from_a_single_peer(people: Any, network: Network) -> None:
    catch_up = network.catch_up(0)
    network.deposit("a", "b", without=9, token=people.token())
    network.boxes[2].act(people.act("erase", records=[people.record_id("a")]))
    assert len(envelopes(network.boxes[0], people, "a", "b")) == 2
    await catch_up.round()
    assert [name for name, _, _ in envelopes(network.boxes[0], people, "a", "b")] == [people.record_id("b")]
    with pytest.raises(RecordErased):
        network.boxes[0].deposit(NAME, people.org_id, [people.delivery("a")], b"answer")
    network.boxes[2].close()
    network.away = {2, 3}
    await network.catch_up(1).round()
    assert len(envelopes(network.boxes[1], people, "a", "b")) == 1, "it travels on from whoever took it over"


async def test_an_erased_record_is_not_fetched_again_whatever_peers_still_hold(people: Any, network: Network) -> None:
    catch_up = network.catch_up(0)
    network.deposit("a", without=0, token=people.token())
    network.final(0, "a")
    people.commit("a")
    network.boxes[3].act(people.act("erase", records=[people.record_id("a")]))
    await catch_up.round()
    await catch_up.fetch_records()
    assert envelopes(network.boxes[0], people, "a") == []
    for node in (1, 2):
        await network.catch_up(node).round()
    await catch_up.fetch_records()
    assert network.boxes[0].replica.wanted(b"", 10) == {}, "nobody has it and it was erased: it is no longer wanted"


async def test_an_erasure_somebody_else_signed_changes_nothing(people: Any, network: Network) -> None:
    catch_up = network.catch_up(0)
    network.deposit("a", without=9, token=people.token())
    forged = people.act("erase", signer=people.org_key, records=[people.record_id("a")])
    network.lies[2, "mailbox.erasures"] = lambda _: decode(encode([[forged], b""]))
    await catch_up.round()
    assert len(envelopes(network.boxes[0], people, "a")) == 1


async def test_a_key_that_was_rotated_out_erases_nothing_through_a_peer_either(people: Any, network: Network) -> None:
    catch_up = network.catch_up(0)
    network.deposit("a", without=9, token=people.token())
    backdated = people.act("erase", records=[people.record_id("a")])
    new = SigningKey(b"\x31" * 32)
    people.compartment(new, people.compartment_id)
    network.lies[2, "mailbox.erasures"] = lambda _: decode(encode([[backdated], b""]))
    people.clock.value_ms += 1_000
    assert await catch_up.round()
    ownership = Ownership(people.compartment_id, new.public)
    page = network.boxes[0].read(people.read("owner", people.place, new, owner=ownership, records=[people.record_id("a")]))
    assert len(page.found) == 1


async def test_an_erasure_of_a_compartment_this_node_does_not_know_yet_is_asked_for_again(people: Any, network: Network) -> None:
    catch_up = network.catch_up(0)
    network.deposit("a", without=9, token=people.token())
    for box in network.boxes[1:]:
        box.act(people.act("erase", records=[people.record_id("a")]))
    known = people.table.copy()
    del people.table[b"comp/" + people.compartment_id]
    assert not await catch_up.round()
    people.table.update(known)
    people.clock.value_ms += 1_000
    assert await catch_up.round()
    assert envelopes(network.boxes[0], people, "a") == []


async def test_an_erasure_signed_twice_over_is_kept_for_peers_once(people: Any, network: Network) -> None:
    network.deposit("a", without=9, token=people.token())
    for _ in range(3):
        network.boxes[1].act(people.act("erase", records=[people.record_id("a")]))
    assert len(network.boxes[1].replica.erasures(ErasedSince(0, b"")).acts) == 1


async def test_an_item_one_peer_alone_names_is_not_believed(people: Any, network: Network) -> None:
    catch_up = network.catch_up(0)
    network.boxes[1].post(people.post(b"made up"))
    await catch_up.round()
    assert network.boxes[0].read(people.read("inbox", [people.org_id], people.org_key)).items == []
    network.boxes[2].post(people.post(b"made up"))
    await catch_up.round()
    assert len(network.boxes[0].read(people.read("inbox", [people.org_id], people.org_key)).items) == 1


async def test_other_bytes_than_the_name_says_are_fetched_from_the_next_witness(people: Any, network: Network) -> None:
    catch_up = network.catch_up(0)
    network.deposit("a", without=0, token=people.token())
    network.lies[1, "mailbox.items"] = lambda answer: [b"other" for _ in answer]
    network.lies[2, "mailbox.items"] = lambda _: []
    await catch_up.round()
    assert feed(network.boxes[0], people) == feed(network.boxes[3], people)


def foreign_feed(answer: list[Any]) -> list[Any]:
    return [[bytes(32), *record[1:]] for record in answer]


def other_wrap(answer: list[Any]) -> list[Any]:
    return [[*record[:3], bytes(80)] for record in answer]


@pytest.mark.parametrize("lie", [foreign_feed, other_wrap, lambda _: [None], lambda _: [], lambda _: "nonsense"])
async def test_a_lying_peer_gives_no_record_to_another_feed(lie: Any, people: Any, network: Network) -> None:
    catch_up = network.catch_up(0)
    network.deposit("a", without=0, token=people.token())
    network.final(0, "a")
    network.lies[1, "mailbox.records"] = lie
    network.away = {3}
    await catch_up.fetch_records()
    assert envelopes(network.boxes[0], people, "a") == [], "one honest witness of two is not enough"
    network.away = set()
    await catch_up.fetch_records()
    assert envelopes(network.boxes[0], people, "a") == envelopes(network.boxes[2], people, "a") != []


async def test_a_round_with_too_few_peers_asks_from_the_same_time_again(people: Any, network: Network) -> None:
    catch_up = network.catch_up(0)
    network.deposit("a", without=0, token=people.token())
    network.away = {2, 3}
    assert not await catch_up.round()
    assert feed(network.boxes[0], people) == []
    people.clock.value_ms += 3_600_000
    network.away = {3}
    assert await catch_up.round()
    assert len(feed(network.boxes[0], people)) == 1


@pytest.mark.parametrize("method", ["mailbox.names", "mailbox.erasures"])
async def test_a_peer_that_pages_for_ever_does_not_keep_a_round_from_ending(method: str, people: Any, network: Network) -> None:
    catch_up = network.catch_up(0)
    network.deposit("a", without=0, token=people.token())
    network.lies[2, method] = lambda _: [[], len(network.requests).to_bytes(8, "big")]
    async with asyncio.timeout(5):
        assert await catch_up.round()
    assert len(feed(network.boxes[0], people)) == 1
    assert len(network.requests) < 30


async def test_a_page_that_does_not_say_where_its_last_entry_stands_is_the_last(people: Any, network: Network) -> None:
    catch_up = network.catch_up(0)
    made_up = [[bytes(32), number.to_bytes(32, "big")] for number in range(MAX_NAMES)]
    network.lies[2, "mailbox.names"] = lambda _: [made_up, len(network.requests).to_bytes(8, "big") + bytes(65)]
    assert await catch_up.round()
    assert network.requests.count((2, "mailbox.names")) == 3


async def test_an_honest_peer_with_many_pages_is_heard_to_the_end(people: Any, network: Network, monkeypatch: Any) -> None:
    monkeypatch.setattr(replica, "MAX_NAMES", 2)
    catch_up = network.catch_up(0)
    for number in range(5):
        for box in network.boxes[1:]:
            box.post(people.post(b"offer %d" % number))
    assert await catch_up.round()
    assert len(network.boxes[0].read(people.read("inbox", [people.org_id], people.org_key)).items) == 5


async def test_items_are_asked_for_together_and_a_hanging_witness_is_asked_once(people: Any, network: Network) -> None:
    catch_up = network.catch_up(0, peer_s=0.5)
    for number in range(12):
        for box in network.boxes[1:]:
            box.post(people.post(b"offer %d" % number))

    network.hanging = {(1, "mailbox.items")}
    network.requests.clear()
    async with asyncio.timeout(5):
        await catch_up.round()
    assert len(network.boxes[0].read(people.read("inbox", [people.org_id], people.org_key)).items) == 12
    asked = [peer for peer, method in network.requests if method == "mailbox.items"]
    assert asked.count(1) <= 1
    assert len(asked) < 8


async def test_an_erasure_under_a_key_this_node_learns_of_later_is_done_when_it_has_the_blocks(
    people: Any, network: Network
) -> None:
    network.deposit("a", without=9, token=people.token())
    people.head_ms = people.clock.value_ms
    catch_up = network.catch_up(0)
    old = people.table.copy()
    new = SigningKey(b"\x31" * 32)
    people.compartment(new, people.compartment_id)
    people.clock.value_ms += 3_600_000
    ownership = Ownership(people.compartment_id, new.public)
    for box in network.boxes[1:]:
        box.act(people.act("erase", signer=new, owner=ownership, records=[people.record_id("a")]))
    rotated = people.table.copy()
    people.clock.value_ms += 1_200_000
    people.table.clear()
    people.table.update(old)
    assert not await catch_up.round(), "what this node cannot judge yet is not done with"
    people.table.update(rotated)
    people.head_ms = people.clock.value_ms
    assert await catch_up.round()
    page = network.boxes[0].read(people.read("owner", people.place, new, owner=ownership, records=[people.record_id("a")]))
    assert (page.found, page.erased) == ([], [people.record_id("a")])


async def test_a_round_of_a_node_that_is_syncing_is_not_whole(people: Any, network: Network) -> None:
    catch_up = network.catch_up(0)
    people.syncing = True
    assert not await catch_up.round()
    people.syncing = False
    assert await catch_up.round()


async def test_rounds_ask_from_no_later_than_the_newest_final_block_even_after_a_restart(people: Any, network: Network) -> None:
    people.head_ms = people.clock.value_ms
    catch_up = network.catch_up(0)
    people.clock.value_ms += 3_600_000
    network.deposit("a", without=0, token=people.token())
    assert await catch_up.round()
    people.clock.value_ms += 3_600_000
    assert await catch_up.round()
    assert network.boxes[0].replica.since_ms() <= people.head_ms
    people.head_ms = people.clock.value_ms
    assert await catch_up.round()
    assert network.boxes[0].replica.since_ms() == people.head_ms - OVERLAP_MS


async def test_a_restart_before_a_whole_round_asks_from_the_last_whole_one(people: Any, network: Network) -> None:
    people.clock.value_ms += 3_600_000
    await network.catch_up(0).round()
    network.deposit("a", without=0, token=people.token())
    people.clock.value_ms += 3_600_000
    assert await network.catch_up(0).round()
    assert len(feed(network.boxes[0], people)) == 1


async def test_what_a_full_disk_keeps_out_is_asked_for_again_and_what_is_refused_for_good_is_not(
    people: Any, network: Network, monkeypatch: Any
) -> None:
    catch_up = network.catch_up(0)
    network.deposit("a", without=0, token=people.token())

    def refuse(error: Exception) -> Any:
        def take_item(*_: Any) -> None:
            raise error

        return take_item

    monkeypatch.setattr(network.boxes[0].replica, "take_item", refuse(DiskFull()))
    assert not await catch_up.round()
    monkeypatch.setattr(network.boxes[0].replica, "take_item", refuse(AddressFull()))
    assert await catch_up.round(), "a full feed does not make every later round ask from the same time"


async def test_an_erasure_of_made_up_records_leaves_nothing_anywhere(people: Any, network: Network) -> None:
    made_up = [number.to_bytes(32, "big") for number in range(200)]
    network.boxes[1].act(people.act("erase", records=made_up))
    assert network.boxes[1].replica.erasures(ErasedSince(0, b"")).acts == []
    network.deposit("a", without=9, token=people.token())
    network.boxes[1].act(people.act("erase", records=[people.record_id("a"), *made_up]))
    catch_up = network.catch_up(0)
    people.clock.value_ms += 1_000
    assert await catch_up.round()
    with network.boxes[0]._store.read() as snapshot:
        assert snapshot.count(TOMBSTONES) == 1


async def test_the_owner_of_another_feed_does_not_keep_a_record_from_being_wanted(people: Any, network: Network) -> None:
    other = SigningKey(b"\x32" * 32)
    compartment = people.compartment(other)
    people.commit("a")
    network.final(0, "a")
    act = people.act(
        "erase",
        signer=other,
        owner=Ownership(compartment, other.public),
        place=[people.feed_reader.public, other.public],
        records=[people.record_id("a")],
    )
    network.boxes[0].act(act)
    catch_up = network.catch_up(0)
    await catch_up.fetch_records()
    assert list(network.boxes[0].replica.wanted(b"", 10)) == [people.record_id("a")]
    network.deposit("a", without=0, token=people.token())
    await catch_up.fetch_records()
    assert network.boxes[0].replica.wanted(b"", 10) == {}


async def test_a_hanging_peer_is_asked_once_for_any_number_of_wanted_records(
    people: Any, network: Network, monkeypatch: Any
) -> None:
    monkeypatch.setattr(replica, "MAX_ASKED", 2)
    catch_up = network.catch_up(0, peer_s=0.5)
    names = [f"record {number}" for number in range(6)]
    network.deposit(*names, without=0, token=people.token())
    network.final(0, *names)
    network.hanging = {(1, "mailbox.records")}
    async with asyncio.timeout(5):
        await catch_up.fetch_records()
    assert network.boxes[0].replica.wanted(b"", 10) == {}
    assert network.requests.count((1, "mailbox.records")) == 1


async def test_an_envelope_whose_key_is_damaged_is_fetched_again(people: Any, network: Network, tmp_path: Path) -> None:
    names = [*"abcdefgh"]
    network.deposit(*names, without=9, token=people.token())
    people.commit(*names)
    true = envelopes(network.boxes[1], people, *names)
    content = bytearray((tmp_path / "0" / "slots").read_bytes())
    for slot in (0, 3, 7):
        content[SLOT_BYTES * (1 + slot) + 5] ^= 0x40
    (tmp_path / "0" / "slots").write_bytes(content)
    catch_up = network.catch_up(0)
    assert await catch_up.scrub() == 3
    assert network.boxes[0].replica.awaited == 3
    await catch_up.fetch_records()
    assert envelopes(network.boxes[0], people, *names) == true
    assert network.boxes[0].items() == network.boxes[1].items()
    assert await catch_up.scrub() == 0


async def test_an_unreadable_envelope_stays_until_the_chain_tells_whether_it_is_final(
    people: Any, network: Network, tmp_path: Path
) -> None:
    """The ledger is made anew from its first block while the mailbox has seen two hundred."""
    network.deposit("a", "b", without=9, token=people.token())
    true = envelopes(network.boxes[1], people, "a", "b")
    network.boxes[0].replica.expect(200, {})
    content = (tmp_path / "0" / "slots").read_bytes()
    (tmp_path / "0" / "slots").write_bytes(content[:SLOT_BYTES] + bytes(byte ^ 0x40 for byte in content[SLOT_BYTES:]))
    catch_up = network.catch_up(0)
    assert await catch_up.scrub() == 0
    people.commit("a", "b")
    people.height = 200
    assert await catch_up.scrub() == 2
    await catch_up.fetch_records()
    assert envelopes(network.boxes[0], people, "a", "b") == true


async def test_a_mailbox_from_before_is_told_of_all_blocks_since(people: Any, tmp_path: Path) -> None:
    with people.open(tmp_path / "box") as box:
        box.replica.expect(200, {})
    shutil.copytree(tmp_path / "box", tmp_path / "before")
    with people.open(tmp_path / "box") as box:
        box.replica.expect(350, {people.record_id("a"): bytes(32)})
        assert box.replica.seen_height == 350
    with people.open(tmp_path / "before") as box:
        assert box.replica.seen_height == 200

"""What nodes that were away have not got is kept, over restarts, until they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.store.kv import KeyValueStore
from hce.foundation.types.errors import HceError, Refused, Unavailable
from hce.service.gateway import securing
from hce.service.gateway.securing import MAX_REFUSED_A_TRY, Outbox, secure
from hce.service.mailbox.errors import AddressFull, RecordErased
from hce.service.sdk.author import Undelivered
from hce.service.terms.intake import IntakeBatch

MAP_BYTES = 1 << 20


def batch(number: int) -> bytes:
    """An intake batch as bytes; only that it decodes matters here."""
    record = [bytes(32), bytes(32), [[bytes(32)] * 5, bytes(48), bytes(32)], bytes(80)]
    return encode([bytes(16), number.to_bytes(32, "big"), b"", [], [record], [[bytes(32), b"", None]], bytes(64)])


class Nodes:
    """Everything taken as (node, batch number); a node in `refusing` raises."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, int]] = []
        self.refusing: dict[int, HceError] = {}

    async def take(self, node: int, message: IntakeBatch) -> None:
        if node in self.refusing:
            raise self.refusing[node]
        self.taken.append((node, int.from_bytes(message.org_id, "big")))


def test_the_example_is_a_batch() -> None:
    assert decode_as(IntakeBatch, batch(1)).org_id[-1] == 1


async def test_a_node_gets_what_it_missed_in_order_when_it_is_back(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.refusing[2] = Unavailable()
    with Outbox.open(tmp_path / "outbox", map_size=MAP_BYTES) as outbox:
        outbox.keep([Undelivered(2, batch(1)), Undelivered(5, batch(1))])
        outbox.keep([Undelivered(2, batch(2))])
        await secure(outbox, nodes.take)
        assert outbox.waiting() == {2: 2}
    with Outbox.open(tmp_path / "outbox", map_size=MAP_BYTES) as outbox:
        nodes.refusing.clear()
        await secure(outbox, nodes.take)
        assert outbox.waiting() == {}
    assert nodes.taken == [(5, 1), (2, 1), (2, 2)]


async def test_what_was_erased_meanwhile_is_forgotten_and_the_rest_goes_on(tmp_path: Path) -> None:
    nodes = Nodes()
    with Outbox.open(tmp_path / "outbox", map_size=MAP_BYTES) as outbox:
        outbox.keep([Undelivered(2, batch(1))])
        nodes.refusing[2] = RecordErased()
        await secure(outbox, nodes.take)
        assert outbox.waiting() == {}


def test_a_full_outbox_forgets_the_oldest_of_that_node(tmp_path: Path) -> None:
    with Outbox.open(tmp_path / "outbox", max_waiting=2, map_size=MAP_BYTES) as outbox:
        outbox.keep([Undelivered(1, batch(0))])
        for number in range(1, 4):
            outbox.keep([Undelivered(0, batch(number))])
        assert outbox.waiting() == {0: 2, 1: 1}
        assert messages(outbox, 0) == [batch(2), batch(3)]


def messages(outbox: Outbox, node: int) -> list[bytes]:
    found = [outbox.get(name) for name in outbox.names(node)]
    return [one.message for one in found if one is not None]


def test_more_bytes_than_one_node_may_wait_for_push_out_its_oldest(tmp_path: Path) -> None:
    bound = 2 * len(encode(Undelivered(0, batch(1)))) + 1
    with Outbox.open(tmp_path / "outbox", max_bytes=bound, map_size=MAP_BYTES) as outbox:
        for number in range(4):
            outbox.keep([Undelivered(0, batch(number)), Undelivered(1, batch(number))])
        assert [messages(outbox, node) for node in (0, 1)] == [[batch(2), batch(3)]] * 2


async def test_a_batch_a_node_refuses_does_not_hold_up_those_behind_it(tmp_path: Path) -> None:
    taken: list[int] = []

    async def take(node: int, message: IntakeBatch) -> None:
        number = int.from_bytes(message.org_id, "big")
        if number in (0, 3):
            raise AddressFull()
        taken.append(number)

    with Outbox.open(tmp_path / "outbox", map_size=MAP_BYTES) as outbox:
        outbox.keep([Undelivered(2, batch(number)) for number in range(6)])
        await secure(outbox, take)
        assert taken == [1, 2, 4, 5]
        assert messages(outbox, 2) == [batch(0), batch(3)]


async def test_a_node_that_refuses_everything_rests_and_loses_nothing(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.refusing[2] = Refused()
    with Outbox.open(tmp_path / "outbox", map_size=MAP_BYTES) as outbox:
        outbox.keep([Undelivered(2, batch(number)) for number in range(10)])
        await secure(outbox, nodes.take)
        assert outbox.waiting() == {2: 10}
        assert messages(outbox, 2)[0] == batch(MAX_REFUSED_A_TRY)


async def test_what_is_refused_again_and_again_is_forgotten_but_not_for_want_of_room(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(securing, "MAX_REFUSALS", 3)
    nodes = Nodes()
    with Outbox.open(tmp_path / "outbox", map_size=MAP_BYTES) as outbox:
        outbox.keep([Undelivered(2, batch(1))])
        for error, waiting in [(AddressFull(), {2: 1})] * 5 + [(Refused(), {2: 1})] * 2 + [(Refused(), {})]:
            nodes.refusing[2] = error
            await secure(outbox, nodes.take)
            assert outbox.waiting() == waiting


def test_an_outbox_of_before_sizes_were_kept_loses_nothing(tmp_path: Path) -> None:
    with KeyValueStore.open(tmp_path / "outbox", tables=("waiting",), map_size=MAP_BYTES) as store, store.write() as old:
        old.put("waiting", b"\x02" + bytes(8), encode(Undelivered(2, batch(1))))
    with Outbox.open(tmp_path / "outbox", map_size=MAP_BYTES) as outbox:
        assert (outbox.waiting(), messages(outbox, 2)) == ({2: 1}, [batch(1)])

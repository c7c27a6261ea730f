"""What nodes that were away have not got is kept, over restarts, until they have."""

from __future__ import annotations

from pathlib import Path

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.types.errors import HceError, Unavailable
from hce.service.gateway.securing import Outbox, secure
from hce.service.mailbox.errors import RecordErased
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
        found = outbox.first(0)
        assert found is not None
        assert found[1].message == batch(2)

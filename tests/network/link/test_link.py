"""Honest nodes over real sockets and real TLS: messages, requests, transactions, coming back."""

from __future__ import annotations

import asyncio
import socket

import pytest
from msgspec.structs import replace
from tests.network.link.mesh import QUICK, connected, limits, make_link, mesh, until

from hce.app.preflight import free_ports
from hce.foundation.types.errors import NotFound, TooLarge
from hce.network.link.calls import CallLimits
from hce.network.link.errors import AnswerLate, LinkAddressTaken, LinkBusy, LinkDown, RequestFailed
from hce.network.link.frames import MAX_FRAGMENT_BYTES
from hce.network.link.outbox import LaneLimits

LARGE = bytes(range(256)) * 1024 * 5
assert len(LARGE) > 10 * MAX_FRAGMENT_BYTES


async def echo(peer: int, body: bytes) -> bytes:
    return body


async def test_a_broadcast_reaches_every_peer_whole_and_says_who_sent_it():
    async with mesh(3) as links:
        links[1].broadcast(LARGE)
        assert await links[0].receive() == (1, LARGE)
        assert await links[2].receive() == (1, LARGE)
        links[2].send(0, b"vote")
        assert await links[0].receive() == (2, b"vote")


async def test_messages_of_one_peer_keep_their_order():
    async with mesh(2) as links:
        for number in range(200):
            links[0].send(1, b"%d" % number)
        assert [(await links[1].receive())[1] for _ in range(200)] == [b"%d" % number for number in range(200)]


async def test_a_peer_that_talks_much_does_not_crowd_out_another():
    async with mesh(3) as links:
        for number in range(100):
            links[1].send(0, b"many %d" % number)
        links[2].send(0, b"one")
        await asyncio.sleep(0.1)
        first = [(await links[0].receive())[0] for _ in range(2)]
        assert sorted(first) == [1, 2]


async def test_every_link_tells_how_it_stands():
    async with mesh(3) as links:
        await until(lambda: all(status.rtt_ms is not None for status in links[0].peers()))
        for status in links[0].peers():
            assert status.connected
            assert status.since_ms
            assert status.faults == status.dropped == 0
            assert 0 < status.rtt_ms < 1_000


async def test_requests_run_side_by_side_in_both_directions():
    async with mesh(2) as links:
        for link in links:
            link.serve("echo", echo)
        bodies = [b"", b"a", LARGE, *(b"%d" % number for number in range(100))]
        asked = [links[side].request(1 - side, "echo", body, 10) for body in bodies for side in (0, 1)]
        assert await asyncio.gather(*asked) == [body for body in bodies for _ in (0, 1)]


async def test_a_slow_answer_holds_up_no_other():
    release = asyncio.Event()

    async def slow(peer: int, body: bytes) -> bytes:
        await release.wait()
        return b"slow"

    async with mesh(2) as links:
        links[1].serve("slow", slow)
        links[1].serve("echo", echo)
        waiting = asyncio.create_task(links[0].request(1, "slow", b"", 10))
        assert await links[0].request(1, "echo", b"quick", 10) == b"quick"
        release.set()
        assert await waiting == b"slow"


async def test_errors_reach_the_caller_by_their_code_and_surprises_stay_inside(caplog):
    async def refuse(peer: int, body: bytes) -> bytes:
        raise NotFound("no such blob", name="x")

    async def surprise(peer: int, body: bytes) -> bytes:
        raise ZeroDivisionError("a secret of the machine")

    async with mesh(2) as links:
        links[1].serve("refuse", refuse)
        links[1].serve("surprise", surprise)
        for method, code in (("refuse", "not_found"), ("surprise", "internal"), ("nothing", "link.method_unknown")):
            with pytest.raises(RequestFailed) as raised:
                await links[0].request(1, method, b"", 10)
            assert raised.value.remote_code == code
            assert "secret" not in str(raised.value)
        assert "surprise" in caplog.text
        assert connected(links[0]) == [1], "an error is no reason to part"


async def test_a_late_answer_is_an_error_and_does_no_harm_when_it_comes():
    release = asyncio.Event()

    async def slow(peer: int, body: bytes) -> bytes:
        await release.wait()
        return body

    async with mesh(2) as links:
        links[1].serve("slow", slow)
        links[1].serve("echo", echo)
        with pytest.raises(AnswerLate):
            await links[0].request(1, "slow", b"late", 0.05)
        release.set()
        assert await links[0].request(1, "echo", b"next", 10) == b"next"


async def test_sizes_are_bounded_on_every_side():
    async with mesh(2) as links:
        links[1].serve("small", echo, max_request_bytes=10)
        links[1].serve("echo", echo)
        with pytest.raises(RequestFailed, match="too_large"):
            await links[0].request(1, "small", bytes(11), 10)
        with pytest.raises(TooLarge):
            await links[0].request(1, "echo", bytes(17 << 20), 10)
        assert await links[0].request(1, "echo", bytes(10), 10, max_response_bytes=10) == bytes(10)


async def test_more_requests_than_are_served_at_once_are_told_so():
    release = asyncio.Event()

    async def slow(peer: int, body: bytes) -> bytes:
        await release.wait()
        return body

    async with mesh(2, limits=limits(call=CallLimits(asked=10, served=3))) as links:
        links[1].serve("slow", slow)
        asked = [asyncio.create_task(links[0].request(1, "slow", b"x", 10)) for _ in range(5)]
        await until(lambda: sum(task.done() for task in asked) == 2)
        for task in asked:
            if task.done():
                assert isinstance(task.exception(), RequestFailed)
        release.set()
        assert sum(isinstance(answer, bytes) for answer in await asyncio.gather(*asked, return_exceptions=True)) == 3


async def test_requests_beyond_our_own_bound_wait_their_turn_and_then_give_up():
    async def never(peer: int, body: bytes) -> bytes:
        return await asyncio.get_running_loop().create_future()

    async with mesh(2, limits=limits(call=CallLimits(asked=1))) as links:
        links[1].serve("never", never)
        first = asyncio.create_task(links[0].request(1, "never", b"", 10))
        await asyncio.sleep(0)
        with pytest.raises(LinkBusy):
            await links[0].request(1, "never", b"", 0.05)
        first.cancel()


async def test_whoever_waits_for_an_answer_hears_that_the_peer_is_gone():
    async def never(peer: int, body: bytes) -> bytes:
        return await asyncio.get_running_loop().create_future()

    ports = free_ports(2)
    async with make_link(0, 2, ports) as alone:
        async with make_link(1, 2, ports) as other:
            other.serve("never", never)
            await until(lambda: connected(alone) == [1])
            waiting = asyncio.create_task(alone.request(1, "never", b"", 10))
            await asyncio.sleep(0.05)
        with pytest.raises(LinkDown):
            await waiting
        await until(lambda: connected(alone) == [])
        with pytest.raises(LinkDown):
            await alone.request(1, "never", b"", 10)


async def test_a_transaction_crosses_each_link_of_a_full_mesh_once():
    async with mesh(4) as links:
        links[2].gossip_tx(b"transaction")
        links[2].gossip_tx(b"transaction")
        for index in (0, 1, 3):
            ((peer, gossiped),) = await links[index].receive_transactions(10)
            assert (peer, gossiped.raw, gossiped.known_to) == (2, b"transaction", 0b1111)
            links[index].relay(gossiped)
        links[2].gossip_tx(b"end")
        for index in (0, 1, 3):
            assert [one.raw for _, one in await links[index].receive_transactions(10)] == [b"end"], "nothing came twice"


async def test_transactions_soon_after_one_another_leave_together():
    async with mesh(2, limits=replace(limits(ping_s=5.0), gossip_rest_s=0.2)) as links:
        links[0].gossip_tx(b"after a rest")
        assert [one.raw for _, one in await links[1].receive_transactions(10)] == [b"after a rest"]
        links[0].gossip_tx(b"first")
        await asyncio.sleep(0.05)
        links[0].gossip_tx(b"second")
        assert [one.raw for _, one in await links[1].receive_transactions(10)] == [b"first", b"second"]


async def test_a_transaction_reaches_nodes_its_origin_is_not_connected_to():
    ports = free_ports(3)
    nowhere = free_ports(1)[0]
    cut_off = [ports[0], nowhere, ports[2]]  # node 0 looks for node 1 at a wrong place
    async with make_link(0, 3, cut_off) as left, make_link(1, 3, ports) as right, make_link(2, 3, ports) as middle:
        await until(lambda: (connected(left), connected(right), connected(middle)) == ([2], [2], [0, 1]))
        left.gossip_tx(b"transaction")
        ((_, gossiped),) = await middle.receive_transactions(10)
        middle.relay(gossiped)
        ((peer, arrived),) = await right.receive_transactions(10)
        assert (peer, arrived.raw) == (2, b"transaction")


async def test_transactions_come_in_bounded_batches():
    async with mesh(2) as links:
        for number in range(25):
            links[0].gossip_tx(b"%d" % number)
        got = []
        while len(got) < 25:
            batch = await links[1].receive_transactions(10)
            assert 1 <= len(batch) <= 10
            got += [one.raw for _, one in batch]
        assert got == [b"%d" % number for number in range(25)]


async def test_a_node_that_comes_back_is_connected_again_and_greeted():
    ports = free_ports(2)
    greeted: list[int] = []
    async with make_link(0, 2, ports) as stays:
        stays.on_connected(greeted.append)
        for times in (1, 2, 3):
            async with make_link(1, 2, ports) as comes:
                await until(lambda: connected(stays) == [1] == [1 - index for index in connected(comes)])
                assert greeted == [1] * times
                stays.send(1, b"hello again")
                assert await comes.receive() == (0, b"hello again")
            await until(lambda: connected(stays) == [])


async def test_a_slow_reader_costs_bounded_memory_and_only_its_own_messages():
    few = LaneLimits(16, 1 << 20)
    async with mesh(3, limits=limits(urgent=few, silent_pings=10_000)) as links:
        # Node 1 takes nothing out of its inbox; its socket fills, then the queue towards it.
        for number in range(2_000):
            links[0].send(1, bytes(100_000))
            links[0].send(2, b"small")
            if number % 10 == 0:
                await asyncio.sleep(0)
            if next(status for status in links[0].peers() if status.index == 1).dropped:
                break
        slow, quick = links[0].peers()
        assert slow.dropped > 0
        assert quick.dropped == 0


async def test_a_taken_port_is_said():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LinkAddressTaken):
            async with make_link(1, 2, [port, port]):
                pass


async def test_what_waits_for_us_is_bounded_by_count_and_bytes_and_then_the_peer_is_not_read():
    for few in (LaneLimits(2, 1 << 20), LaneLimits(100, 2)):
        async with mesh(2, limits=replace(QUICK, inbox=few)) as links:
            for number in range(10):
                links[0].send(1, b"%d" % number)
            await asyncio.sleep(0.4)  # longer than a silent peer is borne with
            assert connected(links[1]) == [0], "our own slowness is not the peer's silence"
            waiting = 0
            while links[1]._inbox.take_now() is not None:
                waiting += 1
            assert waiting == 2, "the rest waits on the wire"
            assert await links[1].receive() == (0, b"2")

"""How a node that is behind learns it and gets its blocks, how little one can ask, and who is believed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.simulate.network import PACE, SimulatedNetwork, Weather
from tests.simulate.world import genesis_block

from hce.network.consensus.messages import Fetch, FinalBlock, Head, Status, block_id_of, decode_message, encode_message
from hce.network.consensus.prefix import MessageKind, kind_of
from hce.network.runtime.blocklog import BlockLog
from hce.network.runtime.catchup import WINDOW_BLOCKS, WINDOW_BYTES, CatchUp

HEIGHT = 2 * WINDOW_BLOCKS + 10
ALL = -1


class Desk:
    """A clock that is set and a network that remembers."""

    def __init__(self) -> None:
        self.time_ms = 0
        self.sent: list[tuple[int, object]] = []

    def now_ms(self) -> int:
        return self.time_ms

    def send(self, peer: int, message: bytes) -> None:
        answer = decode_message(message)
        match answer:
            case FinalBlock():
                self.sent.append((peer, answer.block.header.height))
            case Head():
                self.sent.append((peer, f"head {answer.header.height}"))
            case _:
                self.sent.append((peer, answer))

    def broadcast(self, message: bytes) -> None:
        self.sent.append((ALL, decode_message(message)))

    def take(self) -> list[tuple[int, object]]:
        taken, self.sent = self.sent, []
        return taken


@pytest.fixture(scope="module")
def log():
    net = SimulatedNetwork(seed=21, n=1)
    net.boot()
    net.run_to(HEIGHT, 10**6)
    full = BlockLog(net.honest[0].disk.log, genesis_block(net.nodes))
    assert full.height == HEIGHT
    return full


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def server(log, desk):
    return CatchUp(log, desk, desk, patience_ms=200)


@pytest.fixture
def empty(log):
    """The log of a node that has genesis only."""
    return BlockLog(Memory(), log.read(0).block)


class Memory(list):
    """Records in memory."""

    def read(self, index: int) -> bytes:
        return self[index]

    def append(self, record: bytes, sync: bool = True) -> int:
        super().append(record)
        return len(self) - 1


def head_at(log: BlockLog, height: int) -> Head:
    stored = log.read(height)
    assert stored.commit is not None
    return Head(stored.block.header, stored.commit)


def copy(log: BlockLog, into: BlockLog, upto: int) -> None:
    while into.height < upto:
        stored = log.read(into.height + 1)
        assert stored.commit is not None
        into.append(stored.block, stored.commit)


def test_a_peer_one_block_behind_gets_that_block(server, desk):
    server.on_status(7, HEIGHT)
    assert desk.take() == [(7, HEIGHT)]


def test_a_peer_further_behind_is_shown_the_head_and_no_block_it_did_not_ask_for(server, desk):
    server.on_status(7, 3)
    assert desk.take() == [(7, f"head {HEIGHT}")]


def test_nobody_gets_genesis_or_what_is_not_final(server, desk):
    for height in (0, HEIGHT + 1, 2**50):
        server.on_status(7, height)
        server.on_fetch(7, height)
    assert desk.take() == []


def test_the_same_status_is_not_answered_twice_at_once(server, desk):
    for peer in (7, 7, 7, 8):
        server.on_status(peer, HEIGHT)
    assert desk.take() == [(7, HEIGHT), (8, HEIGHT)]
    desk.time_ms = 100
    server.on_status(7, HEIGHT)
    assert desk.take() == [(7, HEIGHT)]


def test_a_window_of_blocks_is_on_its_way_and_each_that_arrived_frees_a_place(server, desk):
    server.on_fetch(7, 1)
    assert desk.take() == [(7, height) for height in range(1, WINDOW_BLOCKS + 1)]
    server.on_fetch(7, 1)
    assert desk.take() == []
    server.on_fetch(7, 3)
    assert desk.take() == [(7, WINDOW_BLOCKS + 1), (7, WINDOW_BLOCKS + 2)]


def test_a_peer_that_takes_long_for_a_block_is_not_sent_everything_again(server, desk):
    server.on_fetch(7, 1)
    desk.take()
    desk.time_ms = 10_000
    server.on_fetch(7, 2)
    assert desk.take() == [(7, WINDOW_BLOCKS + 1)]


def test_the_window_ends_at_the_head(server, desk):
    server.on_fetch(7, HEIGHT - 1)
    assert desk.take() == [(7, HEIGHT - 1), (7, HEIGHT)]


def test_skipping_ahead_gets_nothing_before_a_pause_and_then_a_new_window(server, desk):
    server.on_fetch(7, 1)
    desk.take()
    server.on_fetch(7, WINDOW_BLOCKS + 2)
    assert desk.take() == []
    desk.time_ms = 100
    server.on_fetch(7, 1)
    assert desk.take()[0] == (7, 1), "what was lost is sent again after the pause"


def test_a_shown_head_means_syncing_until_its_height_is_reached(log, empty, desk):
    behind = CatchUp(empty, desk, desk, patience_ms=200)
    assert not behind.syncing
    behind.on_head(4, head_at(log, 5))
    assert behind.syncing
    copy(log, empty, 4)
    assert behind.syncing
    copy(log, empty, 5)
    assert not behind.syncing


def test_one_partner_is_asked_until_it_stops(log, empty, desk):
    behind = CatchUp(empty, desk, desk, patience_ms=200)
    behind.on_head(4, head_at(log, 9))
    behind.on_head(5, head_at(log, 9))
    assert desk.take() == [(4, Fetch(1))]
    copy(log, empty, 1)
    desk.time_ms = 150
    behind.on_final(4)
    desk.time_ms = 300
    behind.on_head(5, head_at(log, 9))
    assert desk.take() == [(4, Fetch(2))], "a partner that goes on is kept"
    desk.time_ms = 350
    behind.on_head(5, head_at(log, 9))
    assert desk.take() == [(5, Fetch(2))], "one that has stopped is replaced"


def give(log: BlockLog, behind: CatchUp, empty: BlockLog, peer: int) -> None:
    """The next block comes from this peer and becomes final."""
    stored = log.read(empty.height + 1)
    assert stored.commit is not None
    raw = encode_message(FinalBlock(stored.block, stored.commit))
    assert not behind.arrived(peer, empty.height + 1, raw)
    copy(log, empty, empty.height + 1)
    behind.on_final(peer)


def test_a_partner_that_gives_one_block_now_and_then_loses_its_place_and_rests(log, empty, desk):
    behind = CatchUp(empty, desk, desk, patience_ms=200)
    partners: list[int] = []
    behind.on_head(4, head_at(log, HEIGHT))
    for _ in range(20):
        for peer, message in desk.take():
            if isinstance(message, Fetch):
                partners.append(peer)
            elif message == Status(empty.height + 1) and peer == ALL:
                for other in (4, 5):  # the slow one is always the first to show its head
                    behind.on_head(other, head_at(log, HEIGHT))
        desk.time_ms += 190 if partners[-1] == 4 else 1
        give(log, behind, empty, partners[-1])
    assert partners.count(4) <= 6, "five times the patience at most"
    assert set(partners[6:]) == {5}


def test_a_slow_partner_is_better_than_none(log, empty, desk):
    behind = CatchUp(empty, desk, desk, patience_ms=200)
    behind.on_head(4, head_at(log, HEIGHT))
    for _ in range(6):
        desk.time_ms += 190
        give(log, behind, empty, 4)
    desk.take()
    behind.on_head(4, head_at(log, HEIGHT))
    assert desk.take() == [], "others are waited for first"
    desk.time_ms += 200
    behind.on_head(4, head_at(log, HEIGHT))
    assert desk.take() == [(4, Fetch(7))]


def test_a_partner_is_not_measured_by_our_own_work(log, empty, desk):
    behind = CatchUp(empty, desk, desk, patience_ms=200)
    behind.on_head(4, head_at(log, HEIGHT))
    for height in range(1, 20):
        stored = log.read(height)
        behind.arrived(4, height, encode_message(FinalBlock(stored.block, stored.commit)))
        desk.time_ms += 190  # executing it
        copy(log, empty, height)
        behind.on_final(4)
    assert [message for peer, message in desk.take() if peer == 4] == [Fetch(height) for height in range(1, 21)]


def test_blocks_that_overtook_others_are_kept_within_bounds_of_their_real_size(log, empty, desk):
    behind = CatchUp(empty, desk, desk, patience_ms=200)
    behind.on_head(4, head_at(log, HEIGHT))
    large = bytes(WINDOW_BYTES)
    assert [behind.arrived(4, height, large) for height in (2, 3, 4)] == [True, True, False]
    assert not behind.arrived(5, 5, b"small"), "only the partner's"
    copy(log, empty, 2)
    assert behind.take(4, 3) == large
    assert behind.arrived(4, 5, large), "what was passed needs no room"


def test_a_node_is_not_held_back_by_a_partner_that_trickles():
    net = SimulatedNetwork(seed=5, n=4)
    net.weather = Weather(min_delay_ms=5, max_delay_ms=5)
    net.boot()
    net.run_to(3, 20_000)
    away, others = net.endpoints[3], net.endpoints[:3]
    away.crash()
    assert net.time.run_until(lambda: others[0].height >= 3 + WINDOW_BLOCKS, 10**6)
    posts, ready_ms = net.post, [0]

    def trickle(sender, receiver, message):
        """Node 0 gives node 3 a final block just before that would lose its patience."""
        if (sender.index, receiver.index) != (0, 3) or kind_of(message) != MessageKind.FINAL_BLOCK:
            posts(sender, receiver, message)
            return
        now_ms = net.time.now_ms()
        ready_ms[0] = max(ready_ms[0], now_ms) + PACE.rebroadcast_ms * 19 // 20
        net.time.call_later(ready_ms[0] - now_ms, lambda: posts(sender, receiver, message))

    net.post = trickle
    away.boot()
    assert net.time.run_until(lambda: away.height >= others[0].height, 10 * PACE.rebroadcast_ms)
    net.check_agreement()


def test_when_the_shown_height_is_reached_the_peer_is_asked_whether_there_is_more(log, empty, desk):
    behind = CatchUp(empty, desk, desk, patience_ms=200)
    behind.on_head(4, head_at(log, 2))
    desk.take()
    copy(log, empty, 2)
    behind.on_final(4)
    assert desk.take() == [(4, Status(3))]


def test_a_node_many_windows_behind_is_back_long_before_it_could_have_watched_the_blocks_being_made():
    net = SimulatedNetwork(seed=5, n=4)
    net.weather = Weather(min_delay_ms=5, max_delay_ms=5)  # links keep the order
    net.boot()
    net.run_to(3, 20_000)
    away = net.endpoints[3]
    away.crash()
    others = net.endpoints[:3]
    assert net.time.run_until(lambda: others[0].height >= 3 + 2 * WINDOW_BLOCKS, 10**6)
    away.boot()
    missed = others[0].height - away.height
    assert net.time.run_until(lambda: away.height >= others[0].height, missed * PACE.block_interval_ms // 10)
    net.run_to(others[0].height + 2, 10_000)
    assert not away.driver.syncing
    net.check_agreement()


def test_nobody_is_made_to_believe_that_it_is_behind_by_a_head_nobody_signed():
    """Else one liar could keep every node from releasing keys."""
    net = SimulatedNetwork(seed=6, n=4)
    net.boot()
    net.run_to(5, 20_000)
    victim, other = net.endpoints[0], net.endpoints[1]
    genuine = head_at(BlockLog(other.disk.log, genesis_block(net.nodes)), 5)
    higher = replace(genuine.header, height=10**6)
    forged = [
        Head(higher, genuine.commit),
        Head(higher, replace(genuine.commit, block_id=block_id_of(higher))),
        Head(higher, replace(genuine.commit, block_id=block_id_of(higher), signatures=genuine.commit.signatures[:2])),
        Head(replace(higher, chain=bytes(16)), genuine.commit),
    ]
    for head in forged:
        before = len(victim.blamed)
        victim.driver.on_message(3, encode_message(head))
        assert len(victim.blamed) == before + 1
        assert not victim.driver.syncing


def test_a_proven_head_above_ours_means_syncing_until_we_have_it():
    net = SimulatedNetwork(seed=7, n=4)
    net.boot()
    net.run_to(3, 20_000)
    behind, ahead = net.endpoints[0], net.endpoints[1:]
    net.weather = Weather(groups=[{0}, {1, 2, 3}])
    assert net.time.run_until(lambda: min(one.height for one in ahead) >= behind.height + 5, 20_000)
    newest = BlockLog(ahead[0].disk.log, genesis_block(net.nodes))
    behind.driver.on_message(1, encode_message(head_at(newest, newest.height)))
    assert behind.driver.syncing
    net.weather = Weather()
    assert net.time.run_until(lambda: not behind.driver.syncing, 20_000)
    assert behind.height >= newest.height
    net.check_agreement()

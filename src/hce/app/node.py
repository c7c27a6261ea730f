"""Composition root of a node: the only place that wires the ledger, consensus, mailbox, intake, keyholder and API together.

The ledger reports revocations to the keyholder before the node's vote; the keyholder and the mailbox see the final state through one
snapshot function; release, intake and mailbox run in a worker pool; consensus and the API share one event loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

from hce.app.anchoring import AnchorPosting
from hce.app.devnet.home import Home
from hce.app.doubt import Doubt, taking
from hce.app.gossip import feed_pool
from hce.app.mending import Damageable, open_anew, open_mailbox, remove_damaged, watch_tables
from hce.app.rejoin import Watch, end_watch, has_begun, ledger_identity, sign_state_of
from hce.app.room import disk_bytes, free_bytes, require_room
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.store.kv import KeyValueStore
from hce.foundation.store.packs import PackStore
from hce.foundation.types.blocks import Block, Commit
from hce.foundation.types.clock import Clock, SystemClock
from hce.network.channel import Channel, NoPeers
from hce.network.hcefs.fs import HceFs
from hce.network.hcefs.placements import Placements
from hce.network.hcefs.scrub import Scrubber
from hce.network.link.certificates import require_keys
from hce.network.link.link import Link
from hce.network.link.peers import PeerStatus
from hce.network.runtime.blocklog import BlockLog, StoredBlock
from hce.network.runtime.errors import BlockNotHere
from hce.network.runtime.node import ConsensusRuntime, NoNetwork
from hce.network.runtime.pace import Pace
from hce.network.runtime.salvage import open_records
from hce.service.api.app import make_api
from hce.service.api.finality import Finality
from hce.service.api.meters import NodeMeters
from hce.service.api.services import NodeServices
from hce.service.api.workers import Workers
from hce.service.contracts.health import revokes_of
from hce.service.intake.arrivals import Arrivals
from hce.service.intake.service import Intake
from hce.service.keyholders import hearing
from hce.service.keyholders.anchoring import Anchoring
from hce.service.keyholders.checked import CHECK_REST_S, CheckedCapsules, CheckingAhead
from hce.service.keyholders.keyshare import load_share
from hce.service.keyholders.revoked import RevokedSet
from hce.service.keyholders.service import Keyholder
from hce.service.ledger.genesis import genesis_block
from hce.service.ledger.ledger import Ledger
from hce.service.mailbox import catchup
from hce.service.mailbox.catchup import MailCatchUp
from hce.service.mailbox.final import FinalState
from hce.service.mailbox.replica import MARK_BLOCKS
from hce.service.mailbox.service import Mailbox
from hce.service.terms.genesis import Genesis, genesis_cid
from hce.service.terms.identity import identify
from hce.service.terms.intake import MAX_BLOB_BYTES
from hce.service.terms.transactions import parse_kind

WORKERS = 2
"""Threads for release, intake and mailbox; the heavy parts of all three run outside the interpreter lock."""
MAP_BYTES = 1 << 36
"""Address space of the ledger's tables, not disk: large enough that they never have to grow under an open snapshot."""
SWEEP_S = 600.0
LOOK_OUT_S = 3.0

MakeLedger = Callable[..., Ledger]
"""Makes the node's ledger from what `Ledger` takes; a measurement hands in one that notes how long each call took."""

log = logging.getLogger("hce.node")


class RunningNode:
    """An open node: files, keys and services. `close` after the runtime has stopped."""

    def __init__(
        self, home: Home, index: int, stack: ExitStack, make_ledger: MakeLedger = Ledger, *, after_fault: bool = False
    ) -> None:
        """`after_fault`: damage ended the life before this one."""
        genesis, keys = home.genesis(), home.node_keys(index)
        data, clock, began_s = home.node(index) / "data", SystemClock(), time.monotonic()
        self._clock = clock
        service_key, consensus_key = SigningKey(keys.service), SigningKey(keys.consensus)

        self.link = make_link(home, genesis, index, keys.link, clock) if len(genesis.nodes) > 1 else None
        self._pool = stack.enter_context(ThreadPoolExecutor(WORKERS, thread_name_prefix="hce-work"))
        alone, identity = len(genesis.nodes) == 1, genesis.chain + bytes([index])
        lost_ms = clock.now_ms() if has_begun(data, len(genesis.nodes)) else None
        remove_damaged(data, chain=genesis.chain, node=index, alone=alone, after_fault=after_fault)
        open_revoked = partial(RevokedSet.open, data / "revoked", lost_ms=lost_ms, identity=b"revoked" + identity)
        revoked: RevokedSet = stack.enter_context(_closing(open_anew(data / "revoked", open_revoked)))
        open_ledger = partial(
            KeyValueStore.open,
            data / "ledger",
            tables=Ledger.tables(),
            identity=ledger_identity(genesis, index),
            map_size=MAP_BYTES,
        )
        store = stack.enter_context(_closing(open_anew(data / "ledger", open_ledger)))
        if not Ledger.exists(store):
            Ledger.create(store, genesis)
        self.ledger = make_ledger(store, genesis, on_revokes=revoked.add, monotonic_ns=time.monotonic_ns)
        records = stack.enter_context(_closing(open_records(data / "blocks.log", alone)))
        self.blocklog = BlockLog(records, genesis_block(genesis))
        signing = sign_state_of(data, genesis, index, self.blocklog, clock.now_ms())
        self._watch = signing if isinstance(signing, Watch) else None
        sign_state = None if isinstance(signing, Watch) else stack.enter_context(_closing(signing))
        if self._watch is not None and revoked.lost_ms is None:
            revoked.doubt(clock.now_ms())  # what set the sign state back, or lost it, may have done the same to the list

        shared: dict[str, Any] = {"chain": genesis.chain, "node_index": index, "service_key": service_key, "clock": clock}
        final = self._final_state
        channel: Channel = self.link or NoPeers()
        open_box = partial(Mailbox.open, data / "mailbox", state=final, **shared)
        mailbox = stack.enter_context(open_mailbox(data / "mailbox", alone, open_box, genesis.chain, index))
        packs = stack.enter_context(PackStore.open(data / "packs", max_blob_bytes=MAX_BLOB_BYTES, identity=b"packs" + identity))
        placements = stack.enter_context(Placements.open(data / "placements", chain=genesis.chain, node=index))
        intake = Intake(
            nodes=len(genesis.nodes),
            epoch=self._epoch,
            packs=packs,
            placements=placements,
            mailbox=mailbox,
            state=final,
            params=genesis.params,
            require_room=partial(require_room, data),
            **shared,
        )
        self.files = HceFs(
            chain=genesis.chain,
            node=index,
            nodes=len(genesis.nodes),
            packs=packs,
            placements=placements,
            channel=channel,
            worker=self._work,
        )
        self._scrubber = Scrubber(self.files)
        catchup.serve(mailbox.replica, channel, self._work)
        hearing.serve(revoked, lambda: self.ledger.height, channel, self._work)
        self._doubt = self._doubt_of(revoked, genesis, index, channel)
        capsules = CheckedCapsules()
        self._checking = CheckingAhead(genesis.chain, capsules, final, mailbox.replica.envelopes)
        self._arrivals = Arrivals(genesis.chain, placements, mailbox.replica, final, self._health_txs, self._checking.records_final)
        self._mail_catch_up = MailCatchUp(
            replica=mailbox.replica,
            channel=channel,
            node=index,
            nodes=len(genesis.nodes),
            worker=self._work,
            clock=clock,
            since_ms=genesis.time_ms,
        )
        self.keyholder = Keyholder(
            share=load_share(home.node(index) / "share.cbor", genesis.chain, genesis.keyholders),
            state=final,
            mailbox=mailbox,
            params=genesis.params,
            sharing_epoch=genesis.keyholders.sharing_epoch,
            revoked=revoked,
            capsules=capsules,
            **shared,
        )
        anchoring = Anchoring(
            chain=genesis.chain, service_key=service_key, params=genesis.params, state=final, periods=mailbox.periods
        )
        self._anchors = AnchorPosting(anchoring, self.ledger.check_tx, self._gossip, self._work)
        self._mailbox, self._intake = mailbox, intake
        self._stores: list[Damageable] = [store, revoked, mailbox, packs, placements]
        self.finality, self._meters = Finality(), NodeMeters()
        self.runtime = ConsensusRuntime(
            chain=genesis.chain,
            nodes=genesis.node_list,
            my_index=index if sign_state is not None else None,
            key=consensus_key if sign_state is not None else None,
            app=self.ledger,
            blocklog=self.blocklog,
            signstate=sign_state,
            clock=clock,
            network=self.link or NoNetwork(),
            pace=Pace(block_interval_ms=genesis.params.block_interval_ms),
            slots_per_turn=genesis.params.slots_per_turn,
        )
        self.runtime.on_commit(self._block_is_final)
        if self.link is not None:
            self.link.on_connected(self.runtime.peer_connected)
        self.api = make_api(
            NodeServices(
                genesis=genesis,
                node_index=index,
                identify=partial(identify, service_key, genesis.chain, index),
                ledger=self.ledger,
                final_block=self._final_block,
                final_height=lambda: self._final_height,
                finality=self.finality,
                mailbox=mailbox,
                intake=intake,
                keyholder=self.keyholder,
                files=self.files,
                worker=Workers(self._pool),
                started_ms=clock.now_ms(),
                uptime_s=lambda: time.monotonic() - began_s,
                gossip=self._gossip,
                peers=self._peers,
                syncing=lambda: self.runtime.driver.syncing,
                voting=lambda: self._watch is None,
                meters=self._meters,
                disk_bytes=lambda: disk_bytes(data),
                free_bytes=lambda: free_bytes(data),
            )
        )
        self._chain = genesis.chain
        self._data, self._key = data, consensus_key.public
        stack.callback(self._pool.shutdown, cancel_futures=True)  # what a thread does ends before the files close
        self.watched = asyncio.Event()
        """Set when a node that lost its sign state has watched long enough: opened anew, it signs."""

    def _doubt_of(self, revoked: RevokedSet, genesis: Genesis, index: int, channel: Channel) -> Doubt:
        """A list of revocations that is lost is not known to be empty."""
        window = genesis.params.replay_window
        asking = hearing.Hearing(
            peers=[peer for peer in range(len(genesis.nodes)) if peer != index],
            enough=genesis.keyholders.threshold,
            channel=channel,
            worker=self._work,
            take=taking(self.ledger),
            height=lambda: self.ledger.height,
        )
        doubt = Doubt(revoked, asking, window, self._work)
        if doubt.is_open:
            log.warning("this node may have forgotten revocations it had seen: it releases nothing until it knows them again")
            with self.ledger.queries.snapshot() as view:
                last = range(max(0, view.height - 2 * window), view.height + 1)
                doubt.has_seen((height, view.head(height).time_ms) for height in last)
        return doubt

    async def _work(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(function, *arguments))

    @contextmanager
    def _final_state(self) -> Iterator[FinalState]:
        with self.ledger.queries.snapshot() as view:
            height = view.height
            yield FinalState(view.health, height, view.head(height).time_ms, self._behind)

    @property
    def _final_height(self) -> int:
        """The log is a little ahead of the ledger while a block is executed, and behind it after it lost blocks."""
        return min(self.ledger.height, self.blocklog.height)

    def _final_block(self, height: int) -> StoredBlock:
        if self.blocklog.height < height <= self.ledger.height:
            raise BlockNotHere(height=height)
        return self.blocklog.read(height)

    @property
    def _behind(self) -> bool:
        """What this node knows may be old: it releases and anchors nothing."""
        return self.runtime.driver.syncing or self._watch is not None or self.in_doubt

    @property
    def in_doubt(self) -> bool:
        """Whether it may have forgotten revocations it had seen."""
        return self._doubt.is_open

    def _gossip(self, raw: bytes) -> None:
        if self.link is not None:
            self.link.gossip_tx(raw)

    def _peers(self) -> list[PeerStatus]:
        return [] if self.link is None else self.link.peers()

    def _health_txs(self, height: int) -> list[bytes]:
        return self.blocklog.read(height).block.ledger.health_txs

    def _epoch(self) -> int:
        return self.blocklog.head.block.header.epoch

    async def _block_is_final(self, block: Block, commit: Commit) -> None:
        took_ms, ledger = self._clock.now_ms() - block.header.time_ms, block.ledger
        self._meters.block_is_final(took_ms, commit.round, len(ledger.health_txs), len(ledger.value_txs))
        self.finality.block_is_final(took_ms)
        self._anchors.block_is_final(block.header.height)
        if block.ledger.health_txs or block.header.height % MARK_BLOCKS == 0:
            await self._work(self._arrivals.look, block.header.height)
        revoked = revokes_of(parse_kind(block.ledger.health_txs, self._chain, "grant.revoke"))
        if revoked:
            await self._work(self.keyholder.revocations_final, revoked)
        await self._doubt.block_is_final(block.header.height, block.header.time_ms)
        if self._watch is not None and self._watch.may_sign(block.header.height, block.header.time_ms):
            self.watched.set()

    @asynccontextmanager
    async def linked(self) -> AsyncIterator[None]:
        """Connected to the other nodes for the time of the block; alone, nothing happens."""
        if self.link is None:
            yield
            return
        async with self.link:
            yield

    async def tend(self) -> None:
        """What a node does unasked, for as long as it runs. Raises what any part of it raises: a node without it is not whole."""
        await _together(self._take_in_transactions(), self._keep_house())

    async def _take_in_transactions(self) -> None:
        if self.link is not None:
            await feed_pool(self.link, self.ledger.check_txs, self._work)

    async def _keep_house(self) -> None:
        """Scrubs shards, fetches what was missed, anchors receipts, drops old mail."""
        watching = watch_tables(self._data, self._stores)
        mail, anchors = self._mail_catch_up.run(), self._anchors.run()
        await _together(
            self._look_out(),
            self._check_ahead(),
            self._scrubber.run(),
            mail,
            anchors,
            self._sweep(),
            watching,
            self._doubt.run(),
        )

    async def _check_ahead(self) -> None:
        """A little at a time, and only while few records come in: those are what the processor is for."""
        rest_s = CHECK_REST_S
        while True:
            await asyncio.sleep(rest_s)
            rest_s = await self._work(self._checking.step, rest_s)

    async def _look_out(self) -> None:
        """Looks through blocks nobody was told of: those that are executed again from the log after tables were lost."""
        while True:
            await self._work(self._arrivals.look, self._final_height)
            await asyncio.sleep(LOOK_OUT_S)

    def end_watch(self) -> Callable[[], None]:
        """What makes this node one that signs, to be called when it is closed."""
        return partial(end_watch, self._data, self._chain, self._key, self.ledger.height)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            await self._work(self._mailbox.sweep)
            await self._work(self._intake.sweep)


def make_link(home: Home, genesis: Genesis, index: int, link_seed: bytes, clock: Clock) -> Link:
    """The node's links to all others. `CertificateMismatch` when the genesis contradicts itself."""
    certificates = [member.link_certificate for member in genesis.nodes]
    require_keys(certificates, [node.link_key for node in genesis.node_list])
    return Link(
        chain=genesis.chain,
        genesis=genesis_cid(genesis),
        index=index,
        certificates=certificates,
        link_seed=link_seed,
        addresses=home.link_addresses(),
        clock=clock,
        chance=random.SystemRandom().random,
    )


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    """Until one of them raises; then the others are over too: nothing goes on in files that are being closed."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _closing(opened: Any) -> Iterator[Any]:
    try:
        yield opened
    finally:
        opened.close()

"""`GET /metrics` of a node. Names and meanings stand in `docs/metrics.md`; a test compares.

Counters begin at zero with the process. Nobody's id is in a label (`service/metering.py`).
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from hce import VERSION
from hce.network.link.peers import PeerStatus
from hce.service import metering
from hce.service.api.services import NodeServices
from hce.service.metering import Family, gauge, gauges, histogram, total, totals


class MetricsFace:
    """One method, one path."""

    def __init__(self, node: NodeServices) -> None:
        self._node = node

    async def metrics(self, request: Request) -> Response:
        disk, mail, awaited = await self._node.worker(self._read_disk)
        return metering.answer(
            [
                *self._process(),
                *self._chain(),
                *_links(self._node.peers()),
                *self._storage(disk, mail, awaited),
                *self._node.meters.requests.families(),
            ]
        )

    def _read_disk(self) -> tuple[dict[str, int], dict[str, int], int]:
        node = self._node
        return node.disk_bytes(), node.mailbox.items(), node.mailbox.replica.awaited

    def _process(self) -> list[Family]:
        return metering.process_families(VERSION, self._node.uptime_s())

    def _chain(self) -> list[Family]:
        node, meters = self._node, self._node.meters
        kinds = {"health": meters.health_txs, "value": meters.value_txs}
        return [
            gauge("hce_height", "Height of the last final block.", node.ledger.height),
            gauge("hce_syncing", "1 while a peer proved a height final that this node does not have.", node.syncing()),
            gauge("hce_voting", "1 when this node signs; 0 while it only watches after a restore.", node.voting()),
            gauge("hce_pool_transactions", "Transactions waiting for a block.", len(node.ledger.pool)),
            histogram("hce_finality_seconds", "From a block's own time to its finality here.", meters.finality_s),
            total("hce_blocks_total", "Blocks that became final.", meters.blocks),
            total("hce_late_rounds_total", "Blocks that took more than one round.", meters.late_rounds),
            Family(
                "hce_transactions_total",
                "counter",
                "Transactions that became final.",
                [("", {"kind": kind}, float(count)) for kind, count in kinds.items()],
            ),
            totals("hce_releases_total", "Releases of key parts, by outcome.", ("code",), meters.releases),
        ]

    def _storage(self, disk: dict[str, int], mail: dict[str, int], awaited: int) -> list[Family]:
        shards = self._node.files.counters
        return [
            total("hce_shards_verified_total", "Own shards read and found whole.", shards.verified),
            total("hce_shards_damaged_total", "Own shards found missing or damaged.", shards.damaged),
            total("hce_shards_restored_total", "Own shards written again and verified.", shards.restored),
            gauge("hce_records_awaited", "Final records whose envelopes this node still lacks.", awaited),
            gauges("hce_mailbox_items", "Items in this node's mailbox.", "kind", mail),
            gauge("hce_disk_free_bytes", "Room left on the disk of the node's folder.", self._node.free_bytes()),
            gauges("hce_disk_bytes", "Bytes on disk, by part of the node's folder.", "part", disk),
        ]


def _links(peers: list[PeerStatus]) -> list[Family]:
    return [
        gauges(
            "hce_link_connected", "1 while the link to a peer stands.", "peer", {str(one.index): one.connected for one in peers}
        ),
        gauges(
            "hce_link_faults",
            "What a peer did wrong since this node started.",
            "peer",
            {str(one.index): one.faults for one in peers},
        ),
        gauges(
            "hce_link_dropped",
            "Messages of this connection a peer was too slow for.",
            "peer",
            {str(one.index): one.dropped for one in peers},
        ),
    ]

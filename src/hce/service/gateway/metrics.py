"""`GET /metrics` of a gateway. Names and meanings stand in `docs/metrics.md`; a test compares. Counts only: no patient, no name."""

from __future__ import annotations

import time

from hce import VERSION
from hce.service.gateway.practice import Practice
from hce.service.metering import Family, Requests, gauge, gauges, process_families


class GatewayMeters:
    """All zero when the process begins."""

    def __init__(self) -> None:
        self.requests = Requests()
        self._began_s = time.monotonic()

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self._began_s


def families(meters: GatewayMeters, practice: Practice) -> list[Family]:
    """Everything a gateway tells Prometheus."""
    waiting = {str(node): float(batches) for node, batches in sorted(practice.outbox.waiting().items())}
    return [
        *process_families(VERSION, meters.uptime_s),
        gauge("hce_gateway_height", "Height of the last final header this gateway verified.", practice.network.light.height),
        gauges("hce_gateway_unsecured_batches", "Batches a node has not got yet.", "peer", waiting),
        *meters.requests.families(),
    ]

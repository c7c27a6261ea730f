"""What a running node counts for its metrics page; `metrics.py` says what each is called."""

from __future__ import annotations

from hce.service.metering import Counter, Histogram, Requests

FINALITY_BOUNDS_S = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)


class NodeMeters:
    """All zero when the process begins."""

    def __init__(self) -> None:
        self.requests = Requests()
        self.releases = Counter()
        """(code,): "ok", or why a release was refused."""
        self.finality_s = Histogram(FINALITY_BOUNDS_S)
        self.blocks = 0
        self.late_rounds = 0
        """Blocks that took more than one round."""
        self.health_txs = 0
        self.value_txs = 0

    def block_is_final(self, took_ms: int, round: int, health_txs: int, value_txs: int) -> None:
        """`took_ms`: from the block's own time to now."""
        self.finality_s.observe(max(took_ms, 0) / 1_000)
        self.blocks += 1
        self.late_rounds += round > 0
        self.health_txs += health_txs
        self.value_txs += value_txs

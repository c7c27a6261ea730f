"""Nonces of signed requests, remembered for each asker on its own: a stranger's flood uses up a stranger's room."""

from __future__ import annotations

import threading

from hce.service.mailbox.errors import Stale, TooManyRequests

MAX_REMEMBERED_NONCES = 5_000
"""Signed requests of one asker within two freshness windows; more are told to come back."""


class SeenNonces:
    """Nonces by asker, while a replay would still look fresh. Forgotten at a restart.

    An asker is an address that holds something, a compartment or an organisation on chain: nobody makes those up, so the memory this
    takes is bounded by what exists. Askers who have been quiet for the whole window are forgotten, oldest first.
    """

    def __init__(self, keep_ms: int, capacity: int = MAX_REMEMBERED_NONCES) -> None:
        self._keep_ms = keep_ms
        self._capacity = capacity
        self._seen: dict[bytes, dict[bytes, int]] = {}
        """Askers by their last request, oldest first; each with its nonces, oldest first."""
        self._using = threading.Lock()

    def use(self, asker: bytes, nonce: bytes, now_ms: int) -> None:
        """Raises `Stale` when it was used before, `TooManyRequests` when there is no room to remember it."""
        with self._using:
            self._forget(now_ms - self._keep_ms)
            seen = self._seen.pop(asker, {})
            self._seen[asker] = seen
            while seen and next(iter(seen.values())) < now_ms - self._keep_ms:
                del seen[next(iter(seen))]
            if nonce in seen:
                raise Stale("nonce was used")
            if len(seen) >= self._capacity:
                raise TooManyRequests
            seen[nonce] = now_ms

    def __len__(self) -> int:
        """Askers remembered."""
        return len(self._seen)

    def _forget(self, before_ms: int) -> None:
        while self._seen:
            asker = next(iter(self._seen))
            nonces = self._seen[asker]
            if nonces and next(reversed(nonces.values())) >= before_ms:
                return
            del self._seen[asker]

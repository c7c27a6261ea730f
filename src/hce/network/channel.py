"""Requests between the nodes of one network, as storage and mailbox need them; `link` is one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

Handler = Callable[[int, bytes], Awaitable[bytes]]
"""(peer, payload) -> answer; an `HceError` it raises reaches whoever asked as an error."""


class Channel(Protocol):
    """Peers are authenticated node indices. Errors are `HceError`s."""

    async def request(self, peer: int, method: str, payload: bytes, timeout_s: float) -> bytes: ...

    def serve(self, method: str, handler: Handler, *, max_request_bytes: int) -> None:
        """Longer requests are refused unread."""


class NoPeers:
    """The channel of a network of one node."""

    async def request(self, peer: int, method: str, payload: bytes, timeout_s: float) -> bytes:
        raise NotImplementedError("a network of one node has no peers")

    def serve(self, method: str, handler: Handler, *, max_request_bytes: int) -> None:
        """Nobody will ask."""

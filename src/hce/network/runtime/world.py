"""What the runtime is handed: peers, timers, the clock. The simulator hands in virtual ones, nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hce.foundation.types.errors import HceError


class Network(Protocol):
    """Links to the other nodes. Messages may be lost, delayed, repeated and reordered; a peer's number is its node index."""

    def broadcast(self, message: bytes) -> None:
        """To every peer. Never blocks: a full queue drops, consensus sends again."""
        ...

    def send(self, peer: int, message: bytes) -> None:
        """To one peer, likewise."""
        ...

    def blame(self, peer: int, fault: HceError) -> None:
        """The peer sent something no honest node sends."""
        ...

    async def receive(self) -> tuple[int, bytes]:
        """The next message and the peer whose link it came over. The queue behind it is bounded."""
        ...


class Timer(Protocol):
    def cancel(self) -> None: ...


class Timers(Protocol):
    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Timer:
        """Calls back once, not before `delay_ms`, from the same thread as everything else."""
        ...

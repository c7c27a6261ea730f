"""Timers of one height: all are gone when the height is."""

from __future__ import annotations

from collections.abc import Callable

from hce.foundation.types.clock import Clock
from hce.foundation.types.scalars import TimeMs
from hce.network.runtime.world import Timer, Timers


class Alarms:
    """Callbacks at a time; `cancel_all` forgets them."""

    def __init__(self, timers: Timers, clock: Clock) -> None:
        self._timers = timers
        self._clock = clock
        self._armed: dict[int, Timer] = {}
        self._made = 0
        self._closed = False

    def at(self, at_ms: TimeMs, callback: Callable[[], None]) -> None:
        """Always through a timer, even for now, so that one block never leads to the next within one call."""
        if self._closed:
            return
        self._made += 1
        name = self._made

        def fire() -> None:
            self._armed.pop(name, None)
            callback()

        self._armed[name] = self._timers.call_later(max(0, at_ms - self._clock.now_ms()), fire)

    def cancel_all(self) -> None:
        for timer in self._armed.values():
            timer.cancel()
        self._armed.clear()

    def close(self) -> None:
        """Nothing rings any more, nor can be set."""
        self._closed = True
        self.cancel_all()

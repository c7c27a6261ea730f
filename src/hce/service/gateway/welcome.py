"""An organisation opens accounts for people who have none: anybody may ask, without a token, so many times an hour.

What is asked for is an entry of two digests on the chain, which the organisation pays. Nothing is learned of whoever asks, and nothing is
promised to them: the account is theirs whether or not they ever come in. What a stranger can do is use up the hour for others.
"""

from __future__ import annotations

from collections import deque

from hce.foundation.types.errors import Refused
from hce.service.gateway.practice import Practice

WELCOMES_PER_HOUR = 120
"""Openings this gateway pays for in an hour, over everybody who asks."""
HOUR_MS = 3_600_000


class NoWelcome(Refused):
    """This organisation opens no accounts for people who are not its patients yet."""

    code = "gateway.no_welcome"
    status = 403


class WelcomesUsedUp(Refused):
    """As many accounts were opened in the last hour as this organisation pays for."""

    code = "gateway.welcomes_used_up"
    status = 429


class Welcome:
    """Opens accounts within the bound of an hour. `per_hour` 0: none at all."""

    def __init__(self, practice: Practice, per_hour: int) -> None:
        self._practice = practice
        self._per_hour = per_hour
        self._opened_ms: deque[int] = deque()

    async def open(self, owner_digest: bytes, recovery_digest: bytes) -> bytes:
        """compartment_id of the account. Raises `NoWelcome`, `WelcomesUsedUp`, `payer.cannot_pay`."""
        if not self._per_hour:
            raise NoWelcome
        now_ms = self._practice.clock.now_ms()
        while self._opened_ms and self._opened_ms[0] <= now_ms - HOUR_MS:
            self._opened_ms.popleft()
        if len(self._opened_ms) >= self._per_hour:
            raise WelcomesUsedUp(max_per_hour=self._per_hour)
        self._opened_ms.append(now_ms)
        return await self._practice.open_compartment(owner_digest, recovery_digest)

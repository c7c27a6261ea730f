"""Capsules that were found right before. Checking one takes four multiplications of points, more than making the part itself.

A node checks the capsules of records that became final while nothing else is to do, so that a release only looks them up. What is
remembered is the answer to exactly the question the rule asks (key, label, capsule), so it can stand in for asking again, whoever asks.
It lives in memory: after a restart, and for records nobody checked before, the release checks them itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.threshold import Capsule, verify_capsule
from hce.service.mailbox.final import FinalView
from hce.service.terms.records import Envelope, capsule_label

MOST = 50_000
"""Capsules remembered, and records waiting to be checked; some 150 bytes each."""

Envelopes = Callable[[Sequence[bytes]], Sequence[Envelope | None]]
"""Record ids -> what the mailbox here holds of them."""


class CheckedCapsules:
    """Remembers the newest `MOST` that were right; a wrong one is found wrong again every time. Any thread."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._right: dict[bytes, None] = {}
        self._writing = threading.Lock()

    def verify(self, public_key: bytes, label: bytes, capsule: Capsule) -> bool:
        """As `verify_capsule`."""
        question = digest("hce/checked-capsule/1", public_key, label, capsule)
        if question in self._right:
            return True
        if not verify_capsule(public_key, label, capsule):
            return False
        with self._writing:
            self._right[question] = None
            while len(self._right) > self._most:
                del self._right[next(iter(self._right))]
        return True

    def __len__(self) -> int:
        return len(self._right)


class CheckingAhead:
    """The records whose capsules are to be checked when there is time. Any thread."""

    def __init__(self, chain: bytes, checked: CheckedCapsules, state: FinalView, envelopes: Envelopes, most: int = MOST) -> None:
        self._chain = chain
        self._checked = checked
        self._state = state
        self._envelopes = envelopes
        self._waiting: deque[bytes] = deque(maxlen=most)
        self.told = 0
        """How often records became final: whether it grows tells whether there is time."""

    def records_final(self, record_ids: Iterable[bytes]) -> None:
        """These became final. When more wait than there is room for, the oldest are left to whoever asks for them."""
        self._waiting.extend(record_ids)
        self.told += 1

    @property
    def waiting(self) -> int:
        """How many records are to be checked."""
        return len(self._waiting)

    def check_some(self, limit: int) -> None:
        """Checks the capsules of the next records that are here; CPU bound, about 0.25 ms each. What is wrong is refused when asked for."""
        names = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        with self._state() as final:
            keyholders = final.health.keyholders()
            states = [final.health.record(name) for name in names]
        if keyholders is None:
            return
        for name, state, envelope in zip(names, states, self._envelopes(names), strict=True):
            if state is not None and envelope is not None:
                label = capsule_label("record", self._chain, name, state.policy_commitment, keyholders.key_id)
                self._checked.verify(keyholders.public_key, label, envelope.capsule)

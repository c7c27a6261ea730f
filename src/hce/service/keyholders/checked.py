"""Capsules that were found right before. Checking one takes four multiplications of points, more than making the part itself.

A node checks the capsules of records that became final while few others come in, so that a release only looks them up. What is
remembered is the answer to exactly the question the rule asks (key, label, capsule), so it can stand in for asking again, whoever asks.
It lives in memory: after a restart, and for records nobody checked before, the release checks them itself.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
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
        self._right: OrderedDict[bytes, None] = OrderedDict()
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
                self._right.popitem(last=False)
        return True

    def __len__(self) -> int:
        return len(self._right)


CHECK_REST_S = 2.0
"""How long those that are not checked yet wait when more come in than are checked."""
CHECK_EACH_S, CHECKED_TOGETHER = 0.05, 16
"""So many capsules at a time: 4 ms in 50."""


class CheckingAhead:
    """The records whose capsules are to be checked when there is time. Any thread; `step` is for one."""

    def __init__(self, chain: bytes, checked: CheckedCapsules, state: FinalView, envelopes: Envelopes, most: int = MOST) -> None:
        self._chain = chain
        self._checked = checked
        self._state = state
        self._envelopes = envelopes
        self._waiting: deque[bytes] = deque(maxlen=most)
        self._told = self._told_before = 0
        """How many records became final, and at the last step."""

    def records_final(self, record_ids: Iterable[bytes]) -> None:
        """These became final. When more wait than there is room for, the oldest are left to whoever asks for them."""
        names = list(record_ids)
        self._waiting.extend(names)
        self._told += len(names)

    @property
    def waiting(self) -> int:
        """How many records are to be checked."""
        return len(self._waiting)

    def step(self, since_s: float) -> float:
        """Checks some, unless more came in within the seconds since the last step than could have been checked: then the processor is
        needed for those. Seconds until the next step.
        """
        came, self._told_before = self._told - self._told_before, self._told
        if not self._waiting or came > max(CHECKED_TOGETHER, since_s / CHECK_EACH_S * CHECKED_TOGETHER):
            return CHECK_REST_S
        self.check_some(CHECKED_TOGETHER)
        return CHECK_EACH_S if self._waiting else CHECK_REST_S

    def check_some(self, limit: int) -> None:
        """Checks the capsules of the next records that are here; CPU bound, about 0.25 ms each, reading included. What is wrong is
        refused when it is asked for.
        """
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

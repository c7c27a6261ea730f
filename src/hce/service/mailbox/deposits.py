"""Batches that were deposited, and what their senders were answered: who sends one again is answered as the first time."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.store.kv import WriteTxn
from hce.service.mailbox.quotas import DAY_MS
from hce.service.mailbox.records import Delivered
from hce.service.terms.intake import FeedPost

_DEPOSITS = "deposits"
TABLES = (_DEPOSITS,)
DEPOSIT_AGE_MS = 7 * DAY_MS
"""How long the answer to a deposit is remembered for a sender who repeats it."""


class Delivery(NamedTuple):
    """A feed post with its records, checked by the intake."""

    post: FeedPost
    records: list[Delivered]


class Deposit(NamedTuple):
    """What one batch brings, and what its sender is answered."""

    name: bytes
    org_id: bytes
    deliveries: list[Delivery]
    answer: bytes


class _Answer(Struct, frozen=True, array_like=True):
    """When a deposit was stored, and what was answered."""

    time_ms: int
    answer: bytes


def answer(batch: WriteTxn, deposit: Deposit, now_ms: int) -> bytes:
    """What this deposit was answered before, else its own answer, which is remembered."""
    earlier = batch.get(_DEPOSITS, deposit.name)
    if earlier is not None:
        return decode_as(_Answer, earlier).answer
    batch.put(_DEPOSITS, deposit.name, encode(_Answer(now_ms, deposit.answer)))
    return deposit.answer


def forget_old(batch: WriteTxn, now_ms: int) -> int:
    """Drops answers that were given long ago; how many went."""
    old = [name for name, raw in batch.scan(_DEPOSITS) if decode_as(_Answer, raw).time_ms < now_ms - DEPOSIT_AGE_MS]
    for name in old:
        batch.delete(_DEPOSITS, name)
    return len(old)

"""The plan's bytes, signed ahead in processes of their own, so that signing never competes with the nodes while they are measured."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial

from msgspec import Struct

from hce.app.bench.plan import Item, parts, secret_of
from hce.foundation.crypto.secp import EthSigningKey
from hce.foundation.crypto.sign import SigningKey
from hce.service.sdk.wallet import sign_transfer
from hce.service.terms.payloads import AccessOpen, GrantOpen, grant_id, org_id, tank_address
from hce.service.terms.transactions import make_body, sign_tx

ITEMS_PER_TASK = 500
MAX_FEE_WEI = 100 * 10**9
"""Offered for gas by the transfers: the base fee may grow a hundredfold from genesis before one is too cheap."""


class SigningTask(Struct, frozen=True):
    """What a process needs to make any item."""

    seed: int
    chain: bytes
    eip155_id: int
    valid_until: int
    expires_at_ms: int
    """Of the grants."""


def organisation_key(seed: int, payer: int) -> SigningKey:
    return SigningKey(secret_of(seed, "organisation", payer))


def sender_key(seed: int, sender: int) -> EthSigningKey:
    return EthSigningKey(secret_of(seed, "sender", sender))


def sign_items(task: SigningTask, items: Sequence[Item]) -> list[bytes]:
    """Signed bytes, in order. Deterministic."""
    return [_transfer(task, item) if item.kind == "transfer" else _health(task, item) for item in items]


def _health(task: SigningTask, item: Item) -> bytes:
    payer = organisation_key(task.seed, item.payer)
    revoker = SigningKey(secret_of(task.seed, "revoke", item.number))
    reader = SigningKey(secret_of(task.seed, "reader", item.number))
    commitment = secret_of(task.seed, "grant", item.number)
    grant = GrantOpen(commitment, reader.public, revoker.public, 0, task.expires_at_ms)
    organisation = org_id(task.chain, payer.public)
    if item.kind == "grant":
        body = make_body(task.chain, "grant.open", grant, organisation, task.valid_until)
        return sign_tx(body, [("revoke_key", revoker), ("payer", payer)])
    access = AccessOpen(grant_id(task.chain, grant), secret_of(task.seed, "access", item.number))
    body = make_body(task.chain, "access.open", access, organisation, task.valid_until)
    return sign_tx(body, [("reader", reader), ("payer", payer)])


def _transfer(task: SigningTask, item: Item) -> bytes:
    tank = tank_address(org_id(task.chain, organisation_key(task.seed, item.payer).public))
    return sign_transfer(sender_key(task.seed, item.sender), task.eip155_id, item.nonce, tank, 1, MAX_FEE_WEI)


@contextmanager
def workers() -> Iterator[ProcessPoolExecutor]:
    """One process for each core, started fresh: forking a process that runs an event loop copies its locks."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


async def sign_ahead(pool: Executor, task: SigningTask, items: Sequence[Item]) -> list[bytes]:
    """All of them, before anything is sent."""
    loop = asyncio.get_running_loop()
    tasks = [loop.run_in_executor(pool, partial(sign_items, task, part)) for part in parts(items, ITEMS_PER_TASK)]
    return [raw for signed in await asyncio.gather(*tasks) for raw in signed]

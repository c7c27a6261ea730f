"""A node that takes requests and never answers holds nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from tests.service.running import DAY_MS, LIAR, Liar, OneNode
from tests.service.sdk.crowd import URLS, Crowd
from tests.service.sdk.patients import FIRST_DAY, LAST_DAY, Patient
from tests.service.sdk.test_sdk_keyholders import Asked

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.seal import OpeningKey, seal
from hce.foundation.types.quorum import two_thirds
from hce.service.gateway import granted
from hce.service.gateway.granted import collect
from hce.service.gateway.practice import Practice
from hce.service.sdk.network import Network
from hce.service.sdk.owner import Owner
from hce.service.sdk.reader import Reader
from hce.service.terms.grants import AccessBody, ReleaseReply, release_info
from hce.service.vault.granting import PreparedAccess

SOON_S = 15.0
"""Far less than the 30 s after which a request is given up; tests take none of it."""


class Hangs(Liar):
    """The first node answers nothing once its clients have joined."""

    def __init__(self, real_url: str) -> None:
        super().__init__(real_url, lambda request, honest: None)
        self.hung = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "liar.test" and request.url.path != "/v1/genesis":
            self.hung += 1
            await asyncio.Event().wait()
        return await super().handle_async_request(request)


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hce.service.sdk.asking.NEXT_S", 0.2)
    monkeypatch.setattr("hce.service.sdk.identities.IDENTITY_WAIT_S", 1.0)
    for room in ("owner", "reader"):
        monkeypatch.setattr(f"hce.service.sdk.{room}.SLOW_S", 0.2)


@pytest.fixture
async def beside(node: OneNode) -> AsyncIterator[Network]:
    """One address of four hangs."""
    hangs = Hangs(node.url)
    async with await Network.join([LIAR, *3 * [node.url]], node.home.genesis(), transport=hangs) as network:
        yield network
        assert hangs.hung


async def test_grants_cards_and_revocations_do_not_wait_for_a_hung_node(
    practice: Practice, patient: Patient, beside: Network
) -> None:
    owner = Owner(beside, practice.clock, patient.owner.keys)
    credential_id = await practice.writer()
    request = await granted.ask(practice, credential_id, "treatment", "read", FIRST_DAY, LAST_DAY)
    async with asyncio.timeout(SOON_S):
        await owner.publish_card()
        made = await owner.grant(request, lasts_ms=DAY_MS, date_from=FIRST_DAY, date_to=LAST_DAY)
        assert (await collect(practice)).grants == [made.grant_id.hex()]
        assert (await owner.revoke(made.grant_id, made.body.nonce)).ok


async def test_a_release_does_not_wait_for_hung_nodes_when_enough_have_answered(tmp_path: Path) -> None:
    """Three of nine hang: six parts open a record."""
    entry_id, key = digest("test/entry"), OpeningKey.from_seed(bytes(32))

    async def answer(host: int, request: httpx.Request) -> bytes | None:
        if request.url.path != "/v1/release":
            return None
        if host >= two_thirds(9):
            await asyncio.Event().wait()
        reply = ReleaseReply(host, crowd.genesis.keyholders.key_id, 0, [], [])
        return seal(key.public, release_info(crowd.genesis.chain, entry_id, host), encode(reply))

    crowd = Crowd(tmp_path, answer)
    access = AccessBody(bytes(32), bytes(32), 1, bytes(32), bytes(32), key.public, "treatment", bytes(32))
    async with await Network.join(URLS, crowd.genesis, transport=crowd) as network:
        reader = SimpleNamespace(network=network, _keyholders=crowd.genesis.keyholders)
        async with asyncio.timeout(SOON_S):
            replies = await Reader.ask_keyholders(
                cast(Reader, reader), PreparedAccess(entry_id, access, bytes(32), [], key), cast(Any, Asked([], []))
            )
    assert [reply.node for reply in replies] == list(range(6))

"""The owner and the anchors of a real node: receipts get into the chain's list through a kill, and who gives no proof owes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from tests.service.running import ANCHOR_BLOCKS, LIAR, Change, Liar, OneNode, TwoFaces
from tests.service.sdk.patients import Patient

from hce.foundation.codec.dagcbor import decode, encode
from hce.service.gateway import granted
from hce.service.gateway.practice import Practice
from hce.service.sdk.network import Network
from hce.service.sdk.owner import Owner
from hce.service.vault.anchors import AnchorReport


async def read_once(practice: Practice, patient: Patient) -> None:
    await granted.reader_for(practice, patient.made.grant_id).read(patient.records[:1], "treatment", "visit")


async def when_anchored(network: Network, patient: Patient) -> AnchorReport:
    """After the end of the period and some blocks for the anchor."""
    height = await network.started()
    report = await patient.owner.check_anchors()
    while report.waiting and network.light.height < height + 3 * ANCHOR_BLOCKS:
        await network.nodes[0].block(network.light.height + 1, 5_000)
        report = await patient.owner.check_anchors()
    return report


@asynccontextmanager
async def owner_behind(node: OneNode, practice: Practice, patient: Patient, change: Change) -> AsyncIterator[Owner]:
    async with await TwoFaces.join([LIAR], node.home.genesis(), transport=Liar(node.url, change)) as network:
        yield Owner(network, practice.clock, patient.owner.keys)


async def test_receipts_are_anchored_and_proven_though_the_node_is_killed_after_the_release(
    node: OneNode, practice: Practice, patient: Patient
) -> None:
    assert await patient.owner.check_anchors() == AnchorReport(0, 0, 0, [])
    await read_once(practice, patient)
    node.kill()
    node.start()
    assert await when_anchored(practice.network, patient) == AnchorReport(1, 0, 0, [])
    await read_once(practice, patient)
    assert (await when_anchored(practice.network, patient)).anchored == 2


async def test_a_node_that_denies_a_receipt_it_signed_goes_on_owing_the_proof(
    node: OneNode, practice: Practice, patient: Patient
) -> None:
    await read_once(practice, patient)
    await when_anchored(practice.network, patient)

    def deny(request: httpx.Request, answer: bytes) -> bytes | None:
        return encode([None] * len(decode(answer))) if request.url.path == "/v1/anchors" else None

    async with owner_behind(node, practice, patient, deny) as owner:
        assert await owner.check_anchors() == AnchorReport(0, 0, 1, [], owing=(0,))


async def test_a_node_that_answers_nonsense_or_nothing_is_counted(node: OneNode, practice: Practice, patient: Patient) -> None:
    await read_once(practice, patient)
    await when_anchored(practice.network, patient)

    def too_short(request: httpx.Request, answer: bytes) -> bytes | None:
        return encode([]) if request.url.path == "/v1/anchors" else None

    def broken(request: httpx.Request, answer: bytes) -> httpx.Response | None:
        return httpx.Response(503, stream=httpx.ByteStream(b"")) if request.url.path == "/v1/anchors" else None

    for change in (too_short, broken):
        async with owner_behind(node, practice, patient, change) as owner:
            assert await owner.check_anchors() == AnchorReport(0, 0, 1, [], owing=(0,))

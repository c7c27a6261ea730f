"""Asks the chain for the nodes' anchors and the nodes for their proofs; `vault/anchors.py` judges."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence

from hce.foundation.types.errors import HceError
from hce.service.sdk.errors import NodeUnreachable
from hce.service.sdk.network import Network
from hce.service.sdk.node import NodeClient
from hce.service.terms.grants import MAX_LEAVES_ASKED, AnchorProof, SignedReceipt, receipt_leaf
from hce.service.terms.states import AnchorState, HealthReader, key_anchor, key_entry
from hce.service.vault.anchors import AnchorReport, ReceiptOnChain, check_anchors, period_of


async def check_receipts(network: Network, receipts: Sequence[SignedReceipt]) -> AnchorReport:
    """Receipts of `read_receipts`: opened, and signed by the node of the genesis they name."""
    params, nodes = network.genesis.params, network.genesis.node_list
    height = await network.head()
    keys = [key_anchor(nodes[one.receipt.node].service_key, period_of(one.receipt, params)) for one in receipts]
    chain = await network.reader(*sorted({*keys, *(key_entry(one.receipt.entry_id) for one in receipts)}))
    anchors = [_anchor(network, chain, one) for one in receipts]
    proofs = await _proofs(network, [one for one, anchor in zip(receipts, anchors, strict=True) if anchor is not None])
    known = [
        ReceiptOnChain(one, chain.entry(one.receipt.entry_id), anchor, proofs.get(receipt_leaf(one), ()))
        for one, anchor in zip(receipts, anchors, strict=True)
    ]
    return check_anchors(known, height, params)


def _anchor(network: Network, chain: HealthReader, signed: SignedReceipt) -> AnchorState | None:
    receipt = signed.receipt
    return chain.anchor(network.genesis.node_list[receipt.node].service_key, period_of(receipt, network.genesis.params))


async def _proofs(network: Network, receipts: Sequence[SignedReceipt]) -> Mapping[bytes, Sequence[AnchorProof]]:
    """What each receipt's own node says, by leaf; all nodes are asked at the same time."""
    leaves: dict[int, list[bytes]] = defaultdict(list)
    for signed in receipts:
        leaves[signed.receipt.node].append(receipt_leaf(signed))
    found: dict[bytes, list[AnchorProof]] = defaultdict(list)
    for answers in await asyncio.gather(*(_ask(network, node, asked) for node, asked in leaves.items())):
        for leaf, proof in answers:
            found[leaf].append(proof)
    return found


async def _ask(network: Network, index: int, leaves: list[bytes]) -> list[tuple[bytes, AnchorProof]]:
    """From every address that has proven to be this node: one of them may be somebody in between."""
    try:
        nodes = await network.addresses(index)
    except NodeUnreachable:
        return []
    answers = await asyncio.gather(*(_ask_address(node, leaves) for node in nodes))
    return [one for answer in answers for one in answer]


async def _ask_address(node: NodeClient, leaves: list[bytes]) -> list[tuple[bytes, AnchorProof]]:
    found: list[tuple[bytes, AnchorProof]] = []
    for start in range(0, len(leaves), MAX_LEAVES_ASKED):
        part = leaves[start : start + MAX_LEAVES_ASKED]
        try:
            answers = await node.anchors(part)
        except HceError:
            break
        found += [(leaf, answer) for leaf, answer in zip(part, answers, strict=True) if answer is not None]
    return found

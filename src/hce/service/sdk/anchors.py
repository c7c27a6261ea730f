"""Asks the chain for the nodes' anchors and the nodes for their proofs; `vault/anchors.py` judges."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence

from hce.foundation.types.errors import HceError
from hce.service.sdk.network import Network
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
    answers = await _answers(network, [one for one, anchor in zip(receipts, anchors, strict=True) if anchor is not None])
    known = [
        ReceiptOnChain(one, chain.entry(one.receipt.entry_id), anchor, answers.get(receipt_leaf(one)))
        for one, anchor in zip(receipts, anchors, strict=True)
    ]
    return check_anchors(known, height, params)


def _anchor(network: Network, chain: HealthReader, signed: SignedReceipt) -> AnchorState | None:
    receipt = signed.receipt
    return chain.anchor(network.genesis.node_list[receipt.node].service_key, period_of(receipt, network.genesis.params))


async def _answers(network: Network, receipts: Sequence[SignedReceipt]) -> Mapping[bytes, AnchorProof | HceError | None]:
    """What each receipt's own node says, by leaf; all nodes are asked at the same time."""
    leaves: dict[int, list[bytes]] = defaultdict(list)
    for signed in receipts:
        leaves[signed.receipt.node].append(receipt_leaf(signed))
    found = await asyncio.gather(*(_ask(network, node, asked) for node, asked in leaves.items()))
    return {leaf: answer for answers in found for leaf, answer in answers.items()}


async def _ask(network: Network, index: int, leaves: list[bytes]) -> dict[bytes, AnchorProof | HceError | None]:
    found: dict[bytes, AnchorProof | HceError | None] = {}
    for start in range(0, len(leaves), MAX_LEAVES_ASKED):
        part = leaves[start : start + MAX_LEAVES_ASKED]
        try:
            found |= zip(part, await (await network.node(index)).anchors(part), strict=True)
        except HceError as error:
            found |= dict.fromkeys(part, error)
    return found

"""Makes a new demo network: chain id, node keys, the dealt key of lock B, balances that sum to the total supply.

The dealer here sees the whole lock B key for a moment: `docs/cautions.md`. The issue that brings the distributed key generation
removes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from hce.app.devnet.home import DemoWallet, Home, NodeKeys, write_private
from hce.app.rejoin import make_sign_state
from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.hashing import keccak256
from hce.foundation.crypto.secp import EthSigningKey
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.crypto.threshold import deal
from hce.foundation.store.disk import replace_file
from hce.foundation.types.blocks import RULES_VERSION, Node
from hce.foundation.types.quorum import two_thirds
from hce.foundation.types.scalars import amount_to_bytes
from hce.network.link.certificates import make_certificate
from hce.service.keyholders.keyshare import write_share
from hce.service.terms.genesis import TOTAL_SUPPLY_AHCE, Genesis, GenesisBalance, GenesisNode, Params
from hce.service.terms.states import KeyholderState

HCET = 10**18
"""aHCE in one HCET."""
REWARD_POOL = keccak256(b"hce/reward-pool")[-20:]
"""146,000,000 HCET for mining (white paper 5.1); nobody holds its key."""
REWARD_POOL_AHCE = 146_000_000 * HCET
DEMO_EIP155_ID = 182_500
DEMO_PARAMS = Params(anchor_blocks=20)
"""As a real network, but receipts are anchored often enough for somebody to watch."""
EPHEMERAL_PARAMS = Params(anchor_blocks=8)
"""For a network that lives for one story and does not want to wait."""
PUBLIC_FILE = 0o644

Random = Callable[[int], bytes]


def make_network(
    home: Home,
    node_urls: list[str],
    links: list[str],
    gateways: dict[str, str],
    params: Params,
    now_ms: int,
    random: Random,
    portal: str = "",
) -> Genesis:
    """Writes the whole folder of a new network; refuses nothing, so callers check `home.exists` first.

    `links` are "host:port" in node order, empty for one node. `portal`: its origin, "" for the usual one.
    """
    chain = random(16)
    keys = [NodeKeys(random(32), random(32), random(32), random(32)) for _ in node_urls]
    wallet = DemoWallet(random(32))
    dealt = deal(len(keys), two_thirds(len(keys)), random(32))
    genesis = Genesis(
        version=RULES_VERSION,
        chain=chain,
        eip155_id=DEMO_EIP155_ID,
        time_ms=now_ms,
        params=params,
        nodes=[
            GenesisNode(_public(node), make_certificate(node.link, chain, index, now_ms) if links else b"")
            for index, node in enumerate(keys)
        ],
        balances=_balances(EthSigningKey(wallet.secret).address),
        keyholders=KeyholderState(dealt.key_id, dealt.threshold, dealt.public_key, list(dealt.member_keys), 0),
    )
    for index, node in enumerate(keys):
        write_private(home.node(index) / "keys.cbor", node)
        make_sign_state(home.node(index) / "data", chain, genesis.node_list[index].consensus_key)
        write_share(home.node(index) / "share.cbor", dealt.shares[index], genesis.chain, dealt.key_id, 0)
    write_private(home.root / "operators.cbor", wallet)
    replace_file(home.genesis_path, encode(genesis), PUBLIC_FILE)
    described = {"nodes": node_urls, "links": links, "gateways": gateways, **({"portal": portal} if portal else {})}
    replace_file(home.network_path, json.dumps(described, indent=2).encode(), PUBLIC_FILE)
    return genesis


def _public(keys: NodeKeys) -> Node:
    return Node(
        operator=EthSigningKey(keys.operator).address,
        consensus_key=SigningKey(keys.consensus).public,
        link_key=SigningKey(keys.link).public,
        service_key=SigningKey(keys.service).public,
    )


def _balances(promotion: bytes) -> list[GenesisBalance]:
    """Mining pool and promotion account, as the white paper divides the supply (5.1)."""
    return [
        GenesisBalance(REWARD_POOL, amount_to_bytes(REWARD_POOL_AHCE)),
        GenesisBalance(promotion, amount_to_bytes(TOTAL_SUPPLY_AHCE - REWARD_POOL_AHCE)),
    ]


def home_at(path: Path) -> Home:
    """The network in this folder, or the one to be made there."""
    return Home(path.expanduser().absolute())

"""How a node shows which one it is: its service key signs a nonce the client has just made."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from hce.foundation.crypto.sign import SigningKey, signing_bytes, verify
from hce.foundation.types.blocks import Node
from hce.foundation.types.scalars import NodeIndex, Signature

NONCE_BYTES = 32


class Identity(Struct, frozen=True, array_like=True):
    """Worth something to who made the nonce, and to nobody else."""

    node: NodeIndex
    """Index in the genesis."""
    signature: Signature
    """By that node's service key."""


def identity_message(chain: bytes, nonce: bytes, node: int) -> bytes:
    return signing_bytes("identity", chain, nonce, node)


def identify(key: SigningKey, chain: bytes, node: int, nonce: bytes) -> Identity:
    return Identity(node, key.sign(identity_message(chain, nonce, node)))


def proves_identity(identity: Identity, chain: bytes, nodes: Sequence[Node], nonce: bytes) -> bool:
    """Whether whoever answered has, or speaks with, the node of that index."""
    return identity.node < len(nodes) and verify(
        nodes[identity.node].service_key, identity_message(chain, nonce, identity.node), identity.signature
    )

"""Plain HCET transfers: signed Ethereum transactions of type 2, as any Ethereum wallet makes them."""

from __future__ import annotations

from hce.foundation.codec.rlp import RlpItem, rlp_encode, rlp_integer
from hce.foundation.crypto.hashing import keccak256
from hce.foundation.crypto.secp import EthSigningKey

TRANSFER_GAS = 21_000
"""Gas of a transfer without data (yellow paper, appendix G)."""


def sign_transfer(
    key: EthSigningKey, eip155_id: int, nonce: int, to: bytes, amount_ahce: int, max_fee_wei: int, tip_wei: int = 0
) -> bytes:
    """Raw bytes for `eth_sendRawTransaction` (EIP-1559); amounts in aHCE, the chain's wei."""
    fields: list[RlpItem] = [
        rlp_integer(eip155_id),
        rlp_integer(nonce),
        rlp_integer(tip_wei),
        rlp_integer(max_fee_wei),
        rlp_integer(TRANSFER_GAS),
        to,
        rlp_integer(amount_ahce),
        b"",
        [],
    ]
    r, s, y_parity = key.sign(keccak256(b"\x02" + rlp_encode(fields)))
    return b"\x02" + rlp_encode([*fields, rlp_integer(y_parity), rlp_integer(r), rlp_integer(s)])

"""What a node hands out so that nobody has to believe it: headers with their commit, state values and transactions with proofs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from hce.foundation.codec.dagcbor import encode
from hce.foundation.proofs.authmap import MapProof, verify_map_proof
from hce.foundation.proofs.listhash import ListProof, verify_list_proof
from hce.foundation.types.blocks import Block, Commit, ConsensusHeader, LedgerHeader
from hce.foundation.types.errors import PeerFault
from hce.foundation.types.scalars import AmountBytes, Bytes32, Cid, Steps

MAX_STATE_KEYS = 250
"""Keys one question may ask for."""
MAX_STATE_KEY_BYTES = 128


class BadProof(PeerFault):
    """A proof that does not lead to the final header it came with."""

    code = "proof.bad"


class HealthReceipt(Struct, frozen=True, array_like=True):
    """What became of one health transaction; a leaf under `receipts_root`."""

    tx_id: Cid
    ok: bool
    code: Annotated[str, Meta(max_length=64)]
    """Error code, "" when ok."""
    steps: Steps
    fee: AmountBytes
    produced: Annotated[list[Bytes32], Meta(max_length=1_000)]
    """Ids it made, in order: organisation, credential, compartment, records, grant or entry."""


class FinalHeader(Struct, frozen=True, array_like=True):
    """A header with the precommits that made it final. Genesis has no commit."""

    header: ConsensusHeader
    ledger: LedgerHeader
    commit: Commit | None


class WholeBlock(Struct, frozen=True, array_like=True):
    """A final block, the precommits that made it final, and what became of its health transactions (leaves under `receipts_root`)."""

    block: Block
    commit: Commit
    receipts: list[HealthReceipt]


class ProvenValue(Struct, frozen=True, array_like=True):
    """The value of one key, null = absent."""

    value: bytes | None
    proof: MapProof


class StateProof(Struct, frozen=True, array_like=True):
    """Values of the health map after one final block, in the order of the keys asked for."""

    final: FinalHeader
    values: Annotated[list[ProvenValue], Meta(max_length=MAX_STATE_KEYS)]


class TxProof(Struct, frozen=True, array_like=True):
    """A health transaction and its receipt, both under a final header."""

    final: FinalHeader
    tx: bytes
    tx_proof: ListProof
    receipt: HealthReceipt
    receipt_proof: ListProof


def require_state(proof: StateProof, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
    """The proven values of these keys; the header itself is the light client's question."""
    if len(keys) != len(proof.values):
        raise BadProof("number of values", expected=len(keys), actual=len(proof.values))
    root = proof.final.ledger.health_head.state_root
    for key, proven in zip(keys, proof.values, strict=True):
        if not verify_map_proof(root, key, proven.value, proven.proof):
            raise BadProof("health state", key=key.hex())
    return {key: proven.value for key, proven in zip(keys, proof.values, strict=True)}


def require_tx(proof: TxProof) -> HealthReceipt:
    """The proven receipt of the proven transaction; both stand at the same place of their lists."""
    head = proof.final.ledger.health_head
    same_place = (proof.tx_proof.index, proof.tx_proof.count) == (proof.receipt_proof.index, proof.receipt_proof.count)
    if not same_place or not verify_list_proof(head.txs_root, proof.tx, proof.tx_proof):
        raise BadProof("health transaction")
    if not verify_list_proof(head.receipts_root, encode(proof.receipt), proof.receipt_proof):
        raise BadProof("health receipt")
    return proof.receipt

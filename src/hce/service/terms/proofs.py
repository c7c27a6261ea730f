"""What a node hands out so that nobody has to believe it: headers with their commit, state values and transactions with proofs."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from hce.foundation.codec.dagcbor import encode
from hce.foundation.proofs.authmap import MapProof, verify_map_proof
from hce.foundation.proofs.listhash import ListProof, verify_list_proof
from hce.foundation.types.blocks import Commit, ConsensusHeader, LedgerHeader
from hce.foundation.types.errors import PeerFault
from hce.foundation.types.scalars import AmountBytes, Bytes32, Cid, Steps


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


class StateProof(Struct, frozen=True, array_like=True):
    """The value of one key (null = absent) in the health map after a final block."""

    final: FinalHeader
    value: bytes | None
    proof: MapProof


class TxProof(Struct, frozen=True, array_like=True):
    """A health transaction and its receipt, both under a final header."""

    final: FinalHeader
    tx: bytes
    tx_proof: ListProof
    receipt: HealthReceipt
    receipt_proof: ListProof


def require_state(proof: StateProof, key: bytes) -> bytes | None:
    """The proven value of a health key; the header itself is the light client's question."""
    if not verify_map_proof(proof.final.ledger.health_head.state_root, key, proof.value, proof.proof):
        raise BadProof("health state", key=key.hex())
    return proof.value


def require_tx(proof: TxProof) -> HealthReceipt:
    """The proven receipt of the proven transaction; both stand at the same place of their lists."""
    head = proof.final.ledger.health_head
    same_place = (proof.tx_proof.index, proof.tx_proof.count) == (proof.receipt_proof.index, proof.receipt_proof.count)
    if not same_place or not verify_list_proof(head.txs_root, proof.tx, proof.tx_proof):
        raise BadProof("health transaction")
    if not verify_list_proof(head.receipts_root, encode(proof.receipt), proof.receipt_proof):
        raise BadProof("health receipt")
    return proof.receipt

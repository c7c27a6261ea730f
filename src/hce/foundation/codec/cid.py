"""CIDv1 with SHA-256, in binary: the names of blocks, transactions, manifests and shards."""

from __future__ import annotations

import hashlib

DAG_CBOR = b"\x01\x71\x12\x20"
RAW = b"\x01\x55\x12\x20"


def cid_of_dag_cbor(encoded: bytes) -> bytes:
    """Name of canonical DAG-CBOR bytes."""
    return DAG_CBOR + hashlib.sha256(encoded).digest()


def cid_of_raw(blob: bytes) -> bytes:
    """Name of opaque bytes (ciphertext, shards)."""
    return RAW + hashlib.sha256(blob).digest()


def digest_of_cid(cid: bytes) -> bytes:
    """The 32-byte SHA-256 inside a CID; ValueError when it is no CID of ours."""
    if len(cid) != 36 or cid[:4] not in (DAG_CBOR, RAW):
        raise ValueError("not a CIDv1 with SHA-256")
    return cid[4:]


def is_named(cid: bytes, content: bytes) -> bool:
    """Whether this CID (either codec) is the name of these bytes."""
    return cid[:4] in (DAG_CBOR, RAW) and cid[4:] == hashlib.sha256(content).digest()

"""Proofs that something is, or is not, under a root: the list hash and the authenticated map.

In: items, keys, values and proofs as bytes and frozen structs. Out: 32-byte roots, proofs, and True or False.
Called by the node (roots of blocks, proofs for readers) and by the SDK (checks what a node says). Needs nothing but `hashlib`;
never touches storage (`foundation/store/mapnodes.py` does), never trusts a length it was given, never raises on a bad proof.
"""

"""The list hash: RFC 6962 known answers, the count in the root, and proofs that hold for one item at one place only."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.proofs.listhash import (
    ListProof,
    leaf_hash,
    list_proof,
    list_root,
    proof_of_hashes,
    tree_head,
    verify_list_proof,
)
from hce.foundation.types.errors import Malformed

KNOWN = json.loads((Path(__file__).parents[2] / "vectors/rfc6962/tree.json").read_text())
LEAVES = [bytes.fromhex(leaf) for leaf in KNOWN["leaves"]]
ITEMS = [b"item %d" % number for number in range(13)]

items_and_index = st.lists(st.binary(max_size=8), min_size=1, max_size=40).flatmap(
    lambda items: st.tuples(st.just(items), st.integers(0, len(items) - 1))
)


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def head_by_the_book(items: list[bytes]) -> bytes:
    """MTH as RFC 6962 section 2.1 writes it."""
    if not items:
        return sha256()
    if len(items) == 1:
        return sha256(b"\x00", items[0])
    split = 1
    while split * 2 < len(items):
        split *= 2
    return sha256(b"\x01", head_by_the_book(items[:split]), head_by_the_book(items[split:]))


def root_by_the_book(items: list[bytes]) -> bytes:
    return sha256(b"hce/list/1", len(items).to_bytes(8, "big"), head_by_the_book(items))


@pytest.mark.parametrize("count", range(1, 9))
def test_tree_heads_are_those_of_certificate_transparency(count: int) -> None:
    assert tree_head([leaf_hash(leaf) for leaf in LEAVES[:count]]).hex() == KNOWN["heads"][count - 1]


def test_the_empty_tree_head_is_the_hash_of_nothing() -> None:
    assert tree_head([]).hex() == KNOWN["empty"]
    assert list_root([]) == sha256(b"hce/list/1", bytes(8), bytes.fromhex(KNOWN["empty"]))


@pytest.mark.parametrize("known", KNOWN["paths"], ids=lambda known: f"{known['index']} of {known['count']}")
def test_audit_paths_are_those_of_certificate_transparency(known: dict[str, list[str]]) -> None:
    hashes = [leaf_hash(leaf) for leaf in LEAVES[: known["count"]]]
    assert [sibling.hex() for sibling in proof_of_hashes(hashes, known["index"]).path] == known["path"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=8), max_size=70))
def test_the_root_is_that_of_the_recursive_definition(items: list[bytes]) -> None:
    assert list_root(items) == root_by_the_book(items)


@settings(max_examples=100, deadline=None)
@given(items_and_index)
def test_every_item_has_a_proof_that_survives_encoding(case: tuple[list[bytes], int]) -> None:
    items, index = case
    proof = decode_as(ListProof, encode(list_proof(items, index)))
    assert verify_list_proof(list_root(items), items[index], proof)


@pytest.mark.parametrize("count", range(1, 14))
def test_a_proof_holds_at_its_own_place_and_count_only(count: int) -> None:
    items = ITEMS[:count]
    root = list_root(items)
    for index in range(count):
        proof = list_proof(items, index)
        held = [
            (item, other_index, other_count)
            for item in items
            for other_index in range(count + 2)
            for other_count in range(1, count + 3)
            if verify_list_proof(root, item, ListProof(other_index, other_count, proof.path))
        ]
        assert held == [(items[index], index, count)]


def test_every_flipped_bit_of_a_proof_makes_it_fail() -> None:
    root, proof = list_root(ITEMS), list_proof(ITEMS, 5)
    encoded = encode(proof)
    for bit in range(len(encoded) * 8):
        flipped = bytearray(encoded)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            tampered = decode_as(ListProof, bytes(flipped))
        except Malformed:
            continue
        assert not verify_list_proof(root, ITEMS[5], tampered)


@pytest.mark.parametrize("cut", ["shorter", "longer", "wide hash", "short hash", "no path"])
def test_a_path_of_another_length_fails(cut: str) -> None:
    proof = list_proof(ITEMS, 5)
    path = {
        "shorter": proof.path[:-1],
        "longer": (*proof.path, bytes(32)),
        "wide hash": (proof.path[0] + b"\x00", *proof.path[1:]),
        "short hash": (proof.path[0][:-1], *proof.path[1:]),
        "no path": (),
    }[cut]
    assert not verify_list_proof(list_root(ITEMS), ITEMS[5], msgspec.structs.replace(proof, path=path))


def test_numbers_outside_of_the_format_fail_without_raising() -> None:
    root = list_root(ITEMS)
    for index, count in [(-1, 13), (13, 13), (0, 0), (0, -1), (5, 2**64), (5, 2**80)]:
        assert not verify_list_proof(root, ITEMS[5], ListProof(index, count, list_proof(ITEMS, 5).path))
    assert not verify_list_proof(root, ITEMS[5], ListProof(5, 13, (bytes(32),) * 65))


def test_an_inner_node_does_not_pass_for_an_item() -> None:
    inner = leaf_hash(ITEMS[0]) + leaf_hash(ITEMS[1])
    proof = list_proof(ITEMS[:4], 0)
    assert not verify_list_proof(list_root(ITEMS[:4]), inner, ListProof(0, 2, proof.path[1:]))


def test_a_list_and_its_folded_shadow_have_different_roots() -> None:
    assert list_root([b"a", b"b", b"b"]) != list_root([b"a", b"b", b"b", b"b"])
    assert list_root([]) != list_root([b""])


@pytest.mark.parametrize("index", [-1, 13])
def test_asking_for_an_item_outside_of_the_list_is_an_error(index: int) -> None:
    with pytest.raises(IndexError):
        list_proof(ITEMS, index)

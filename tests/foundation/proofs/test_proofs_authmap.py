"""Map proofs, free of storage: presence and absence, every tampering refused, the two never both true."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.proofs.authmap import (
    EMPTY_HASHES,
    EMPTY_ROOT,
    Leaf,
    MapProof,
    bucket_of,
    inner_hash,
    map_proof,
    path_of,
    verify_map_proof,
)
from hce.foundation.proofs.listhash import list_root
from hce.foundation.types.errors import Malformed


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def subtree_by_the_book(leaves: list[tuple[bytes, bytes]], depth: int) -> bytes:
    """Top of the subtree that holds exactly these (path, value hash), by splitting at each of the 16 path bits."""
    if not leaves:
        return EMPTY_HASHES[16 - depth]
    if depth == 16:
        return list_root([path + value_hash for path, value_hash in sorted(leaves)])
    right = [leaf for leaf in leaves if leaf[0][depth // 8] >> (7 - depth % 8) & 1]
    left = [leaf for leaf in leaves if leaf not in right]
    return sha256(b"\x01", subtree_by_the_book(left, depth + 1), subtree_by_the_book(right, depth + 1))


def root_by_the_book(content: dict[bytes, bytes]) -> bytes:
    return sha256(b"hce/map/1", subtree_by_the_book([(sha256(key), sha256(value)) for key, value in content.items()], 0))


def siblings_by_the_book(content: dict[bytes, bytes], path: bytes) -> list[bytes]:
    leaves = [(sha256(key), sha256(value)) for key, value in content.items()]
    bucket = bucket_of(path)

    def beside(height: int) -> bytes:
        prefix = (bucket >> height) ^ 1
        return subtree_by_the_book([leaf for leaf in leaves if bucket_of(leaf[0]) >> height == prefix], 16 - height)

    return [beside(height) for height in range(16)]


def prove(content: dict[bytes, bytes], key: bytes) -> MapProof:
    path = path_of(key)
    leaves = sorted(
        (path_of(other), sha256(value)) for other, value in content.items() if bucket_of(path_of(other)) == bucket_of(path)
    )
    return map_proof(path, [Leaf(*leaf) for leaf in leaves], siblings_by_the_book(content, path))


def keys_of_one_bucket(count: int) -> list[bytes]:
    """Keys of one bucket, ascending by path, found by search."""
    bucket = bucket_of(path_of(b"0"))
    found: list[bytes] = []
    number = 0
    while len(found) < count:
        if bucket_of(path_of(b"%d" % number)) == bucket:
            found.append(b"%d" % number)
        number += 1
    return sorted(found, key=path_of)


CROWD = keys_of_one_bucket(5)
"""Five keys of one bucket; tests leave some of them out of the map and ask for them."""
OTHERS = {b"elsewhere %d" % number: b"value" for number in range(20)}
ABSENCES = {
    "before the first leaf": (CROWD[0], CROWD[1:]),
    "behind the last leaf": (CROWD[4], CROWD[:4]),
    "between two leaves": (CROWD[2], CROWD[:2] + CROWD[3:]),
    "beside the only leaf": (CROWD[2], CROWD[:1]),
    "in an empty bucket": (CROWD[2], []),
}


def crowd(keys: list[bytes]) -> dict[bytes, bytes]:
    return OTHERS | {key: b"v" + key for key in keys}


contents = st.dictionaries(st.binary(min_size=1, max_size=4), st.binary(max_size=4), max_size=12)


def test_the_empty_map_has_its_constant_root() -> None:
    assert root_by_the_book({}) == EMPTY_ROOT
    assert EMPTY_HASHES[0] == bytes(32)
    assert EMPTY_HASHES[1] == inner_hash(bytes(32), bytes(32))


@settings(max_examples=40, deadline=None)
@given(contents, st.binary(min_size=1, max_size=4), st.binary(max_size=4))
def test_presence_and_absence_exclude_each_other(content: dict[bytes, bytes], key: bytes, other: bytes) -> None:
    root, proof = root_by_the_book(content), prove(content, key)
    held = [value for value in {None, other, *content.values()} if verify_map_proof(root, key, value, proof)]
    assert held == [content.get(key)]


@settings(max_examples=30, deadline=None)
@given(contents.filter(bool), st.data())
def test_a_proof_of_one_key_proves_no_other(content: dict[bytes, bytes], data: st.DataObject) -> None:
    mine = data.draw(st.sampled_from(sorted(content)))
    root, proof = root_by_the_book(content), prove(content, mine)
    for other in [*content, mine + b"x"]:
        assert verify_map_proof(root, other, content[mine], proof) == (other == mine)
        assert not verify_map_proof(root, other, None, proof)


@pytest.mark.parametrize(("key", "present"), ABSENCES.values(), ids=ABSENCES)
def test_absence_is_proven(key: bytes, present: list[bytes]) -> None:
    content = crowd(present)
    proof = decode_as(MapProof, encode(prove(content, key)))
    assert verify_map_proof(root_by_the_book(content), key, None, proof)
    assert not any(verify_map_proof(root_by_the_book(content), there, None, proof) for there in present)


@pytest.mark.parametrize(("key", "present"), ABSENCES.values(), ids=ABSENCES)
def test_the_same_answer_under_the_root_with_the_key_fails(key: bytes, present: list[bytes]) -> None:
    assert not verify_map_proof(root_by_the_book(crowd([*present, key])), key, None, prove(crowd(present), key))


def test_leaves_that_are_not_adjacent_do_not_prove_absence() -> None:
    """A liar shows the leaves on both sides of a key that is there."""
    content = crowd(CROWD)
    below, above = prove(content, CROWD[1]), prove(content, CROWD[3])
    lie = msgspec.structs.replace(below, members=below.members + above.members)
    assert not verify_map_proof(root_by_the_book(content), CROWD[2], None, lie)


@pytest.mark.parametrize("shown", [0, 1, 3, 4])
def test_one_leaf_in_the_wrong_place_does_not_prove_absence(shown: int) -> None:
    """A liar shows a single leaf as if it were the first or the last."""
    content = crowd(CROWD)
    proof = prove(content, CROWD[shown])
    for index, count in [(0, 5), (4, 5), (0, 1), (shown, shown + 1)]:
        member = msgspec.structs.replace(proof.members[0], index=index)
        lie = msgspec.structs.replace(proof, members=(member,), count=count)
        assert not verify_map_proof(root_by_the_book(content), CROWD[2], None, lie)


def test_a_full_bucket_does_not_pass_for_an_empty_one() -> None:
    content = crowd(CROWD)
    proof = prove(content, CROWD[2])
    for count in (0, 5):
        assert not verify_map_proof(
            root_by_the_book(content), CROWD[2], None, msgspec.structs.replace(proof, members=(), count=count)
        )


@pytest.mark.parametrize("missing", [None, *ABSENCES])
def test_every_flipped_bit_of_a_proof_makes_it_fail(missing: str | None) -> None:
    key, present = ABSENCES[missing] if missing else (CROWD[2], CROWD)
    content = crowd(present)
    root, value, encoded = root_by_the_book(content), content.get(key), encode(prove(content, key))
    for bit in range(len(encoded) * 8):
        flipped = bytearray(encoded)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            tampered = decode_as(MapProof, bytes(flipped))
        except Malformed:
            continue
        assert not verify_map_proof(root, key, value, tampered), f"bit {bit}"


def test_lengths_outside_of_the_format_fail_without_raising() -> None:
    content = crowd(CROWD)
    root, proof = root_by_the_book(content), prove(content, CROWD[2])
    (member,) = proof.members
    for lie in [
        msgspec.structs.replace(proof, siblings=proof.siblings[:-1]),
        msgspec.structs.replace(proof, siblings=(*proof.siblings, bytes(32))),
        msgspec.structs.replace(proof, siblings=(proof.siblings[0] + b"\x00", *proof.siblings[1:])),
        msgspec.structs.replace(proof, members=()),
        msgspec.structs.replace(proof, members=(member, member)),
        msgspec.structs.replace(proof, members=(member, member, member)),
        msgspec.structs.replace(proof, count=2**70),
        msgspec.structs.replace(proof, count=-1),
        msgspec.structs.replace(proof, members=(msgspec.structs.replace(member, index=-1),)),
        msgspec.structs.replace(proof, members=(msgspec.structs.replace(member, path=member.path * 40),)),
    ]:
        assert not verify_map_proof(root, CROWD[2], content[CROWD[2]], lie)
        assert not verify_map_proof(root, CROWD[2], None, lie)


def test_bytes_moved_between_path_and_value_hash_fail() -> None:
    """The leaf's item is path || value hash; only whole 32-byte halves are taken."""
    content = crowd(CROWD)
    proof = prove(content, CROWD[1])
    (member,) = proof.members
    item = member.leaf.item()
    shifted = msgspec.structs.replace(member, leaf=Leaf(item[:31], item[31:]))
    lie = msgspec.structs.replace(proof, members=(shifted,))
    assert not verify_map_proof(root_by_the_book(content), CROWD[1], content[CROWD[1]], lie)
    assert not verify_map_proof(root_by_the_book(content), CROWD[1], None, lie)

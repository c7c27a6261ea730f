"""One value, one byte string: whatever else is offered is refused by name, and nothing crashes the process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any, Literal

import libipld
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from hce.foundation.codec.cid import cid_of_dag_cbor, cid_of_raw
from hce.foundation.codec.dagcbor import MAX_DEPTH, MAX_ITEMS, convert, decode, decode_as, encode, is_exact
from hce.foundation.types.errors import Malformed, TooLarge
from hce.foundation.types.scalars import MAX_SAFE_INT, Bytes32

OUR_CIDS = [cid_of_dag_cbor(b"a"), cid_of_raw(b"b")]
FOREIGN_CIDS = [
    b"\x12\x20" + bytes(32),
    b"\x01\x70\x12\x20" + bytes(32),
    b"\x01\x71\x00\x00",
    b"\x01\x71\x00\x04abcd",
    b"\x01\x71\x12\x10" + bytes(16),
    b"\x01\x71\x13\x40" + bytes(64),
    b"\x01\x81\x01\x12\x20" + bytes(32),
    b"\x01\x71\x12\x20" + bytes(33),
    b"\x01\x55\x12\x20" + bytes(40),
]
"""What libipld would write as links although our format does not."""
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-MAX_SAFE_INT, MAX_SAFE_INT),
    st.text(max_size=20),
    st.binary(max_size=50),
    st.sampled_from(OUR_CIDS + FOREIGN_CIDS),
    st.just(b"\xd8\x2a\x58\x25\x00"),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=8), inner, max_size=6)),
    max_leaves=30,
)


class Pair(Struct, frozen=True, array_like=True):
    name: str
    digest: Bytes32
    places: tuple[int, ...] = ()


@settings(max_examples=300, deadline=None)
@given(value=VALUES)
@example(value=FOREIGN_CIDS)
@example(value={"": [b"\x01\x71\x00\x00", {"bb": 1, "a": b"\xd8\x2a", "é": OUR_CIDS}]})
def test_what_is_encoded_decodes(value: Any) -> None:
    raw = encode(value)
    assert decode(raw) == value
    assert encode(decode(raw)) == raw


@settings(max_examples=400, deadline=None)
@given(raw=st.binary(max_size=80))
def test_random_bytes_decode_to_the_one_spelling_or_are_refused(raw: bytes) -> None:
    try:
        value = decode(raw)
    except Malformed:
        return
    assert encode(value) == raw


@settings(max_examples=300, deadline=None)
@given(value=VALUES, place=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_changed_byte_never_decodes_to_the_same_value(value: Any, place: int, byte: int) -> None:
    raw = bytearray(encode(value))
    if raw[place % len(raw)] == byte:
        return
    raw[place % len(raw)] = byte
    try:
        changed = decode(bytes(raw))
    except Malformed:
        return
    assert encode(changed) == bytes(raw) != encode(value)


@pytest.mark.parametrize(
    "spelling",
    [
        "1800",
        "1817",
        "190001",
        "1a00000001",
        "1b0000000000000001",
        "3800",
        "5800",
        "7800",
        "9800",
        "b800",
        "9fff",
        "5f4100ff",
        "a2616201616102",
        "a2616101616101",
        "a10102",
        "c100",
        "d82a4100",
        "f7",
        "f0",
        "f820",
        "f93c00",
        "fa3f800000",
        "fb3ff0000000000000",
        "fb7ff8000000000000",
        "0101",
        "",
        "61ff",
        "63eda080",
        "81",
        "62",
    ],
)
def test_another_spelling_is_refused(spelling: str) -> None:
    with pytest.raises(Malformed):
        decode(bytes.fromhex(spelling))


BOMBS = {
    "lists": b"\x81",
    "maps": b"\xa1\x61a",
    "lists of two": b"\x82\x00",
    "endless lists": b"\x9b" + b"\xff" * 8,
    "tags": b"\xd8\x2a",
}
RUN_BOMB = """
import sys
from hce.foundation.codec.dagcbor import decode, decode_as
from hce.foundation.types.errors import Malformed
sys.setrecursionlimit(1_000_000)
bomb = bytes.fromhex(sys.argv[1]) * 100_000 + bytes(100_001)
for read in (decode, lambda raw: decode_as(list[int], raw)):
    try:
        read(bomb)
    except Malformed:
        print("refused")
"""


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_depth_bomb_is_refused_where_a_library_has_raised_the_recursion_limit(bomb: bytes) -> None:
    """In a process of its own, because without the guard the process dies (py_ecc sets 100,000 when imported)."""
    finished = subprocess.run([sys.executable, "-c", RUN_BOMB, bomb.hex()], capture_output=True, text=True, timeout=60)
    assert (finished.returncode, finished.stdout) == (0, "refused\nrefused\n"), finished.stderr[-500:]


def test_large_flat_and_wide_values_pass_the_bomb_guard() -> None:
    values: list[Any] = [
        [[number] for number in range(3000)],
        {str(number): {"a": [number, [b"\x81" * 20]]} for number in range(2000)},
        [b"\x81" * 100_000, OUR_CIDS * 1000, [[]] * 2000, "x" * 70_000, [{}], -(2**40), None, True],
    ]
    for value in values:
        assert decode(encode(value)) == value


@pytest.mark.parametrize("item", ["80", "a0", "420001", "00", "f6", "6161"])
def test_few_bytes_do_not_become_many_objects(item: str) -> None:
    """16 MiB of empty lists took 1.2 GB and five seconds before they were found to be no batch."""
    one = bytes.fromhex(item)
    count = (16 << 20) // len(one) - 8
    bomb = b"\x9a" + count.to_bytes(4, "big") + one * count
    for read in (decode, lambda raw: decode_as(list[int], raw)):
        started = time.process_time()
        with pytest.raises(TooLarge):
            read(bomb)
        assert time.process_time() - started < 2


def test_as_many_items_as_the_bound_pass_and_one_more_does_not() -> None:
    assert len(decode(encode([0] * (MAX_ITEMS - 1)))) == MAX_ITEMS - 1
    with pytest.raises(TooLarge):
        decode(encode([0] * MAX_ITEMS))


@pytest.mark.parametrize(
    "length", ["9affffffff", "9bffffffffffffffff", "baffffffff", "5affffffff", "5b7fffffffffffffff", "7affffffff"]
)
def test_a_length_beyond_the_input_is_refused_at_once(length: str) -> None:
    started = time.process_time()
    with pytest.raises(Malformed):
        decode(bytes.fromhex(length) + bytes(100))
    assert time.process_time() - started < 1


def test_depth_has_a_bound_that_no_call_stack_moves() -> None:
    deepest: Any = 0
    for _ in range(MAX_DEPTH):
        deepest = [deepest]
    assert decode(encode(deepest)) == deepest
    with pytest.raises(TypeError, match="deeper"):
        encode({"x": deepest})
    with pytest.raises(Malformed, match="deeper"):
        decode(b"\x81" + encode(deepest))


def test_exactly_our_cids_are_links() -> None:
    for cid in OUR_CIDS:
        assert encode(cid) == b"\xd8\x2a\x58\x25\x00" + cid
        assert decode(encode([cid])) == [cid]
        with pytest.raises(Malformed):
            decode(b"\x58\x24" + cid)
    for cid in (OUR_CIDS[0][:-1], b"\x02" + OUR_CIDS[0][1:], b"\x01\x72" + OUR_CIDS[0][2:]):
        assert encode(cid)[:1] in (b"\x58",)


@pytest.mark.parametrize("cid", FOREIGN_CIDS, ids=bytes.hex)
def test_a_byte_string_that_libipld_takes_for_a_link_stays_plain(cid: bytes) -> None:
    assert libipld.encode_dag_cbor(cid)[:2] == b"\xd8\x2a", "libipld no longer writes this as a link"
    assert encode(cid)[:2] != b"\xd8\x2a"
    assert decode(encode([cid, {"a": cid}])) == [cid, {"a": cid}]
    with pytest.raises(Malformed):
        decode(libipld.encode_dag_cbor([cid]))


@pytest.mark.parametrize(
    "link",
    [
        "d82a5825010171122000" + "00" * 31,
        "d82a582401711220" + "00" * 32,
        "d82a60",
        "d82a40",
        "d82a01",
        "d82ad82a4100",
        "d82a782400" + "61" * 35,
        "d82b582500" + "01711220" + "00" * 32,
        "d9002a582500" + "01711220" + "00" * 32,
    ],
)
def test_strange_links_are_refused(link: str) -> None:
    with pytest.raises(Malformed):
        decode(bytes.fromhex(link))


def test_random_ciphertexts_are_always_plain() -> None:
    """One in a thousand looks like a CID to libipld; forced here by the first bytes."""
    for first in (b"\x01\x71\x12\x10", b"\x01\x00\x00\x05", b"\x01\x55\x00\x20"):
        ciphertext = first + os.urandom(1000)
        assert encode(ciphertext) == b"\x59\x03\xec" + ciphertext
        assert decode(encode(ciphertext)) == ciphertext


def test_floats_are_refused_both_ways() -> None:
    for value in (1.0, [1.5], {"a": [0, 2.0]}, (0.0,)):
        with pytest.raises(TypeError, match="floats"):
            encode(value)
    with pytest.raises(Malformed, match="floats"):
        decode(libipld.encode_dag_cbor([1.5]))


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**63, -(2**63) - 1, 2**64 - 1, -(2**64)])
def test_integers_outside_53_bits_are_refused_both_ways(number: int) -> None:
    with pytest.raises((TypeError, OverflowError)):
        encode([number])
    with pytest.raises(Malformed, match="53 bits"):
        decode(libipld.encode_dag_cbor([number]))


@pytest.mark.parametrize("value", [2**64, {1: 2}, object(), "\ud800", {"a": 1j}])
def test_what_has_no_encoding_is_an_error_of_the_caller(value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        encode(value)


def test_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLarge) as refusal:
        decode(bytes(101), max_bytes=100)
    assert refusal.value.fields == {"actual_bytes": 101, "max_bytes": 100}


def test_structs_are_lists_and_their_bounds_hold_after_decoding() -> None:
    pair = Pair("x", bytes(32), (1, 2))
    assert decode(encode(pair)) == ["x", bytes(32), [1, 2]]
    assert decode_as(Pair, encode(pair)) == pair
    for wrong in (["x", bytes(31)], ["x"], [1, bytes(32)], {"name": "x"}, ["x", "y" * 32], ["x", bytes(32), [1.5 > 1]]):
        with pytest.raises(Malformed):
            decode_as(Pair, encode(wrong))


class Inner(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    flag: bool
    number: int | None
    word: Literal["a", "b"]


class Exact(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    inner: Inner
    names: list[bytes]
    digest: Bytes32
    rest: list[Any]


class Lenient(Struct, frozen=True, array_like=True):
    number: int


class Defaulted(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    number: int = 1


class Named(Struct, frozen=True, forbid_unknown_fields=True):
    number: int


@pytest.mark.parametrize(
    "type_", [Lenient, Defaulted, Named, list[Lenient], Lenient | None, float, tuple[int, ...], dict[str, int], set[int]]
)
def test_only_types_that_keep_everything_are_exact(type_: Any) -> None:
    assert is_exact(Exact)
    assert not is_exact(type_)


@settings(max_examples=200, deadline=None)
@given(
    inner=st.tuples(st.booleans(), st.none() | st.integers(-MAX_SAFE_INT, MAX_SAFE_INT), st.sampled_from("ab"))
    | st.lists(LEAVES, max_size=4),
    names=st.lists(st.binary(max_size=4) | st.sampled_from(OUR_CIDS)) | VALUES,
    rest=st.lists(VALUES, max_size=3),
    more=st.lists(LEAVES, max_size=1),
)
def test_what_an_exact_type_accepts_encodes_to_what_it_was_made_from(inner: Any, names: Any, rest: Any, more: Any) -> None:
    raw = encode([inner, names, bytes(32), rest, *more])
    try:
        value = decode_as(Exact, raw)
    except Malformed:
        with pytest.raises(Malformed):
            convert(Exact, decode(raw))
        return
    assert encode(value) == raw
    assert not more


def test_an_exact_type_has_one_spelling_too() -> None:
    raw = encode([[True, 1, "a"], [b"x"], bytes(32), []])
    assert decode_as(Exact, raw).inner.number == 1
    for longer in (
        raw.replace(b"\x01\x61a", b"\x18\x01\x61a"),
        raw.replace(b"\x41x", b"\x58\x01x"),
        raw.replace(b"\x80", b"\x98\x00"),
    ):
        assert longer != raw
        with pytest.raises(Malformed):
            decode_as(Exact, longer)


def test_one_odd_string_does_not_make_a_large_value_slow() -> None:
    value = [b"\x01\x71\x00\x00", *range(100_000)]
    started = time.process_time()
    assert decode(encode(value)) == value
    assert time.process_time() - started < 2

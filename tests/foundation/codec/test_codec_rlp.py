"""RLP against the examples of the Ethereum documentation; one spelling each."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st
from rlp.exceptions import RLPException

from hce.foundation.codec.rlp import MAX_RLP_DEPTH, RlpItem, RlpMalformed, rlp_decode, rlp_encode, rlp_integer, rlp_to_integer
from hce.foundation.types.errors import TooLarge

HEADS = [bytes([head]) for head in (0, 0x7F, 0x80, 0x81, 0xB7, 0xB8, 0xB9, 0xBF, 0xC0, 0xC1, 0xC2, 0xF7, 0xF8, 0xF9, 0xFF)]
ITEMS = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=5), max_leaves=20)


@pytest.mark.parametrize(
    ("item", "spelling"),
    [
        (b"dog", "83646f67"),
        ([b"cat", b"dog"], "c88363617483646f67"),
        (b"", "80"),
        ([], "c0"),
        (b"\x00", "00"),
        (b"\x0f", "0f"),
        (b"\x04\x00", "820400"),
        ([[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"),
        (
            b"Lorem ipsum dolor sit amet, consectetur adipisicing elit",
            "b838" + b"Lorem ipsum dolor sit amet, consectetur adipisicing elit".hex(),
        ),
    ],
)
def test_examples_of_the_yellow_paper(item: RlpItem, spelling: str) -> None:
    assert rlp_encode(item).hex() == spelling
    assert rlp_decode(bytes.fromhex(spelling)) == item


@settings(max_examples=150, deadline=None)
@given(item=ITEMS)
def test_what_is_encoded_decodes(item: RlpItem) -> None:
    assert rlp_decode(rlp_encode(item)) == item


@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=40))
def test_random_bytes_decode_to_the_one_spelling_or_are_refused(raw: bytes) -> None:
    try:
        item = rlp_decode(raw)
    except RlpMalformed:
        return
    assert rlp_encode(item) == raw


@settings(max_examples=500, deadline=None)
@given(
    raw=st.lists(st.sampled_from(HEADS) | st.binary(min_size=1, max_size=60), max_size=8).map(b"".join)
    | st.tuples(ITEMS, st.integers(0, 400), st.integers(0, 255)).map(lambda drawn: _bent(rlp_encode(drawn[0]), *drawn[1:]))
)
def test_the_library_decodes_to_the_same_or_refuses_the_same(raw: bytes) -> None:
    theirs: Any = None
    with suppress(RLPException):
        theirs = rlp.decode(raw, strict=True)
    try:
        assert rlp_decode(raw) == theirs
    except RlpMalformed:
        assert theirs is None
    else:
        assert rlp_encode(theirs) == rlp.encode(theirs) == raw


@pytest.mark.parametrize("item", ["text", 5, None, [b"", 5], (b"",), {b"": b""}])
def test_what_is_no_item_is_an_error_of_the_caller(item: Any) -> None:
    with pytest.raises(TypeError):
        rlp_encode(item)


@pytest.mark.parametrize(
    "spelling", ["", "8100", "b80100", "b90001" + "00", "83646f", "83646f6767", "c1", "f800", "f801c0", "bfffffffffffffffff"]
)
def test_another_spelling_is_refused(spelling: str) -> None:
    with pytest.raises(RlpMalformed):
        rlp_decode(bytes.fromhex(spelling))


@pytest.mark.parametrize("depth", [MAX_RLP_DEPTH + 1, 2000])
def test_a_depth_bomb_is_refused(depth: int) -> None:
    bomb = b""
    for _ in range(depth):
        bomb = _list_head(len(bomb)) + bomb
    with pytest.raises(RlpMalformed):
        rlp_decode(bomb)


def test_as_deep_as_allowed_still_decodes() -> None:
    item: RlpItem = []
    for _ in range(MAX_RLP_DEPTH - 1):
        item = [item]
    assert rlp_decode(rlp_encode(item)) == item


def test_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLarge):
        rlp_decode(bytes(11), max_bytes=10)


def test_integers_are_minimal() -> None:
    for number, raw in ((0, b""), (1, b"\x01"), (256, b"\x01\x00"), (2**256 - 1, b"\xff" * 32)):
        assert rlp_integer(number) == raw
        assert rlp_to_integer(raw) == number
    for raw in (b"\x00", b"\x00\x01", b"\x01" + bytes(32)):
        with pytest.raises(RlpMalformed):
            rlp_to_integer(raw)
    with pytest.raises(ValueError, match="negative"):
        rlp_integer(-1)


def _bent(raw: bytes, place: int, byte: int) -> bytes:
    """With another byte somewhere."""
    place %= len(raw)
    return raw[:place] + bytes([byte]) + raw[place + 1 :]


def _list_head(length: int) -> bytes:
    """Head of a list whose payload has this length."""
    if length < 56:
        return bytes([0xC0 + length])
    size = (length.bit_length() + 7) // 8
    return bytes([0xF7 + size]) + length.to_bytes(size, "big")

"""The first bytes of a message: enough to know whether it is worth decoding.

A block is megabytes, and decoding one takes a noticeable part of a block interval on the thread that drives consensus. Nearly every
block that a node does not need is known by its height, which stands within the first 70 bytes. What is read here is exactly what the
whole decoding would find there, so a message that lies in its prefix lies as a whole.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from hce.foundation.types.errors import Malformed
from hce.foundation.types.scalars import Cid, Height, Round

_PAIR = 0x82
_PROPOSAL_FIELDS = 0x87
_VOTES_FIELDS = 0x81
_VOTE_FIELDS = 0x87
_FINAL_BLOCK_FIELDS = 0x82
_BLOCK_FIELDS = 0x84
_HEADER_FIELDS = 0x8B
_CHAIN_HEAD = 0x50
_CHAIN_BYTES = 16
_NULL = 0xF6
_LONG_LIST = 0x98
_LINK_HEAD = b"\xd8\x2a\x58\x25\x00"
_CID_BYTES = 36


class MessageKind(IntEnum):
    PROPOSAL = 1
    VOTES = 2
    FINAL_BLOCK = 3
    STATUS = 4
    HEAD = 5
    FETCH = 6


class ProposalPrefix(NamedTuple):
    """What a proposal claims to be about."""

    height: Height
    round: Round
    block_id: Cid


def kind_of(raw: bytes) -> MessageKind:
    """`Malformed` when it is no consensus message."""
    if len(raw) < 3 or raw[0] != _PAIR or not MessageKind.PROPOSAL <= raw[1] <= MessageKind.FETCH:
        raise Malformed("not a consensus message")
    return MessageKind(raw[1])


def proposal_prefix(raw: bytes) -> ProposalPrefix:
    """Of a message of that kind; `Malformed`."""
    at = _expect(raw, 2, _PROPOSAL_FIELDS)
    height, at = _uint(raw, at)
    _, at = _uint(raw, at)  # epoch
    round, at = _uint(raw, at)
    at = at + 1 if raw[at : at + 1] == bytes([_NULL]) else _uint(raw, at)[1]  # valid round
    start = at + len(_LINK_HEAD)
    if raw[at:start] != _LINK_HEAD or len(raw) < start + _CID_BYTES:
        raise Malformed("a proposal without block id")
    return ProposalPrefix(height, round, raw[start : start + _CID_BYTES])


def votes_height(raw: bytes) -> Height:
    """Height of the first vote, of a message of that kind; `Malformed`."""
    at = _expect(raw, 2, _VOTES_FIELDS)
    at += 2 if raw[at : at + 1] == bytes([_LONG_LIST]) else 1
    at = _expect(raw, at, _VOTE_FIELDS)
    for _ in ("type", "epoch"):
        _, at = _uint(raw, at)
    return _uint(raw, at)[0]


def final_block_height(raw: bytes) -> Height:
    """Of a message of that kind; `Malformed`."""
    at = _expect(raw, 2, _FINAL_BLOCK_FIELDS)
    at = _expect(raw, at, _BLOCK_FIELDS)
    at = _expect(raw, at, _HEADER_FIELDS)
    _, at = _uint(raw, at)  # version
    at = _expect(raw, at, _CHAIN_HEAD) + _CHAIN_BYTES
    return _uint(raw, at)[0]


def _expect(raw: bytes, at: int, head: int) -> int:
    if raw[at : at + 1] != bytes([head]):
        raise Malformed("another shape than its kind has", at=at)
    return at + 1


def _uint(raw: bytes, at: int) -> tuple[int, int]:
    """A whole number of DAG-CBOR that is not negative, and where it ends."""
    head = raw[at] if at < len(raw) else 0xFF
    if head < 24:
        return head, at + 1
    size = 1 << head - 24 if head < 28 else 0
    if not size or len(raw) < at + 1 + size:
        raise Malformed("no whole number where its kind has one", at=at)
    return int.from_bytes(raw[at + 1 : at + 1 + size], "big"), at + 1 + size

"""The wire: kinds, bounds, and the exact bytes that are signed."""

from __future__ import annotations

import contextlib
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.simulate.world import CHAIN, genesis_block, make_nodes

from hce.foundation.codec.dagcbor import decode, encode, is_exact
from hce.foundation.types.blocks import MAX_LISTED_TXS, MAX_LISTS_BYTES, Block, Commit, CommitSignature, Vote
from hce.foundation.types.errors import Malformed, TooLarge
from hce.foundation.types.ladder import MAX_NODES
from hce.network.consensus.messages import (
    BOUNDS_BYTES,
    MAX_BLOCK_BYTES,
    MAX_VOTE_BYTES,
    MAX_VOTES_PER_MESSAGE,
    Fetch,
    FinalBlock,
    Head,
    Message,
    Proposal,
    Status,
    Votes,
    block_id_of,
    decode_message,
    encode_message,
    proposal_signing_bytes,
    vote_signing_bytes,
)
from hce.network.consensus.prefix import MessageKind, final_block_height, proposal_prefix, votes_height

BLOCK = genesis_block(make_nodes(1))
BLOCK_ID = block_id_of(BLOCK.header)
BIG_VOTE = Vote(2, 2**53 - 1, 2**53 - 1, 2**31, BLOCK_ID, 255, b"\xff" * 64)
MESSAGES = [
    Proposal(1, 0, 3, None, BLOCK_ID, bytes(64), BLOCK),
    Proposal(1, 0, 3, 1, BLOCK_ID, bytes(64), BLOCK),
    Votes([BIG_VOTE]),
    FinalBlock(BLOCK, Commit(BLOCK_ID, 0, [CommitSignature(0, bytes(64))])),
    Status(7),
    Head(BLOCK.header, Commit(BLOCK_ID, 0, [CommitSignature(0, bytes(64))])),
    Fetch(7),
]


def test_no_message_type_passes_anything_over() -> None:
    assert all(is_exact(kind) for kind in get_args(Message))


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_arrives_as_it_was_sent(message):
    assert decode_message(encode_message(message)) == message


def test_the_largest_votes_message_fits_its_bound():
    assert len(encode(BIG_VOTE)) <= MAX_VOTE_BYTES
    raw = encode_message(Votes([BIG_VOTE] * MAX_VOTES_PER_MESSAGE))
    assert len(raw) <= BOUNDS_BYTES[MessageKind.VOTES]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x82\x02",
        encode([9, []]),
        encode([2, [[]]]),
        encode([2, [[encode(BIG_VOTE)]]]),
        encode([4, [-1]]),
        encode([4, [1], 0]),
        encode([4, [1, 0]]),
        encode_message(Status(1)) + b"\x00",
        encode_message(Votes([BIG_VOTE] * (MAX_VOTES_PER_MESSAGE + 1)))[:100],
    ],
)
def test_anything_else_is_malformed(raw):
    with pytest.raises(Malformed):
        decode_message(raw)


@pytest.mark.parametrize("kind", MessageKind)
def test_a_message_beyond_its_bound_is_refused_before_it_is_decoded(kind):
    with pytest.raises(TooLarge):
        decode_message(bytes([0x82, kind]) + bytes(BOUNDS_BYTES[kind]))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_a_named_error_or_a_message(raw):
    with contextlib.suppress(Malformed, TooLarge):
        decode_message(b"\x82" + raw)


def test_signed_bytes_name_domain_chain_and_every_field():
    assert decode(vote_signing_bytes(CHAIN, 2, 1, 5, 3, BLOCK_ID)) == ["hce/vote/1", CHAIN, 2, 1, 5, 3, BLOCK_ID]
    assert decode(vote_signing_bytes(CHAIN, 1, 1, 5, 3, None)) == ["hce/vote/1", CHAIN, 1, 1, 5, 3, None]
    assert decode(proposal_signing_bytes(CHAIN, 1, 5, 3, None, BLOCK_ID)) == ["hce/proposal/1", CHAIN, 1, 5, 3, None, BLOCK_ID]
    assert decode(proposal_signing_bytes(CHAIN, 1, 5, 3, 2, BLOCK_ID)) == ["hce/proposal/1", CHAIN, 1, 5, 3, 2, BLOCK_ID]


def large_block(item: bytes, count: int) -> Block:
    return replace(BLOCK, ledger=replace(BLOCK.ledger, health_txs=[item] * count))


@pytest.mark.parametrize("number", [0, 1, 23, 24, 255, 256, 65_536, 2**32, 2**53 - 1])
def test_the_prefix_says_what_the_whole_message_says(number):
    valid_round = None if number % 2 else min(number, 2**31)
    proposal = Proposal(number, number, min(number, 2**31), valid_round, BLOCK_ID, bytes(64), BLOCK)
    assert proposal_prefix(encode_message(proposal)) == (number, min(number, 2**31), BLOCK_ID)
    final = FinalBlock(replace(BLOCK, header=replace(BLOCK.header, height=number)), Commit(BLOCK_ID, 0, []))
    assert final_block_height(encode_message(final)) == number
    for count in (1, 23, 24, MAX_VOTES_PER_MESSAGE):
        assert votes_height(encode_message(Votes([replace(BIG_VOTE, height=number)] * count))) == number


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([proposal_prefix, final_block_height, votes_height]), st.integers(2, 120), st.binary(max_size=8))
def test_a_prefix_that_is_cut_or_damaged_is_malformed_or_of_another_message(prefix, cut, tail):
    for message in MESSAGES:
        with contextlib.suppress(Malformed):
            prefix(encode_message(message)[:cut] + tail)


@pytest.mark.parametrize(
    "message",
    [
        Proposal(1, 0, 0, None, BLOCK_ID, bytes(64), large_block(b"", MAX_LISTED_TXS + 1)),
        FinalBlock(replace(BLOCK, evidence=[b"x"]), Commit(BLOCK_ID, 0, [])),
        FinalBlock(BLOCK, Commit(BLOCK_ID, 0, [CommitSignature(0, bytes(64))] * (MAX_NODES + 1))),
    ],
    ids=["transactions", "evidence", "signatures"],
)
def test_every_list_of_a_block_is_bounded(message):
    with pytest.raises(Malformed):
        decode_message(encode_message(message))


@pytest.mark.parametrize("size", [64, 100, 1_000, 256 * 1024])
def test_a_block_with_full_lists_fits_every_bound(size):
    block = large_block(bytes(size), MAX_LISTS_BYTES // size)
    commit = Commit(BLOCK_ID, 2**31, [CommitSignature(index, bytes(64)) for index in range(MAX_NODES)])
    block = replace(block, last_commit=commit)
    assert len(encode(block)) <= MAX_BLOCK_BYTES
    final = FinalBlock(block, commit)
    assert decode_message(encode_message(final)) == final

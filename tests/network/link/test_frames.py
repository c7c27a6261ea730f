"""The byte stream of a link: whatever pieces it comes in, the same messages; whatever breaks a bound, an error before it costs memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hce.network.link.errors import FrameInvalid
from hce.network.link.frames import (
    BOUNDS_BYTES,
    HEAD_BYTES,
    HELLO_ONLY,
    MAX_FRAGMENT_BYTES,
    Frame,
    FrameDecoder,
    FrameKind,
    encode_frame,
    fragment_head,
)
from hce.network.link.messages import (
    ErrorAnswer,
    Gossiped,
    Request,
    Response,
    decode_gossip,
    decode_request,
    decode_response,
    encode_gossip,
    encode_request,
    encode_response,
)
from hce.network.link.outbox import LaneLimits, Outbox

KINDS = st.sampled_from([FrameKind.CONSENSUS, FrameKind.REQUEST, FrameKind.RESPONSE, FrameKind.TRANSACTION])
SIZES = st.one_of(st.integers(1, 300), st.sampled_from([MAX_FRAGMENT_BYTES, MAX_FRAGMENT_BYTES + 1, 2 * MAX_FRAGMENT_BYTES]))
MESSAGES = st.lists(st.tuples(KINDS, SIZES, st.integers(0, 255)), max_size=6)
PLENTY = LaneLimits(1_000, 1 << 30)


def message(kind: FrameKind, size: int, fill: int) -> Frame:
    return Frame(kind, bytes([fill]) * size)


def everything(decoder: FrameDecoder) -> list[Frame]:
    found = []
    while (frame := decoder.next()) is not None:
        found.append(frame)
    return found


def fed(decoder: FrameDecoder, data: bytes) -> list[Frame]:
    decoder.feed(data)
    return everything(decoder)


@settings(max_examples=60, deadline=None)
@given(MESSAGES, st.lists(st.integers(1, 70_000), min_size=1, max_size=8))
def test_a_stream_torn_anywhere_gives_the_same_messages(wanted, cuts):
    messages = [message(*one) for one in wanted]
    stream = b"".join(encode_frame(*one) for one in messages)
    decoder, found, at, turn = FrameDecoder(BOUNDS_BYTES), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        found += fed(decoder, stream[at : at + size])
        at, turn = at + size, turn + 1
    assert found == messages


def test_one_byte_at_a_time_gives_the_same_messages():
    messages = [message(FrameKind.CONSENSUS, 5, 1), message(FrameKind.PING, 8, 2), message(FrameKind.TRANSACTION, 1, 3)]
    decoder = FrameDecoder(BOUNDS_BYTES)
    found = [frame for byte in b"".join(encode_frame(*one) for one in messages) for frame in fed(decoder, bytes([byte]))]
    assert found == messages


@settings(max_examples=40, deadline=None)
@given(MESSAGES, st.integers(100, 200_000))
def test_what_the_outbox_interleaves_arrives_whole_and_in_order_of_each_kind(wanted, batch):
    outbox, decoder = Outbox(PLENTY, PLENTY, PLENTY), FrameDecoder(BOUNDS_BYTES)
    messages = [message(*one) for one in wanted]
    for one in messages:
        outbox.add(*one)
    found = []
    while outbox:
        found += fed(decoder, outbox.take(batch))
    for kind in FrameKind:
        assert [one for one in found if one.kind == kind] == [one for one in messages if one.kind == kind]


def test_a_vote_overtakes_a_large_answer_that_is_half_sent():
    outbox, decoder = Outbox(PLENTY, PLENTY, PLENTY), FrameDecoder(BOUNDS_BYTES)
    answer = message(FrameKind.RESPONSE, 4 * MAX_FRAGMENT_BYTES, 7)
    outbox.add(*answer)
    assert fed(decoder, outbox.take(1)) == []
    outbox.add(FrameKind.CONSENSUS, b"vote")
    assert fed(decoder, outbox.take(1)) == [Frame(FrameKind.CONSENSUS, b"vote")]
    assert fed(decoder, outbox.take(1 << 20)) == [answer]


def test_transactions_and_calls_take_turns():
    outbox, decoder = Outbox(PLENTY, PLENTY, PLENTY), FrameDecoder(BOUNDS_BYTES)
    for number in range(3):
        outbox.add(FrameKind.REQUEST, b"r%d" % number)
        outbox.add(FrameKind.TRANSACTION, b"t%d" % number)
    assert [frame.payload for frame in fed(decoder, outbox.take(1 << 20))] == [b"r0", b"t0", b"r1", b"t1", b"r2", b"t2"]


def test_a_slow_peer_loses_the_oldest_transactions_and_never_a_request():
    few = LaneLimits(3, 1 << 20)
    outbox, decoder = Outbox(few, few, few), FrameDecoder(BOUNDS_BYTES)
    for number in range(10):
        outbox.add(FrameKind.TRANSACTION, b"t%d" % number)
    for number in range(3):
        assert outbox.calls.has_room()
        outbox.add(FrameKind.REQUEST, b"r%d" % number)
    assert not outbox.calls.has_room()
    assert outbox.dropped == 7
    found = fed(decoder, outbox.take(1 << 20))
    assert [one.payload for one in found if one.kind == FrameKind.TRANSACTION] == [b"t7", b"t8", b"t9"]
    assert [one.payload for one in found if one.kind == FrameKind.REQUEST] == [b"r0", b"r1", b"r2"]


def test_a_lane_is_full_by_bytes_too_and_what_is_half_sent_is_never_dropped():
    outbox, decoder = Outbox(LaneLimits(100, 1_000), PLENTY, PLENTY), FrameDecoder(BOUNDS_BYTES)
    large = message(FrameKind.CONSENSUS, 3 * MAX_FRAGMENT_BYTES, 1)
    outbox.add(*large)
    found = fed(decoder, outbox.take(1))
    for number in range(5):
        outbox.add(FrameKind.CONSENSUS, bytes([number]) * 600)
    found += fed(decoder, outbox.take(1 << 20))
    assert found == [large, *(message(FrameKind.CONSENSUS, 600, number) for number in (3, 4))]


@pytest.mark.parametrize("kind", list(BOUNDS_BYTES))
def test_a_message_may_be_as_long_as_its_bound_and_no_longer(kind):
    bound = min(BOUNDS_BYTES[kind], 3 * MAX_FRAGMENT_BYTES)
    bounds = {kind: bound}
    assert fed(FrameDecoder(bounds), encode_frame(kind, bytes(bound))) == [Frame(kind, bytes(bound))]
    with pytest.raises(FrameInvalid):
        fed(FrameDecoder(bounds), encode_frame(kind, bytes(bound + 1)))


def test_a_length_beyond_the_bound_is_refused_by_its_head_alone():
    with pytest.raises(FrameInvalid):
        fed(FrameDecoder(BOUNDS_BYTES), fragment_head(FrameKind.PING, 9, more=False))
    with pytest.raises(FrameInvalid):
        fed(FrameDecoder(BOUNDS_BYTES), fragment_head(FrameKind.CONSENSUS, MAX_FRAGMENT_BYTES + 1, more=True))


def test_empty_fragments_are_refused():
    with pytest.raises(FrameInvalid):
        fed(FrameDecoder(BOUNDS_BYTES), fragment_head(FrameKind.CONSENSUS, 0, more=True))


def test_endless_fragments_end_at_the_bound():
    decoder = FrameDecoder({FrameKind.CONSENSUS: 5 * MAX_FRAGMENT_BYTES // 2})
    piece = fragment_head(FrameKind.CONSENSUS, MAX_FRAGMENT_BYTES, more=True) + bytes(MAX_FRAGMENT_BYTES)
    assert fed(decoder, piece) + fed(decoder, piece) == []
    with pytest.raises(FrameInvalid):
        fed(decoder, piece)


def test_a_message_in_tiny_pieces_is_refused_at_the_first():
    """In pieces of two bytes, 16 MiB took 400 MiB here and eight million turns of the loop that drives consensus."""
    decoder = FrameDecoder(BOUNDS_BYTES)
    decoder.feed(fragment_head(FrameKind.RESPONSE, 2, more=True) + bytes(2))
    with pytest.raises(FrameInvalid):
        decoder.next()


def test_nothing_but_hello_is_expected_first():
    with pytest.raises(FrameInvalid):
        fed(FrameDecoder(HELLO_ONLY), encode_frame(FrameKind.CONSENSUS, b"vote"))
    assert FrameKind.HELLO not in BOUNDS_BYTES


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_gives_frames_or_an_error_and_keeps_no_more_than_it_was_given(garbage):
    decoder = FrameDecoder(BOUNDS_BYTES)
    try:
        found = fed(decoder, garbage)
    except FrameInvalid:
        return
    assert sum(HEAD_BYTES + len(frame.payload) for frame in found) <= len(garbage)


@given(st.integers(0, 2**32 - 1), st.from_regex(r"[a-z._]{1,64}", fullmatch=True), st.binary(max_size=100))
def test_requests_and_answers_arrive_as_they_were_sent(name, method, body):
    request = Request(name, method, body)
    assert decode_request(encode_request(request)) == request
    for outcome in (body, ErrorAnswer(method, "why")):
        assert decode_response(encode_response(Response(name, outcome))) == Response(name, outcome)
    if body:
        assert decode_gossip(encode_gossip(Gossiped(body, name))) == Gossiped(body, name)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_garbage_inside_a_frame_is_the_peers_fault(garbage):
    for decode in (decode_request, decode_response, decode_gossip):
        try:
            decode(garbage)
        except FrameInvalid:
            continue

"""What stands inside the frames of a link. Consensus messages are opaque here and have no form of their own.

    hello        DAG-CBOR([version, chain, genesis CID, index])
    ping, pong   8 bytes that come back
    request      id 4, length of the method 1, method (ASCII), body
    response     id 4, 0, body    or    id 4, 1, DAG-CBOR([code, detail])
    transaction  set of nodes that have it or were sent it 4 (bit i: node i), transaction

Bodies are not DAG-CBOR, so that a shard is not copied and compared once more.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.types.errors import Malformed
from hce.foundation.types.scalars import ChainId, Cid, NodeIndex
from hce.network.link.errors import FrameInvalid

LINK_VERSION = 1
MAX_METHOD_BYTES = 64
MAX_DETAIL_CHARS = 200
_ID_BYTES = 4
_SET_BYTES = 4
MAX_REQUEST_ID = 2 ** (8 * _ID_BYTES) - 1


class Hello(Struct, frozen=True, array_like=True):
    """What both sides must agree on before anything else is said."""

    version: Annotated[int, Meta(ge=1, le=255)]
    chain: ChainId
    genesis: Cid
    index: NodeIndex


class ErrorAnswer(Struct, frozen=True, array_like=True):
    """Why a request failed: a stable code, and a text for developers."""

    code: Annotated[str, Meta(min_length=1, max_length=64)]
    detail: Annotated[str, Meta(max_length=MAX_DETAIL_CHARS)]


class Request(NamedTuple):
    id: int
    method: str
    body: bytes


class Response(NamedTuple):
    id: int
    outcome: bytes | ErrorAnswer


class Gossiped(NamedTuple):
    """A transaction and the nodes that need not be sent it."""

    raw: bytes
    known_to: int
    """Bit i stands for node i."""


def encode_request(request: Request) -> bytes:
    method = request.method.encode("ascii")
    if not 1 <= len(method) <= MAX_METHOD_BYTES:
        raise ValueError("a method has 1 to 64 characters")
    return request.id.to_bytes(_ID_BYTES, "big") + bytes([len(method)]) + method + request.body


def decode_request(raw: bytes) -> Request:
    """`FrameInvalid`."""
    if len(raw) <= _ID_BYTES:
        raise FrameInvalid("a request ends early")
    start = _ID_BYTES + 1
    end = start + raw[_ID_BYTES]
    if not start < end <= min(len(raw), start + MAX_METHOD_BYTES) or not raw[start:end].isascii():
        raise FrameInvalid("a request's method")
    return Request(int.from_bytes(raw[:_ID_BYTES], "big"), raw[start:end].decode("ascii"), raw[end:])


def encode_response(response: Response) -> bytes:
    name = response.id.to_bytes(_ID_BYTES, "big")
    if isinstance(response.outcome, ErrorAnswer):
        return name + b"\x01" + encode(response.outcome)
    return name + b"\x00" + response.outcome


def decode_response(raw: bytes) -> Response:
    """`FrameInvalid`."""
    if len(raw) <= _ID_BYTES or raw[_ID_BYTES] > 1:
        raise FrameInvalid("a response without outcome")
    name, body = int.from_bytes(raw[:_ID_BYTES], "big"), raw[_ID_BYTES + 1 :]
    if raw[_ID_BYTES] == 0:
        return Response(name, body)
    try:
        return Response(name, decode_as(ErrorAnswer, body, max_bytes=4 * MAX_DETAIL_CHARS + 128))
    except Malformed as error:
        raise FrameInvalid("an error answer that is none") from error


def encode_gossip(gossiped: Gossiped) -> bytes:
    return gossiped.known_to.to_bytes(_SET_BYTES, "big") + gossiped.raw


def decode_gossip(raw: bytes) -> Gossiped:
    """`FrameInvalid`. The transaction itself is not looked at."""
    if len(raw) <= _SET_BYTES:
        raise FrameInvalid("a transaction frame without transaction")
    return Gossiped(raw[_SET_BYTES:], int.from_bytes(raw[:_SET_BYTES], "big"))

"""Asking other nodes for blobs by name, and answering them.

One method carries shards and placement manifests alike: a list of CIDs out, a list of bytes (null = not here) back, which may end
early. The answer is checked by whoever asked. A node answers from its disk only: it never asks others on behalf of a peer, or two
damaged nodes would wait for one another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from msgspec import Meta

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.types.scalars import Cid
from hce.network.channel import Channel
from hce.network.hcefs.together import Together

METHOD = "hcefs.blobs"
MAX_ASKED = 256
"""CIDs in one request."""
MAX_ANSWER_BYTES = 4 << 20
"""An answer ends with the blob that passes this; whoever asked asks again for the rest."""
MAX_REQUEST_BYTES = 12 << 10
"""MAX_ASKED names and their list."""
REQUEST_TIMEOUT_S = 5.0

Cids = Annotated[list[Cid], Meta(max_length=MAX_ASKED)]
Blobs = Annotated[list[bytes | None], Meta(max_length=MAX_ASKED)]


def asking(channel: Channel, timeout_s: float = REQUEST_TIMEOUT_S) -> Together:
    """Questions to peers over this channel. Answers are unverified; errors are the channel's, or `Malformed` for nonsense."""

    async def ask_many(peer: int, cids: list[bytes]) -> list[bytes | None]:
        answer = await channel.request(peer, METHOD, encode(cids), timeout_s)
        return decode_as(Blobs, answer, max_bytes=2 * MAX_ANSWER_BYTES)

    return Together(ask_many, MAX_ASKED)


def serve(channel: Channel, read: Callable[[list[bytes]], Awaitable[list[bytes | None]]]) -> None:
    """Answer peers from `read`: blobs in the order of the names, ended early before they are much more than MAX_ANSWER_BYTES."""

    async def handle(peer: int, payload: bytes) -> bytes:
        return encode(await read(decode_as(Cids, payload, max_bytes=MAX_REQUEST_BYTES)))

    channel.serve(METHOD, handle, max_request_bytes=MAX_REQUEST_BYTES)

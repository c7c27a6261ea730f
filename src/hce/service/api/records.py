"""Records: intake, blobs, mailbox, release. All of it works on disks or on the processor, so it runs in the worker pool."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from hce.foundation.codec.dagcbor import decode_as
from hce.foundation.types.errors import HceError, NotFound
from hce.foundation.types.scalars import Digest
from hce.network.hcefs.peers import MAX_ASKED, Cids
from hce.service.api.services import NodeServices
from hce.service.api.taking import Taking
from hce.service.http import cbor, encoded, hex_param, read_body
from hce.service.terms.grants import MAX_LEAVES_ASKED, ReleaseRequest, SignedCard
from hce.service.terms.handovers import SignedHandover
from hce.service.terms.mailbox import SignedAct, SignedPost, SignedRead

MAX_INTAKE_BYTES = 16 << 20
"""One batch with its ciphertexts."""
MAX_MAIL_BYTES = 64 << 10
"""A signed read or act with 500 record ids, or a grant parcel with its transaction."""
MAX_RELEASE_BYTES = 1 << 20
"""A release request of 1,000 records has about 600 KiB."""
CID_BYTES = 36
DIGEST_BYTES = 32
MAX_SHARDS_REQUEST_BYTES = 16 + MAX_ASKED * (CID_BYTES + 8)
MAX_ANCHORS_REQUEST_BYTES = 16 + MAX_LEAVES_ASKED * (DIGEST_BYTES + 8)
Leaves = Annotated[list[Digest], Meta(max_length=MAX_LEAVES_ASKED)]


class RecordsFace:
    """One method for each path."""

    def __init__(self, node: NodeServices) -> None:
        self._node = node
        self._taking = Taking(node)

    async def intake(self, request: Request) -> Response:
        body = await read_body(request, MAX_INTAKE_BYTES)
        return cbor(await self._taking.take(body))

    async def blob(self, request: Request) -> Response:
        cid = hex_param(request, "cid", CID_BYTES)
        return encoded(await self._node.files.blob(cid))

    async def shard(self, request: Request) -> Response:
        return encoded(await self._node.files.shard(hex_param(request, "cid", CID_BYTES)))

    async def shards(self, request: Request) -> Response:
        body = await read_body(request, MAX_SHARDS_REQUEST_BYTES)
        return cbor(await self._node.files.shards(decode_as(Cids, body)))

    async def mailbox(self, request: Request) -> Response:
        body = await read_body(request, MAX_MAIL_BYTES)
        mailbox = self._node.mailbox
        match request.path_params["operation"]:
            case "read":
                return cbor(await self._node.worker(lambda: mailbox.read(decode_as(SignedRead, body))))
            case "act":
                return cbor(await self._node.worker(lambda: mailbox.act(decode_as(SignedAct, body))))
            case "post":
                return cbor(await self._node.worker(lambda: mailbox.post(decode_as(SignedPost, body))))
            case "card":
                return cbor(await self._node.worker(lambda: mailbox.put_card(decode_as(SignedCard, body))))
            case "handover":
                return cbor(await self._node.worker(lambda: mailbox.put_handover(decode_as(SignedHandover, body))))
        raise NotFound("mailbox operation")

    async def card(self, request: Request) -> Response:
        address = hex_param(request, "address", DIGEST_BYTES)
        found = await self._node.worker(self._node.mailbox.card, address)
        if found is None:
            raise NotFound("card", address=address.hex())
        return cbor(found)

    async def handover(self, request: Request) -> Response:
        address = hex_param(request, "address", DIGEST_BYTES)
        found = await self._node.worker(self._node.mailbox.handover, address)
        if found is None:
            raise NotFound("handover", address=address.hex())
        return cbor(found)

    async def release(self, request: Request) -> Response:
        body = await read_body(request, MAX_RELEASE_BYTES)
        releases = self._node.meters.releases
        try:
            released = await self._node.worker(lambda: self._node.keyholder.release(decode_as(ReleaseRequest, body)))
        except HceError as error:
            releases.add(error.code)
            raise
        releases.add("ok")
        return encoded(released)

    async def anchors(self, request: Request) -> Response:
        """Only who has a receipt knows its leaf, so the leaf is all that is asked for."""
        leaves = decode_as(Leaves, await read_body(request, MAX_ANCHORS_REQUEST_BYTES))
        return cbor(await self._node.worker(self._node.mailbox.periods.proofs, leaves))

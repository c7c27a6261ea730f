"""One node over HTTP: bytes out, structs in. Nothing is believed here; `network.py` verifies.

Whatever a node answers, the worst that comes of it is a named error: `Remote` when it refused, `NodeUnreachable` when it did not
answer, `BadAnswer` (its fault) when the answer is not what was asked for. Answers are read piece by piece up to a bound and never
decompressed, so that no node can fill the memory of its clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, TypeVar

import httpx
import msgspec

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.types.errors import Malformed
from hce.service.sdk.errors import BadAnswer, NodeUnreachable, remote
from hce.service.terms.genesis import Genesis
from hce.service.terms.grants import AnchorProof, SignedCard
from hce.service.terms.handovers import SignedHandover
from hce.service.terms.identity import Identity
from hce.service.terms.proofs import FinalHeader, StateProof, TxProof, WholeBlock
from hce.service.terms.transactions import Submitted

T = TypeVar("T")

DAG_CBOR_TYPE = "application/vnd.ipld.dag-cbor"
REQUEST_TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Of an answer; what comes after is not read."""


class AccountHint(TypedDict):
    """What a node says of an account of the value chain. Not proven."""

    balance_ahce: str
    nonce: int
    base_fee_wei: str


class _Submitted(TypedDict):
    id: str


class NodeClient:
    """A super node's public API."""

    def __init__(self, url: str, http: httpx.AsyncClient, max_answer_bytes: int = MAX_ANSWER_BYTES) -> None:
        self.url = url.rstrip("/")
        self._http = http
        self._max_answer_bytes = max_answer_bytes

    async def status(self) -> dict[str, Any]:
        """What the node says of itself."""
        return await self._json(dict[str, Any], "GET", "/v1/status")

    async def identity(self, nonce: bytes) -> Identity:
        """Which node it is, signed for this nonce."""
        return await self._cbor(Identity, "GET", "/v1/identity", params={"nonce": nonce.hex()})

    async def genesis(self) -> Genesis:
        return await self._cbor(Genesis, "GET", "/v1/genesis")

    async def final(self, height: int | None = None) -> FinalHeader:
        """The newest final header, or the one of a height."""
        return await self._cbor(FinalHeader, "GET", "/v1/final" if height is None else f"/v1/final/{height}")

    async def submit_health(self, raw: bytes) -> bytes:
        """Into the pool; the id (CID). Raises `Remote` with the ledger's code when refused at the door."""
        named = (await self._json(_Submitted, "POST", "/v1/health-tx", content=raw))["id"]
        try:
            return bytes.fromhex(named)
        except ValueError as error:
            raise BadAnswer("id is not hex", url=self.url) from error

    async def submit_list(self, raws: Sequence[bytes]) -> list[Submitted]:
        """Up to 500 signed transactions of either chain; for each its id, or the code it was refused with."""
        return await self._cbor(list[Submitted], "POST", "/v1/health-txs", content=encode(list(raws)))

    async def block(self, height: int, wait_ms: int) -> WholeBlock:
        """Waits until that height is final, at most wait_ms; `Remote` with code not_found otherwise."""
        return await self._cbor(WholeBlock, "GET", f"/v1/blocks/{height}", params={"wait_ms": wait_ms})

    async def health_tx(self, tx_id: bytes, wait_ms: int) -> TxProof:
        """Waits until final, at most wait_ms; `Remote` with code not_found otherwise."""
        return await self._cbor(TxProof, "GET", f"/v1/health-tx/{tx_id.hex()}", params={"wait_ms": wait_ms})

    async def submit_value(self, raw: bytes) -> None:
        """A signed Ethereum transaction into the pool. Its name is the hash of its bytes, whatever the node says."""
        await self._json(dict[str, Any], "POST", "/v1/value-tx", content=raw)

    async def value_tx(self, tx_hash: bytes, wait_ms: int) -> dict[str, Any]:
        """The node's word on where it is final; `Remote` with code not_found otherwise."""
        return await self._json(dict[str, Any], "GET", f"/v1/value-tx/{tx_hash.hex()}", params={"wait_ms": wait_ms})

    async def account(self, address: bytes) -> AccountHint:
        """Not proven: a wallet's hint."""
        return await self._json(AccountHint, "GET", f"/v1/accounts/{address.hex()}")

    async def health_state(self, keys: Sequence[bytes]) -> StateProof:
        """Values of these keys (at most MAX_STATE_KEYS) after one final block."""
        return await self._cbor(StateProof, "POST", "/v1/health-state", content=encode(list(keys)))

    async def entries(self, grant_id: bytes, start: int = 0) -> list[bytes]:
        """Ids of the access entries under a grant from ordinal `start`, in order, one page; the grant's running hash proves all."""
        return await self._cbor(list[bytes], "GET", f"/v1/grants/{grant_id.hex()}/entries", params={"start": start})

    async def publish_card(self, card: SignedCard) -> None:
        """Lets authors fetch it by its feed address."""
        await self.mailbox("card", card)

    async def card(self, feed: bytes) -> SignedCard:
        """The card last published for a feed; `Remote` with status 404 when there is none."""
        return await self._cbor(SignedCard, "GET", f"/v1/cards/{feed.hex()}")

    async def keep_handover(self, handover: SignedHandover) -> None:
        """Keeps an owner's earlier keys at the address of the owner's log."""
        await self.mailbox("handover", handover)

    async def handover(self, log: bytes) -> SignedHandover:
        """The earlier keys kept at a log address; `Remote` with status 404 when there are none."""
        return await self._cbor(SignedHandover, "GET", f"/v1/handovers/{log.hex()}")

    async def intake(self, batch: bytes) -> bytes:
        return await self._bytes("POST", "/v1/intake", content=batch)

    async def blob(self, cid: bytes) -> bytes:
        return await self._bytes("GET", f"/v1/blobs/{cid.hex()}")

    async def shards(self, cids: list[bytes]) -> list[bytes | None]:
        """The node's shards of these names, in order, None for what it lacks; the list may end early."""
        return decode_as(list[bytes | None], await self._bytes("POST", "/v1/shards", content=encode(cids)))

    async def mailbox(self, operation: str, request: Any) -> bytes:
        """One mailbox operation (`docs/formats.md`, section Mailbox); the answer's bytes."""
        return await self._bytes("POST", f"/v1/mailbox/{operation}", content=encode(request))

    async def release(self, request: bytes) -> bytes:
        """A sealed `ReleaseReply` to an encoded `ReleaseRequest`, which is the same for all keyholders."""
        return await self._bytes("POST", "/v1/release", content=request)

    async def anchors(self, leaves: list[bytes]) -> list[AnchorProof | None]:
        """Where these receipts (at most MAX_LEAVES_ASKED) stand in the node's lists, in order; None for what it does not know."""
        found = await self._cbor(list[AnchorProof | None], "POST", "/v1/anchors", content=encode(leaves))
        if len(found) != len(leaves):
            raise BadAnswer("not one proof for each receipt", url=self.url)
        return found

    async def _json(self, type_: type[T], method: str, path: str, **options: Any) -> T:
        raw = await self._bytes(method, path, **options)
        try:
            return msgspec.json.decode(raw, type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadAnswer("json", url=self.url, path=path) from error

    async def _cbor(self, type_: type[T], method: str, path: str, **options: Any) -> T:
        return decoded(type_, await self._bytes(method, path, **options), self.url)

    async def _bytes(self, method: str, path: str, **options: Any) -> bytes:
        headers = {"accept-encoding": "identity"}
        if "content" in options:
            headers["content-type"] = DAG_CBOR_TYPE
        url = self.url + path
        try:
            async with self._http.stream(method, url, headers=headers, timeout=REQUEST_TIMEOUT_S, **options) as answer:
                raw = await self._read(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NodeUnreachable(str(error) or type(error).__name__, url=self.url) from error
        if answer.status_code >= 400:
            raise remote(answer.status_code, raw, self.url)
        return raw

    async def _read(self, answer: httpx.Response) -> bytes:
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise BadAnswer("compressed", url=self.url)
        pieces: list[bytes] = []
        size = 0
        async for piece in answer.aiter_raw():
            size += len(piece)
            if size > self._max_answer_bytes:
                raise BadAnswer("too large", url=self.url, max_bytes=self._max_answer_bytes)
            pieces.append(piece)
        return b"".join(pieces)


def decoded(type_: type[T], raw: bytes, url: str) -> T:
    """Bytes of a node's answer as a struct; `BadAnswer` when they are none."""
    try:
        return decode_as(type_, raw, max_bytes=MAX_ANSWER_BYTES)
    except Malformed as error:
        raise BadAnswer(error.detail, url=url) from error

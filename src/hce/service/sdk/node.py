"""One node over HTTP: bytes out, structs in. Nothing is believed here; `network.py` verifies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import httpx

from hce.foundation.codec.dagcbor import decode, decode_as, encode
from hce.foundation.types.errors import Malformed
from hce.service.sdk.errors import NodeUnreachable, Remote
from hce.service.terms.genesis import Genesis
from hce.service.terms.proofs import FinalHeader, StateProof, TxProof, WholeBlock
from hce.service.terms.transactions import Submitted

T = TypeVar("T")

DAG_CBOR_TYPE = "application/vnd.ipld.dag-cbor"
REQUEST_TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""An answer larger than this is refused unread."""


class NodeClient:
    """A super node's public API."""

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self.url = url.rstrip("/")
        self._http = http

    async def status(self) -> dict[str, Any]:
        return await self._json("GET", "/v1/status")

    async def genesis(self) -> Genesis:
        return decode_as(Genesis, await self._bytes("GET", "/v1/genesis"))

    async def final(self, height: int | None = None) -> FinalHeader:
        """The newest final header, or the one of a height."""
        return decode_as(FinalHeader, await self._bytes("GET", "/v1/final" if height is None else f"/v1/final/{height}"))

    async def submit_health(self, raw: bytes) -> bytes:
        """Into the pool; the id (CID). Raises `Remote` with the ledger's code when refused at the door."""
        return bytes.fromhex((await self._json("POST", "/v1/health-tx", content=raw))["id"])

    async def submit_list(self, raws: Sequence[bytes]) -> list[Submitted]:
        """Up to 500 signed transactions of either chain; for each its id, or the code it was refused with."""
        return decode_as(list[Submitted], await self._bytes("POST", "/v1/health-txs", content=encode(list(raws))))

    async def block(self, height: int, wait_ms: int) -> WholeBlock:
        """Waits until that height is final, at most wait_ms; `Remote` with code not_found otherwise."""
        return decode_as(WholeBlock, await self._bytes("GET", f"/v1/blocks/{height}", params={"wait_ms": wait_ms}))

    async def health_tx(self, tx_id: bytes, wait_ms: int) -> TxProof:
        """Waits until final, at most wait_ms; `Remote` with code not_found otherwise."""
        return decode_as(TxProof, await self._bytes("GET", f"/v1/health-tx/{tx_id.hex()}", params={"wait_ms": wait_ms}))

    async def submit_value(self, raw: bytes) -> bytes:
        """A signed Ethereum transaction into the pool; its hash."""
        return bytes.fromhex((await self._json("POST", "/v1/value-tx", content=raw))["hash"])

    async def value_tx(self, tx_hash: bytes, wait_ms: int) -> dict[str, Any]:
        return await self._json("GET", f"/v1/value-tx/{tx_hash.hex()}", params={"wait_ms": wait_ms})

    async def account(self, address: bytes) -> dict[str, Any]:
        """balance_ahce (text), nonce, base_fee_wei (text). Not proven: a wallet's hint."""
        return await self._json("GET", f"/v1/accounts/{address.hex()}")

    async def health_state(self, keys: Sequence[bytes]) -> StateProof:
        """Values of these keys (at most MAX_STATE_KEYS) after one final block."""
        return decode_as(StateProof, await self._bytes("POST", "/v1/health-state", content=encode(list(keys))))

    async def entries(self, grant_id: bytes) -> list[bytes]:
        """Ids of the access entries under a grant, in order; the grant's running hash proves them complete."""
        found = decode(await self._bytes("GET", f"/v1/grants/{grant_id.hex()}/entries"))
        if not isinstance(found, list) or not all(isinstance(item, bytes) for item in found):
            raise Malformed("entries")
        return found

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

    async def release(self, request: Any) -> bytes:
        """A sealed `ReleaseReply`."""
        return await self._bytes("POST", "/v1/release", content=encode(request))

    async def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = (await self._send(method, path, **options)).json()
        if not isinstance(answer, dict):
            raise Malformed("answer of a node")
        return answer

    async def _bytes(self, method: str, path: str, **options: Any) -> bytes:
        return (await self._send(method, path, **options)).content

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        if "content" in options:
            options["headers"] = {"content-type": DAG_CBOR_TYPE}
        try:
            answer = await self._http.request(method, self.url + path, timeout=REQUEST_TIMEOUT_S, **options)
        except httpx.HTTPError as error:
            raise NodeUnreachable(str(error) or type(error).__name__, url=self.url) from error
        if answer.status_code >= 400:
            raise _remote(answer)
        if len(answer.content) > MAX_ANSWER_BYTES:
            raise Malformed("answer too large", actual_bytes=len(answer.content), max_bytes=MAX_ANSWER_BYTES)
        return answer


def _remote(answer: httpx.Response) -> Remote:
    try:
        problem = answer.json()
        return Remote(str(problem["code"]), answer.status_code, str(problem.get("detail", "")))
    except (ValueError, KeyError, TypeError):
        return Remote("node.bad_answer", answer.status_code)

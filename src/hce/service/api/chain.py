"""The two chains: status, headers, transactions, state with proofs."""

from __future__ import annotations

from msgspec import to_builtins
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hce.foundation.codec.dagcbor import convert, decode, decode_as, encode
from hce.foundation.proofs.listhash import list_proof
from hce.foundation.store.journal import HEALTH
from hce.foundation.types.errors import HceError, Malformed, NotFound, TooLarge, Unavailable
from hce.service.api.services import NodeServices
from hce.service.contracts.value.header import decode_header
from hce.service.contracts.value.transactions import MAX_VALUE_TX_BYTES
from hce.service.http import cbor, encoded, hex_param, hex_query, int_param, int_query, read_body
from hce.service.ledger.queries import TxResult
from hce.service.terms.genesis import genesis_cid
from hce.service.terms.identity import NONCE_BYTES
from hce.service.terms.proofs import (
    MAX_STATE_KEY_BYTES,
    MAX_STATE_KEYS,
    FinalHeader,
    ProvenValue,
    StateProof,
    TxProof,
    WholeBlock,
)
from hce.service.terms.transactions import MAX_TX_BYTES, Submitted

MAX_WAIT_MS = 25_000
"""Longest a request may wait for a final block."""
MAX_LISTED_TXS = 500
"""Transactions one request may submit."""
MAX_TX_LIST_BYTES = 4 << 20
"""Bytes of them, encoded as one list: as much as a block holds."""
TXS_AT_A_TIME = 50
"""Of a list, in one go in a worker: about 10 ms. Going there and back costs as much as checking one."""
MAX_STATE_REQUEST_BYTES = MAX_STATE_KEYS * (MAX_STATE_KEY_BYTES + 4)


class NotStarted(Unavailable):
    """No block is final yet; genesis has no commit that could prove anything."""

    code = "chain.not_started"


class ChainFace:
    """One method for each path."""

    def __init__(self, node: NodeServices) -> None:
        self._node = node

    async def status(self, request: Request) -> Response:
        node = self._node
        stored = node.final_block(node.final_height())
        header = stored.block.header
        producer = next(
            (index for index, one in enumerate(node.genesis.node_list) if one.operator == self._coinbase(header.height)), None
        )
        return JSONResponse(
            {
                "chain": node.genesis.chain.hex(),
                "genesis": genesis_cid(node.genesis).hex(),
                "node": node.node_index,
                "nodes": len(node.genesis.nodes),
                "height": header.height,
                "epoch": header.epoch,
                "turn": header.turn,
                "slot": header.slot,
                "producer": producer,
                "time_ms": header.time_ms,
                "started_ms": node.started_ms,
                "finality_ms": node.finality.typical_ms,
                "waiting": len(node.ledger.pool),
                "syncing": node.syncing(),
                "voting": node.voting(),
                "peers": [to_builtins(peer) for peer in node.peers()],
                "shards": node.files.counters._asdict(),
                "awaited": node.mailbox.replica.awaited,
                "free_bytes": node.free_bytes(),
            }
        )

    def _coinbase(self, height: int) -> bytes:
        return decode_header(self._node.ledger.queries.header_at(height).value_head).coinbase

    async def identity(self, request: Request) -> Response:
        """One signature (about 40 us): cheaper here than in a worker."""
        return cbor(self._node.identify(hex_query(request, "nonce", NONCE_BYTES)))

    async def genesis(self, request: Request) -> Response:
        return cbor(self._node.genesis)

    async def final(self, request: Request) -> Response:
        newest = "height" not in request.path_params
        return cbor(self._final_header(self._node.final_height() if newest else int_param(request, "height")))

    async def submit_health(self, request: Request) -> Response:
        return JSONResponse({"id": (await self._take(await read_body(request, MAX_TX_BYTES))).hex()})

    async def submit_value(self, request: Request) -> Response:
        return JSONResponse({"hash": (await self._take(await read_body(request, MAX_VALUE_TX_BYTES))).hex()})

    async def submit_list(self, request: Request) -> Response:
        """Each is taken or refused on its own, in order; the answer has an id or an error code for each."""
        raws = decode_as(list[bytes], await read_body(request, MAX_TX_LIST_BYTES), max_bytes=MAX_TX_LIST_BYTES)
        if len(raws) > MAX_LISTED_TXS:
            raise TooLarge("transactions in one request", actual=len(raws), max=MAX_LISTED_TXS)
        answers: list[Submitted] = []
        for start in range(0, len(raws), TXS_AT_A_TIME):
            part = raws[start : start + TXS_AT_A_TIME]
            answers += map(_submitted, await self._node.worker(self._node.ledger.check_txs, part))
        for raw, answer in zip(raws, answers, strict=True):
            if answer.id is not None:
                self._node.gossip(raw)
            else:
                self._node.meters.requests.refused.add(answer.code)
        return cbor(answers)

    async def _take(self, raw: bytes) -> bytes:
        """Into this node's pool, off the loop, and on to the other nodes."""
        name: bytes = await self._node.worker(self._node.ledger.check_tx, raw)
        self._node.gossip(raw)
        return name

    async def health_tx(self, request: Request) -> Response:
        name = hex_param(request, "tx_id", 36)
        queries = self._node.ledger.queries
        found = await self._node.finality.wait(lambda: queries.tx_result(name), int_query(request, "wait_ms", 0, MAX_WAIT_MS))
        if found is None:
            raise NotFound("no final transaction of that id", tx_id=name.hex())
        return cbor(await self._node.worker(self._prove_tx, found))

    def _prove_tx(self, found: TxResult) -> TxProof:
        """Hashes both lists of the block: work for a worker."""
        block = self._node.final_block(found.height).block
        receipt, receipt_proof = self._node.ledger.queries.receipt_proof(found.height, found.index)
        txs = block.ledger.health_txs
        return TxProof(self._final_header(found.height), txs[found.index], list_proof(txs, found.index), receipt, receipt_proof)

    async def value_tx(self, request: Request) -> Response:
        name = hex_param(request, "tx_hash", 32)
        queries = self._node.ledger.queries
        found = await self._node.finality.wait(lambda: queries.tx_result(name), int_query(request, "wait_ms", 0, MAX_WAIT_MS))
        if found is None:
            raise NotFound("no final transaction of that hash", tx_hash=name.hex())
        return JSONResponse({"hash": name.hex(), "height": found.height, "index": found.index})

    async def block(self, request: Request) -> Response:
        height = int_param(request, "height")
        node = self._node

        def height_if_final() -> int | None:
            return height if node.final_height() >= height else None

        if await node.finality.wait(height_if_final, int_query(request, "wait_ms", 0, MAX_WAIT_MS)) is None:
            raise NotFound("no final block of that height", height=height)
        stored = node.final_block(height)
        if stored.commit is None:
            raise NotStarted
        return cbor(WholeBlock(stored.block, stored.commit, node.ledger.queries.results_at(height).health))

    async def account(self, request: Request) -> Response:
        address = hex_param(request, "address", 20)
        queries = self._node.ledger.queries
        with queries.snapshot() as view:
            account = view.account(address)
            head = decode_header(view.head(view.height).header.value_head)
        return JSONResponse({"balance_ahce": str(account.balance), "nonce": account.nonce, "base_fee_wei": str(head.base_fee)})

    async def health_state(self, request: Request) -> Response:
        keys = decode(await read_body(request, MAX_STATE_REQUEST_BYTES))
        wanted = convert(list[bytes], keys)
        if len(wanted) > MAX_STATE_KEYS or any(not 0 < len(key) <= MAX_STATE_KEY_BYTES for key in wanted):
            raise Malformed("too many keys, or one too long", max_keys=MAX_STATE_KEYS, max_bytes=MAX_STATE_KEY_BYTES)
        return encoded(await self._node.worker(self._prove_state, wanted))

    def _prove_state(self, keys: list[bytes]) -> bytes:
        """About 60 us a key: work for a worker."""
        with self._node.ledger.queries.snapshot() as view:
            values = [ProvenValue(*view.prove(HEALTH, key)) for key in keys]
            height = view.height
        return encode(StateProof(self._final_header(height), values))

    async def entries(self, request: Request) -> Response:
        grant_id = hex_param(request, "grant_id", 32)
        start = int_query(request, "start", 0, 2**40)
        return cbor([name for _, name, _ in self._node.ledger.queries.entries_of_grant(grant_id, start)])

    def _final_header(self, height: int) -> FinalHeader:
        stored = self._node.final_block(height)
        if stored.commit is None:
            raise NotStarted
        return FinalHeader(stored.block.header, stored.block.ledger.header, stored.commit)


def _submitted(answer: bytes | HceError) -> Submitted:
    return Submitted(None, answer.code) if isinstance(answer, HceError) else Submitted(answer, "")

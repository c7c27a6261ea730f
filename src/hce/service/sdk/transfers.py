"""Plain transfers on the value chain, which has no proofs yet: what nodes say of it is their word."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from hce.foundation.crypto.hashing import keccak256
from hce.foundation.crypto.secp import EthSigningKey
from hce.foundation.types.errors import HceError
from hce.service.sdk.asking import Nodes, Refusals
from hce.service.sdk.errors import BadAnswer, NotFinalInTime, Remote
from hce.service.sdk.wallet import sign_transfer

LOOK_WAIT_S = 2.0
"""How long a look at all nodes waits for the slow ones."""

_Payment = tuple[bytes, bytes, int]
"""From, to, amount in aHCE."""


class _SignedTransfer(NamedTuple):
    """A transfer that may still become final; `name` is the hash of its bytes."""

    nonce: int
    raw: bytes
    name: bytes


class Transfers:
    """Those of one client, with the memory of what may still become final."""

    def __init__(self, nodes: Nodes, eip155_id: int) -> None:
        self._nodes = nodes
        self._eip155_id = eip155_id
        self._transferring = asyncio.Lock()
        """One transfer at a time: the next nonce is known when the one before is final."""
        self._unsettled: dict[_Payment, _SignedTransfer] = {}

    async def transfer(self, key: EthSigningKey, to: bytes, amount_ahce: int, wait_ms: int) -> dict[str, Any]:
        """A plain HCET transfer, waited for; the nodes' word on its inclusion (value proofs come with the explorer).

        Called again after it was not final in time, it pays at most once: the same signed bytes are sent again, and of all
        transactions with one nonce the chain takes one. That memory is this object's: who makes a new one looks first. A node
        that says a false nonce can hold the transfer up, not double it. Raises `Remote`, `NotFinalInTime`.
        """
        async with self._transferring:
            payment = (key.address, to, amount_ahce)
            again = payment in self._unsettled
            if not again:
                self._unsettled[payment] = await self._sign(key, to, amount_ahce)
            signed = self._unsettled[payment]
            found = await self._find(signed.name) if again else None
            if found is None:
                try:
                    found = await self._nodes.tell(
                        lambda node: node.submit_value(signed.raw),
                        lambda: self._wait_final(signed.name, wait_ms),
                        self._nodes.one_honest,
                        Refusals(self._nodes.one_honest),
                    )
                except Remote:
                    if not again or await self._nonce_is_used(key.address, signed.nonce):
                        del self._unsettled[payment]
                    raise
            del self._unsettled[payment]
            return found

    async def _wait_final(self, name: bytes, wait_ms: int) -> dict[str, Any]:
        """After a node has taken it no refusal says that it cannot become final."""
        try:
            return await self._nodes.wait(lambda node, left_ms: node.value_tx(name, left_ms), wait_ms, tx_hash=name.hex())
        except Remote as error:
            raise NotFinalInTime(tx_hash=name.hex()) from error

    async def _sign(self, key: EthSigningKey, to: bytes, amount_ahce: int) -> _SignedTransfer:
        account = await self._nodes.first(lambda node: node.account(key.address))
        nonce = account["nonce"]
        try:
            raw = sign_transfer(key, self._eip155_id, nonce, to, amount_ahce, max_fee_wei=2 * int(account["base_fee_wei"]))
        except (ValueError, OverflowError) as error:
            raise BadAnswer("account") from error
        return _SignedTransfer(nonce, raw, keccak256(raw))

    async def _nonce_is_used(self, address: bytes, nonce: int) -> bool:
        """By the word of quorum(n) nodes: then what had this nonce can no longer become final."""
        answers = await self._nodes.every(lambda node: node.account(address), LOOK_WAIT_S)
        used = sum(not isinstance(answer, HceError) and answer["nonce"] > nonce for answer in answers)
        return used >= self._nodes.quorum

    async def _find(self, name: bytes) -> dict[str, Any] | None:
        """Where it is final, by any node's word; None when no node knows it."""
        answers = await self._nodes.every(lambda node: node.value_tx(name, 0), LOOK_WAIT_S)
        return next((answer for answer in answers if not isinstance(answer, HceError)), None)

"""Which node is behind which address. A node proves its index with a signature over a nonce that was made for this question.

A relay is possible: who passes the nonce on to the real node answers with its signature. So an index may have several addresses, and
none of them keeps the client from the others: `at` gives all, and whoever asks a node by its index verifies what comes back and goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence

from hce.foundation.types.errors import HceError
from hce.service.sdk.errors import NodeUnreachable
from hce.service.sdk.node import NodeClient
from hce.service.terms.genesis import Genesis
from hce.service.terms.identity import NONCE_BYTES, proves_identity

IDENTITY_WAIT_S = 2.0
"""How long a node may take to show which one it is."""

log = logging.getLogger("hce.sdk")


class Identities:
    """The proven indexes of these clients, asked when first needed and again while a proof is missing."""

    def __init__(self, nodes: Sequence[NodeClient], genesis: Genesis) -> None:
        self._nodes = nodes
        self._genesis = genesis
        self._proven: dict[NodeClient, int] = {}
        self._asked: set[NodeClient] = set()
        self._asking: dict[NodeClient, asyncio.Task[None]] = {}

    async def of(self, node: NodeClient) -> int:
        """The index of one client; `NodeUnreachable` when it has not proven any."""
        if node not in self._proven:
            await self._learn(node)
        if node not in self._proven:
            raise NodeUnreachable("has not proven which node it is", url=node.url)
        return self._proven[node]

    async def at(self, index: int) -> list[NodeClient]:
        """All clients that have proven this index, at least one; `NodeUnreachable` otherwise."""
        await self._learn_all(again=False)
        if index not in self._proven.values():
            await self._learn_all(again=True)
        found = self.proven(index)
        if not found:
            raise NodeUnreachable("no address has proven to be this node", node=index)
        return found

    def proven(self, index: int) -> list[NodeClient]:
        """Those that have proven this index before."""
        return [node for node in self._nodes if self._proven.get(node) == index]

    async def unproven(self) -> list[str]:
        """Addresses of which nobody knows which node they are: they are asked only for what proves itself."""
        await self._learn_all(again=True)
        return [node.url for node in self._nodes if node not in self._proven]

    async def close(self) -> None:
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _learn_all(self, again: bool) -> None:
        missing = [node for node in self._nodes if node not in self._proven and (again or node not in self._asked)]
        await asyncio.gather(*map(self._learn, missing))

    async def _learn(self, node: NodeClient) -> None:
        """Whoever wants to know while the node is being asked waits for the same answer."""
        if node not in self._asking:
            self._asking[node] = asyncio.create_task(self._ask(node))
            self._asking[node].add_done_callback(lambda _: self._asking.pop(node))
        await asyncio.shield(self._asking[node])

    async def _ask(self, node: NodeClient) -> None:
        nonce = os.urandom(NONCE_BYTES)
        try:
            async with asyncio.timeout(IDENTITY_WAIT_S):
                identity = await node.identity(nonce)
        except (HceError, TimeoutError):
            return
        finally:
            self._asked.add(node)
        if proves_identity(identity, self._genesis.chain, self._genesis.node_list, nonce):
            self._proven[node] = identity.node
        else:
            log.warning("%s has not proven to be node %d", node.url, identity.node)

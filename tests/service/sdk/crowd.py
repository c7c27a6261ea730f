"""Nine nodes without a chain: hosts n0 to n8 that have the keys of a real genesis and answer what a test says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from hce.app.devnet import run
from hce.app.devnet.home import Home
from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.sign import SigningKey
from hce.service.terms.genesis import Params
from hce.service.terms.identity import identify

NODES = 9
URLS = [f"http://n{host}" for host in range(NODES)]

Answer = Callable[[int, httpx.Request], Awaitable[httpx.Response | bytes | None]]
"""(host, request) -> its answer; None: as an honest node that knows nothing."""


class Crowd(httpx.AsyncBaseTransport):
    """Network access to them."""

    def __init__(self, root: Path, answer: Answer) -> None:
        home = Home(root)
        run.create(home, list(range(1, 1 + run.port_count(NODES))), NODES, Params())
        self.genesis = home.genesis()
        self._keys = [SigningKey(home.node_keys(node).service) for node in range(NODES)]
        self._answer = answer
        self.asked: list[tuple[int, str]] = []

    def hosts_asked(self, path: str) -> list[int]:
        """In the order they were first asked."""
        return list(dict.fromkeys(host for host, asked in self.asked if asked.startswith(path)))

    def shows(self, node: int, request: httpx.Request) -> bytes:
        """The honest answer of a node to who asks which one it is."""
        return encode(identify(self._keys[node], self.genesis.chain, node, bytes.fromhex(request.url.params["nonce"])))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host, path = int(request.url.host[1:]), request.url.path
        self.asked.append((host, path))
        answer = await self._answer(host, request)
        if answer is None and path == "/v1/genesis":
            answer = encode(self.genesis)
        elif answer is None and path == "/v1/identity":
            answer = self.shows(host, request)
        if isinstance(answer, httpx.Response):
            return answer
        return refusal("not_found", 404) if answer is None else httpx.Response(200, stream=httpx.ByteStream(answer))


def refusal(code: str, status: int = 400) -> httpx.Response:
    return httpx.Response(status, stream=httpx.ByteStream(f'{{"code": "{code}"}}'.encode()))

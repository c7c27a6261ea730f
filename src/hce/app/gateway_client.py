"""A gateway as its own staff's tools call it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from hce.app.devnet.home import Home
from hce.app.gateway import bearer_token
from hce.foundation.types.errors import NotFound
from hce.service.sdk.errors import BadAnswer, NodeUnreachable, Remote, remote

TIMEOUT = httpx.Timeout(60.0, connect=5.0)
"""Between two pieces of an answer; an import may take as long as it needs."""


class GatewayBadAnswer(BadAnswer):
    """What answers there is no gateway."""

    code = "gateway.bad_answer"


class GatewayClient:
    """JSON calls with the bearer token. Use as an async context manager."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.AsyncClient(timeout=TIMEOUT, trust_env=False, headers={"authorization": f"Bearer {token}"})

    @classmethod
    def at(cls, url: str, folder: Path) -> GatewayClient:
        """The gateway whose folder this is."""
        return cls(url, bearer_token(folder))

    @classmethod
    def of(cls, home: Home, name: str) -> GatewayClient:
        """The gateway of that name in a network's folder; `NotFound` when there is none."""
        url = home.network()["gateways"].get(name)
        if url is None:
            raise NotFound("gateway", name=name)
        return cls.at(url, home.gateway(name))

    async def __aenter__(self) -> GatewayClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def get(self, path: str) -> Any:
        return (await self._send("GET", path)).json()

    async def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return (await self._send("POST", path, json=body or {})).json()

    async def import_bundle(self, bundle: bytes, **options: str) -> AsyncIterator[dict[str, Any]]:
        """Events of an import, one at a time, the last `finished`; raises when it was refused, broke off or ended without that."""
        finished = False
        try:
            async with self._http.stream("POST", self.url + "/v1/import", content=bundle, params=options) as answer:
                if answer.status_code >= 400:
                    await answer.aread()
                    raise remote(answer.status_code, answer.content, self.url, GatewayBadAnswer)
                async for line in answer.aiter_lines():
                    event = self._event(line)
                    if event["event"] == "failed":
                        raise Remote(event["code"], event["status"], event["detail"])
                    finished = event["event"] == "finished"
                    yield event
        except httpx.HTTPError as error:
            raise NodeUnreachable(str(error) or type(error).__name__, url=self.url) from error
        if not finished:
            raise GatewayBadAnswer("the import ended without saying that it is finished", url=self.url)

    def _event(self, line: str) -> dict[str, Any]:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise GatewayBadAnswer("a line that is not JSON", url=self.url) from error
        if not isinstance(event, dict) or "event" not in event:
            raise GatewayBadAnswer("a line that is no event", url=self.url)
        return event

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = await self._http.request(method, self.url + path, **options)
        except httpx.HTTPError as error:
            raise NodeUnreachable(str(error) or type(error).__name__, url=self.url) from error
        if answer.status_code >= 400:
            raise remote(answer.status_code, answer.content, self.url, GatewayBadAnswer)
        return answer

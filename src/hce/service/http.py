"""HTTP manners of node and gateway: bounded bodies, DAG-CBOR out, one problem format for every refusal (RFC 9457)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from hce.foundation.codec.dagcbor import encode
from hce.foundation.types.errors import HceError, Malformed, Refused, TooLarge, Unavailable
from hce.foundation.types.scalars import MAX_SAFE_INT

DAG_CBOR_TYPE = "application/vnd.ipld.dag-cbor"
PROBLEM_TYPE = "application/problem+json"
CODE_KEY = "hce.code"
"""Where a refused request's scope holds the code, for whoever counts."""
ROUTE_KEY = "hce.route"
"""Where a request's scope holds the path of its route, {names} and all: what is counted and logged instead of the ids in it."""

Handler = Callable[[Request], Awaitable[Response]]

log = logging.getLogger("hce.http")


class SlowBody(Refused):
    """A body that did not arrive in time."""

    code = "http.slow_body"
    status = 408


class TooManyBodies(Unavailable):
    """The bodies being received together are as large as this process allows."""

    code = "http.too_many_bodies"


class BodyBudget:
    """Memory for bodies that are still arriving, over all requests of a process, and how long one may take."""

    def __init__(self, max_bytes: int, timeout_s: float) -> None:
        self._left = max_bytes
        self._timeout_s = timeout_s

    async def read(self, request: Request, max_bytes: int) -> bytes:
        """The whole body; `TooLarge` as soon as it is longer than the bound, `SlowBody`, `TooManyBodies`."""
        held = 0
        try:
            async with asyncio.timeout(self._timeout_s):
                chunks: list[bytes] = []
                async for chunk in request.stream():
                    held += len(chunk)
                    self._left -= len(chunk)
                    if held > max_bytes:
                        raise TooLarge("request body", max_bytes=max_bytes)
                    if self._left < 0:
                        raise TooManyBodies
                    chunks.append(chunk)
                return b"".join(chunks)
        except TimeoutError as error:
            raise SlowBody(max_s=self._timeout_s) from error
        except ClientDisconnect as error:
            raise Malformed("the body ended early") from error
        finally:
            self._left += held


BODIES = BodyBudget(max_bytes=256 << 20, timeout_s=30.0)
"""The budget of this process."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body within the bound and the process's budget."""
    return await BODIES.read(request, max_bytes)


def hex_param(request: Request, name: str, size: int) -> bytes:
    """A path parameter of exactly `size` bytes in hex."""
    return _hex(name, request.path_params[name], size)


def hex_query(request: Request, name: str, size: int) -> bytes:
    """The same from the query string; it must be there."""
    return _hex(name, request.query_params.get(name, ""), size)


def _hex(name: str, raw: str, size: int) -> bytes:
    try:
        value = bytes.fromhex(raw)
    except ValueError as error:
        raise Malformed(f"{name} is not hex") from error
    if len(value) != size:
        raise Malformed(f"{name} has the wrong length", expected_bytes=size, actual_bytes=len(value))
    return value


def int_param(request: Request, name: str) -> int:
    """A path parameter that is a whole number inside 53 bits."""
    raw = request.path_params[name]
    if not raw.isascii() or not raw.isdigit() or len(raw) > 16 or int(raw) > MAX_SAFE_INT:
        raise Malformed(f"{name} is not a number")
    return int(raw)


def int_query(request: Request, name: str, default: int, maximum: int) -> int:
    """A whole number from the query string, clamped to the bound."""
    raw = request.query_params.get(name)
    if raw is None:
        return default
    if not raw.isascii() or not raw.isdigit() or len(raw) > 12:
        raise Malformed(f"{name} is not a number")
    return min(int(raw), maximum)


def cbor(value: Any) -> Response:
    return Response(encode(value), media_type=DAG_CBOR_TYPE)


def encoded(content: bytes) -> Response:
    return Response(content, media_type=DAG_CBOR_TYPE)


async def problem(request: Request, error: Exception) -> Response:
    """Any named error as a problem document. Fields stay in the node's log: they may help an attacker more than a caller."""
    if not isinstance(error, HceError):
        raise error
    request.scope[CODE_KEY] = error.code
    if error.status >= 500:
        log.warning("%s %s: %s", request.method, request.scope.get(ROUTE_KEY), error.code)
    return JSONResponse(problem_body(error), status_code=error.status, media_type=PROBLEM_TYPE)


def problem_body(error: HceError) -> dict[str, Any]:
    return {"type": f"hce:{error.code}", "code": error.code, "title": error.code, "status": error.status, "detail": error.detail}

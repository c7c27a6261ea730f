"""HTTP manners of node and gateway: bounded bodies, DAG-CBOR out, one problem format for every refusal (RFC 9457)."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from hce.foundation.codec.dagcbor import encode
from hce.foundation.types.errors import HceError, Malformed, NotFound, Refused, TooLarge, Unavailable
from hce.foundation.types.scalars import MAX_SAFE_INT

T = TypeVar("T")

DAG_CBOR_TYPE = "application/vnd.ipld.dag-cbor"
PROBLEM_TYPE = "application/problem+json"
CODE_KEY = "hce.code"
"""Where a refused request's scope holds the code, for whoever counts."""
ROUTE_KEY = "hce.route"
"""Where a request's scope holds the path of its route, {names} and all: what is counted and logged instead of the ids in it."""

_HELD_KEY = "hce.held"
"""Where a request's scope holds how many bytes of the budget it has taken."""

ALLOW_ORIGIN = "access-control-allow-origin"
"""Header that names the origin whose pages may read an answer (Fetch standard)."""

Handler = Callable[[Request], Awaitable[Response]]
ErrorHandler = Callable[[Request, Exception], Awaitable[Response]]

log = logging.getLogger("hce.http")


class SlowBody(Refused):
    """A body that did not arrive in time."""

    code = "http.slow_body"
    status = 408


class Busy(Unavailable):
    """Too much at once; the same request may pass in a moment."""

    retry_after_s = 1
    """Told to the caller (`Retry-After`, RFC 9110)."""


class TooManyBodies(Busy):
    """The bodies being received and worked on together are as large as this process allows."""

    code = "http.too_many_bodies"


class TooMuchFromAddress(Busy):
    """The bodies of one address are as large as all that is still free for others."""

    code = "http.too_much_from_address"


class NoSuchPath(NotFound):
    """Nothing is served under that path."""

    code = "http.no_such_path"


class WrongMethod(Refused):
    """The path is served, with another method."""

    code = "http.wrong_method"
    status = 405


class BodyBudget:
    """Memory for bodies over all requests of a process, from their first byte to the end of the answer, and how long one may take.

    A body waits in memory while its request waits for a worker, so it counts until then: `release` belongs at the end of a request.

    One address may hold as much as is free: alone a half, beside k others that flood a (k + 2)th part of everything, and the same
    stays free for whoever comes next (dynamic thresholds, Choudhury and Hahne 1998). An address is that of the connection; headers name
    nobody.
    """

    def __init__(self, max_bytes: int, timeout_s: float) -> None:
        self._left = max_bytes
        self._timeout_s = timeout_s
        self._held: Counter[str] = Counter()
        """Bytes by address; those that hold nothing are not in it."""

    async def read(self, request: Request, max_bytes: int) -> bytes:
        """The whole body; `TooLarge` as soon as it is longer than the bound, `SlowBody`, `TooManyBodies`."""
        held = 0
        try:
            async with asyncio.timeout(self._timeout_s):
                chunks: list[bytes] = []
                async for chunk in request.stream():
                    held += len(chunk)
                    self._take(request.scope, len(chunk))
                    if held > max_bytes:
                        raise TooLarge("request body", max_bytes=max_bytes)
                    chunks.append(chunk)
                return b"".join(chunks)
        except TimeoutError as error:
            raise SlowBody(max_s=self._timeout_s) from error
        except ClientDisconnect as error:
            raise Malformed("the body ended early") from error

    def _take(self, scope: Scope, size: int) -> None:
        address = _address_of(scope)
        self._left -= size
        self._held[address] += size
        scope[_HELD_KEY] = scope.get(_HELD_KEY, 0) + size
        if self._left < 0:
            raise TooManyBodies
        if self._held[address] > self._left:
            raise TooMuchFromAddress

    def release(self, scope: Scope) -> None:
        """The request is over, and with it its body."""
        size, address = scope.pop(_HELD_KEY, 0), _address_of(scope)
        self._left += size
        self._held[address] -= size
        if self._held[address] <= 0:
            del self._held[address]


def _address_of(scope: Scope) -> str:
    """Of whoever is connected."""
    client = scope.get("client")
    return client[0] if client else ""


BODIES = BodyBudget(max_bytes=160 << 20, timeout_s=30.0)
"""The budget of this process: the largest body, a Bundle of 64 MiB, has room beside others of the same address."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body within the bound and the process's budget."""
    return await BODIES.read(request, max_bytes)


async def read_json(request: Request, type_: type[T], max_bytes: int) -> T:
    """The body as JSON of that type; `Malformed` for anything else, `TooLarge` as `read_body`."""
    try:
        return msgspec.json.decode(await read_body(request, max_bytes), type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from error


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
    headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, Busy) else None
    return JSONResponse(problem_body(error), status_code=error.status, media_type=PROBLEM_TYPE, headers=headers)


async def unrouted(request: Request, error: Exception) -> Response:
    """What the router refuses, in the same format as everything else."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    answer = await problem(request, WrongMethod() if status == WrongMethod.status else NoSuchPath())
    if isinstance(error, HTTPException) and error.headers:
        answer.headers.update(error.headers)
    return answer


async def surprise(request: Request, error: Exception) -> Response:
    """A fault of ours: the caller learns that, and the log what it was."""
    request.scope[CODE_KEY] = HceError.code
    return JSONResponse(problem_body(HceError()), status_code=HceError.status, media_type=PROBLEM_TYPE)


def surprise_read_by(pages: str, under: str = "/") -> ErrorHandler:
    """The same, also for pages of that origin ("*": of any), on paths that begin so.

    A fault is answered outside all middleware, that of CORS too. A page that may not read the answer sees a machine that is not there.
    """

    async def told(request: Request, error: Exception) -> Response:
        answer = await surprise(request, error)
        if request.url.path.startswith(under):
            answer.headers[ALLOW_ORIGIN] = pages
        return answer

    return told


EXCEPTION_HANDLERS: dict[Any, ErrorHandler] = {
    HceError: problem,
    HTTPException: unrouted,
    Exception: surprise,
}
"""Of every app: whatever goes wrong is answered with a problem document."""


def problem_body(error: HceError) -> dict[str, Any]:
    return {"type": f"hce:{error.code}", "code": error.code, "title": error.code, "status": error.status, "detail": error.detail}

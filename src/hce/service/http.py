"""HTTP manners of node and gateway: bounded bodies, DAG-CBOR out, one problem format for every refusal (RFC 9457)."""

from __future__ import annotations

import logging
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hce.foundation.codec.dagcbor import encode
from hce.foundation.types.errors import HceError, Malformed, TooLarge

DAG_CBOR_TYPE = "application/vnd.ipld.dag-cbor"
PROBLEM_TYPE = "application/problem+json"

log = logging.getLogger("hce.http")


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body; `TooLarge` as soon as it is longer than the bound, without reading the rest."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise TooLarge("request body", max_bytes=max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def hex_param(request: Request, name: str, size: int) -> bytes:
    """A path parameter of exactly `size` bytes in hex."""
    try:
        value = bytes.fromhex(request.path_params[name])
    except ValueError as error:
        raise Malformed(f"{name} is not hex") from error
    if len(value) != size:
        raise Malformed(f"{name} has the wrong length", expected_bytes=size, actual_bytes=len(value))
    return value


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
    if error.status >= 500:
        log.warning("%s %s: %s", request.method, request.url.path, error.code)
    return JSONResponse(problem_body(error), status_code=error.status, media_type=PROBLEM_TYPE)


def problem_body(error: HceError) -> dict[str, Any]:
    return {"type": f"hce:{error.code}", "code": error.code, "title": error.code, "status": error.status, "detail": error.detail}

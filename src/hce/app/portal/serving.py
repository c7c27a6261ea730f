"""HTTP of the portal: the bundle's files, the network's description, and headers that leave a page no way to talk to strangers.

The policy (CSP) allows script and style from this origin alone, questions to this network's nodes and gateways alone, no frame
around or inside, no form, no plug-in. Trusted Types are required and no policy may be made: a string never becomes script or markup.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import signal
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hce.app.devnet.home import Home
from hce.app.portal.bundle import INDEX, bundle_hash, read_bundle
from hce.app.serving import serving
from hce.foundation.types.errors import Refused
from hce.service.http import EXCEPTION_HANDLERS, NoSuchPath
from hce.service.terms.genesis import genesis_cid

FOR_EVER = "public, max-age=31536000, immutable"
"""For files whose name holds the hash of their content."""
ALWAYS_FRESH = "no-cache"
HASHED = "assets/"
MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
"""Of every file a build makes. The machine's own table differs from machine to machine, and with `nosniff` a wrong type is no page."""
LOOPBACK = frozenset({"127.0.0.1", "[::1]", "localhost"})
"""Spellings of this machine, sent on to the one name of the page."""


GZIP_LEVEL = 9
"""Once, at the start."""


class WrongHost(Refused):
    """The page was asked for under another name than its own."""

    code = "portal.wrong_host"
    status = 421


def policy(origins: list[str]) -> str:
    """Content-Security-Policy for a page that may ask these origins and its own."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            " ".join(("connect-src 'self'", *origins)),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding (RFC 9110) names gzip and does not refuse it. Whoever says it by `*` alone gets the plain bytes."""
    for part in accepted.lower().split(","):
        coding, _, weight = part.replace(" ", "").partition(";")
        if coding == "gzip":
            return not re.fullmatch(r"q=0(\.0*)?", weight)
    return False


def headers_of(origins: list[str]) -> dict[str, str]:
    """Of every answer."""
    return {
        "content-security-policy": policy(origins),
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-embedder-policy": "require-corp",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }


class _Headers:
    """ASGI middleware: these headers on every answer, refusals included."""

    def __init__(self, app: ASGIApp, headers: dict[str, str]) -> None:
        self._app = app
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._headers]
            await send(message)

        await self._app(scope, receive, with_headers)


def make_portal(bundle: dict[str, bytes], origin: str, genesis: str, nodes: list[str], gateways: list[str]) -> Starlette:
    """The ASGI app. `genesis`: CID in hex; what the page trusts about the network follows from it."""
    described = msgspec.json.encode({"genesis": genesis, "nodes": nodes, "gateways": gateways})
    here = urlsplit(origin)
    small = {path: gzip.compress(content, GZIP_LEVEL, mtime=0) for path, content in bundle.items()}

    async def network(request: Request) -> Response:
        return Response(described, media_type="application/json", headers={"cache-control": "no-store"})

    async def status(request: Request) -> Response:
        return JSONResponse({"bundle": bundle_hash(bundle), "files": sorted(bundle)}, headers={"cache-control": "no-store"})

    async def file(request: Request) -> Response:
        asked = request.headers.get("host", "")
        if asked != here.netloc:
            if asked.rpartition(":")[0] in LOOPBACK:
                return RedirectResponse(origin + request.url.path)
            raise WrongHost
        path = request.path_params["path"] or INDEX
        if path not in bundle:
            raise NoSuchPath
        kind = MEDIA_TYPES.get(PurePosixPath(path).suffix, "application/octet-stream")
        headers = {"cache-control": FOR_EVER if path.startswith(HASHED) else ALWAYS_FRESH, "vary": "accept-encoding"}
        if not takes_gzip(request.headers.get("accept-encoding", "")):
            return Response(bundle[path], media_type=kind, headers=headers)
        return Response(small[path], media_type=kind, headers={**headers, "content-encoding": "gzip"})

    return Starlette(
        routes=[Route("/network.json", network), Route("/v1/status", status), Route("/{path:path}", file)],
        middleware=[Middleware(_Headers, headers=headers_of([*nodes, *gateways]))],
        exception_handlers=EXCEPTION_HANDLERS,
    )


async def run_portal(home: Home, port: int) -> None:
    """Serves until SIGTERM or SIGINT. Raises `PortalNotBuilt`, `PortTaken`, `TlsUnusable`."""
    described, face = home.network(), home.face()
    nodes: list[str] = described["nodes"] if face is None else face.nodes
    gateways: dict[str, str] = described["gateways"] if face is None else face.gateways
    app = make_portal(read_bundle(), home.portal, genesis_cid(home.genesis()).hex(), nodes, list(gateways.values()))
    async with serving(app, port, door=home.portal_door()):
        stopping = asyncio.Event()
        for sign in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sign, stopping.set)
        await stopping.wait()

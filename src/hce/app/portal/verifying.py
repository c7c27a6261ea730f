"""Is what a portal serves the page that was built here? Every file is fetched and compared, byte for byte."""

from __future__ import annotations

import httpx
from msgspec import Struct

from hce.app.portal.bundle import INDEX, bundle_hash
from hce.foundation.types.errors import PeerFault, Unavailable

TIMEOUT_S = 10.0
MAX_FILE_BYTES = 8 << 20


class PortalUnreachable(Unavailable):
    """Nothing that answers like a portal."""

    code = "portal.unreachable"


class PortalDiffers(PeerFault):
    """The portal serves other bytes than were built here."""

    code = "portal.differs"


class Verified(Struct, frozen=True):
    """What was compared."""

    bundle: str
    files: int


async def verify(url: str, built: dict[str, bytes], http: httpx.AsyncClient) -> Verified:
    """Raises `PortalDiffers` with the paths that differ, `PortalUnreachable`.

    The portal's own word about its hash and its list is not used: the files that were built are asked for, and the page's root.
    """
    expected = {**built, "": built[INDEX]}
    differing = [path or "/" for path, content in sorted(expected.items()) if await _fetch(http, url, path) != content]
    if differing:
        raise PortalDiffers(url=url, paths=", ".join(differing), expected=bundle_hash(built))
    return Verified(bundle_hash(built), len(built))


async def _fetch(http: httpx.AsyncClient, url: str, path: str) -> bytes | None:
    """None for anything but a whole answer within the bound."""
    try:
        async with http.stream("GET", f"{url.rstrip('/')}/{path}", timeout=TIMEOUT_S) as answer:
            if answer.status_code != 200:
                return None
            content = b""
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > MAX_FILE_BYTES:
                    return None
            return content
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PortalUnreachable(str(error) or type(error).__name__, url=url) from error

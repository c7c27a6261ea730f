"""Is the page that a portal serves the one that the network's nodes have published? Everything it serves is fetched, hashed, and looked up
on the chain, with proofs that lead to the genesis.

The portal's list of its files is used and need not be true: the hash names path and content of every file, and the page at the root must be
the listed one. An honest page loads no file outside of its bundle, so what is served besides it is never run by it. What else decides
for the page is compared too: the network it is told to trust, and the policy it is sent with.

It says what was served here and now. A portal may serve others something else, or this machine something else tomorrow.
"""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, TypeVar

import httpx
import msgspec
from msgspec import Meta, Struct

from hce.app.portal.bundle import INDEX, bundle_hash
from hce.app.portal.serving import headers_of
from hce.foundation.types.errors import PeerFault, Unavailable
from hce.service.sdk.network import Network
from hce.service.terms.genesis import Genesis, genesis_cid
from hce.service.terms.states import KEY_PORTAL, PortalState, key_portal

T = TypeVar("T")

TIMEOUT_S = 10.0
"""Without a byte."""
FILE_S = 60.0
"""For one whole file: a server that sends a byte now and then holds nobody."""
MAX_FILE_BYTES = 8 << 20
MAX_BUNDLE_BYTES = 64 << 20
MAX_FILES = 256
MAX_NODES = 9
PLAIN_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
SHOWN_CHARS = 100
LEADING_AWAY = frozenset(
    {
        "clear-site-data",
        "content-security-policy-report-only",
        "link",
        "nel",
        "origin-trial",
        "refresh",
        "report-to",
        "reporting-endpoints",
        "service-worker-allowed",
        "set-cookie",
        "sourcemap",
        "speculation-rules",
        "x-sourcemap",
    }
)
"""Headers with which a server does more than hand out a page: has the browser fetch, tell or forget something. A portal sends none of them,
with no file."""


class PortalUnreachable(Unavailable):
    """Nothing that answers."""

    code = "portal.unreachable"


class PortalBadAnswer(PeerFault):
    """What answers is no portal."""

    code = "portal.bad_answer"


class PortalReplaced(PeerFault):
    """The page is an edition that a newer one has replaced."""

    code = "portal.replaced"


class PortalForeign(PeerFault):
    """Not the page of this network as it was published."""


class PortalNotPublished(PortalForeign):
    """The nodes never published these files."""

    code = "portal.not_published"


class PortalOtherNetwork(PortalForeign):
    """The page is told to trust another genesis."""

    code = "portal.other_network"


class PortalWeakPolicy(PortalForeign):
    """The page comes without the headers that keep it from talking to strangers, or with ones that lead elsewhere."""

    code = "portal.weak_policy"


class Described(Struct, frozen=True):
    """/network.json, as far as it is read here."""

    genesis: str
    nodes: Annotated[list[str], Meta(min_length=1, max_length=MAX_NODES)]
    gateways: Annotated[list[str], Meta(max_length=1_000)]


class Listed(Struct, frozen=True):
    """/v1/status, as far as it is read here."""

    files: Annotated[list[str], Meta(min_length=1, max_length=MAX_FILES)]


class Served(Struct, frozen=True):
    """What a portal served to us."""

    url: str
    files: dict[str, bytes]
    network: Described

    @property
    def bundle(self) -> str:
        return bundle_hash(self.files)


async def fetch(url: str, http: httpx.AsyncClient) -> Served:
    """Everything the portal says it serves. Raises `PortalUnreachable`, `PortalBadAnswer`, `PortalWeakPolicy`, `PortalNotPublished`
    when the page at the root is not the one of the list."""
    url = url.rstrip("/")
    described = read_answer(Described, (await _fetch(http, url, "network.json")).content, url)
    listed = read_answer(Listed, (await _fetch(http, url, "v1/status")).content, url)
    root = await _fetch(http, url, "")
    _require_policy(root.headers, described, url)
    files: dict[str, bytes] = {}
    for path in sorted(set(listed.files)):
        if not PLAIN_PATH.fullmatch(path):
            raise PortalBadAnswer("not the name of a file", url=url, path=_shown(path))
        answer = await _fetch(http, url, path)
        _require_no_lead(answer.headers, url)
        files[path] = answer.content
        if sum(map(len, files.values())) > MAX_BUNDLE_BYTES:
            raise PortalBadAnswer("too large", url=url, path=path)
    if files.get(INDEX) != root.content:
        raise PortalNotPublished("the page at the root is not the listed one", url=url)
    return Served(url, files, described)


def require_network(served: Served, genesis: Genesis) -> None:
    """The page is told to trust this genesis. Raises `PortalOtherNetwork`."""
    trusted = genesis_cid(genesis).hex()
    if served.network.genesis != trusted:
        raise PortalOtherNetwork(url=served.url, expected=trusted, actual=_shown(served.network.genesis))


async def published(served: Served, network: Network) -> PortalState:
    """The edition that was served, proven to be the newest. Raises `PortalNotPublished`, `PortalReplaced`, and what the network's client
    raises when no node proves anything."""
    bundle = bytes.fromhex(served.bundle)
    reader = await network.reader(KEY_PORTAL, key_portal(bundle))
    edition, newest = reader.portal_of(bundle), reader.portal()
    if edition is None or newest is None:
        raise PortalNotPublished(
            url=served.url, bundle=served.bundle, newest="-" if newest is None else newest.release.bundle.hex()
        )
    if edition.release.number != newest.release.number:
        raise PortalReplaced(
            url=served.url, number=edition.release.number, height=edition.height, newest=newest.release.number, since=newest.height
        )
    return edition


def read_answer(type_: type[T], raw: bytes, url: str) -> T:
    """What a portal says in JSON. Raises `PortalBadAnswer`."""
    try:
        return msgspec.json.decode(raw, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PortalBadAnswer(str(error), url=url) from error


def differing(served: dict[str, bytes], built: dict[str, bytes]) -> list[str]:
    """Paths that are not the same in both."""
    return sorted(path for path in {*served, *built} if served.get(path) != built.get(path))


class _Answer(Struct, frozen=True):
    content: bytes
    headers: httpx.Headers


async def _fetch(http: httpx.AsyncClient, url: str, path: str) -> _Answer:
    """A whole answer within the bound, as it came: nothing is decompressed."""
    asked = http.stream("GET", f"{url}/{path}", timeout=TIMEOUT_S, headers={"accept-encoding": "identity"})
    try:
        async with asyncio.timeout(FILE_S), asked as answer:
            if answer.status_code != 200 or answer.headers.get("content-encoding", "identity") != "identity":
                raise PortalBadAnswer(url=url, path=path, status=answer.status_code)
            content = b""
            async for piece in answer.aiter_raw():
                content += piece
                if len(content) > MAX_FILE_BYTES:
                    raise PortalBadAnswer("too large", url=url, path=path)
            return _Answer(content, answer.headers)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise PortalUnreachable(str(error) or type(error).__name__, url=url) from error


def _require_policy(headers: httpx.Headers, described: Described, url: str) -> None:
    expected = headers_of([*described.nodes, *described.gateways])
    wrong = [name for name, value in expected.items() if headers.get(name) != value]
    if wrong:
        raise PortalWeakPolicy(url=url, headers=", ".join(wrong))
    _require_no_lead(headers, url)


def _require_no_lead(headers: httpx.Headers, url: str) -> None:
    wrong = [name for name in sorted(LEADING_AWAY) if name in headers]
    if wrong:
        raise PortalWeakPolicy(url=url, headers=", ".join(wrong))


def _shown(text: str) -> str:
    """What a server said, so that it is one short piece of a line: it may try to speak for whoever reports it."""
    return ascii(text[:SHOWN_CHARS])

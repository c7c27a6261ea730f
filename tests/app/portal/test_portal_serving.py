"""The portal's HTTP: nothing but the bundle, headers that leave a page no way out, and a check that names every changed file."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from hce.app.portal.bundle import bundle_hash
from hce.app.portal.serving import make_portal
from hce.app.portal.verifying import PortalDiffers, PortalUnreachable, verify

ORIGIN = "http://localhost:7180"
NODES = ["http://127.0.0.1:7100", "http://127.0.0.1:7101"]
GATEWAYS = ["http://127.0.0.1:7150"]
BUNDLE = {"index.html": b"<!doctype html>", "assets/a-1.js": b"export {}", "assets/b-2.css": b"p{}"}


def served(bundle: dict[str, bytes]) -> httpx.AsyncClient:
    app = make_portal(bundle, ORIGIN, "ab" * 36, NODES, GATEWAYS)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with served(BUNDLE) as http:
        yield http


async def test_the_policy_names_this_networks_machines_and_nobody_else(http: httpx.AsyncClient) -> None:
    for path in ("/", "/assets/a-1.js", "/network.json", "/nothing"):
        headers = (await http.get(path)).headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy["connect-src"].split() == ["'self'", *NODES, *GATEWAYS]
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["trusted-types"] == "'none'"
        assert (policy["script-src"], policy["require-trusted-types-for"]) == ("'self'", "'script'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"


async def test_only_files_of_the_bundle_are_served(http: httpx.AsyncClient) -> None:
    page = await http.get("/")
    assert (page.content, page.headers["content-type"].split(";")[0]) == (BUNDLE["index.html"], "text/html")
    assert page.headers["cache-control"] == "no-cache"
    script = await http.get("/assets/a-1.js")
    assert script.headers["content-type"].split(";")[0] == "text/javascript"
    assert "immutable" in script.headers["cache-control"]
    for path in ("/assets/", "/manifest.json", "/assets/../serving.py", "/%2e%2e/serving.py"):
        assert (await http.get(path)).json()["code"] == "http.no_such_path"
    assert (await http.get("/network.json")).json() == {"genesis": "ab" * 36, "nodes": NODES, "gateways": GATEWAYS}


async def test_the_page_has_one_name(http: httpx.AsyncClient) -> None:
    """Passkeys refuse 127.0.0.1, and a page under a stranger's name is how a stranger's script gets to ours (DNS rebinding)."""
    numbered = await http.get("/", headers={"host": "127.0.0.1:7180"})
    assert (numbered.status_code, numbered.headers["location"]) == (307, ORIGIN + "/")
    foreign = await http.get("/", headers={"host": "portal.example:7180"})
    assert (foreign.status_code, foreign.json()["code"]) == (421, "portal.wrong_host")


async def test_the_built_page_is_recognised(http: httpx.AsyncClient) -> None:
    verified = await verify(ORIGIN, BUNDLE, http)
    assert (verified.bundle, verified.files) == (bundle_hash(BUNDLE), 3)
    assert (await http.get("/v1/status")).json()["bundle"] == verified.bundle


@pytest.mark.parametrize("path", sorted(BUNDLE))
async def test_a_changed_or_missing_file_is_named(path: str) -> None:
    for forged in ({**BUNDLE, path: b"evil"}, {**BUNDLE, path: BUNDLE[path] + b" "}):
        async with served(forged) as http:
            with pytest.raises(PortalDiffers) as caught:
                await verify(ORIGIN, BUNDLE, http)
            assert path in str(caught.value.fields["paths"])


async def test_silence_is_no_portal() -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(_away)) as http:
        with pytest.raises(PortalUnreachable):
            await verify(ORIGIN, BUNDLE, http)


def _away(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("away", request=request)


def test_the_hash_is_that_of_sha256sum() -> None:
    """`sha256sum a | sha256sum` of an empty file says so."""
    assert bundle_hash(dict(reversed(BUNDLE.items()))) == bundle_hash(BUNDLE)
    assert bundle_hash({**BUNDLE, "index.html": b""}) != bundle_hash(BUNDLE)
    assert bundle_hash({"a": b""}) == "fba1930570cf2d33a2a05ff43a4fea532382611f43876988fc9c31fd9ce102d1"

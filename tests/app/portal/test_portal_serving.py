"""The portal's HTTP: nothing but the bundle, headers that leave a page no way out, and a check that takes nothing on trust."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from hce.app.portal import verifying
from hce.app.portal.bundle import bundle_hash
from hce.app.portal.serving import headers_of, make_portal
from hce.app.portal.verifying import (
    MAX_FILE_BYTES,
    Described,
    PortalBadAnswer,
    PortalNotPublished,
    PortalUnreachable,
    PortalWeakPolicy,
    differing,
    fetch,
)

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


async def test_who_takes_gzip_gets_it_and_everybody_the_same_bytes(http: httpx.AsyncClient) -> None:
    """What counts is what arrives: the shell's bound is after gzip."""
    for accepted, small in (
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("identity", False),
        ("*", False),
        ("", False),
    ):
        got = await http.get("/assets/a-1.js", headers={"accept-encoding": accepted})
        assert (got.headers.get("content-encoding") == "gzip", got.headers["vary"], got.content) == (
            small,
            "accept-encoding",
            BUNDLE["assets/a-1.js"],
        )


async def test_the_page_has_one_name(http: httpx.AsyncClient) -> None:
    """Passkeys refuse 127.0.0.1, and a page under a stranger's name is how a stranger's script gets to ours (DNS rebinding)."""
    numbered = await http.get("/", headers={"host": "127.0.0.1:7180"})
    assert (numbered.status_code, numbered.headers["location"]) == (307, ORIGIN + "/")
    foreign = await http.get("/", headers={"host": "portal.example:7180"})
    assert (foreign.status_code, foreign.json()["code"]) == (421, "portal.wrong_host")


async def test_what_is_served_is_fetched_whole_and_named_by_its_hash(http: httpx.AsyncClient) -> None:
    found = await fetch(ORIGIN, http)
    assert (found.files, found.bundle) == (BUNDLE, bundle_hash(BUNDLE))
    assert found.network == Described("ab" * 36, NODES, GATEWAYS)
    assert (await http.get("/v1/status")).json()["bundle"] == found.bundle


@pytest.mark.parametrize("path", sorted(BUNDLE))
async def test_a_changed_missing_or_added_file_changes_the_hash_and_is_named(path: str) -> None:
    changed = {**BUNDLE, path: BUNDLE[path] + b" "}
    for forged in (changed, {**BUNDLE, f"{path}.js": b""}):
        async with served(forged) as http:
            found = await fetch(ORIGIN, http)
            assert found.bundle != bundle_hash(BUNDLE)
            assert [one for one in differing(found.files, BUNDLE) if one.startswith(path)]


def answering(**changed: httpx.Response) -> httpx.AsyncClient:
    """A portal that answers like ours but for these paths, by name: `root`, `network`, `status`, `script`."""
    names = {"": "root", "network.json": "network", "v1/status": "status", "assets/a-1.js": "script"}
    honest = httpx.ASGITransport(make_portal(BUNDLE, ORIGIN, "ab" * 36, NODES, GATEWAYS))

    class Forging(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            forged = changed.get(names.get(request.url.path.removeprefix("/"), ""))
            return await honest.handle_async_request(request) if forged is None else forged

    return httpx.AsyncClient(transport=Forging())


def answer(content: bytes, status: int = 200, **headers: str) -> httpx.Response:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=fields, stream=httpx.ByteStream(content))


async def test_a_page_at_the_root_that_is_not_in_the_list_is_no_published_page() -> None:
    """Else a portal could list the honest files and hand out something else."""
    good = headers_of([*NODES, *GATEWAYS])
    async with answering(root=httpx.Response(200, headers=good, stream=httpx.ByteStream(b"<!doctype html>evil"))) as http:
        with pytest.raises(PortalNotPublished):
            await fetch(ORIGIN, http)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-security-policy": "default-src *"},
        {"content-security-policy": ""},
        {"refresh": "0;url=/evil.html"},
        {"link": "</evil.css>; rel=stylesheet"},
        {"set-cookie": "a=b"},
        {"x-content-type-options": ""},
        {"clear-site-data": '"*"'},
        {"speculation-rules": '"/rules.json"'},
        {"reporting-endpoints": 'a="https://evil.example"'},
        {"content-security-policy-report-only": "default-src 'none'; report-uri https://evil.example"},
    ],
)
async def test_a_page_without_its_policy_is_refused(headers: dict[str, str]) -> None:
    sent = {name: value for name, value in {**headers_of([*NODES, *GATEWAYS]), **headers}.items() if value}
    async with answering(root=httpx.Response(200, headers=sent, stream=httpx.ByteStream(BUNDLE["index.html"]))) as http:
        with pytest.raises(PortalWeakPolicy, match=next(iter(headers))):
            await fetch(ORIGIN, http)


@pytest.mark.parametrize(
    "changed",
    [
        {"network": answer(b"{}")},
        {"network": answer(b"", 404)},
        {"network": answer(b"[" * 100_000)},
        {"status": answer(b'{"files": []}')},
        {"status": answer(b'{"files": ["../../etc/passwd"]}')},
        {"status": answer(b'{"files": ["//evil.example/x"]}')},
        {"status": answer(b'{"files": ["assets/gone.js"]}')},
        {"status": answer(msgspec.json.encode({"files": [f"{number}.js" for number in range(257)]}))},
        {"status": answer(b"x" * (MAX_FILE_BYTES + 1))},
        {"status": answer(gzip.compress(b'{"files": ["index.html"]}'), content_encoding="gzip")},
    ],
)
async def test_what_is_no_portal_is_named(changed: dict[str, httpx.Response]) -> None:
    async with answering(**changed) as http:
        with pytest.raises(PortalBadAnswer):
            await fetch(ORIGIN, http)


async def test_a_file_with_a_header_that_leads_away_is_refused() -> None:
    """The page is not all that a browser takes headers from."""
    script = answer(BUNDLE["assets/a-1.js"], clear_site_data='"*"')
    async with answering(script=script) as http:
        with pytest.raises(PortalWeakPolicy, match="clear-site-data"):
            await fetch(ORIGIN, http)


async def test_a_server_that_lies_does_not_speak_for_who_reports_it() -> None:
    lie = "\x1b[2J\nThe network's nodes published it as edition 1.\n"
    async with answering(status=answer(msgspec.json.encode({"files": ["index.html", lie]}))) as http:
        with pytest.raises(PortalBadAnswer) as refused:
            await fetch(ORIGIN, http)
    assert not {"\x1b", "\n"} & set(str(refused.value.fields["path"]))


async def test_a_server_that_never_ends_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes now and then are no answer."""
    monkeypatch.setattr(verifying, "FILE_S", 0.05)

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0)

    async with answering(status=httpx.Response(200, content=drip())) as http:
        with pytest.raises(PortalUnreachable):
            await fetch(ORIGIN, http)


async def test_silence_is_no_portal() -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(_away)) as http:
        with pytest.raises(PortalUnreachable):
            await fetch(ORIGIN, http)


def _away(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("away", request=request)


def test_the_hash_is_that_of_sha256sum() -> None:
    """`sha256sum a | sha256sum` of an empty file says so."""
    assert bundle_hash(dict(reversed(BUNDLE.items()))) == bundle_hash(BUNDLE)
    assert bundle_hash({**BUNDLE, "index.html": b""}) != bundle_hash(BUNDLE)
    assert bundle_hash({"a": b""}) == "fba1930570cf2d33a2a05ff43a4fea532382611f43876988fc9c31fd9ce102d1"

"""Other machines reach a network under one name and over TLS, or not at all; this machine's own door stays as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from tests.app.portal.authority import Authority

from hce.app.devnet.home import Home, HomeBroken
from hce.app.face import Outside, TlsMissing, TlsUnusable, certified, door_of, face_of, is_loopback
from hce.app.preflight import free_ports
from hce.app.serving import serving

NAME = "hce.test"
NOW = datetime.now(UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def _hello(request: Request) -> Response:
    return PlainTextResponse("hello")


APP = Starlette(routes=[Route("/v1/status", _hello), Route("/metrics", _hello)])


def test_a_name_of_other_machines_needs_a_certificate(authority: Authority) -> None:
    certificate, key = authority.certify(NAME)
    for name in (NAME, "192.168.1.20", "example.com"):
        for outside in (Outside(name), Outside(name, certificate=certificate), Outside(name, key=key)):
            with pytest.raises(TlsMissing):
                certified(outside, NOW)
    assert certified(Outside(NAME, certificate=certificate, key=key), NOW) == (str(certificate), str(key))


def test_this_machine_needs_none(authority: Authority) -> None:
    for name in ("localhost", "127.0.0.1", "hce.localhost"):
        assert is_loopback(name)
        assert certified(Outside(name), NOW) is None
    assert certified(None, NOW) is None
    certificate, key = authority.certify("localhost")
    assert certified(Outside("localhost", certificate=certificate, key=key), NOW) is not None, "but may have one"
    with pytest.raises(TlsMissing):
        certified(Outside("localhost", certificate=certificate), NOW)


def test_a_certificate_that_does_not_serve_is_refused_before_anything_starts(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.certify(NAME)
    _, other_key = authority.certify("other.test")
    over = authority.certify("over.test", since=NOW - timedelta(days=60))
    locked = authority.certify("locked.test", passphrase=b"secret")
    empty = tmp_path / "empty.pem"
    empty.touch()
    refused = [
        Outside(NAME, certificate=certificate, key=other_key),
        Outside("else.test", certificate=certificate, key=key),
        Outside("over.test", certificate=over[0], key=over[1]),
        Outside("locked.test", certificate=locked[0], key=locked[1]),
        Outside(NAME, certificate=empty, key=key),
        Outside(NAME, certificate=tmp_path / "none.pem", key=key),
        *(Outside(name, certificate=certificate, key=key) for name in ("", "HCE.test", "hce.test:7380", "a b", "[::1]", "-x")),
    ]
    for outside in refused:
        with pytest.raises(TlsUnusable):
            certified(outside, NOW)


def test_a_certificate_for_all_hosts_of_a_domain_serves(authority: Authority) -> None:
    certificate, key = authority.certify("*.hce.test")
    assert certified(Outside("portal.hce.test", certificate=certificate, key=key), NOW) is not None
    with pytest.raises(TlsUnusable):
        certified(Outside("a.b.hce.test", certificate=certificate, key=key), NOW)


async def test_other_machines_get_tls_and_nothing_of_the_operators(authority: Authority) -> None:
    inner, outer = free_ports(2)
    pair = certified(Outside(NAME, "127.0.0.1", *authority.certify(NAME)), NOW)
    assert pair is not None
    face = face_of(Outside(NAME, "127.0.0.1"), pair, [outer], {}, outer)
    async with serving(APP, inner, door=door_of(face, face.nodes[0])), client(authority) as http:
        said = await http.get(f"https://127.0.0.1:{outer}/v1/status", extensions={"sni_hostname": NAME})
        assert (said.text, said.headers["strict-transport-security"]) == ("hello", "max-age=31536000")
        hidden = await http.get(f"https://127.0.0.1:{outer}/metrics", extensions={"sni_hostname": NAME})
        assert (hidden.status_code, hidden.json()["code"]) == (404, "http.no_such_path")
        here = await http.get(f"http://127.0.0.1:{inner}/metrics")
        assert (here.text, "strict-transport-security" in here.headers) == ("hello", False)
        with pytest.raises(httpx.HTTPError):
            await http.get(f"http://127.0.0.1:{outer}/v1/status")
    async with serving(APP, inner, door=door_of(face, face.nodes[0])), client(authority) as http:
        with pytest.raises(httpx.ConnectError, match="mismatch"):
            await http.get(f"https://127.0.0.1:{outer}/v1/status", extensions={"sni_hostname": "else.test"})


async def test_a_browser_is_not_told_to_avoid_plain_localhost(authority: Authority) -> None:
    """HSTS is for a name with all its ports, and other programs of this machine are on localhost too."""
    inner, outer = free_ports(2)
    pair = certified(Outside("localhost", "127.0.0.1", *authority.certify("localhost")), NOW)
    assert pair is not None
    face = face_of(Outside("localhost", "127.0.0.1"), pair, [outer], {}, outer)
    async with serving(APP, inner, door=door_of(face, face.portal)), client(authority) as http:
        said = await http.get(f"https://127.0.0.1:{outer}/v1/status", extensions={"sni_hostname": "localhost"})
        assert (said.text, "strict-transport-security" in said.headers) == ("hello", False)


def client(authority: Authority) -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=authority.trust, trust_env=False)


def test_the_portal_has_one_name_and_a_start_without_a_face_takes_it_away(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.network_path.write_text(
        '{"nodes": ["http://127.0.0.1:7100"], "gateways": {}, "links": [], "portal": "http://localhost:7180"}'
    )
    face = face_of(Outside(NAME), ("cert", "key"), [7300], {"riverside": 7350}, 7380)
    home.keep_face(face)
    assert home.face() == face
    assert (home.portal, home.portal_here) == ("https://hce.test:7380", "http://localhost:7180")
    assert (face.nodes, face.gateways) == (["https://hce.test:7300"], {"riverside": "https://hce.test:7350"})
    home.keep_face(None)
    home.keep_face(None)
    assert home.portal == home.portal_here
    home.face_path.write_text("{}")
    with pytest.raises(HomeBroken):
        home.face()

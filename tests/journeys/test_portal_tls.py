"""A patient on another machine: the portal, the nodes and the gateway under a name of their own, over TLS."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import pytest
from tests.app.portal.authority import Authority, spki_hash
from tests.web.accounts import creates_an_account
from tests.web.browser import Album, Watch, chromium, fresh_device

from hce.app.devnet.home import Home
from hce.app.devnet.run import bring_up_portal, face_for, port_count
from hce.app.face import Outside, certified
from hce.app.preflight import free_ports
from hce.app.up import running
from hce.service.terms.genesis import Params

NAME = "hce.test"


@pytest.mark.slow
async def test_a_patient_elsewhere_opens_an_account_over_tls(tmp_path: Path) -> None:
    """The name leads to this machine for the browser alone, and the key of the certificate stands for an installed authority."""
    home, watch, authority = Home(tmp_path / "home"), Watch(), Authority(tmp_path)
    certificate, key = authority.certify(NAME)
    outside = Outside(NAME, "127.0.0.1", certificate, key)
    pair = certified(outside, datetime.now(UTC))
    assert pair is not None
    outer = iter(free_ports(port_count(1)))
    face = partial(face_for, outside, pair, lambda _: next(outer))
    flags = (f"--host-resolver-rules=MAP {NAME} 127.0.0.1", f"--ignore-certificate-errors-spki-list={spki_hash(certificate)}")
    async with (
        chromium(None, *flags) as browser,
        running(home, Params(block_interval_ms=200), 1, free_ports(port_count(1)), _silent, face) as supervisor,
    ):
        await bring_up_portal(home, supervisor, _silent)
        served = home.face()
        assert served is not None
        page = await fresh_device(browser, watch)
        words = await creates_an_account(page, home.portal, Album())
        assert len(words.split()) == 12
        async with httpx.AsyncClient(trust_env=False) as http:
            moved = await http.get(home.portal_here)
            assert moved.headers["location"] == home.portal + "/"
    assert home.portal.startswith(f"https://{NAME}:")
    assert watch.origins == {home.portal, *served.nodes, *served.gateways.values()}, "everything over TLS, nobody else"
    assert watch.complaints == []


def _silent(key: str, **fields: object) -> None:
    pass

"""The tour in the browser on nine real nodes: everybody has a screen, nobody a mouse, and each screen is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.web.browser import Album, chromium

from hce.app.devnet.home import Home
from hce.app.devnet.run import bring_up_portal, port_count
from hce.app.preflight import free_ports
from hce.app.tour.browser.spoken import Spoken
from hce.app.tour.browser.story import play_in_browser
from hce.app.up import running
from hce.service.terms.genesis import Params

NODES = 9
PARAMS = Params(block_interval_ms=200)
STEPS = "welcome account enrolled written received asked sentence granted read log revoked refused recovered"


@pytest.mark.slow
async def test_the_story_of_a_record_is_lived_in_browsers_on_nine_nodes(tmp_path: Path) -> None:
    """In Chinese, as the other journeys are in English."""
    home, album, told = Home(tmp_path / "home"), Album(), []

    def tell(key: str, **fields: Any) -> None:
        told.append(key)

    async with chromium() as browser, running(home, PARAMS, NODES, free_ports(port_count(NODES)), _silent) as supervisor:
        await bring_up_portal(home, supervisor, _silent)
        result = await play_in_browser(home, browser, Spoken("zh-CN"), album, tell)
    assert result["broken"] == [], result
    assert [step["step"] for step in result["steps"]] == STEPS.split()
    assert told == [f"browse.{step}" for step in [*STEPS.split(), "clean"]]
    assert (result["strangers"], result["complaints"]) == ([], [])
    assert album.faults == {}, "axe-core"


def _silent(key: str, **fields: object) -> None:
    pass

"""The tour's hands, on a page of their own: what a keyboard reaches, what it does not, and that a mouse is noticed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from tests.web.browser import Watch, chromium, fresh_device

from hce.app.tour.browser.hands import OutOfReach, choose, press, switch, type_day, type_into

PAGE = """<input aria-label="before"><button onclick="document.title = 'pressed'">Press</button>
<label><input type="checkbox" role="switch">Large</label><textarea aria-label="Text">old</textarea>
<select aria-label="Where"><option>Riverside</option><option>Old Town Clinic</option></select>
<input type="date" aria-label="Born" min="1880-01-01" max="2026-11-20"><div role="button" onclick="document.title = 'far'">Far</div>"""


@pytest.fixture
async def watched() -> AsyncIterator[tuple[Any, Watch]]:
    watch = Watch()
    async with chromium() as browser:
        page = await fresh_device(browser, watch)
        await page.goto(f"data:text/html,{quote(PAGE)}")
        yield page, watch


async def test_a_keyboard_does_everything_and_leaves_no_trace_of_a_mouse(watched: tuple[Any, Watch]) -> None:
    page, watch = watched
    await press(page, page.get_by_role("button", name="Press"))
    assert await page.title() == "pressed"
    await switch(page, page.get_by_role("switch"))
    assert await page.get_by_role("switch").is_checked()
    await type_into(page, page.get_by_label("Text"), "new 新")
    assert await page.get_by_label("Text").input_value() == "new 新"
    await choose(page, page.get_by_label("Where"), "Old Town")
    assert await page.get_by_label("Where").input_value() == "Old Town Clinic"
    await type_day(page, page.get_by_label("Born"), "1984-11-30")
    assert await page.get_by_label("Born").input_value() == "1984-11-30"
    assert watch.complaints == []


async def test_what_no_key_gets_to_is_named(watched: tuple[Any, Watch]) -> None:
    page, _ = watched
    with pytest.raises(OutOfReach):
        await press(page, page.get_by_role("button", name="Far"))
    assert await page.title() == ""


async def test_a_mouse_is_held_against_the_page(watched: tuple[Any, Watch]) -> None:
    page, watch = watched
    await page.get_by_role("button", name="Press").click()
    assert watch.complaints == ["somebody has a mouse"]

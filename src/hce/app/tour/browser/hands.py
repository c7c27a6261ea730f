"""Somebody who has no mouse: Tab until it has the focus, then Enter or Space, and the arrow keys within a group."""

from __future__ import annotations

from typing import Any

from hce.foundation.types.errors import PeerFault

MAX_KEYS = 120
"""Nothing is farther away than so many presses of Tab."""
HAS_FOCUS = "one => one === document.activeElement"
AMONG_THEM = "one => one.parentElement.contains(document.activeElement)"
SHOWN_OPTION = "one => one.selectedOptions[0].label"
DATE_ORDERS = ("{day}{month}{year}", "{month}{day}{year}", "{year}{month}{day}")
"""How the browser's date field takes digits depends on its language, which the page cannot ask."""


class OutOfReach(PeerFault):
    """The keyboard alone does not get to something on the page."""

    code = "browser.out_of_reach"


async def press(page: Any, target: Any) -> None:
    """Enter on a button, a link, a summary; Space on a choice, once the arrow keys have come to it."""
    await target.wait_for()
    choice = await target.get_attribute("role") == "radio"
    await _tab_to(page, target, AMONG_THEM if choice else HAS_FOCUS)
    for _ in range(MAX_KEYS if choice else 0):
        if await target.evaluate(HAS_FOCUS):
            break
        await page.keyboard.press("ArrowRight")
    await page.keyboard.press("Space" if choice else "Enter")


async def switch(page: Any, target: Any) -> None:
    """Turns a switch."""
    await target.wait_for()
    await _tab_to(page, target, HAS_FOCUS)
    await page.keyboard.press("Space")


async def type_into(page: Any, target: Any, text: str) -> None:
    """Replaces what stands in a field."""
    await target.wait_for()
    await _tab_to(page, target, HAS_FOCUS)
    await page.keyboard.press("Control+A")
    await page.keyboard.insert_text(text)


async def type_day(page: Any, target: Any, day: str) -> None:
    """YYYY-MM-DD into a date field, digit by digit."""
    await target.wait_for()
    year, month, date = day.split("-")
    for order in DATE_ORDERS:
        await _tab_to(page, target, HAS_FOCUS)
        await page.keyboard.type(order.format(year=year, month=month, day=date))
        if await target.input_value() == day:
            return
        await _leave(page, target)
    raise OutOfReach(target=str(target))


async def choose(page: Any, target: Any, option: str) -> None:
    """The option of a list that begins with this text."""
    await target.wait_for()
    await _tab_to(page, target, HAS_FOCUS)
    await page.keyboard.press("Home")
    for _ in range(MAX_KEYS):
        if str(await target.evaluate(SHOWN_OPTION)).startswith(option):
            return
        await page.keyboard.press("ArrowDown")
    raise OutOfReach(target=option)


async def _leave(page: Any, target: Any) -> None:
    """Backwards past every part of a field, so that the next Tab comes to its first."""
    for _ in range(MAX_KEYS):
        if not await target.evaluate(HAS_FOCUS):
            return
        await page.keyboard.press("Shift+Tab")


async def _tab_to(page: Any, target: Any, reached: str) -> None:
    for _ in range(MAX_KEYS):
        if await target.evaluate(reached):
            return
        await page.keyboard.press("Tab")
    raise OutOfReach(target=str(target))

"""How somebody without a mouse comes to an account in the portal."""

from __future__ import annotations

import re
from typing import Any

from tests.web.browser import Album, press, type_into

PASSPHRASE = "quiet river morning"
"""Typed into the page; must be in no request."""


async def creates_an_account(page: Any, portal: str, album: Album) -> str:
    """The words."""
    await page.goto(portal)
    await page.get_by_role("link", name="Create my account").wait_for()
    await album.take(page, "welcome")
    await press(page, page.get_by_role("link", name="Create my account"))
    shown = page.locator(".words .word")
    await shown.first.wait_for()
    await album.take(page, "words")
    words = await shown.all_inner_texts()
    assert len(words) == 12
    await press(page, page.get_by_role("button", name="I have written them down"))
    await page.get_by_text("Which is word").wait_for()
    await album.take(page, "rehearse")
    for _ in range(3):
        asked = await page.locator("#asked").inner_text()
        place = int(re.findall(r"\d+", asked)[0])
        await press(page, page.get_by_role("button", name=words[place - 1], exact=True))
    await type_into(page, page.get_by_label("Passphrase for this device"), PASSPHRASE)
    await type_into(page, page.get_by_label("Once more"), PASSPHRASE)
    await album.take(page, "lock")
    await press(page, page.get_by_role("button", name="Use this passphrase"))
    await page.get_by_role("button", name="Open with Riverside Hospital").wait_for()
    await album.take(page, "open")
    await press(page, page.get_by_role("button", name="Open with Riverside Hospital"))
    await page.get_by_role("heading", name="Nothing here yet").wait_for()
    await album.take(page, "empty")
    return " ".join(words)

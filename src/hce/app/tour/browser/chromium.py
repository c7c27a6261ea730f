"""Chromium, driven by Playwright: opened and closed, a device for each person, and a watch over what a page must never do."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hce.foundation.types.errors import Unavailable

CHROMIUM = "/usr/bin/chromium"
"""Debian's."""
PATIENCE_MS = 120_000
"""Only a hang reaches this."""
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 800}
FLAGS = ("--no-sandbox",)
"""Chromium has no sandbox for root, and containers often have nobody else. It opens this network's own page and nothing foreign."""

MOUSE = """addEventListener("pointerdown", () => console.error("somebody has a mouse"), true);"""
"""Runs before any script of a page: what only a pointer can do is held against it."""

Prepare = Callable[[Any], Awaitable[None]]
"""Done to a device's browser context before its first page is there."""


class DriverMissing(Unavailable):
    """Playwright, which drives the browser, is not installed: it is for development (`requirements/test.txt`)."""

    code = "browser.no_driver"


class BrowserMissing(Unavailable):
    """There is no Chromium on this machine."""

    code = "browser.no_chromium"


class BrowserFailed(Unavailable):
    """Chromium is here and did not start: without a display it cannot show windows."""

    code = "browser.failed"


class Watch:
    """What pages of a browser asked for, and what the browser held against them; a press of a mouse too, for nobody needs one."""

    def __init__(self) -> None:
        self.origins: set[str] = set()
        self.said: list[bytes] = []
        """To the console."""
        self.complaints: list[str] = []

    async def over(self, context: Any) -> None:
        context.on("request", self._request)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        await context.add_init_script(MOUSE)

    def _request(self, request: Any) -> None:
        split = urlsplit(request.url)
        if split.scheme not in {"data", "blob"}:
            self.origins.add(f"{split.scheme}://{split.netloc}")

    def _console(self, message: Any) -> None:
        self.said.append(message.text.encode())
        if message.type in {"error", "warning"} and "net::ERR_" not in message.text and "status of 4" not in message.text:
            self.complaints.append(message.text)


@asynccontextmanager
async def chromium(proxy: str | None = None, *flags: str, headed: bool = False) -> AsyncIterator[Any]:
    """A browser for the time of the block; its every request goes through the proxy if there is one. Raises `DriverMissing`,
    `BrowserMissing`, `BrowserFailed`."""
    try:
        from playwright.async_api import Error, async_playwright
    except ImportError as error:
        raise DriverMissing from error
    if shutil.which(CHROMIUM) is None:
        raise BrowserMissing(path=CHROMIUM)
    async with async_playwright() as playwright:
        options: Any = {"executable_path": CHROMIUM, "args": [*FLAGS, *flags], "proxy": _proxy(proxy)}
        try:
            browser = await playwright.chromium.launch(headless=not headed, **options)
        except Error as error:
            raise BrowserFailed(headed=headed) from error
        try:
            yield browser
        finally:
            await browser.close()


async def fresh_device(browser: Any, locale: str, *prepare: Prepare, size: dict[str, int] = PHONE, scale: float = 1) -> Any:
    """A page of a browser that has never been here and forgets everything when it is closed."""
    context = await browser.new_context(viewport=size, device_scale_factor=scale, locale=locale, reduced_motion="reduce")
    return await _first_page(context, prepare)


@asynccontextmanager
async def device_on_disk(
    browser: Any, folder: Path, locale: str, *prepare: Prepare, proxy: str | None = None
) -> AsyncIterator[Any]:
    """The same with a profile in a folder, as people have one: whatever the browser keeps by itself lies there afterwards."""
    context = await browser.browser_type.launch_persistent_context(
        folder,
        executable_path=CHROMIUM,
        args=[*FLAGS],
        proxy=_proxy(proxy),
        viewport=PHONE,
        locale=locale,
        reduced_motion="reduce",
    )
    try:
        yield await _first_page(context, prepare)
    finally:
        await context.close()


async def _first_page(context: Any, prepare: tuple[Prepare, ...]) -> Any:
    context.set_default_timeout(PATIENCE_MS)
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    for prepared in prepare:
        await prepared(context)
    return await context.new_page()


def _proxy(url: str | None) -> Any:
    """Also for this machine's own addresses, which browsers keep from a proxy unless told."""
    return None if url is None else {"server": url, "bypass": "<-loopback>"}


async def give_passkeys(page: Any) -> None:
    """A device with a fingerprint reader, and a finger on it."""
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("WebAuthn.enable")
    kind = {"protocol": "ctap2", "ctap2Version": "ctap2_1", "transport": "internal", "hasPrf": True}
    abilities = dict.fromkeys(("hasResidentKey", "hasUserVerification", "isUserVerified", "automaticPresenceSimulation"), True)
    await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": {**kind, **abilities}})

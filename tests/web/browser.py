"""A real browser for the portal's tests: Debian's chromium, driven by Playwright, watched for what a page must never do.

Whom a page asks is noted, what it says, and every complaint of the browser about the page's policy. `HCE_SCREENSHOTS=FOLDER`
saves each screen there, in both languages, as a phone and as a desk show it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.web.leaks import Spy
from tests.web.node import WEB

CHROMIUM = "/usr/bin/chromium"
INSTALL = "apt-get install chromium fonts-noto-cjk"
PATIENCE_MS = 120_000
"""Only a hang reaches this."""
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
SCREENSHOTS = os.environ.get("HCE_SCREENSHOTS")
HAS_FOCUS = "one => one === document.activeElement"
KEPT = """async () => {
    const opened = (asked) => new Promise((done, failed) => {
        asked.onsuccess = () => done(asked.result);
        asked.onerror = failed;
    });
    const bytes = (value) => value instanceof Uint8Array ? [...value] : typeof value === "object" && value !== null
        ? Object.entries(value).flatMap(([name, one]) => [...new TextEncoder().encode(name), ...bytes(one)])
        : [...new TextEncoder().encode(String(value))];
    const kept = [{...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state, document.title, window.name];
    kept.splice(0, kept.length, ...kept.map(bytes));
    for (const registration of await navigator.serviceWorker.getRegistrations()) kept.push(bytes("worker " + registration.scope));
    for (const name of await caches.keys()) {
        const cache = await caches.open(name);
        for (const request of await cache.keys()) {
            kept.push(bytes(request.url), bytes(new Uint8Array(await (await cache.match(request)).arrayBuffer())));
        }
    }
    for (const { name } of await indexedDB.databases()) {
        const database = await opened(indexedDB.open(name));
        for (const store of database.objectStoreNames) {
            kept.push(...(await opened(database.transaction(store).objectStore(store).getAll())).map(bytes));
            kept.push(...(await opened(database.transaction(store).objectStore(store).getAllKeys())).map(bytes));
        }
        database.close();
    }
    return kept;
}"""
MAX_KEYS = 120
"""Nothing is farther away than so many presses of Tab."""
AXE = WEB / "node_modules/axe-core/axe.min.js"


class Watch:
    """What pages of a browser asked for, and what the browser held against them."""

    def __init__(self) -> None:
        self.origins: set[str] = set()
        self.said: list[bytes] = []
        """To the console."""
        self.complaints: list[str] = []

    def over(self, context: Any) -> None:
        context.on("request", self._request)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    def _request(self, request: Any) -> None:
        split = urlsplit(request.url)
        if split.scheme not in {"data", "blob"}:
            self.origins.add(f"{split.scheme}://{split.netloc}")

    def _console(self, message: Any) -> None:
        self.said.append(message.text.encode())
        if message.type in {"error", "warning"} and "net::ERR_" not in message.text and "status of 4" not in message.text:
            self.complaints.append(message.text)


@asynccontextmanager
async def chromium(proxy: str | None = None, *arguments: str) -> AsyncIterator[Any]:
    """A browser for the time of the block, whose every request goes through the proxy if there is one. Without a browser the test is
    skipped, and says what to install."""
    if shutil.which(CHROMIUM) is None:
        pytest.skip(f"no browser on this machine: {INSTALL}")
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *arguments], proxy=_proxy(proxy))
        try:
            yield browser
        finally:
            await browser.close()


async def fresh_device(browser: Any, watch: Watch, locale: str = "en-GB", spy: Spy | None = None) -> Any:
    """A page of a browser that has never been here and forgets everything when it is closed."""
    context = await browser.new_context(viewport=PHONE, locale=locale, reduced_motion="reduce")
    return await _first_page(context, watch, spy)


@asynccontextmanager
async def device_on_disk(
    browser: Any, folder: Path, watch: Watch, locale: str, spy: Spy, proxy: str | None = None
) -> AsyncIterator[Any]:
    """The same with a profile in a folder, as people have one: whatever the browser keeps by itself lies there afterwards."""
    context = await browser.browser_type.launch_persistent_context(
        folder,
        executable_path=CHROMIUM,
        args=["--no-sandbox"],
        proxy=_proxy(proxy),
        viewport=PHONE,
        locale=locale,
        reduced_motion="reduce",
    )
    try:
        yield await _first_page(context, watch, spy)
    finally:
        await context.close()


async def _first_page(context: Any, watch: Watch, spy: Spy | None) -> Any:
    context.set_default_timeout(PATIENCE_MS)
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    watch.over(context)
    if spy is not None:
        await spy.over(context)
    return await context.new_page()


def _proxy(url: str | None) -> Any:
    """Also for this machine's own addresses, which browsers keep from a proxy unless told."""
    return None if url is None else {"server": url, "bypass": "<-loopback>"}


async def press(page: Any, target: Any) -> None:
    """As somebody who has no mouse: Tab until it has the focus, then Enter. Within a group of choices, the arrow keys."""
    await target.wait_for()
    choice = await target.get_attribute("role") == "radio"
    await _tab_to(page, target, "one => one.parentElement.contains(document.activeElement)" if choice else HAS_FOCUS)
    for _ in range(MAX_KEYS if choice else 0):
        if await target.evaluate(HAS_FOCUS):
            break
        await page.keyboard.press("ArrowRight")
    await page.keyboard.press("Space" if choice else "Enter")


async def type_into(page: Any, target: Any, text: str) -> None:
    """The same for a field."""
    await target.wait_for()
    await _tab_to(page, target, HAS_FOCUS)
    await page.keyboard.press("Control+A")
    await page.keyboard.insert_text(text)


async def _tab_to(page: Any, target: Any, reached: str) -> None:
    for _ in range(MAX_KEYS):
        if await target.evaluate(reached):
            return
        await page.keyboard.press("Tab")
    pytest.fail(f"the keyboard does not get to {target}")


async def small_targets(page: Any, least: int) -> list[str]:
    """What can be pressed and is smaller than that in either direction."""
    script = """least => [...document.querySelectorAll("a, button, label.switch, summary, textarea, input:not([type=checkbox])")]
        .filter((one) => { const { width, height } = one.getBoundingClientRect(); return width && (width < least || height < least); })
        .map((one) => one.outerHTML.slice(0, 120))"""
    found: list[str] = await page.evaluate(script, least)
    return found


async def give_passkeys(page: Any) -> None:
    """A device with a fingerprint reader, and a finger on it."""
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("WebAuthn.enable")
    kind = {"protocol": "ctap2", "ctap2Version": "ctap2_1", "transport": "internal", "hasPrf": True}
    abilities = dict.fromkeys(("hasResidentKey", "hasUserVerification", "isUserVerified", "automaticPresenceSimulation"), True)
    await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": {**kind, **abilities}})


async def faults_of_access(page: Any) -> list[str]:
    """What axe-core finds on the screen as it stands, and in the dark."""
    await page.evaluate(AXE.read_text("utf-8"))
    found = (await page.evaluate("axe.run(document, {resultTypes: ['violations']})"))["violations"]
    await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    found += (await page.evaluate("axe.run(document, {runOnly: ['color-contrast']})"))["violations"]
    await page.emulate_media(color_scheme="light", reduced_motion="reduce")
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


async def kept_on_device(page: Any) -> bytes:
    """Everything a page's origin keeps in the browser, one after the other."""
    found: list[list[int]] = await page.evaluate(KEPT)
    return b"".join(map(bytes, found))


class Album:
    """Screens as they pass: each is judged by axe-core, and saved when somebody wants to look."""

    def __init__(self) -> None:
        self.faults: dict[str, list[str]] = {}
        self._count = 0

    async def take(self, page: Any, name: str) -> None:
        self._count += 1
        if faults := await faults_of_access(page):
            self.faults[name] = faults
        if SCREENSHOTS:
            await self._save(page, Path(SCREENSHOTS) / f"{self._count:02}-{name}")

    async def _save(self, page: Any, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            language = await page.evaluate("document.documentElement.lang")
            for width, size in (("phone", PHONE), ("desk", DESK)):
                await page.set_viewport_size(size)
                tall = await page.evaluate("document.documentElement.scrollHeight")
                await page.set_viewport_size({**size, "height": tall})
                await page.screenshot(path=f"{path}-{language}-{width}.png", animations="disabled")
            await page.set_viewport_size(PHONE)
            await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
            await page.screenshot(path=f"{path}-{language}-dark.png", animations="disabled")
            await page.emulate_media(color_scheme="light", reduced_motion="reduce")
            await page.get_by_role("button", name="中文" if language == "en" else "English").click()
            await page.wait_for_timeout(300)

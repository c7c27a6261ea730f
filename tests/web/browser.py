"""The tour's browser for the portal's tests, with judges: axe-core on every screen, what a device keeps, what is too small to press.

`HCE_SCREENSHOTS=FOLDER` saves each screen there, in both languages, as a phone and as a desk show it, dark and in elder mode.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.web.leaks import Spy
from tests.web.node import WEB

from hce.app.tour.browser import chromium as real
from hce.app.tour.browser.chromium import DESK, PHONE, Watch, give_passkeys
from hce.app.tour.browser.hands import press, switch, type_into

__all__ = [
    "Album",
    "Watch",
    "chromium",
    "device_on_disk",
    "fresh_device",
    "give_passkeys",
    "kept_on_device",
    "press",
    "small_targets",
    "switch",
    "type_into",
]

SCREENSHOTS = os.environ.get("HCE_SCREENSHOTS")
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
AXE = WEB / "node_modules/axe-core/axe.min.js"


@asynccontextmanager
async def chromium(proxy: str | None = None, *flags: str) -> AsyncIterator[Any]:
    """The tour's, but where there is none the test is skipped, and says what to install."""
    try:
        async with real.chromium(proxy, *flags) as browser:
            yield browser
    except (real.DriverMissing, real.BrowserMissing) as error:
        pytest.skip(f"{error.code}: make browser")


async def fresh_device(browser: Any, watch: Watch, locale: str = "en-GB", spy: Spy | None = None) -> Any:
    """A phone that has never been here."""
    return await real.fresh_device(browser, locale, watch.over, *([] if spy is None else [spy.over]))


@asynccontextmanager
async def device_on_disk(
    browser: Any, folder: Path, watch: Watch, locale: str, spy: Spy, proxy: str | None = None
) -> AsyncIterator[Any]:
    """The same with a profile in a folder."""
    async with real.device_on_disk(browser, folder, locale, watch.over, spy.over, proxy=proxy) as page:
        yield page


async def small_targets(page: Any, least: int) -> list[str]:
    """What can be pressed and is smaller than that in either direction."""
    script = """least => [...document.querySelectorAll("a, button, label.switch, summary, textarea, input:not([type=checkbox])")]
        .filter((one) => { const { width, height } = one.getBoundingClientRect(); return width && (width < least || height < least); })
        .map((one) => one.outerHTML.slice(0, 120))"""
    found: list[str] = await page.evaluate(script, least)
    return found


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

    async def take(self, page: Any, name: str) -> str:
        self._count += 1
        if faults := await faults_of_access(page):
            self.faults[name] = faults
        if SCREENSHOTS:
            await self._save(page, Path(SCREENSHOTS) / f"{self._count:02}-{name}")
        return ""

    async def _save(self, page: Any, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = page.viewport_size
        for _ in range(2):
            language = await page.evaluate("document.documentElement.lang")
            for width, size in (("phone", PHONE), ("desk", DESK)):
                await _whole(page, size, f"{path}-{language}-{width}.png")
            await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
            await _whole(page, PHONE, f"{path}-{language}-dark.png")
            await page.emulate_media(color_scheme="light", reduced_motion="reduce")
            elder = await page.evaluate("document.documentElement.dataset.elder")
            await page.evaluate("document.documentElement.dataset.elder = 'on'")
            await _whole(page, PHONE, f"{path}-{language}-elder.png")
            await page.evaluate("before => { document.documentElement.dataset.elder = before }", elder)
            await page.get_by_role("button", name="中文" if language == "en" else "English").evaluate("one => one.click()")
            await page.wait_for_timeout(300)
        await page.set_viewport_size(before)


async def _whole(page: Any, size: dict[str, int], path: str) -> None:
    """All of the screen, in a window of this width."""
    await page.set_viewport_size(size)
    tall = await page.evaluate("document.documentElement.scrollHeight")
    await page.set_viewport_size({**size, "height": tall})
    await page.screenshot(path=path, animations="disabled")

"""What the tour in the browser says and refuses before there is a browser."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hce.app.cli.main import app_of
from hce.app.tour.browser import chromium, spoken
from hce.app.tour.browser.chromium import BrowserMissing, DriverMissing
from hce.app.tour.browser.spoken import Spoken, WordsMissing
from hce.app.tour.browser.story import PARTS


async def test_without_playwright_the_tour_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "playwright.async_api", None)
    with pytest.raises(DriverMissing):
        async with chromium.chromium():
            pass


async def test_without_chromium_the_tour_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("playwright")
    monkeypatch.setattr(chromium, "CHROMIUM", str(tmp_path / "chromium"))
    with pytest.raises(BrowserMissing):
        async with chromium.chromium():
            pass


def test_outside_a_checkout_the_tour_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(spoken, "WORDS", tmp_path)
    with pytest.raises(WordsMissing):
        Spoken("en")


@pytest.mark.parametrize("language", PARTS)
def test_the_tour_speaks_with_the_portals_own_words(language: str) -> None:
    words = Spoken(language)
    name = "Riverside (河畔)"
    assert words.like("open.with").fullmatch(words.text("open.with", name=name))
    assert words.like("open.with", name=name).fullmatch(words.text("open.with", name=name))
    assert not words.like("open.with", name=name).fullmatch(words.text("open.with", name="Old Town"))


def test_one_and_many_are_said_as_the_page_says_them() -> None:
    english, chinese = Spoken("en"), Spoken("zh-CN")
    assert "1 opening under" in english.text("proof.chain", count=1)
    assert "2 openings under" in english.text("proof.chain", count=2)
    assert re.search(r"1 access that", english.like("can.over", count=1).pattern.replace("\\", ""))
    assert "1" in chinese.text("proof.chain", count=1)


@pytest.mark.parametrize("option", [["--headed"], ["--screenshots", "somewhere"], ["--browser", "--lang", "fr"]])
def test_options_that_cannot_be_followed_are_refused(option: list[str]) -> None:
    assert CliRunner().invoke(app_of(["tour"]), ["tour", *option]).exit_code == 2

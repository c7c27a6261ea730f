"""How somebody without a mouse comes to an account in the portal."""

from __future__ import annotations

from typing import Any

from tests.web.browser import Album

from hce.app.tour.browser.patient import PatientScreens
from hce.app.tour.browser.spoken import Spoken

PASSPHRASE = "quiet river morning"
"""Typed into the page; must be in no request."""
HOSPITAL = "Riverside Hospital"


async def creates_an_account(page: Any, portal: str, album: Album) -> str:
    """The words."""
    phone = PatientScreens(page, portal, Spoken("en"), album.take)
    await phone.welcome()
    words = await phone.create_account(PASSPHRASE, HOSPITAL)
    assert len(words.split()) == 12
    return words

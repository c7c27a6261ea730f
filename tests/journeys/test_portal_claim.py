"""Somebody comes with a card: what a hospital kept for them becomes theirs, in a browser, against four real nodes.

Python plays the hospital, and somebody who found the card.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.web.accounts import PASSPHRASE
from tests.web.browser import Album, Watch, chromium, fresh_device, press, type_into
from tests.web.leaks import leaked, words_in_a_row
from tests.web.node import ROOT
from tests.web.wire import recording

from hce.app.devnet.home import Home
from hce.app.devnet.run import bring_up_portal, port_count
from hce.app.gateway_client import GatewayClient
from hce.app.preflight import free_ports
from hce.app.up import running
from hce.foundation.crypto.words import entropy_from_words, seed_from_words
from hce.service.terms.genesis import Params
from hce.service.vault.claiming import SECRET_CHARS, card_key

NODES = 4
PARAMS = Params(block_interval_ms=200, rotation_blocks=1)
BUNDLE = ROOT / "src/hce/app/devnet/bundles/zhen-shifan.json"


@pytest.mark.slow
async def test_a_kept_record_is_claimed_with_a_card(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    watch, album = Watch(), Album()
    async with (
        recording() as wire,
        chromium(wire.url) as browser,
        running(home, PARAMS, NODES, free_ports(port_count(NODES)), _silent) as supervisor,
    ):
        await bring_up_portal(home, supervisor, _silent)
        described = home.network()
        async with GatewayClient.at(described["gateways"]["riverside"], home.gateway("riverside")) as hospital:
            patient = await _writes(hospital, BUNDLE.read_bytes())
            card = await _printed(home, patient)
            link = card["link"]
            page = await fresh_device(browser, watch)
            words = await _makes_keys(page, link, album)
            await _takes_over(page, card["code"], album)
            assert [one["custodial"] for one in await hospital.get("/v1/patients")] == [False]
            await _reads(page)
            await _writes(hospital, _one_more(BUNDLE.read_bytes()))
            await press(page, page.get_by_role("button", name="Refresh"))
            await page.get_by_role("button", name=re.compile("Written after the claim")).first.wait_for()
            assert await page.get_by_text("Something new waits for you").count() == 0, "the hospital may write on"
            await press(page, page.get_by_role("link", name="Who looked"))
            await page.get_by_text("This list is complete.").wait_for()
            finder = await fresh_device(browser, watch)
            await _somebody_found_the_card(finder, home.portal, card["code"], album)
            new_words = await _takes_new_words(page, album)
            other = await fresh_device(browser, watch)
            await _recovers(other, home.portal, words, new_words, album)
    assert watch.complaints == [], "no breach of the page's policy, no error"
    assert album.faults == {}, "axe-core"
    plain = card["code"].replace("-", "")
    secrets = {
        "code": card["code"].encode(),
        "secret of the code": plain[:SECRET_CHARS].encode(),
        "entropy": entropy_from_words(words).reveal(),
        "new entropy": entropy_from_words(new_words).reveal(),
        "seed that was handed over": seed_from_words(words).reveal(),
        **words_in_a_row(words),
    }
    assert leaked({"card key": card_key(card["code"]).public}, wire.sent), "the wire sees"
    assert leaked(secrets, wire.sent) == set(), "leaves the browser"
    assert leaked(secrets, watch.said) == set(), "is said to the console"


async def _printed(home: Home, patient: str) -> dict[str, Any]:
    """By the command line, as the hospital's desk would: once on paper, and once more, which voids the first."""
    paper = await _card(home, patient)
    assert re.search(r"^ {4}[0-9A-Z]{5}(-[0-9A-Z]{5}){3}$", paper, re.MULTILINE)
    assert "that Riverside Hospital keeps for you" in paper.replace("\n", " ")
    assert "凭此卡可领取河畔医院代您保管的病历" in paper
    card: dict[str, Any] = json.loads(await _card(home, patient, "--json"))
    return card


async def _card(home: Home, *arguments: str) -> str:
    command = [sys.executable, "-m", "hce.app.cli", "card", "--home", str(home.root), *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    assert process.returncode == 0
    return told.decode()


async def _writes(hospital: GatewayClient, bundle: bytes) -> str:
    events = [event async for event in hospital.import_bundle(bundle)]
    assert events[-1]["event"] == "finished", events[-1]
    patient: str = events[-1]["patient_id"]
    return patient


def _one_more(bundle: bytes) -> bytes:
    """The same patient and one observation more."""
    person = next(one for one in json.loads(bundle)["entry"] if one["resource"]["resourceType"] == "Patient")
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "Written after the claim"},
        "subject": {"reference": person["fullUrl"]},
        "effectiveDateTime": "2024-05-06",
        "valueQuantity": {"value": 61.5, "unit": "kg"},
    }
    posted = {"method": "POST", "url": "Observation"}
    added = {"fullUrl": "urn:uuid:7b1f0a52-3a51-4c0e-9a37-4ff3a1c4b0aa", "resource": observation, "request": posted}
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [person, added]}).encode()


async def _makes_keys(page: Any, link: str, album: Album) -> str:
    """The card's link first leads to words of one's own."""
    await page.goto(link)
    await page.get_by_text("You have a card from a hospital.").wait_for()
    assert page.url.endswith("/#/claim"), "the code stays out of the address"
    words = await _notes_words(page, album, "card-words")
    await _locks(page)
    return words


async def _notes_words(page: Any, album: Album, name: str) -> str:
    shown = page.locator(".words .word")
    await shown.first.wait_for()
    await album.take(page, name)
    words = await shown.all_inner_texts()
    await press(page, page.get_by_role("button", name="I have written them down"))
    for _ in range(3):
        asked = await page.locator("#asked").inner_text()
        place = int(re.findall(r"\d+", asked)[0])
        await press(page, page.get_by_role("button", name=words[place - 1], exact=True))
    return " ".join(words)


async def _locks(page: Any) -> None:
    await type_into(page, page.get_by_label("Passphrase for this device"), PASSPHRASE)
    await type_into(page, page.get_by_label("Once more"), PASSPHRASE)
    await press(page, page.get_by_role("button", name="Use this passphrase"))


async def _takes_over(page: Any, code: str, album: Album) -> None:
    """Mistyped first, which nobody is asked about; then as it stands on the card. What is signed is read before it is."""
    field = page.get_by_label("Code on the card")
    await field.wait_for()
    assert await field.input_value() == code
    await field.fill(code[:-1] + ("A" if code[-1] != "A" else "B"))
    await press(page, page.get_by_role("button", name="Go on"))
    await page.get_by_text("claim.code_unreadable").wait_for()
    await album.take(page, "card-code")
    await field.fill(code.lower().replace("-", " "))
    await press(page, page.get_by_role("button", name="Go on"))
    signed = await page.get_by_test_id("sentence").inner_text()
    assert signed.startswith("You take over the record that Riverside Hospital 河畔医院 (")
    await album.take(page, "card-sign")
    await press(page, page.get_by_role("button", name="Sign and take over"))
    await page.get_by_role("heading", name="It is yours").wait_for()
    await album.take(page, "card-yours")
    await press(page, page.get_by_role("button", name="Sign and let it write"))


async def _reads(page: Any) -> None:
    await page.get_by_role("heading", name="In time").wait_for()
    await page.get_by_role("button", name=re.compile("血压")).first.wait_for()
    assert await page.get_by_text("could not be checked").count() == 0


async def _somebody_found_the_card(page: Any, portal: str, code: str, album: Album) -> None:
    """Typed, without the link: then the page asks which organisation it was."""
    await page.goto(f"{portal}/#/begin")
    await press(page, page.get_by_role("link", name="I have a card from a hospital"))
    await _makes_keys(page, f"{portal}/#/claim", album)
    await type_into(page, page.get_by_label("Code on the card"), code)
    await press(page, page.get_by_role("button", name="Go on"))
    await page.get_by_text("Which organisation gave you the card?").wait_for()
    await album.take(page, "card-typed")
    await press(page, page.get_by_role("button", name="Riverside Hospital"))
    await press(page, page.get_by_role("button", name="Sign and take over"))
    await page.get_by_text("claim.card_used").wait_for()
    await album.take(page, "card-used")


async def _takes_new_words(page: Any, album: Album) -> str:
    """ "Somebody may have my words": the same record under other ones."""
    await press(page, page.get_by_role("link", name="Keys"))
    await page.get_by_text("You publish your contact card").wait_for()
    await press(page, page.get_by_role("link", name="Take new words"))
    await type_into(page, page.get_by_label("Passphrase of this device"), PASSPHRASE)
    await album.take(page, "renew")
    await press(page, page.get_by_role("button", name="Open", exact=True))
    words = await _notes_words(page, album, "renew-words")
    signed = await page.get_by_test_id("sentence").inner_text()
    assert signed.startswith("You replace the keys of your account")
    await album.take(page, "renew-sign")
    await press(page, page.get_by_role("button", name="Sign and replace the words"))
    await _locks(page)
    await _reads(page)
    return words


async def _recovers(page: Any, portal: str, old_words: str, words: str, album: Album) -> None:
    """Another browser: the old words open nothing, the new ones all three times of the record."""
    await page.goto(f"{portal}/#/recover")
    await type_into(page, page.get_by_label("Your twelve words"), old_words)
    await press(page, page.get_by_role("button", name="Find my account"))
    await page.get_by_text("owner.replaced").wait_for()
    await album.take(page, "replaced")
    await page.get_by_label("Your twelve words").fill(words)
    await press(page, page.get_by_role("button", name="Find my account"))
    await _locks(page)
    await _reads(page)
    await page.get_by_role("button", name=re.compile("Written after the claim")).first.wait_for()


def _silent(key: str, **fields: object) -> None:
    pass

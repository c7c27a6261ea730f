"""A patient who has nothing but a browser: account, record, grant, log, revocation, and the twelve words on another device.

Chromium loads the built portal from its own process and speaks to real nodes and gateways. Python plays the hospital and the clinic.
The patient has no mouse.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from tests.web.accounts import HOSPITAL, PASSPHRASE, creates_an_account
from tests.web.browser import Album, Watch, chromium, device_on_disk, fresh_device, kept_on_device, small_targets
from tests.web.leaks import Spy, files_under, leaked, words_in_a_row
from tests.web.node import ROOT
from tests.web.wire import Wire, recording

from hce.app.devnet.home import Home
from hce.app.devnet.run import bring_up_portal, port_count
from hce.app.gateway_client import GatewayClient
from hce.app.portal.bundle import read_bundle
from hce.app.portal.verifying import fetch, published
from hce.app.preflight import free_ports
from hce.app.tour.browser.chromium import give_passkeys
from hce.app.tour.browser.hands import press, type_into
from hce.app.tour.browser.patient import CODE_MARK, PatientScreens
from hce.app.tour.browser.spoken import Spoken
from hce.app.tour.patient import patient_of
from hce.app.up import running
from hce.foundation.crypto.derive import derive_seed
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.crypto.words import entropy_from_words, seed_from_words
from hce.service.sdk.errors import Remote
from hce.service.sdk.network import Network
from hce.service.terms.genesis import Params

NODES = 9
PARAMS = Params(block_interval_ms=200)
BUNDLE = ROOT / "src/hce/app/devnet/bundles/zhen-shifan.json"
DOCTOR = "Dr. Ana Keller 安娜·凯勒"
VENDORS = (".google.com", ".googleapis.com", ".gvt1.com")
"""Whom Debian's Chromium asks for itself, whatever it is told; the wire lets it nowhere, and what it sends is searched like the rest."""
NOBODYS_WORDS = "letter advice cage absurd amount doctor acoustic avoid letter advice cage above"
"""Of BIP39's test vectors."""
CANARIES = ("高血压", "甄示范", "二甲双胍")
"""Plaintext of the record."""


@pytest.mark.slow
async def test_a_patient_lives_in_the_browser(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    watch, album, spy, profile = Watch(), Album(), Spy(), tmp_path / "profile"
    async with (
        recording() as wire,
        chromium(wire.url) as browser,
        running(home, PARAMS, NODES, free_ports(port_count(NODES)), _silent) as supervisor,
    ):
        await bring_up_portal(home, supervisor, _silent)
        described = home.network()
        await _is_the_published_page(home)
        async with (
            GatewayClient.at(described["gateways"]["riverside"], home.gateway("riverside")) as hospital,
            GatewayClient.at(described["gateways"]["oldtown"], home.gateway("oldtown")) as clinic,
        ):
            page = await fresh_device(browser, watch, spy=spy)
            words = await creates_an_account(page, home.portal, album)
            phone = PatientScreens(page, home.portal, Spoken("en"), album.take)
            await _receives_a_record(phone, hospital)
            grant = await _grants(phone, clinic)
            read = await clinic.post(f"/v1/grants/{grant}/read", {"reason": "follow-up", "records": []})
            assert len(read["records"]) > 3
            await phone.see_who_looked(DOCTOR)
            await phone.end_access()
            with pytest.raises(Remote, match="revoked"):
                await clinic.post(f"/v1/grants/{grant}/read", {"reason": "once more", "records": []})
            await _keeps_the_keys(phone, words)
            async with device_on_disk(browser, profile, watch, "zh-CN", spy, wire.url) as page_elsewhere:
                other = PatientScreens(page_elsewhere, home.portal, Spoken("zh-CN"), album.take)
                await _recovers(other, words)
                await _follows_a_link_and_refuses(other, clinic)
                assert await other.page.evaluate("Object.keys(localStorage).sort()") == ["hce.elder", "hce.language"]
                kept = [await kept_on_device(page), await kept_on_device(other.page)]
    allowed = {home.portal, *described["nodes"], *described["gateways"].values()}
    assert watch.origins <= allowed, "no foreign request"
    asked = {host for host in wire.hosts | wire.tunnels if not host.partition(":")[0].endswith(VENDORS)}
    assert asked <= {urlsplit(origin).netloc for origin in allowed}, "nor one that the page does not know of"
    assert watch.complaints == [], "no breach of the page's policy, no error"
    assert album.faults == {}, "axe-core"
    _nothing_got_out(words, spy, wire, watch, kept, files_under(profile))


def _nothing_got_out(words: str, spy: Spy, wire: Wire, watch: Watch, kept: list[bytes], profile: dict[str, bytes]) -> None:
    """Neither what we know to be secret, nor any key or plaintext that the browser's own cryptography ever had in its hands."""
    known = _secrets_of(words)
    assert {spy.held[known[name]] for name in ("compartment/owner", "compartment/root", "reading seed")} == {"deriveBits"}
    assert {"deriveBits", "decrypt", "key for HKDF"} <= set(spy.held.values()), "the spy sees"
    canaries = {canary: canary.encode() for canary in CANARIES}
    secrets = {**known, **words_in_a_row(words), **canaries, **spy.secrets()}
    public = {"reader": b"hce/tx/1", "code": SigningKey(known["compartment/owner"]).public}
    assert leaked(public, wire.sent) == set(public), "the wire sees"
    assert leaked(secrets, wire.sent) == set(), "leaves the browser"
    assert leaked(secrets, watch.said) == set(), "is said to the console"
    assert all(len(one) > 200 for one in kept)
    assert leaked(secrets, kept) == set(), "lies on the device unlocked"
    assert len(profile) > 20
    assert {path for path, content in profile.items() if leaked(secrets, [content], depth=1)} == set(), "was left by the browser"


async def _is_the_published_page(home: Home) -> None:
    """What `hce verify-portal` says of it."""
    async with httpx.AsyncClient(trust_env=False) as http:
        served = await fetch(home.portal, http)
    async with await Network.join(home.network()["nodes"], home.genesis()) as network:
        assert (await published(served, network)).release.number == 1
    assert served.files == read_bundle()


async def _follows_a_link_and_refuses(phone: PatientScreens, clinic: GatewayClient) -> None:
    """The link waits until the account is open, and leaves no trace in the address."""
    await phone.lock()
    await phone.page.get_by_role("button", name="用通行密钥打开").wait_for()
    await phone.page.goto(f"{phone.portal}/#/approve/{await _asks(clinic)}")
    await phone.unlock_with_passkey()
    assert f"您允许{DOCTOR}" in await phone.sentence()
    assert phone.page.url == f"{phone.portal}/#/approve"
    await press(phone.page, phone.page.get_by_role("button", name="不授权"))
    await phone.page.get_by_label("诊所给您的代码或链接").wait_for()
    assert len(await clinic.get("/v1/grants")) == 1, "nothing was given"


async def _asks(clinic: GatewayClient) -> str:
    [doctor] = await clinic.get("/v1/staff")
    wish = {"credential_id": doctor["credential_id"], "purpose": "treatment", "date_from": "1900-01-01", "date_to": "2100-12-31"}
    request: str = (await clinic.post("/v1/access-requests", wish))["request"]
    return request


def _secrets_of(words: str) -> dict[str, bytes]:
    """What must be nowhere but in the page's memory: the words in every form, and the keys that follow from them."""
    seed = seed_from_words(words)
    derived = ("compartment/owner", "compartment/recovery", "compartment/root", "compartment/log", "compartment/log-read")
    return {
        "words": words.encode(),
        "entropy": entropy_from_words(words).reveal(),
        "seed": seed.reveal(),
        "memory key": derive_seed(seed, "device/memory").reveal(),
        "passphrase": PASSPHRASE.encode(),
        "reading seed": derive_seed(seed, "compartment/reading", 0, 0).reveal(),
        **{use: derive_seed(seed, use, 0).reveal() for use in derived},
    }


async def _receives_a_record(phone: PatientScreens, hospital: GatewayClient) -> None:
    """The clinic takes the code that the screen shows; the card it fetches itself."""
    token = (await phone.show_code(HOSPITAL)).removeprefix(CODE_MARK).lower()
    bundle = BUNDLE.read_bytes()
    patient = await hospital.post("/v1/patients", {"patient": patient_of(bundle), "token": token})
    events = [event async for event in hospital.import_bundle(bundle, patient_id=patient["patient_id"])]
    assert events[-1]["event"] == "finished", events[-1]
    await phone.refresh_record()
    page = phone.page
    await phone.entry(re.compile("血压")).wait_for()
    assert "Unknown" not in await page.locator("main").inner_text()
    await phone.look(page, "record")
    await press(page, page.get_by_role("radio", name="Results"))
    await press(page, phone.entry(re.compile("糖化血红蛋白")))
    await press(page, page.get_by_role("button", name="Not right?"))
    await type_into(page, page.get_by_label("What is not right?"), "This was not me.")
    await phone.look(page, "result")


async def _grants(phone: PatientScreens, clinic: GatewayClient) -> str:
    page = phone.page
    await phone.read_request(f"hce:ask:{await _asks(clinic)}")
    await press(page, page.get_by_role("radio", name="One day"))
    signed = await phone.sentence()
    assert signed.startswith(f"You let {DOCTOR} (")
    assert "read your records dated 1900-01-01 to 2100-12-31, for treatment" in signed
    await press(page, page.get_by_text("They would see"))
    await phone.look(page, "request")
    await phone.give()
    [grant] = await clinic.get("/v1/grants")
    found: str = grant["grant_id"]
    return found


async def _keeps_the_keys(phone: PatientScreens, words: str) -> None:
    """The words once more, only after unlocking; then the page is locked and opened again, wrongly first."""
    assert await phone.show_words(PASSPHRASE) == words
    await phone.lock()
    await phone.unlock("not this one")
    await phone.page.get_by_text("unlock.wrong").wait_for()
    await phone.look(phone.page, "unlock")
    await phone.unlock(PASSPHRASE)
    await phone.page.get_by_role("heading", name="My record").wait_for()


async def _recovers(phone: PatientScreens, words: str) -> None:
    """Another browser, in Chinese: nothing but the words, and a fingerprint from then on."""
    await give_passkeys(phone.page)
    await _is_told_of_wrong_words(phone)
    await phone.recover(words)
    await phone.turn_elder_mode()
    assert await small_targets(phone.page, 60) == []
    await phone.look(phone.page, "elder")
    await phone.lock()
    await phone.unlock_with_passkey()
    await phone.entry(re.compile("血压")).wait_for()
    await phone.see_who_looked(DOCTOR)
    assert await small_targets(phone.page, 60) == []


async def _is_told_of_wrong_words(phone: PatientScreens) -> None:
    """Well formed and nobody's: no empty account takes the place of the real one unasked, and what was typed stays."""
    say = phone.words.text
    await phone.page.goto(f"{phone.portal}/#/recover")
    await type_into(phone.page, phone.page.get_by_label(say("recover.words")), NOBODYS_WORDS)
    await press(phone.page, phone.page.get_by_role("button", name=say("recover.find")))
    await phone.page.get_by_text(say("recover.none.text")).wait_for()
    await phone.look(phone.page, "no-account")
    await press(phone.page, phone.page.get_by_role("button", name=say("recover.none.again")))
    assert await phone.page.get_by_label(say("recover.words")).input_value() == NOBODYS_WORDS


def _silent(key: str, **fields: object) -> None:
    pass

"""A clinician and a patient, each with nothing but a browser: enrolled, written for, asked, granted, read, corrected, revoked, refused.

Two Chromium devices on the built portal, real nodes and gateways. Neither of the two has a mouse.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.web.accounts import creates_an_account
from tests.web.browser import Album, Watch, chromium, fresh_device, kept_on_device, press, small_targets, switch, type_into

from hce.app.devnet.home import Home
from hce.app.devnet.run import port_count, portal_plan
from hce.app.gateway import bearer_token
from hce.app.preflight import free_ports
from hce.app.tour.browser.hands import choose, type_day
from hce.app.up import running
from hce.service.terms.genesis import Params

NODES = 4
PARAMS = Params(block_interval_ms=200)
NAME = "Zhen Shifan 甄示范"
NOTE = "Blood pressure 152/94. Start amlodipine 5 mg.\n血压复查两周后。"
BETTER = "Blood pressure 142/94. Start amlodipine 5 mg.\n血压复查两周后。"
TOO_LONG = "x" * 20_001
REASON = "follow-up of your blood pressure 复查"
WHY = "visit on Thursday"


class Unjudged(Album):
    """For screens that the patient's own journey judges."""

    async def take(self, page: Any, name: str) -> None:
        pass


@pytest.mark.slow
async def test_a_clinician_works_in_the_browser(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    watch, album = Watch(), Album()
    async with chromium() as browser, running(home, PARAMS, NODES, free_ports(port_count(NODES)), _silent) as supervisor:
        await supervisor.start(portal_plan(home))
        described, token = home.network(), bearer_token(home.gateway("riverside"))
        patient, doctor = await fresh_device(browser, watch), await fresh_device(browser, watch)
        await creates_an_account(patient, home.portal, Unjudged())
        await _signs_in(doctor, home.portal, token, album)
        await _enrols(doctor, await _shows_the_code(patient), album)
        await _writes(doctor, album)
        await _finds_the_note(patient, "152/94")
        await _approves(patient, await _asks(doctor, album))
        await _reads(doctor, album)
        await _corrects(doctor, album)
        await _finds_the_note(patient, "142/94")
        await patient.get_by_text("replaced by a later version").wait_for()
        await _sees_who_looked(patient)
        await _revokes(patient)
        await _is_refused(doctor, album)
        await _in_large(doctor, album)
        stranger = await fresh_device(browser, watch)
        await _reads_without_enrolling(stranger, patient, home, album)
        kept = await kept_on_device(doctor)
    allowed = {home.portal, *described["nodes"], *described["gateways"].values()}
    assert watch.origins <= allowed, "no foreign request"
    assert watch.complaints == [], "no breach of the page's policy, no error"
    assert album.faults == {}, "axe-core"
    for secret in (token, NAME, "152/94", "amlodipine"):
        assert secret.encode() not in kept, "lies on the clinician's device"


async def _signs_in(page: Any, portal: str, token: str, album: Album) -> None:
    await page.goto(portal)
    await press(page, page.get_by_role("link", name="I work at a hospital or clinic"))
    await page.get_by_label("Staff token").wait_for()
    await press(page, page.get_by_text("Where the keys are"))
    await album.take(page, "sign-in")
    await type_into(page, page.get_by_label("Staff token"), "not the token")
    await press(page, page.get_by_role("button", name="Go on"))
    await page.get_by_text("gateway.unauthorised").wait_for()
    await type_into(page, page.get_by_label("Staff token"), token)
    await press(page, page.get_by_role("button", name="Go on"))
    await page.get_by_role("heading", name="Who are you?").wait_for()
    await album.take(page, "who-are-you")
    await press(page, page.get_by_role("button", name="Dr. Lin Mei 林梅"))
    await page.get_by_text("Nobody is enrolled here yet.").wait_for()
    await album.take(page, "nobody")


async def _shows_the_code(page: Any) -> str:
    await press(page, page.get_by_role("link", name="Show my code to a clinic"))
    await press(page, page.get_by_role("button", name="Riverside Hospital"))
    await press(page, page.get_by_text("The code as text"))
    code: str = await page.get_by_test_id("code").inner_text()
    return code


async def _enrols(page: Any, code: str, album: Album) -> None:
    await press(page, page.get_by_role("link", name="Enrol a patient"))
    await type_into(page, page.get_by_label("The patient's code"), "HCE:HELLO:00")
    await press(page, page.get_by_role("button", name="Read the code"))
    await page.get_by_text("This is no patient's code.").wait_for()
    await album.take(page, "enrol")
    await type_into(page, page.get_by_label("The patient's code"), code)
    await press(page, page.get_by_role("button", name="Read the code"))
    await page.get_by_text("may write into this person's record").wait_for()
    await type_into(page, page.get_by_label("Name, as in their papers"), NAME)
    await type_day(page, page.get_by_label("Date of birth"), "1984-02-29")
    await album.take(page, "enrol-who")
    await press(page, page.get_by_role("button", name="Enrol"))
    await page.get_by_role("heading", name=NAME).wait_for()
    await page.get_by_text("you cannot read their record").wait_for()
    await album.take(page, "person")


async def _writes(page: Any, album: Album) -> None:
    await press(page, page.get_by_role("link", name="Write a note"))
    await press(page, page.get_by_role("radio", name="Progress note"))
    await _begins_and_leaves(page)
    await album.take(page, "note")
    await press(page, page.get_by_role("button", name="Look at what I sign"))
    signed = await page.get_by_test_id("sentence").inner_text()
    assert re.fullmatch(
        r"As Dr\. Lin Mei 林梅 \([0-9a-f]{8}\) you sign a document of \d{4}-\d\d-\d\d into the record of "
        rf"{NAME} \([0-9a-f]{{8}}\)\. Its sealed content is [0-9a-f]{{16}}\.",
        signed,
    )
    assert NOTE in await page.locator(".note-text").inner_text()
    await album.take(page, "sign")
    await press(page, page.get_by_role("button", name="Sign", exact=True))
    await page.get_by_role("heading", name="Receipt").wait_for()
    await page.get_by_text("checked on this device").wait_for()
    await album.take(page, "receipt")
    await press(page, page.get_by_role("link", name=f"Back to {NAME}"))
    await page.get_by_text("1 record was written here").wait_for()


async def _begins_and_leaves(page: Any) -> None:
    """What is too long is not cut off, and what was begun waits for whoever comes back."""
    field = page.get_by_label("Text")
    await type_into(page, field, TOO_LONG)
    await page.get_by_text(f"This text has {len(TOO_LONG)} characters").wait_for()
    assert await field.input_value() == TOO_LONG
    await type_into(page, field, NOTE)
    await press(page, page.get_by_role("link", name="Patients", exact=True))
    await press(page, page.get_by_role("link", name=NAME))
    await press(page, page.get_by_role("link", name="Write a note"))
    await page.get_by_text("This note was begun earlier").wait_for()
    assert await field.input_value() == NOTE


async def _finds_the_note(page: Any, text: str) -> None:
    await press(page, page.get_by_role("link", name="My record"))
    await press(page, page.get_by_role("button", name="Refresh"))
    await press(page, page.get_by_role("button", name=re.compile("Progress note")).first)
    if not await page.get_by_text(text).count():
        await press(page, page.get_by_role("button", name=re.compile("Progress note")).last)
    await page.get_by_text(text).wait_for()
    await page.get_by_text("Signed by Dr. Lin Mei 林梅").first.wait_for()


async def _asks(page: Any, album: Album) -> str:
    await press(page, page.get_by_role("link", name="Ask for access"))
    await press(page, page.get_by_role("radio", name="One week"))
    await type_into(page, page.get_by_label("Why?"), REASON)
    await album.take(page, "ask")
    await press(page, page.get_by_role("button", name="Make the request"))
    await press(page, page.get_by_text("The code as text"))
    code: str = await page.get_by_test_id("code").inner_text()
    await album.take(page, "request")
    return code


async def _approves(page: Any, code: str, who: str = "Dr. Lin Mei 林梅") -> None:
    await press(page, page.get_by_role("link", name="Approve").last)
    await type_into(page, page.get_by_label("Code or link from the clinic"), code)
    await press(page, page.get_by_role("button", name="Read the code"))
    await page.get_by_text(REASON).wait_for()
    await page.get_by_role("radio", name="One week", checked=True).wait_for()
    assert f"You let {who} (" in await page.get_by_test_id("sentence").inner_text()
    await press(page, page.get_by_role("button", name="Sign and give access"))
    await page.get_by_role("heading", name="Access given").wait_for()


async def _reads(page: Any, album: Album) -> None:
    await page.get_by_text("Access is given by").wait_for()
    await album.take(page, "given")
    await press(page, page.get_by_role("link", name="Open the record"))
    await type_into(page, page.get_by_label("Why do you open it now?"), WHY)
    await page.get_by_text("The access ends in").wait_for()
    await album.take(page, "chart-why")
    await press(page, page.get_by_role("button", name="Open, and leave a trace"))
    await page.get_by_text("1 record. The patient sees this reading.").wait_for()
    await press(page, page.get_by_role("button", name=re.compile("Progress note")))
    await page.get_by_text("152/94").wait_for()
    await album.take(page, "chart")


async def _corrects(page: Any, album: Album) -> None:
    """From the chart, which stays open beside it: going back opens nothing anew."""
    await press(page, page.get_by_role("link", name="Write a corrected version"))
    await page.get_by_role("heading", name="Correct a note").wait_for()
    await type_into(page, page.get_by_label("Text"), BETTER)
    await press(page, page.get_by_role("button", name="Look at what I sign"))
    await page.get_by_text("It replaces your earlier version.").wait_for()
    await album.take(page, "correct")
    await press(page, page.get_by_role("button", name="Sign", exact=True))
    await press(page, page.get_by_role("link", name=f"Back to {NAME}"))
    await page.get_by_role("heading", name="Access given").wait_for()
    await album.take(page, "person-open")
    await press(page, page.get_by_role("link", name="Open the record"))
    await page.get_by_text("1 record. The patient sees this reading.").wait_for()


async def _sees_who_looked(page: Any) -> None:
    await press(page, page.get_by_role("link", name="Who looked"))
    await page.get_by_role("heading", name="Dr. Lin Mei 林梅").wait_for()
    await page.get_by_text("This list is complete.").wait_for()


async def _revokes(page: Any) -> None:
    await press(page, page.get_by_role("link", name="Who can look"))
    await press(page, page.get_by_role("button", name="End this access now"))
    await page.get_by_text("Nobody can look into your record.").wait_for()


async def _is_refused(page: Any, album: Album) -> None:
    """In plain words, and what was open is closed."""
    await press(page, page.get_by_role("button", name="Read again from the network"))
    await type_into(page, page.get_by_label("Why do you open it now?"), WHY)
    await press(page, page.get_by_role("button", name="Open, and leave a trace"))
    await page.get_by_text("The patient has ended this access.").wait_for()
    await page.get_by_text("The owner has revoked this grant.").wait_for()
    assert await page.get_by_role("button", name=re.compile("Progress note")).count() == 0
    await album.take(page, "refused")
    await press(page, page.get_by_role("link", name="Patients"))
    await press(page, page.get_by_role("link", name=NAME))
    await page.get_by_text("you cannot read their record").wait_for()
    await press(page, page.get_by_text("1 access that is over"))
    await page.get_by_text("The patient ended this access.").wait_for()
    await album.take(page, "person-over")


async def _in_large(page: Any, album: Album) -> None:
    await press(page, page.get_by_role("link", name="Patients"))
    await page.get_by_role("link", name=NAME).wait_for()
    await switch(page, page.get_by_role("switch", name="Large"))
    assert await small_targets(page, 60) == []
    await album.take(page, "people-large")
    await switch(page, page.get_by_role("switch", name="Large"))
    await album.take(page, "people")
    await press(page, page.get_by_role("link", name="Signed in"))
    await album.take(page, "signed-in")
    await press(page, page.get_by_role("button", name="Sign out"))
    await page.get_by_label("Staff token").wait_for()
    assert await page.get_by_label("Staff token").input_value() == ""


async def _reads_without_enrolling(page: Any, patient: Any, home: Home, album: Album) -> None:
    """Another organisation, which may read and not write."""
    await page.goto(f"{home.portal}/#/clinic")
    await choose(page, page.get_by_label("Organisation"), "Old Town Clinic 老城诊所")
    await type_into(page, page.get_by_label("Staff token"), bearer_token(home.gateway("oldtown")))
    await press(page, page.get_by_role("button", name="Go on"))
    await press(page, page.get_by_role("button", name="Dr. Ana Keller 安娜·凯勒"))
    await press(page, page.get_by_role("link", name="Ask somebody who is not enrolled here"))
    await type_into(page, page.get_by_label("Why?"), REASON)
    await press(page, page.get_by_role("button", name="Make the request"))
    await press(page, page.get_by_text("The code as text"))
    await _approves(patient, await page.get_by_test_id("code").inner_text(), "Dr. Ana Keller 安娜·凯勒")
    await page.get_by_text("Access is given by the patient.").wait_for()
    await press(page, page.get_by_role("link", name="Open the record"))
    await type_into(page, page.get_by_label("Why do you open it now?"), WHY)
    await press(page, page.get_by_role("button", name="Open, and leave a trace"))
    await page.get_by_text("2 records. The patient sees this reading.").wait_for()
    await page.get_by_text("replaced by a later version").wait_for()
    await press(page, page.get_by_role("button", name=re.compile("Progress note")).first)
    assert await page.get_by_role("link", name="Write a corrected version").count() == 0, "a stranger's note"
    await press(page, page.get_by_role("link", name="Back to Record"))
    await page.get_by_text("This person is not enrolled here.").wait_for()
    assert await page.get_by_role("link", name="Write a note").count() == 0
    await album.take(page, "stranger")


def _silent(key: str, **fields: object) -> None:
    pass

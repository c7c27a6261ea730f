"""The story in Chromium: a patient's phone, a hospital's desk, a clinic's desk, and the phone after the first one is lost.

Everything a person would see is looked for on a screen; only the hospital's own system, which has no screen, adds its export through its
gateway. A step that is not as promised ends the story, for each stands on the one before.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from hce.app.devnet.home import Home
from hce.app.devnet.people import ORGANISATIONS, demo_bundles
from hce.app.gateway import GatewaySettings, bearer_token
from hce.app.gateway_client import GatewayClient
from hce.app.tour.browser.chromium import DESK, PHONE, DriverMissing, Watch, fresh_device, give_passkeys
from hce.app.tour.browser.clinician import ClinicianScreens
from hce.app.tour.browser.looking import Album
from hce.app.tour.browser.patient import WORDS, PatientScreens
from hce.app.tour.browser.spoken import Spoken
from hce.app.tour.patient import patient_of
from hce.app.tour.stage import Result, Tell
from hce.foundation.types.errors import HceError, PeerFault

HOSPITAL, CLINIC = "riverside", "oldtown"
SCALE = 1.5
"""Pixels of a picture for one of the page: sharp on a phone, and light enough for a README."""
LOCALES = {"en": "en-GB", "zh-CN": "zh-CN"}
DAYS = 7
PASSPHRASE_BYTES = 12
REVOKED = "grant.revoked"


class Part(Struct, frozen=True):
    """What the people of the story are called and say, in one language."""

    bundle: str
    """Of `demo_bundles`: whose record the hospital's system exports."""
    note: str
    reason: str
    why: str


PARTS = {
    "en": Part(
        "faith-fictional.json", "Slept badly, feels better now. Blood count again in two weeks.", "your visit on Thursday", "visit"
    ),
    "zh-CN": Part("zhen-shifan.json", "近日头晕，测血压 152/94。两周后复查。", "周四门诊", "门诊"),
}


class NotAsPromised(PeerFault):
    """A screen shows something else than the story promises."""

    code = "browser.not_as_promised"


class Step(Struct, frozen=True):
    """One step that was played."""

    name: str
    held: bool
    seconds: float
    picture: str
    """File name; "" without a folder for pictures."""
    found: str = ""
    """What happened instead."""


Act = Callable[[], Awaitable[tuple[Any, dict[str, Any]]]]
"""Plays a step; the page that shows its end, and what there is to tell."""


async def play_in_browser(home: Home, browser: Any, words: Spoken, album: Album, tell: Tell) -> Result:
    """The whole story against the network of this folder, in the language of these words; `broken` is empty when every step held."""
    watch, started = Watch(), time.monotonic()
    async with GatewayClient.of(home, HOSPITAL) as system:
        steps = await Story(home, browser, words, watch, system).play(album, tell)
    strangers = sorted(watch.origins - _own_origins(home))
    broken = [step.name for step in steps if not step.held]
    broken += ["strangers"] * bool(strangers) + ["complaints"] * bool(watch.complaints)
    tell("browse.clean", strangers=len(strangers), complaints=len(watch.complaints))
    return {
        "nodes": len(home.network()["nodes"]),
        "steps": [{"step": step.name, "held": step.held, "seconds": step.seconds, "found": step.found} for step in steps],
        "pictures": [step.picture for step in steps if step.picture],
        "strangers": strangers,
        "complaints": watch.complaints,
        "broken": broken,
        "seconds": round(time.monotonic() - started, 1),
    }


def _own_origins(home: Home) -> set[str]:
    described, face = home.network(), home.face()
    here = {home.portal_here, *described["nodes"], *described["gateways"].values()}
    return here if face is None else here | {face.portal, *face.nodes, *face.gateways.values()}


class Story:
    """The people, their devices, and the steps in order."""

    def __init__(self, home: Home, browser: Any, words: Spoken, watch: Watch, system: GatewayClient) -> None:
        self.home, self.browser, self.words, self.watch, self.system = home, browser, words, watch, system
        self.hospital, self.clinic = ORGANISATIONS[HOSPITAL], ORGANISATIONS[CLINIC]
        self.part = PARTS[words.language]
        self.bundle = dict(demo_bundles())[self.part.bundle]
        self.name, self.born = _shown(patient_of(self.bundle))
        self.passphrase = secrets.token_urlsafe(PASSPHRASE_BYTES)
        self.twelve_words = ""

    async def play(self, album: Album, tell: Tell) -> list[Step]:
        """Steps as far as they held, and the first that did not."""
        self.phone = PatientScreens(await self._device(PHONE), self.home.portal, self.words)
        self.desk = ClinicianScreens(await self._device(DESK), self.home.portal, self.words)
        self.other_desk = ClinicianScreens(await self._device(DESK), self.home.portal, self.words)
        self.new_phone = PatientScreens(await self._device(PHONE), self.home.portal, self.words)
        acts: dict[str, Act] = {
            "welcome": self._welcome,
            "account": self._account,
            "enrolled": self._enrolled,
            "written": self._written,
            "received": self._received,
            "asked": self._asked,
            "sentence": self._sentence,
            "granted": self._granted,
            "read": self._read,
            "log": self._log,
            "revoked": self._revoked,
            "refused": self._refused,
            "recovered": self._recovered,
        }
        played: list[Step] = []
        for name, act in acts.items():
            played.append(await self._step(name, act, album, tell))
            if not played[-1].held:
                break
        return played

    async def _step(self, name: str, act: Act, album: Album, tell: Tell) -> Step:
        began = time.monotonic()
        failures = _failures()
        try:
            page, told = await act()
        except failures as error:
            seconds, found = _since(began), str(error)
            pages = [screens.page for screens in (self.phone, self.desk, self.other_desk, self.new_phone)]
            pictures = [await album.take(page, f"{name}-broken") for page in pages]
            tell("browse.broken", step=name, found=found, seconds=seconds)
            return Step(name, False, seconds, ", ".join(filter(None, pictures)), found)
        seconds = _since(began)
        picture = await album.take(page, name)
        tell(f"browse.{name}", **told, seconds=seconds)
        return Step(name, True, seconds, picture)

    async def _device(self, size: dict[str, int]) -> Any:
        return await fresh_device(self.browser, LOCALES[self.words.language], self.watch.over, size=size, scale=SCALE)

    def _called(self, organisation: GatewaySettings) -> str:
        return organisation.name if self.words.language == "en" else organisation.name_zh

    async def _welcome(self) -> tuple[Any, dict[str, Any]]:
        await self.phone.welcome()
        return self.phone.page, {"url": self.home.portal}

    async def _account(self) -> tuple[Any, dict[str, Any]]:
        self.twelve_words = await self.phone.create_account(self.passphrase, self._called(self.hospital))
        _require(len(self.twelve_words.split()) == WORDS, found=len(self.twelve_words.split()))
        return self.phone.page, {"name": self.name, "organisation": self._called(self.hospital)}

    async def _enrolled(self) -> tuple[Any, dict[str, Any]]:
        doctor = self.hospital.staff[0].name
        await self.desk.sign_in(self.hospital.name, bearer_token(self.home.gateway(HOSPITAL)), doctor)
        code = await self.phone.show_code(self.hospital.name)
        self.patient_id = await self.desk.enrol(code, self.name, self.born)
        return self.phone.page, {"doctor": doctor, "organisation": self._called(self.hospital)}

    async def _written(self) -> tuple[Any, dict[str, Any]]:
        await self.desk.write_note("progress", self.part.note)
        return self.desk.page, {"doctor": self.hospital.staff[0].name}

    async def _received(self) -> tuple[Any, dict[str, Any]]:
        events = [event async for event in self.system.import_bundle(self.bundle, patient_id=self.patient_id)]
        await self.phone.refresh_record()
        await self.phone.entry(self.words.text("note.kind.progress")).wait_for()
        return self.phone.page, {"records": len(events[-1]["records"]) + 1, "organisation": self._called(self.hospital)}

    async def _asked(self) -> tuple[Any, dict[str, Any]]:
        doctor = self.clinic.staff[0].name
        await self.other_desk.sign_in(self.clinic.name, bearer_token(self.home.gateway(CLINIC)), doctor)
        code = await self.phone.show_code(self.clinic.name)
        await self.other_desk.enrol(code, self.name, self.born)
        self.request = await self.other_desk.ask(DAYS, self.part.reason)
        return self.other_desk.page, {"doctor": doctor, "organisation": self._called(self.clinic)}

    async def _sentence(self) -> tuple[Any, dict[str, Any]]:
        sentence = await self.phone.read_request(self.request)
        _require(self.clinic.staff[0].name in sentence, found=sentence)
        await self.phone.show_sentence()
        return self.phone.page, {"sentence": sentence}

    async def _granted(self) -> tuple[Any, dict[str, Any]]:
        await self.phone.give()
        return self.phone.page, {}

    async def _read(self) -> tuple[Any, dict[str, Any]]:
        await self.other_desk.open_chart(self.name, self.part.why)
        await self.other_desk.entry(self.words.text("note.kind.progress")).wait_for()
        return self.other_desk.page, {"doctor": self.clinic.staff[0].name}

    async def _log(self) -> tuple[Any, dict[str, Any]]:
        proof = await self.phone.see_who_looked(self.clinic.staff[0].name)
        return self.phone.page, {"doctor": self.clinic.staff[0].name, "proof": proof}

    async def _revoked(self) -> tuple[Any, dict[str, Any]]:
        await self.phone.end_access()
        return self.phone.page, {}

    async def _refused(self) -> tuple[Any, dict[str, Any]]:
        await self.other_desk.open_again(self.part.why)
        await self.other_desk.refused(REVOKED)
        return self.other_desk.page, {"doctor": self.clinic.staff[0].name, "code": REVOKED}

    async def _recovered(self) -> tuple[Any, dict[str, Any]]:
        await give_passkeys(self.new_phone.page)
        await self.new_phone.recover(self.twelve_words)
        await self.new_phone.entry(self.words.text("note.kind.progress")).wait_for()
        await self.new_phone.see_who_looked(self.clinic.staff[0].name)
        await self.new_phone.go("record")
        await self.new_phone.entry(self.words.text("note.kind.progress")).wait_for()
        return self.new_phone.page, {}


def _shown(patient: dict[str, Any]) -> tuple[str, str]:
    """(name as people write it, YYYY-MM-DD)."""
    [name, *_] = patient["name"]
    return name.get("text") or " ".join([*name["given"], name["family"]]), patient["birthDate"]


def _require(promise: bool, **found: object) -> None:
    if not promise:
        raise NotAsPromised(**found)


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)


def _failures() -> tuple[type[Exception], ...]:
    """What a step may fail with; a screen that does not come is Playwright's to say."""
    try:
        from playwright.async_api import Error
    except ImportError as error:
        raise DriverMissing from error
    return (HceError, Error)

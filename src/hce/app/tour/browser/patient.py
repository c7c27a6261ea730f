"""A patient's screens. Each act ends where the page says that it is done."""

from __future__ import annotations

import re
from typing import Any

from hce.app.tour.browser.hands import press, switch, type_into
from hce.app.tour.browser.looking import Look, glance_over
from hce.app.tour.browser.spoken import Spoken

WORDS = 12
REHEARSED = 3
CODE_MARK = "HCE:HELLO:"
"""Begins a person's code for clinics (web/src/network/codes.ts)."""


class PatientScreens:
    """One device of a patient. `look` is called with the name of each screen as it stands."""

    def __init__(self, page: Any, portal: str, words: Spoken, look: Look = glance_over) -> None:
        self.page, self.portal, self.words, self.look = page, portal, words, look

    async def welcome(self) -> None:
        """The first screen."""
        await self.page.goto(self.portal)
        await self._link("welcome.create").wait_for()
        await self.look(self.page, "welcome")

    async def create_account(self, passphrase: str, organisation: str) -> str:
        """From the first screen to an empty record, opened by an organisation; the twelve words."""
        await press(self.page, self._link("welcome.create"))
        shown = self.page.locator(".words .word")
        await shown.first.wait_for()
        await self.look(self.page, "words")
        words: list[str] = await shown.all_inner_texts()
        await press(self.page, self._button("begin.words.next"))
        await self._rehearse(words)
        await self._lock(passphrase)
        await self._button("open.with", name=organisation).wait_for()
        await self.look(self.page, "open")
        await press(self.page, self._button("open.with", name=organisation))
        await self._heading("record.empty.title").wait_for()
        await self.look(self.page, "empty")
        return " ".join(words)

    async def _rehearse(self, words: list[str]) -> None:
        """Three places are asked for, in rising order."""
        await self.page.get_by_text(self.words.like("rehearse.ask")).wait_for()
        await self.look(self.page, "rehearse")
        for _ in range(REHEARSED):
            place = int(re.findall(r"\d+", await self.page.locator("#asked").inner_text())[0])
            await press(self.page, self.page.get_by_role("button", name=words[place - 1], exact=True))

    async def _lock(self, passphrase: str) -> None:
        await type_into(self.page, self._field("lock.passphrase"), passphrase)
        await type_into(self.page, self._field("lock.again"), passphrase)
        await self.look(self.page, "lock")
        await press(self.page, self._button("lock.keep"))

    async def show_code(self, organisation: str) -> str:
        """The code with which this organisation may write. The page names organisations as the chain does."""
        await press(self.page, self._link("record.empty.code"))
        await press(self.page, self.page.get_by_role("button", name=organisation))
        await self.page.get_by_role("img", name=self.words.like("code.picture")).wait_for()
        await self.look(self.page, "code")
        return await self.code_as_text()

    async def code_as_text(self) -> str:
        await press(self.page, self.page.get_by_text(self.words.text("code.text")))
        code: str = await self.page.get_by_test_id("code").inner_text()
        return code

    async def refresh_record(self) -> None:
        """My record, asked of the network again, until there is something in it."""
        await self.go("record")
        await press(self.page, self._button("record.refresh"))
        await self._heading("record.timeline").wait_for()

    def entry(self, title: str | re.Pattern[str]) -> Any:
        """The line of an entry, which opens and closes it."""
        return self.page.get_by_role("button", name=title).first

    async def read_request(self, code: str) -> str:
        """Takes in a clinic's request; the sentence that would be signed."""
        await self.go("approve")
        await self._field("approve.code").wait_for()
        await self.look(self.page, "approve")
        await type_into(self.page, self._field("approve.code"), code)
        await press(self.page, self._button("take.read"))
        return await self.sentence()

    async def sentence(self) -> str:
        """What is to be signed, as the page says it from the bytes."""
        text: str = await self.page.get_by_test_id("sentence").inner_text()
        return text

    async def show_sentence(self) -> None:
        """Scrolls to it, as who reads it does."""
        await self.page.get_by_test_id("sentence").evaluate("one => one.scrollIntoView({ block: 'center' })")

    async def give(self) -> None:
        """Signs what was read, and waits until the network knows."""
        await press(self.page, self._button("approve.give"))
        await self._heading("given.title").wait_for()
        await self.look(self.page, "given")

    async def see_who_looked(self, name: str, count: int = 1) -> str:
        """Until the list names them and calls itself complete; the reason it gives."""
        await self.go("looked")
        await self.page.get_by_role("heading", name=name).first.wait_for()
        await self.page.get_by_text(self.words.text("proof.complete")).wait_for()
        await press(self.page, self.page.get_by_text(self.words.text("proof.how")))
        proof = self.words.text("proof.chain", count=count)
        await self.page.get_by_text(proof).wait_for()
        await self.look(self.page, "looked")
        return proof

    async def end_access(self) -> None:
        """One press; until nobody can look any more."""
        await self.go("can")
        await self._button("can.end").wait_for()
        await self.look(self.page, "can")
        await press(self.page, self._button("can.end"))
        await self.page.get_by_text(self.words.text("can.nobody")).wait_for()
        await press(self.page, self.page.get_by_text(self.words.like("can.over", count=1)))
        await self.look(self.page, "over")

    async def show_words(self, passphrase: str) -> str:
        """The words once more, after unlocking."""
        await self.go("keys")
        await press(self.page, self._button("keys.show"))
        await self.unlock(passphrase)
        await self.page.locator(".words .word").first.wait_for()
        await self.look(self.page, "keys")
        return " ".join(await self.page.locator(".words .word").all_inner_texts())

    async def lock(self) -> None:
        await self.go("keys")
        await press(self.page, self._button("keys.lock"))

    async def unlock(self, passphrase: str) -> None:
        """Hands over a passphrase; what comes of it, the caller looks for."""
        await type_into(self.page, self._field("unlock.passphrase"), passphrase)
        await press(self.page, self._button("unlock.open"))

    async def unlock_with_passkey(self) -> None:
        await press(self.page, self._button("unlock.passkey"))

    async def recover(self, words: str) -> None:
        """On a device that has nothing, until a passkey locks it and the record stands there."""
        await self.page.goto(self.portal)
        await press(self.page, self._link("welcome.recover"))
        await self._field("recover.words").wait_for()
        await self.look(self.page, "recover")
        await type_into(self.page, self._field("recover.words"), words)
        await press(self.page, self._button("recover.find"))
        await self._button("lock.passkey").wait_for()
        await self.look(self.page, "lock-passkey")
        await press(self.page, self._button("lock.passkey"))
        await self._heading("record.timeline").wait_for()

    async def turn_elder_mode(self) -> None:
        await switch(self.page, self.page.get_by_role("switch", name=self.words.text("top.elder")))

    async def go(self, place: str) -> None:
        """One of the main places."""
        await press(self.page, self._link(f"place.{place}"))

    def _link(self, key: str) -> Any:
        return self.page.get_by_role("link", name=self.words.text(key), exact=True)

    def _button(self, key: str, **fields: str) -> Any:
        return self.page.get_by_role("button", name=self.words.text(key, **fields), exact=True)

    def _heading(self, key: str) -> Any:
        return self.page.get_by_role("heading", name=self.words.text(key), exact=True)

    def _field(self, key: str) -> Any:
        return self.page.get_by_label(self.words.text(key), exact=True)

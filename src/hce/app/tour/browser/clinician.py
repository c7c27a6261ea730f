"""A clinician's screens. Each act ends where the page says that it is done."""

from __future__ import annotations

from typing import Any

from hce.app.tour.browser.hands import choose, press, type_day, type_into
from hce.app.tour.browser.looking import Look, glance_over
from hce.app.tour.browser.spoken import Spoken


class ClinicianScreens:
    """A clinician's browser. `look` is called with the name of each screen as it stands."""

    def __init__(self, page: Any, portal: str, words: Spoken, look: Look = glance_over) -> None:
        self.page, self.portal, self.words, self.look = page, portal, words, look

    async def sign_in(self, organisation: str, token: str, name: str) -> None:
        """At an organisation, with its gateway's token, as one of its staff; until the list of patients stands there."""
        await self.page.goto(self.portal)
        await press(self.page, self._link("welcome.clinic"))
        await self._field("signin.token").wait_for()
        await self.look(self.page, "sign-in")
        await choose(self.page, self._field("signin.organisation"), organisation)
        await type_into(self.page, self._field("signin.token"), token)
        await press(self.page, self._button("signin.go"))
        await self._heading("signin.who").wait_for()
        await self.look(self.page, "who-are-you")
        await press(self.page, self.page.get_by_role("button", name=name))
        await self._heading("desk.people").wait_for()

    async def enrol(self, code: str, name: str, born: str) -> str:
        """Takes in a patient's code and says who that is (`born`: YYYY-MM-DD); their id at the gateway."""
        await press(self.page, self._link("desk.enrol"))
        await self._field("enrol.code").wait_for()
        await self.look(self.page, "enrol")
        await type_into(self.page, self._field("enrol.code"), code)
        await press(self.page, self._button("take.read"))
        await type_into(self.page, self._field("enrol.name"), name)
        await type_day(self.page, self._field("enrol.born"), born)
        await self.look(self.page, "enrol-who")
        await press(self.page, self._button("enrol.go"))
        await self.page.get_by_role("heading", name=name).wait_for()
        await self.page.get_by_text(self.words.text("person.closed")).wait_for()
        await self.look(self.page, "person")
        return str(self.page.url).rsplit("/", 1)[-1]

    async def write_note(self, kind: str, text: str) -> str:
        """From a person's screen: writes, looks at what is signed, signs, until the page has checked that it is final. What was signed."""
        await press(self.page, self._link("note.title"))
        await press(self.page, self.page.get_by_role("radio", name=self.words.text(f"note.kind.{kind}")))
        await type_into(self.page, self._field("note.text"), text)
        await self.look(self.page, "note")
        await press(self.page, self._button("note.look"))
        signed: str = await self.page.get_by_test_id("sentence").inner_text()
        await self.look(self.page, "sign")
        await press(self.page, self._button("note.sign"))
        await self.page.get_by_text(self.words.text("receipt.checked")).wait_for()
        await self.look(self.page, "receipt")
        return signed

    async def ask(self, days: int, reason: str) -> str:
        """From a person's screen: the code of a request, which the page goes on showing until it is answered."""
        await press(self.page, self._link("ask.title"))
        await press(self.page, self.page.get_by_role("radio", name=self.words.text(f"lasts.{days}")))
        await type_into(self.page, self._field("ask.reason"), reason)
        await self.look(self.page, "ask")
        await press(self.page, self._button("ask.go"))
        await press(self.page, self.page.get_by_text(self.words.text("code.text")))
        code: str = await self.page.get_by_test_id("code").inner_text()
        await self.look(self.page, "request")
        return code

    async def open_chart(self, name: str, why: str) -> None:
        """Once the request is answered: opens the record for a reason, until it stands there."""
        await self.page.get_by_text(self.words.text("ask.given", name=name)).wait_for()
        await self.look(self.page, "answered")
        await press(self.page, self._link("chart.go"))
        await self._say_why(why)
        await self._heading("record.timeline").wait_for()
        await self.look(self.page, "chart")

    async def open_again(self, why: str) -> None:
        """From an open chart. What comes of it, the caller looks for."""
        await press(self.page, self._button("chart.again"))
        await self._say_why(why)

    async def refused(self, code: str) -> None:
        """Until the page says that the access is over, with this code, and shows nothing of the record."""
        await self.page.get_by_text(self.words.text("access.ended")).wait_for()
        await self.page.get_by_text(self.words.text("problem.code", code=code)).wait_for()
        await self._heading("record.timeline").wait_for(state="detached")
        await self.look(self.page, "refused")

    def entry(self, title: str) -> Any:
        """The line of an entry, which opens and closes it."""
        return self.page.get_by_role("button", name=title).first

    async def _say_why(self, why: str) -> None:
        await type_into(self.page, self._field("chart.why"), why)
        await self.look(self.page, "chart-why")
        await press(self.page, self._button("chart.open"))

    def _link(self, key: str) -> Any:
        return self.page.get_by_role("link", name=self.words.text(key), exact=True)

    def _button(self, key: str) -> Any:
        return self.page.get_by_role("button", name=self.words.text(key), exact=True)

    def _heading(self, key: str) -> Any:
        return self.page.get_by_role("heading", name=self.words.text(key), exact=True)

    def _field(self, key: str) -> Any:
        return self.page.get_by_label(self.words.text(key), exact=True)

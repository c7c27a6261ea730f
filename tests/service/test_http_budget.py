"""Memory for bodies: bounded together, and shared so that no address takes what is left for others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from hce.service.http import BodyBudget, TooManyBodies, TooMuchFromAddress

BUDGET = 1_200


class Sending:
    """A request of an address whose body came in one piece and that is being worked on."""

    def __init__(self, budget: BodyBudget, address: str, size: int) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": bytes(size), "more_body": False}

        self.scope: dict[str, Any] = {"type": "http", "method": "POST", "headers": [], "client": (address, 1)}
        self._budget = budget
        try:
            asyncio.run(budget.read(Request(self.scope, receive), BUDGET * 2))
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        self._budget.release(self.scope)


def held(budget: BodyBudget, address: str) -> int:
    """What an address gets, byte by byte, until it is told no."""
    for size in range(BUDGET):
        try:
            Sending(budget, address, 1)
        except TooMuchFromAddress:
            return size
    raise AssertionError("never told no")


def test_an_address_holds_as_much_as_is_free_and_so_much_stays_free() -> None:
    budget = BodyBudget(BUDGET, 1.0)
    taken = [held(budget, f"10.0.0.{number}") for number in range(5)]
    assert taken == [600, 300, 150, 75, 37]
    assert held(budget, "10.0.0.9") > 0, "there is room for one more"
    with pytest.raises(TooMuchFromAddress):
        Sending(budget, "10.0.0.0", 1)


def test_what_is_over_is_free_again() -> None:
    budget = BodyBudget(BUDGET, 1.0)
    sent = [Sending(budget, "10.0.0.1", 100) for _ in range(6)]
    with pytest.raises(TooMuchFromAddress):
        Sending(budget, "10.0.0.1", 100)
    for one in sent:
        one.end()
    assert held(budget, "10.0.0.2") == BUDGET // 2


def test_more_than_there_is_at_all_is_named_so() -> None:
    budget = BodyBudget(BUDGET, 1.0)
    Sending(budget, "10.0.0.1", BUDGET // 2)
    Sending(budget, "10.0.0.2", BUDGET // 4)
    with pytest.raises(TooManyBodies):
        Sending(budget, "10.0.0.3", BUDGET // 2)

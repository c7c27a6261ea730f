"""The gateway process goes on through whatever comes from outside and stops when its own disk fails."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from hce.app.gateway import for_ever, until_stopped, when_reachable
from hce.foundation.types.errors import Corrupt, Refused, Unavailable
from hce.service.sdk.errors import NodeUnreachable, NotFinalInTime
from hce.service.sdk.light import HeaderTooOld


@pytest.mark.parametrize("failure", [Unavailable(), KeyError("answer"), ValueError(), ConnectionError()])
async def test_whatever_comes_from_outside_is_logged_and_the_work_goes_on(failure: Exception) -> None:
    turns = 0
    stopping = asyncio.Event()

    async def act() -> None:
        nonlocal turns
        turns += 1
        if turns == 3:
            stopping.set()
        raise failure

    await until_stopped(stopping, for_ever(act, 0))
    assert turns >= 3


async def test_a_gateway_waits_for_nodes_that_start_later_and_for_nothing_else() -> None:
    answers: list[Exception | None] = [NodeUnreachable("node 0"), HeaderTooOld(), NotFinalInTime(), None]

    async def act() -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    await when_reachable(act, 0)
    assert answers == []
    answers = [Refused("no tank")]
    with pytest.raises(Refused):
        await when_reachable(act, 0)


@pytest.mark.parametrize("failure", [sqlite3.OperationalError("disk I/O error"), Corrupt()])
async def test_a_broken_index_ends_the_process(failure: Exception) -> None:
    async def act() -> None:
        raise failure

    with pytest.raises(type(failure)):
        await until_stopped(asyncio.Event(), for_ever(act, 0), asyncio.sleep(60))

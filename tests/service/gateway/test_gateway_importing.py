"""A Bundle becomes records once, whoever stops it in between, and only by an author who is certified."""

from __future__ import annotations

from tests.service.running import bundle_of

from hce.service.gateway.importing import Event, Finished, import_bundle
from hce.service.gateway.practice import Practice


async def imported(practice: Practice, bundle: bytes, **options: bytes | str) -> list[Event]:
    return [event async for event in import_bundle(practice, bundle, **options)]


def finished(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


async def test_the_same_bundle_is_written_once(practice: Practice) -> None:
    bundle = bundle_of("once", ["a", "b"])
    assert len(finished(await imported(practice, bundle)).records) == 3
    assert finished(await imported(practice, bundle)).records == []

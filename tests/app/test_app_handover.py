"""What a gateway says about an import is compared with what it was sent; a file that cannot be unpacked is named."""

from __future__ import annotations

import errno
import gzip
import io
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hce.app.gateway_client import GatewayBadAnswer, GatewayClient
from hce.app.handover import sending
from hce.app.handover.files import Files, find_sources
from hce.app.handover.sending import Outcome, outcome_of, send_all
from hce.app.preflight import free_ports
from hce.app.serving import serving
from hce.service.fhir.scan import Found, Passed
from hce.service.fhir.sorting import sort_out

Event = dict[str, Any]
PLANNED = {"event": "planned", "patient_id": "p", "label": "Ann", "custodial": True, "records": 1, "shared": 0, "amended": 0}
PATIENT = {"resourceType": "Patient", "id": "ann", "identifier": [{"system": "urn:s", "value": "1"}]}
OBSERVATION = {"resourceType": "Observation", "subject": {"reference": "Patient/ann"}}


def told(written: int, already: int, *problems: int) -> list[Event]:
    """What a gateway says that wrote so many, had so many, and refused the entries at these places."""
    refused = [{"event": "problem", "index": index, "type": "", "code": "fhir.invalid", "detail": ""} for index in problems]
    planned = {**PLANNED, "resources": written, "already_written": already}
    progress = {"event": "progress", "records_done": 1, "records_total": 1, "resources_done": written}
    finished = {"event": "finished", "patient_id": "p", "records": ["00"], "resources": written, "problems": len(problems)}
    return [*refused, planned, *([progress] if written else []), finished]


@asynccontextmanager
async def gateway(*answers: Sequence[Event] | bytes) -> AsyncIterator[GatewayClient]:
    """Something that says these things, one answer after another, whatever it is sent."""
    left = list(answers)

    async def say(request: Request) -> Response:
        await request.body()
        answer = left.pop(0) if len(left) > 1 else left[0]
        return Response(answer if isinstance(answer, bytes) else b"".join(json.dumps(event).encode() + b"\n" for event in answer))

    async def nobody(request: Request) -> Response:
        return JSONResponse([])

    (port,) = free_ports(1)
    app = Starlette(routes=[Route("/v1/import", say, methods=["POST"]), Route("/v1/patients", nobody)])
    async with serving(app, port), GatewayClient(f"http://127.0.0.1:{port}", "token") as client:
        yield client


async def outcome(client: GatewayClient, folder: Path, *resources: dict[str, Any]) -> Outcome:
    for number, resource in enumerate(resources):
        (folder / f"{number}.json").write_bytes(json.dumps(resource).encode())
    sources, aside = find_sources([folder])
    with Files(sources) as files:
        found = [one for number in range(len(sources)) for one in files.look_through(number, "") if isinstance(one, Found)]
        result = sort_out(found)
        sent = await send_all(client, files, result.groups, "", lambda *_: None)
        return outcome_of(files, aside, result.groups, result.passed, result.repeated, sent)


RESOURCES = (PATIENT, {**OBSERVATION, "id": "a"}, {**OBSERVATION, "id": "b"})


async def test_what_the_gateway_says_adds_up_to_what_it_was_sent(tmp_path: Path) -> None:
    async with gateway(told(1, 1, 2)) as client:
        got = await outcome(client, tmp_path, *RESOURCES)
    assert (got.resources, got.already, got.refused, got.failed) == (1, 1, {"fhir.invalid": 1}, 0)


@pytest.mark.parametrize(
    "said", [told(1, 1), told(2, 2), told(0, 2), [event for event in told(1, 2) if event["event"] != "planned"]]
)
async def test_a_gateway_that_dropped_something_is_noticed(said: list[Event], tmp_path: Path) -> None:
    async with gateway(said) as client:
        got = await outcome(client, tmp_path, *RESOURCES)
    assert (got.already, got.failed) == (0, 1)
    assert set(got.refused) == {"import.unaccounted"}
    assert got.resources + got.already + got.problems == 3


async def test_what_only_a_later_part_fails_on_was_there_already(tmp_path: Path) -> None:
    """Two versions of one resource go in two parts; of the first part the gateway has all."""
    changed = {**OBSERVATION, "id": "a", "status": "final"}
    async with gateway(told(0, 2), told(0, 0)) as client:
        got = await outcome(client, tmp_path, PATIENT, {**OBSERVATION, "id": "a"}, changed)
    assert (got.resources, got.already, got.refused) == (0, 2, {"import.unaccounted": 1})


@pytest.mark.parametrize("said", [told(1, 2)[:-1], [], b"not json\n", b"[]\n", b"{}\n"])
async def test_an_import_that_is_not_said_to_be_finished_is_not(said: Sequence[Event] | bytes) -> None:
    async with gateway(said) as client:
        with pytest.raises(GatewayBadAnswer):
            [event async for event in client.import_bundle(b"{}")]


async def test_an_import_without_its_end_is_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PAUSE_S", 0.0)
    async with gateway(told(1, 2)[:-1], told(0, 3)) as client:
        got = await outcome(client, tmp_path, *RESOURCES)
    assert (got.resources, got.already, got.failed) == (1, 2, 0)


def test_a_packed_file_for_which_there_is_no_room_is_named_and_leaves_none_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, piece: Any) -> int:
            super().write(piece)
            raise OSError(errno.ENOSPC, "No space left on device")

    spool = Full()
    monkeypatch.setattr("hce.app.handover.files.tempfile.TemporaryFile", lambda: spool)
    (tmp_path / "f.json.gz").write_bytes(gzip.compress(json.dumps(PATIENT).encode()))
    sources, _ = find_sources([tmp_path])
    with Files(sources) as files:
        (passed,) = files.look_through(0, "")
        assert spool.getvalue() == b""
    assert isinstance(passed, Passed)
    assert (passed.code, passed.detail) == ("import.unreadable", "No space left on device")

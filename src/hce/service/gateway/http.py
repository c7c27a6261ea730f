"""The gateway's HTTP face for its own staff and software. Loopback and a bearer token; JSON, ids in hex, contents in base64.

Every path but /v1/status, /v1/welcome and /v1/claims needs the token. An import and a signature answer with one JSON line for each event,
so that a caller sees progress.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.types.errors import HceError, Malformed, Refused
from hce.service.fhir.bundle import MAX_BUNDLE_BYTES, Entry
from hce.service.fhir.gate import default_gate
from hce.service.fhir.identity import identify
from hce.service.gateway import granted
from hce.service.gateway.claiming import Claims
from hce.service.gateway.claims_http import ClaimsFace
from hce.service.gateway.granted import MAX_WISH_CHARS, MAX_WISH_DAYS, Wish
from hce.service.gateway.importing import Event, import_bundle, import_directory
from hce.service.gateway.metrics import GatewayMeters, families
from hce.service.gateway.notes import MAX_NOTE_BYTES, Drafts, NoteEvent, draft_note, sign_note
from hce.service.gateway.people import absolute_names, identity_of
from hce.service.gateway.practice import OWN_ACCOUNT, Practice
from hce.service.gateway.welcome import Welcome
from hce.service.http import EXCEPTION_HANDLERS, Handler, problem_body, read_body, read_json, surprise_read_by
from hce.service.metering import CountRequests, answer, counted_route
from hce.service.sdk.reader import ReadResult
from hce.service.terms.grants import Purpose, SignedCard, SignedToken
from hce.service.terms.states import key_credential

MAX_REQUEST_BYTES = 1 << 20
"""Any request but a Bundle."""
Hex32 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
HexBytes = Annotated[str, Meta(pattern=r"\A([0-9a-f]{2})*\Z", max_length=32_768)]


class Unauthorised(Refused):
    """The bearer token is missing or wrong."""

    code = "gateway.unauthorised"
    status = 401


class ForeignPage(Refused):
    """A page of another origin than the portal's asks for what needs no token."""

    code = "gateway.foreign_page"
    status = 403


class OpenCompartment(Struct, frozen=True, forbid_unknown_fields=True):
    owner_digest: Hex32
    recovery_digest: Hex32


class Enrol(Struct, frozen=True, forbid_unknown_fields=True):
    patient: dict[str, Any]
    """FHIR Patient resource."""
    token: HexBytes
    """DAG-CBOR of a SignedToken."""
    card: HexBytes = ""
    """DAG-CBOR of a SignedCard; without it the one the person published."""


class AskAccess(Struct, frozen=True, forbid_unknown_fields=True):
    credential_id: Hex32
    purpose: Purpose
    date_from: str
    date_to: str
    mode: Literal["read", "read-write"] = "read"
    patient_id: Annotated[str, Meta(max_length=64)] = ""
    lasts_days: Annotated[int, Meta(ge=0, le=MAX_WISH_DAYS)] = 0
    reason: Annotated[str, Meta(max_length=MAX_WISH_CHARS)] = ""


class WriteNote(Struct, frozen=True, forbid_unknown_fields=True):
    credential_id: Hex32
    patient_id: Annotated[str, Meta(max_length=64)]
    content: Annotated[bytes, Meta(max_length=MAX_NOTE_BYTES)]
    """Base64 of the FHIR resource's exact bytes."""


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """The path says it all."""


class ReadRecords(Struct, frozen=True, forbid_unknown_fields=True):
    reason: str
    records: Annotated[list[Hex32], Meta(max_length=1_000)] = []
    """All that are granted when empty."""


def make_app(
    practice: Practice,
    token: SecretBytes,
    staff_of: Callable[[], dict[str, Any]],
    portal: str | None = None,
    welcomes_per_hour: int = 0,
) -> Starlette:
    """The ASGI app of one gateway. `staff_of` gives the public part of its settings for /v1/status.

    `portal`: the one origin whose pages may ask. There are no cookies: what needs the token needs it from a page too.
    """
    meters = GatewayMeters()
    face = _Face(practice, staff_of, meters, Welcome(practice, welcomes_per_hour))
    cards = ClaimsFace(Claims(practice))
    unguarded: list[tuple[str, str, Handler]] = [
        ("/v1/status", "GET", face.status),
        ("/v1/welcome", "POST", _of_our_pages(face.welcome, portal)),
        ("/v1/claims", "POST", _of_our_pages(cards.claim, portal)),
        ("/v1/claims/finish", "POST", _of_our_pages(cards.finish, portal)),
    ]
    guarded: list[tuple[str, str, Handler]] = [
        ("/v1/staff", "GET", face.staff),
        ("/v1/compartments", "POST", face.open_compartment),
        ("/v1/patients", "GET", face.patients),
        ("/v1/patients", "POST", face.enrol),
        ("/v1/patients/{patient_id}/claim-card", "POST", cards.print_card),
        ("/v1/import", "POST", face.import_bundle),
        ("/v1/access-requests", "POST", face.ask),
        ("/v1/access-requests", "GET", face.requests),
        ("/v1/grants", "GET", face.grants),
        ("/v1/grants/collect", "POST", face.collect),
        ("/v1/grants/{grant_id}/read", "POST", face.read),
        ("/v1/notes", "POST", face.draft),
        ("/v1/notes/{note_id}/sign", "POST", face.sign),
        ("/metrics", "GET", face.metrics),
    ]
    routes = [counted_route(method, path, _guard(handler, token)) for path, method, handler in guarded]
    return Starlette(
        routes=[*(counted_route(method, path, handler) for path, method, handler in unguarded), *routes],
        middleware=[Middleware(CountRequests, requests=meters.requests), *_pages_of(portal)],
        exception_handlers=EXCEPTION_HANDLERS | ({} if portal is None else {Exception: surprise_read_by(portal)}),
    )


def _pages_of(portal: str | None) -> list[Middleware]:
    if portal is None:
        return []
    headers = ["authorization", "content-type"]
    return [Middleware(CORSMiddleware, allow_origins=[portal], allow_methods=["GET", "POST"], allow_headers=headers)]


def _of_our_pages(handler: Handler, portal: str | None) -> Handler:
    """What costs something and needs no token. A browser sends it for any page it is on, and tells whose page that is; without that word
    CORS would keep the answer from the page and not the deed from us. What is no browser says nothing and gains nothing."""

    async def guarded(request: Request) -> Response:
        if request.headers.get("origin", portal) != portal:
            raise ForeignPage
        return await handler(request)

    return guarded


def _guard(handler: Handler, token: SecretBytes) -> Handler:
    expected = b"Bearer " + token.reveal()

    async def guarded(request: Request) -> Response:
        given = request.headers.get("authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, expected):
            raise Unauthorised
        return await handler(request)

    return guarded


class _Face:
    """One method for each path."""

    def __init__(self, practice: Practice, staff_of: Callable[[], dict[str, Any]], meters: GatewayMeters, welcome: Welcome) -> None:
        self._practice = practice
        self._settings = staff_of
        self._meters = meters
        self._welcome = welcome
        self._drafts = Drafts()

    async def status(self, request: Request) -> Response:
        practice = self._practice
        return JSONResponse({"org_id": practice.org_id.hex(), "height": practice.network.light.height, **self._settings()})

    async def metrics(self, request: Request) -> Response:
        return answer(families(self._meters, self._practice))

    async def staff(self, request: Request) -> Response:
        practice = self._practice
        people = [person for person in practice.keyring.clinicians() if person.credential_id is not None]
        reader = await practice.network.reader(*(key_credential(person.credential_id or b"") for person in people))
        listed = []
        for person in people:
            state = reader.credential(person.credential_id or b"")
            powers = state.body.powers if state is not None and state.revoked_height is None else []
            listed.append({"name": person.name, "credential_id": (person.credential_id or b"").hex(), "powers": powers})
        return JSONResponse(listed)

    async def welcome(self, request: Request) -> Response:
        asked = await read_json(request, OpenCompartment, MAX_REQUEST_BYTES)
        name = await self._welcome.open(bytes.fromhex(asked.owner_digest), bytes.fromhex(asked.recovery_digest))
        return JSONResponse({"compartment_id": name.hex()})

    async def open_compartment(self, request: Request) -> Response:
        asked = await read_json(request, OpenCompartment, MAX_REQUEST_BYTES)
        name = await self._practice.open_compartment(bytes.fromhex(asked.owner_digest), bytes.fromhex(asked.recovery_digest))
        return JSONResponse({"compartment_id": name.hex()})

    async def patients(self, request: Request) -> Response:
        listed = [
            {
                "patient_id": patient.patient_id,
                "label": patient.label,
                "custodial": patient.custodial_id is not None,
                "compartment_id": patient.compartment_id.hex(),
                "called": absolute_names(identity_of(patient)),
                "records": len(self._practice.index.written(patient.patient_id)),
            }
            for patient in self._practice.people()
        ]
        return JSONResponse(listed)

    async def enrol(self, request: Request) -> Response:
        asked = await read_json(request, Enrol, MAX_REQUEST_BYTES)
        if asked.patient.get("resourceType") != "Patient":
            raise Malformed("not a FHIR Patient")
        fault = default_gate().fault_of(asked.patient)
        if fault is not None:
            raise Malformed(f"{fault.path or '/'}: {fault.reason}")
        entry = Entry(0, "Patient", str(asked.patient.get("id", "")), "", b"", asked.patient)
        card = decode_as(SignedCard, bytes.fromhex(asked.card)) if asked.card else None
        token = decode_as(SignedToken, bytes.fromhex(asked.token))
        patient = await self._practice.enrol(identify(entry), card, token)
        return JSONResponse({"patient_id": patient.patient_id})

    async def import_bundle(self, request: Request) -> Response:
        bundle = await read_body(request, MAX_BUNDLE_BYTES)
        author = _hex(request, "author")
        patient_id = request.query_params.get("patient_id")
        about = request.query_params.get("about")
        if about not in (None, OWN_ACCOUNT):
            raise Malformed("about is organisation or left out")
        if about == OWN_ACCOUNT:
            events = import_directory(self._practice, bundle, author)
        else:
            events = import_bundle(self._practice, bundle, author, patient_id)
        first = await anext(events)
        return StreamingResponse(_lines(first, events), media_type="application/x-ndjson")

    async def ask(self, request: Request) -> Response:
        asked = await read_json(request, AskAccess, MAX_REQUEST_BYTES)
        wish = Wish(asked.patient_id, asked.lasts_days, asked.reason)
        made = await granted.ask(
            self._practice, bytes.fromhex(asked.credential_id), asked.purpose, asked.mode, asked.date_from, asked.date_to, wish
        )
        return JSONResponse({"request": encode(made).hex()})

    async def requests(self, request: Request) -> Response:
        return JSONResponse(msgspec.to_builtins(granted.made_requests(self._practice)))

    async def grants(self, request: Request) -> Response:
        return JSONResponse(msgspec.to_builtins(await granted.held_grants(self._practice)))

    async def collect(self, request: Request) -> Response:
        found = await granted.collect(self._practice)
        return JSONResponse({"grants": found.grants, "refused": found.refused})

    async def read(self, request: Request) -> Response:
        asked = await read_json(request, ReadRecords, MAX_REQUEST_BYTES)
        grant_id = _hex_in_path(request, "grant_id")
        names = [bytes.fromhex(name) for name in asked.records]
        return JSONResponse(_shown(await granted.read(self._practice, grant_id, names, asked.reason)))

    async def draft(self, request: Request) -> Response:
        asked = await read_json(request, WriteNote, MAX_REQUEST_BYTES)
        made = await draft_note(self._practice, self._drafts, asked.patient_id, bytes.fromhex(asked.credential_id), asked.content)
        told = {
            "note_id": made.note_id.hex(),
            "message": made.sealed.message.hex(),
            "kind": made.kind,
            "date": made.day,
            "amends": None if made.amends is None else made.amends.hex(),
            "gone_at_ms": made.gone_ms,
        }
        return JSONResponse(told)

    async def sign(self, request: Request) -> Response:
        await read_json(request, Nothing, MAX_REQUEST_BYTES)
        events = sign_note(self._practice, self._drafts, _hex_in_path(request, "note_id"))
        first = await anext(events)
        return StreamingResponse(_lines(first, events), media_type="application/x-ndjson")


def _shown(result: ReadResult) -> dict[str, Any]:
    return {
        "entry_ids": [name.hex() for name in result.entry_ids],
        "lying_nodes": list(result.lying_nodes),
        "refused": {name.hex(): error.code for name, error in result.refused.items()},
        "records": [
            {
                "record_id": record.record_id.hex(),
                "kind": record.kind,
                "date": record.date,
                "author": record.author.body.name,
                "author_key": record.author.body.person_key.hex(),
                "org_id": record.author.body.org_id.hex(),
                "amends": [parent.hex() for parent in record.manifest.parents],
                "items": [
                    {
                        "name": item.name,
                        "media_type": item.media_type,
                        "content": base64.b64encode(item.content).decode("ascii"),
                    }
                    for item in record.manifest.items
                ],
            }
            for record in sorted(result.opened.values(), key=lambda record: (record.date, record.record_id))
        ],
    }


T_Event = TypeVar("T_Event", Event, NoteEvent)


async def _lines(first: T_Event, rest: AsyncGenerator[T_Event, None]) -> AsyncIterator[bytes]:
    """One JSON line an event; a refusal in the middle becomes the last line, for the status line is already gone."""
    async with aclosing(rest):
        yield msgspec.json.encode(first) + b"\n"
        try:
            async for event in rest:
                yield msgspec.json.encode(event) + b"\n"
        except HceError as error:
            yield json.dumps({"event": "failed", **problem_body(error)}).encode() + b"\n"


def _hex(request: Request, name: str) -> bytes | None:
    raw = request.query_params.get(name)
    if raw is None:
        return None
    try:
        return bytes.fromhex(raw)
    except ValueError as error:
        raise Malformed(f"{name} is not hex") from error


def _hex_in_path(request: Request, name: str) -> bytes:
    try:
        return bytes.fromhex(request.path_params[name])
    except ValueError as error:
        raise Malformed(f"{name} is not hex") from error

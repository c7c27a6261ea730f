"""The gateway's paths for cards: printing one is for the staff, using one for whoever holds it.

Claims travel as JSON with DAG-CBOR in hex inside, like tokens and cards do: what is signed are the bytes.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.service.gateway.claiming import CARD_DAYS, MAX_CARD_DAYS, Claims
from hce.service.http import read_json
from hce.service.terms.claims import ClaimFinish, SignedClaim

MAX_CLAIM_BYTES = 64 << 10
"""Of JSON: a finish carries a handover of up to 4 KiB and a card of 3 KiB, in hex."""


class PrintCard(Struct, frozen=True, forbid_unknown_fields=True):
    days: Annotated[int, Meta(ge=1, le=MAX_CARD_DAYS)] = CARD_DAYS


class Signed(Struct, frozen=True, forbid_unknown_fields=True):
    """DAG-CBOR, in hex."""

    signed: Annotated[str, Meta(pattern=r"\A([0-9a-f]{2})+\Z", max_length=MAX_CLAIM_BYTES)]


class ClaimsFace:
    """One method for each path."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims

    async def print_card(self, request: Request) -> Response:
        asked = await read_json(request, PrintCard, MAX_CLAIM_BYTES)
        printed = await self._claims.print_card(request.path_params["patient_id"], asked.days)
        return JSONResponse(msgspec.to_builtins(printed))

    async def claim(self, request: Request) -> Response:
        asked = await read_json(request, Signed, MAX_CLAIM_BYTES)
        answer = await self._claims.claim(decode_as(SignedClaim, bytes.fromhex(asked.signed)))
        return JSONResponse({"answer": encode(answer).hex()})

    async def finish(self, request: Request) -> Response:
        asked = await read_json(request, Signed, MAX_CLAIM_BYTES)
        await self._claims.finish(decode_as(ClaimFinish, bytes.fromhex(asked.signed)))
        return JSONResponse({})

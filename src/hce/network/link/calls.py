"""Requests and responses of one connection: many at once in both directions, each with a bound, a deadline and a coded error.

No reader ever waits for room to answer (two readers that wait for each other would stop both): handlers answer in tasks of their
own, whose number is bounded, and a request beyond that bound is answered "busy" if there is room and dropped if there is none.
A peer that asks and does not read holds a bounded number of bytes here: the outbox, and the answers that wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

from hce.foundation.types.errors import HceError, Malformed, Refused, TooLarge
from hce.network.link.errors import AnswerLate, FrameInvalid, LinkBusy, LinkDown, MethodUnknown, RequestFailed
from hce.network.link.frames import MAX_BODY_BYTES, FrameKind
from hce.network.link.messages import (
    MAX_DETAIL_CHARS,
    MAX_REQUEST_ID,
    ErrorAnswer,
    Request,
    Response,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from hce.network.link.outbox import Outbox

log = logging.getLogger(__name__)

PEER_IS_WRONG = (Malformed, TooLarge)
"""What a request shows about whoever sent it: no working node asks like that, and reading it cost us time."""

Handler = Callable[[int, bytes], Awaitable[bytes]]
"""`await handler(peer, body)` gives the answer; an `HceError` it raises reaches the caller as its code."""


class Method(Struct, frozen=True):
    """What is served under one name."""

    handler: Handler
    max_request_bytes: int


class CallLimits(Struct, frozen=True):
    asked: int = 64
    """Requests of ours under way to one peer; more wait their turn within their own deadline."""
    served: int = 64
    """Requests of one peer under way here."""
    served_bytes: int = 64 * 1024 * 1024
    """Bodies of those, together."""
    waiting_bytes: int = 24 * 1024 * 1024
    """Finished answers that wait for room in the outbox, together, because the peer reads slowly; more of them become "busy"."""


class Calls:
    """Both directions of one connection."""

    def __init__(
        self,
        peer: int,
        methods: Mapping[str, Method],
        outbox: Outbox,
        wake: Callable[[], None],
        blame: Callable[[HceError], None],
        limits: CallLimits,
    ) -> None:
        """`wake` is called after something was put into the outbox, `blame` for a request that no working node sends."""
        self._peer = peer
        self._methods = methods
        self._outbox = outbox
        self._wake = wake
        self._blame = blame
        self._limits = limits
        self._room = asyncio.Event()
        self._turn = asyncio.Semaphore(limits.asked)
        self._asked: dict[int, tuple[asyncio.Future[bytes], int]] = {}
        self._last_id = 0
        self._served: set[asyncio.Task[None]] = set()
        self._served_bytes = 0
        self._waiting_bytes = 0
        self._closed = False

    async def request(self, method: str, body: bytes, timeout_s: float, max_response_bytes: int) -> bytes:
        """`LinkDown`, `LinkBusy`, `AnswerLate`, `RequestFailed`, `TooLarge`."""
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge("request", method=method, actual_bytes=len(body), max_bytes=MAX_BODY_BYTES)
        asked = False
        try:
            async with asyncio.timeout(timeout_s), self._turn:
                asked = True
                return await self._ask(method, body, max_response_bytes)
        except TimeoutError:
            raise (AnswerLate if asked else LinkBusy)(method=method, peer=self._peer, timeout_s=timeout_s) from None

    async def _ask(self, method: str, body: bytes, max_response_bytes: int) -> bytes:
        self._require_open()
        name = self._last_id = self._last_id % MAX_REQUEST_ID + 1
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[name] = (answer, max_response_bytes)
        try:
            await self._send(FrameKind.REQUEST, encode_request(Request(name, method, body)))
            return await answer
        finally:
            del self._asked[name]

    def on_response(self, raw: bytes) -> None:
        """`FrameInvalid`. An answer nobody waits for any more is dropped."""
        response = decode_response(raw)
        answer, max_bytes = self._asked.get(response.id, (None, 0))
        if answer is None or answer.done():
            return
        if isinstance(response.outcome, ErrorAnswer):
            answer.set_exception(RequestFailed(response.outcome.code, response.outcome.detail, self._peer))
        elif len(response.outcome) > max_bytes:
            answer.set_exception(RequestFailed(TooLarge.code, "longer than asked for", self._peer))
            raise FrameInvalid("answer longer than asked for", actual_bytes=len(response.outcome), max_bytes=max_bytes)
        else:
            answer.set_result(response.outcome)

    def on_request(self, raw: bytes) -> None:
        """`FrameInvalid`. Never waits."""
        request = decode_request(raw)
        limits = self._limits
        full = len(self._served) >= limits.served or self._served_bytes + len(raw) > limits.served_bytes
        if (full or self._waiting_bytes >= limits.waiting_bytes) and self._served:
            if self._outbox.calls.has_room():
                self._put(FrameKind.RESPONSE, encode_response(Response(request.id, ErrorAnswer(LinkBusy.code, ""))))
            return
        task = asyncio.create_task(self._serve(request))
        self._served.add(task)
        self._served_bytes += len(request.body)
        task.add_done_callback(lambda done: self._finished(done, len(request.body)))

    def _finished(self, task: asyncio.Task[None], size: int) -> None:
        self._served.discard(task)
        self._served_bytes -= size

    async def _serve(self, request: Request) -> None:
        response = encode_response(Response(request.id, await self._answer(request)))
        if self._waiting_bytes + len(response) > self._limits.waiting_bytes and not self._outbox.calls.has_room():
            response = encode_response(Response(request.id, ErrorAnswer(LinkBusy.code, "")))
        self._waiting_bytes += len(response)
        try:
            await self._send(FrameKind.RESPONSE, response)
        finally:
            self._waiting_bytes -= len(response)

    async def _answer(self, request: Request) -> bytes | ErrorAnswer:
        try:
            method = self._methods.get(request.method)
            if method is None:
                raise MethodUnknown(method=request.method)
            if len(request.body) > method.max_request_bytes:
                raise TooLarge(request.method, actual_bytes=len(request.body), max_bytes=method.max_request_bytes)
            answer = await method.handler(self._peer, request.body)
        except HceError as error:
            if isinstance(error, PEER_IS_WRONG):
                self._blame(error)
            return ErrorAnswer(error.code, error.detail[:MAX_DETAIL_CHARS] if isinstance(error, Refused) else "")
        except Exception:
            log.exception("serving %s to node %d", request.method, self._peer)
            return ErrorAnswer(HceError.code, "")
        if len(answer) > MAX_BODY_BYTES:
            log.error("the answer of %s to node %d has %d bytes", request.method, self._peer, len(answer))
            return ErrorAnswer(TooLarge.code, "answer")
        return answer

    async def _send(self, kind: FrameKind, payload: bytes) -> None:
        """Calls are never dropped: wait for room."""
        while not self._outbox.calls.has_room():
            self._room.clear()
            await self._room.wait()
        self._require_open()
        self._put(kind, payload)

    def _put(self, kind: FrameKind, payload: bytes) -> None:
        self._outbox.add(kind, payload)
        self._wake()

    def sent(self) -> None:
        """The connection took something out of the outbox."""
        self._room.set()

    def close(self) -> None:
        """Whoever waits hears `LinkDown`; whatever is being served is cancelled."""
        self._closed = True
        for answer, _ in self._asked.values():
            if not answer.done():
                answer.set_exception(LinkDown(peer=self._peer))
        for task in self._served:
            task.cancel()
        self._room.set()

    def _require_open(self) -> None:
        if self._closed:
            raise LinkDown(peer=self._peer)

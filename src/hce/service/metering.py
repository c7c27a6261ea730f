"""Counting, and the page Prometheus reads (text exposition format 0.0.4): what node and gateway share.

Labels are bounded on purpose. A label holds a route, a status, an error code, a peer's index or a fixed word, never an id of a person, a
record or a grant: a metrics page is read by machines that have no business knowing any. A code may come from another machine, so
a counter takes only what looks like a code, and only so many of them.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hce.service.http import BODIES, CODE_KEY, ROUTE_KEY, Handler

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_SERIES = 300
"""Different labels one counter takes; more are counted together as OTHER."""
OTHER = "other"
_LABEL = re.compile(r"[A-Za-z0-9_./{}-]{1,64}")
UNMATCHED = "none"
"""Route of a request for a path that is not served."""

Labels = tuple[str, ...]


class Counter:
    """Counts by labels, from any thread."""

    def __init__(self, max_series: int = MAX_SERIES) -> None:
        self._max_series = max_series
        self._counts: dict[Labels, int] = {}
        self._changing = threading.Lock()

    def add(self, *labels: str, count: int = 1) -> None:
        clean = tuple(label if _LABEL.fullmatch(label) else OTHER for label in labels)
        with self._changing:
            if clean not in self._counts and len(self._counts) >= self._max_series:
                clean = (OTHER,) * len(labels)
            self._counts[clean] = self._counts.get(clean, 0) + count

    @property
    def counts(self) -> dict[Labels, int]:
        with self._changing:
            return dict(self._counts)


class Histogram:
    """How many observations were at most so large. Bounds ascending; used from one thread."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.below = [0] * len(bounds)
        """Of each bound, observations at most as large: cumulative, as the format wants it."""
        self.count = 0
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.count += 1
        self.total += value
        for place, bound in enumerate(self.bounds):
            if value <= bound:
                self.below[place] += 1


class Family(Struct, frozen=True):
    """One metric with all its samples: (suffix of the name, labels, value)."""

    name: str
    kind: str
    """gauge | counter | histogram"""
    help: str
    samples: list[tuple[str, dict[str, str], float]]


def gauge(name: str, help_: str, value: float) -> Family:
    return Family(name, "gauge", help_, [("", {}, value)])


def gauges(name: str, help_: str, label: str, values: Mapping[str, float]) -> Family:
    """One sample for each value of a label."""
    return Family(name, "gauge", help_, [("", {label: key}, value) for key, value in values.items()])


def total(name: str, help_: str, value: float) -> Family:
    return Family(name, "counter", help_, [("", {}, value)])


def totals(name: str, help_: str, labels: Sequence[str], counter: Counter) -> Family:
    samples = [("", dict(zip(labels, found, strict=True)), float(count)) for found, count in sorted(counter.counts.items())]
    return Family(name, "counter", help_, samples)


def histogram(name: str, help_: str, observed: Histogram) -> Family:
    buckets = [
        ("_bucket", {"le": f"{bound:g}"}, float(below)) for bound, below in zip(observed.bounds, observed.below, strict=True)
    ]
    buckets.append(("_bucket", {"le": "+Inf"}, float(observed.count)))
    return Family(name, "histogram", help_, [*buckets, ("_sum", {}, observed.total), ("_count", {}, float(observed.count))])


def page(families: Iterable[Family]) -> str:
    """The text Prometheus reads. Labels need no escaping: they are routes, numbers, codes and fixed words."""
    lines: list[str] = []
    for family in families:
        lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
        lines += [f"{family.name}{suffix}{_shown(labels)} {value:.17g}" for suffix, labels, value in family.samples]
    return "\n".join(lines) + "\n"


def answer(families: Iterable[Family]) -> Response:
    return Response(page(families), headers={"content-type": CONTENT_TYPE})


def _shown(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}" if labels else ""


class Requests:
    """What was asked of this process and what it answered."""

    def __init__(self) -> None:
        self.answered = Counter()
        """(route, status)"""
        self.refused = Counter()
        """(code,): of whole requests, and of single transactions in a list."""

    def families(self) -> list[Family]:
        return [
            totals("hce_http_requests_total", "Requests answered.", ("route", "status"), self.answered),
            totals("hce_refused_total", "Requests and single transactions refused.", ("code",), self.refused),
        ]


def counted_route(method: str, path: str, handler: Handler) -> Route:
    """A route whose path, with its {names}, is the label of its requests."""

    async def handle(request: Request) -> Response:
        request.scope[ROUTE_KEY] = path
        return await handler(request)

    return Route(path, handle, methods=[method])


class CountRequests:
    """ASGI middleware: counts every answer of the app behind it, and gives back what its body took of the budget."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            BODIES.release(scope)
            self._requests.answered.add(scope.get(ROUTE_KEY, UNMATCHED), str(status))
            if CODE_KEY in scope:
                self._requests.refused.add(scope[CODE_KEY])


def rss_anon_bytes() -> int:
    """Memory of this process that is not a mapped file; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:")), 0)


def process_families(version: str, uptime_s: float) -> list[Family]:
    """What every process says of itself."""
    return [
        Family("hce_build_info", "gauge", "Version of the program.", [("", {"version": version}, 1.0)]),
        gauge("hce_uptime_seconds", "Time since this process started.", uptime_s),
        gauge("hce_memory_anonymous_bytes", "RssAnon: memory of this process that is not a mapped file.", rss_anon_bytes()),
    ]

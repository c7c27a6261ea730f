"""The metrics page: names as documented, counts that move, nobody's id in it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from tests.service.running import OneNode

from hce import VERSION
from hce.foundation.types.errors import HceError, NotFound
from hce.service.gateway.metrics import GatewayMeters, families
from hce.service.gateway.practice import Practice
from hce.service.http import problem
from hce.service.metering import OTHER, Counter, CountRequests, Histogram, Requests, counted_route, histogram, page

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [
    ROOT / "src/hce/service/metering.py",
    ROOT / "src/hce/service/api/metrics.py",
    ROOT / "src/hce/service/gateway/metrics.py",
]
SAMPLE = re.compile(r'(hce_[a-z_]+)(\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? (\S+)')


def scrape(url: str) -> dict[str, float]:
    """Series -> value; every line must be one the format knows."""
    answer = httpx.get(url + "/metrics", trust_env=False)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {}
    for line in answer.text.splitlines():
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            found[match[1] + (match[2] or "")] = float(match[3])
    return found


def test_every_metric_in_the_code_is_documented_and_no_other() -> None:
    in_code = {name for path in SOURCES for name in re.findall(r'"(hce_[a-z_]+)"', path.read_text("utf-8"))}
    documented = re.findall(r"^\| `(hce_[a-z_]+)` \|", (ROOT / "docs/metrics.md").read_text("utf-8"), flags=re.MULTILINE)
    assert len(set(documented)) == len(documented)
    assert set(documented) == in_code


def test_the_version_is_that_of_the_package() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"] == VERSION


def test_a_running_node_tells_where_it_stands_and_counts_what_it_refused(node: OneNode) -> None:
    before = scrape(node.url)
    assert before["hce_height"] >= 1
    assert before["hce_memory_anonymous_bytes"] > 1 << 20
    assert before['hce_disk_bytes{part="ledger"}'] > 0
    assert before["hce_finality_seconds_count"] == before["hce_blocks_total"]
    httpx.post(node.url + "/v1/release", content=b"nonsense", trust_env=False)
    httpx.get(node.url + "/v1/cards/" + "ab" * 32, trust_env=False)
    httpx.get(node.url + "/no/such/path", trust_env=False)
    after = scrape(node.url)

    def more(series: str) -> float:
        return after[series] - before.get(series, 0)

    assert more('hce_releases_total{code="malformed"}') == 1
    assert more('hce_refused_total{code="not_found"}') == 1
    assert more('hce_http_requests_total{route="/v1/cards/{address}",status="404"}') == 1
    assert more('hce_http_requests_total{route="none",status="404"}') == 1
    assert not any("abab" in series for series in after)


async def test_a_gateway_tells_its_height_and_nothing_about_patients(practice: Practice) -> None:
    text = page(families(GatewayMeters(), practice))
    assert re.search(r"^hce_gateway_height \d+$", text, flags=re.MULTILINE)
    assert practice.org_id.hex() not in text


def test_a_counter_takes_only_so_many_labels_and_none_that_is_not_one() -> None:
    counter = Counter(max_series=3)
    for code in ("a", "b", "a", 'evil"} 1\nhce_height 9', "c", "d"):
        counter.add(code)
    assert counter.counts == {("a",): 2, ("b",): 1, (OTHER,): 3}


def test_buckets_are_cumulative_and_end_with_everything() -> None:
    observed = Histogram((1.0, 2.0))
    for value in (0.5, 1.5, 9.0):
        observed.observe(value)
    lines = page([histogram("hce_x", "help", observed)]).splitlines()
    assert lines[2:] == [
        'hce_x_bucket{le="1"} 1',
        'hce_x_bucket{le="2"} 2',
        'hce_x_bucket{le="+Inf"} 3',
        "hce_x_sum 11",
        "hce_x_count 3",
    ]


@pytest.mark.parametrize(("path", "status", "codes"), [("/ok", "200", {}), ("/no", "404", {("not_found",): 1})])
async def test_each_request_is_counted_under_its_route(path: str, status: str, codes: dict[tuple[str], int]) -> None:
    async def ok(request: Request) -> Response:
        return PlainTextResponse("")

    async def refuse(request: Request) -> Response:
        raise NotFound("it")

    requests = Requests()
    app = Starlette(
        routes=[counted_route("GET", "/ok", ok), counted_route("GET", "/no", refuse)], exception_handlers={HceError: problem}
    )
    transport = httpx.ASGITransport(CountRequests(app, requests))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
        await http.get(path)
    assert requests.answered.counts == {(path, status): 1}
    assert requests.refused.counts == codes

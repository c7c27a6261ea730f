"""A page of any origin may ask a node what is public, and nothing else."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.service.running import OneNode

from hce.service.api.app import make_api
from hce.service.api.meters import NodeMeters
from hce.service.api.services import NodeServices

PORTAL = "https://portal.example"


def asked(url: str, method: str, path: str, **headers: str) -> httpx.Response:
    return httpx.request(method, url + path, headers={"origin": PORTAL, **headers}, trust_env=False)


@pytest.mark.parametrize("path", ["/v1/final", "/v1/genesis", "/v1/blobs/00", "/v1/nothing-here"])
def test_answers_and_refusals_can_be_read_by_pages(node: OneNode, path: str) -> None:
    answer = asked(node.url, "GET", path)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(("path", "allowed"), [("/v1/final", "*"), ("/metrics", None)])
async def test_a_fault_of_the_node_is_named_to_pages_too(path: str, allowed: str | None) -> None:
    nothing_there: dict[str, Any] = dict.fromkeys(NodeServices.__struct_fields__) | {"meters": NodeMeters()}
    transport = httpx.ASGITransport(make_api(NodeServices(**nothing_there)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        answer = await client.get(path, headers={"origin": PORTAL})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers.get("access-control-allow-origin") == allowed


def test_a_browser_may_send_dag_cbor(node: OneNode) -> None:
    wish = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    answer = asked(node.url, "OPTIONS", "/v1/mailbox/read", **wish)
    assert answer.status_code == 200
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "content-type" in answer.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize(("method", "header"), [("DELETE", "content-type"), ("POST", "authorization")])
def test_what_a_node_never_needs_is_not_allowed(node: OneNode, method: str, header: str) -> None:
    wish = {"access-control-request-method": method, "access-control-request-headers": header}
    assert asked(node.url, "OPTIONS", "/v1/final", **wish).status_code == 400


def test_the_operators_page_is_read_by_no_other_page(node: OneNode) -> None:
    answer = asked(node.url, "GET", "/metrics")
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers

"""A page of any origin may ask a node what is public, and nothing else."""

from __future__ import annotations

import httpx
import pytest
from tests.service.running import OneNode

PORTAL = "https://portal.example"


def asked(url: str, method: str, path: str, **headers: str) -> httpx.Response:
    return httpx.request(method, url + path, headers={"origin": PORTAL, **headers}, trust_env=False)


@pytest.mark.parametrize("path", ["/v1/final", "/v1/genesis", "/v1/blobs/00", "/v1/nothing-here"])
def test_answers_and_refusals_can_be_read_by_pages(node: OneNode, path: str) -> None:
    answer = asked(node.url, "GET", path)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


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

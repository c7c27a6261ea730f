"""docs/api.md and docs/gateway.md name exactly what is served, with the bounds of the code and bodies that decode."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from hce.foundation.crypto.secret import SecretBytes
from hce.service.api.app import routes
from hce.service.api.services import NodeServices
from hce.service.gateway.http import AskAccess, Enrol, OpenCompartment, ReadRecords, WriteNote, make_app
from hce.service.gateway.practice import Practice

DOCS = Path(__file__).resolve().parents[2] / "docs"
KINDS = {"record.commit", "grant.revoke"}
"""Kinds of transactions are spelled like codes."""
BODIES: dict[str, type[Any]] = {
    "/v1/welcome": OpenCompartment,
    "/v1/compartments": OpenCompartment,
    "/v1/patients": Enrol,
    "/v1/access-requests": AskAccess,
    "/v1/grants/{grant_id}/read": ReadRecords,
    "/v1/notes": WriteNote,
}


def sections(page: str) -> dict[tuple[str, str], str]:
    """(method, path) -> text of its section."""
    parts = re.split(r"^### `(GET|POST) (\S+)`\n", (DOCS / page).read_text("utf-8"), flags=re.MULTILINE)
    return {(parts[at], parts[at + 1]): parts[at + 2].split("\n## ")[0] for at in range(1, len(parts), 3)}


def test_every_route_of_a_node_is_documented_and_no_other() -> None:
    served = [(method, path) for method, path, _ in routes(cast(NodeServices, None))]
    assert list(sections("api.md")) == served


def test_every_route_of_a_gateway_is_documented_and_no_other() -> None:
    app = make_app(cast(Practice, None), SecretBytes(b"token"), dict)
    served = [(method, route.path) for route in app.routes for method in cast(Any, route).methods - {"HEAD"}]
    assert list(sections("gateway.md")) == served


@pytest.mark.parametrize("page", ["api.md", "gateway.md"])
def test_every_route_has_an_example(page: str) -> None:
    assert [route for route, text in sections(page).items() if text.count("```") != 2] == []


@pytest.mark.parametrize("page", ["api.md", "gateway.md"])
def test_bounds_are_those_of_the_code(page: str) -> None:
    stated = re.findall(r"^\| `([\w.]+)\.(\w+)` \| (\d+) \|$", (DOCS / page).read_text("utf-8"), flags=re.MULTILINE)
    assert stated
    actual = [(module, name, str(getattr(importlib.import_module(module), name))) for module, name, _ in stated]
    assert actual == stated


def test_the_example_bodies_are_taken_by_the_gateway() -> None:
    found = sections("gateway.md")
    for path, type_ in BODIES.items():
        body = re.search(r"```json\n(.*?)```", found["POST", path], flags=re.DOTALL)
        assert body is not None, path
        msgspec.json.decode(body[1].encode(), type=type_)


@pytest.mark.parametrize("page", ["api.md", "gateway.md"])
def test_error_codes_named_in_the_pages_exist(page: str) -> None:
    known = set(re.findall(r"^\| `([a-z_.]+)` \|", (DOCS / "errors.md").read_text("utf-8"), flags=re.MULTILINE))
    rooms = {code.split(".")[0] for code in known if "." in code}
    named = re.findall(r"`(([a-z_]+)\.([a-z_*]+))`", (DOCS / page).read_text("utf-8"))
    unknown = {code for code, room, rest in named if room in rooms and rest != "*" and code not in known}
    assert unknown - KINDS == set()
